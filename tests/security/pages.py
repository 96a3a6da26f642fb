"""Who may open each address of the site, who may change something there, and who may do each action of a list.

A page or an action that is not in these tables fails `test_rights.py`: whoever adds one says here whom it is for.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver

VIEW = {f"view_{model}" for model in ("monitor", "dependenttask", "incident", "backgroundtask", "alert", "message")}
EDIT = {f"{verb}_{model}" for verb in ("add", "change", "delete") for model in ("monitor", "dependenttask")}

# Permissions of this app; the boss is a superuser, and the anonymous have no account.
PEOPLE: dict[str, set[str]] = {
    "anonymous": set(),
    "staff": set(),
    "viewer": VIEW,
    "on call": VIEW | {"snooze_monitor"},  # as docs/operating.md describes the group
    "checker": VIEW | {"check_monitor"},
    "sender": VIEW | {"send_alert"},
    "editor": VIEW | EDIT,
    "boss": set(),
}
EVERYBODY = frozenset(PEOPLE)
STAFF = EVERYBODY - {"anonymous"}
VIEWERS = STAFF - {"staff"}
EDITORS = frozenset({"editor", "boss"})
BOSS = frozenset({"boss"})
ON_CALL = frozenset({"on call", "boss"})
SENDERS = frozenset({"sender", "boss"})
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """`opens`: who gets more than a refusal; `writes`: for whom posting `body` there changes something."""

    opens: frozenset[str]
    writes: frozenset[str] = NOBODY
    body: dict[str, Any] = field(default_factory=dict)


MONITOR = {
    "name": "Nightly",
    "enabled": "on",
    "task_name": "nightly",
    "expected_statuses": ["Completed"],
    "lookback_hours": "25",
    "schedule": "@daily",
    "time_zone": "UTC",
    "notify_to": "ops@example.com",
    "alert_after": "1",
    "repeat": "every-check",
    "dependent_tasks-TOTAL_FORMS": "0",
    "dependent_tasks-INITIAL_FORMS": "0",
}
CONFIG = {
    "config": json.dumps({"imported": {"expected_statuses": ["Completed"]}}),
    "schedule": "@daily",
    "time_zone": "UTC",
    "_confirm": "1",
}
YES = {"post": "yes"}
THE_MONITOR = "its key"  # in a body
ROW = "<path:object_id>/"


def of_model(folder: str, see: frozenset[str], edit: frozenset[str], body: dict[str, Any]) -> dict[str, Page]:
    """Django's pages of one model; `body` fills its form, and YES answers whether to delete."""
    return {
        folder: Page(see),
        f"{folder}add/": Page(edit, edit if body else NOBODY, body),
        f"{folder}{ROW}change/": Page(see, edit if body else NOBODY, body),
        f"{folder}{ROW}delete/": Page(edit, edit, YES),
        f"{folder}{ROW}history/": Page(see),
        f"{folder}{ROW}": Page(STAFF),  # leads to the change page
    }


PAGES: dict[str, Page] = {
    "": Page(EVERYBODY),
    "healthz": Page(EVERYBODY),
    "readyz": Page(EVERYBODY),
    "metrics": Page(STAFF),  # and whoever knows the token: tests/test_metrics.py
    "anymail/mailgun/tracking/": Page(EVERYBODY),  # whoever posts there must know a secret: tests/project/test_webhooks
    "admin/": Page(STAFF),
    "admin/login/": Page(EVERYBODY),
    "admin/logout/": Page(EVERYBODY),
    "admin/password_change/": Page(STAFF),
    "admin/password_change/done/": Page(STAFF),
    "admin/autocomplete/": Page(NOBODY),  # no form here has such a field
    "admin/jsi18n/": Page(STAFF),
    "admin/r/<path:content_type_id>/<path:object_id>/": Page(STAFF),
    "admin/^(?P<app_label>…)/$": Page(VIEWERS),
    "admin/(?P<url>.*)$": Page(STAFF),  # what is not there
    "admin/auth/user/<id>/password/": Page(BOSS),
    **of_model("admin/auth/user/", BOSS, BOSS, {}),
    **of_model("admin/auth/group/", BOSS, BOSS, {"name": "on call"}),
    **of_model("admin/monitoring/monitor/", VIEWERS, EDITORS, MONITOR),
    "admin/monitoring/monitor/board/": Page(VIEWERS, ON_CALL, {"acknowledge": THE_MONITOR}),
    "admin/monitoring/monitor/unwatched/": Page(VIEWERS),
    "admin/monitoring/monitor/import/": Page(EDITORS, EDITORS, CONFIG),
    f"admin/monitoring/monitor/{ROW}overview/": Page(VIEWERS),
    f"admin/monitoring/monitor/{ROW}mail/": Page(VIEWERS),
    **of_model("admin/monitoring/backgroundtask/", VIEWERS, NOBODY, {}),
    **of_model("admin/monitoring/incident/", VIEWERS, NOBODY, {}),
    f"admin/monitoring/incident/{ROW}change/": Page(VIEWERS, ON_CALL, {"acknowledge": ""}),
    **of_model("admin/monitoring/alert/", VIEWERS, NOBODY, {}),
    **of_model("admin/monitoring/message/", VIEWERS, NOBODY, {}),
    f"admin/monitoring/message/{ROW}change/": Page(VIEWERS, SENDERS, {"send_again": ""}),
    f"admin/monitoring/message/{ROW}html/": Page(VIEWERS),
}

ACTIONS: dict[tuple[str, str], frozenset[str]] = {
    ("monitor", "check_now"): frozenset({"checker", "boss"}),
    ("monitor", "acknowledge"): ON_CALL,
    ("monitor", "snooze_hour"): ON_CALL,
    ("monitor", "snooze_until_morning"): ON_CALL,
    ("monitor", "lift_snooze"): ON_CALL,
    ("monitor", "send_test"): SENDERS,
    ("monitor", "enable"): EDITORS,
    ("monitor", "disable"): EDITORS,
    ("monitor", "delete_selected"): EDITORS,
    ("incident", "acknowledge"): ON_CALL,
    ("message", "send_again"): SENDERS,
    ("user", "delete_selected"): BOSS,
    ("group", "delete_selected"): BOSS,
}


def routes(patterns: list[Any], prefix: str = "") -> Iterator[str]:
    """Every address that the resolver knows; the names of the admin's apps, which it sorts anyhow, are left out."""
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield "admin/^(?P<app_label>…)/$" if pattern.name == "app_list" else route
