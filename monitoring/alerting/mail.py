"""Facts into words. What is sent, previewed and shown comes from here."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import css_inline
from django.template import Context, Engine
from django.template.loader import render_to_string
from django.utils import timezone

from monitoring.conf import conf
from monitoring.values.facts import NO_EXECUTION, AlertKind, Facts
from monitoring.values.text import head, one_line, storable

logger = logging.getLogger("monitoring")

ALERT_TEMPLATE = "emails/task_status_alert"
DIGEST_TEMPLATE = "emails/task_status_digest"
LISTED_MAX = 50  # dependent tasks named in one mail
DETAILED_MAX = 25  # alerts of a digest that are told with all their facts; some readers cut a mail after 100 kB
REASON_MAX = 500  # characters

_BUILT_IN = Path(__file__).resolve().parent.parent / "templates"
_SUBJECTS = {
    AlertKind.STATUS_MISMATCH: "[ALERT] {name} Status Check Failed",
    AlertKind.NOT_EXECUTED: "[ALERT] {name} Has Not Executed",
    AlertKind.NOT_JUDGED: "[ALERT] {name} Could Not Be Checked",
    AlertKind.RESOLVED: "[RESOLVED] {name} Is As Expected Again",
}
_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True, keep_style_tags=True)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail's words: a subject of one line, the text part and the HTML part with the same facts."""

    subject: str
    text: str
    html: str


def render(facts: Facts) -> Mail:
    """The mail that says these facts. Never raises for a template: the built-in one takes its place and says so."""
    return _render(ALERT_TEMPLATE, subject_of(facts), template_context(facts), _zone(facts))


def render_digest(alerts: Sequence[Facts]) -> Mail:
    """One mail that says many alerts, failures before recoveries."""
    ordered = sorted(alerts, key=lambda facts: facts.task_name)
    failing = [facts for facts in ordered if facts.kind is not AlertKind.RESOLVED]
    resolved = [facts for facts in ordered if facts.kind is AlertKind.RESOLVED]
    subject = (
        f"[ALERT] {len(failing)} Task Checks Failed"
        if failing
        else f"[RESOLVED] {len(resolved)} Tasks Are As Expected Again"
    )
    sentences = (
        (failing, "task check failed.", "task checks failed."),
        (resolved, "task is as expected again.", "tasks are as expected again."),
    )
    context = {
        "subject": subject,
        "summary": " ".join(_counted(len(some), one, many) for some, one, many in sentences if some),
        "failing": [template_context(facts) for facts in failing[:DETAILED_MAX]],
        "also_failing": [summary_of(facts) for facts in failing[DETAILED_MAX:]],
        "resolved": [summary_of(facts) for facts in resolved],
        "site_url": conf().SITE_URL,
    }
    return _render(DIGEST_TEMPLATE, subject, context, timezone.get_default_timezone())


def subject_of(facts: Facts) -> str:
    return _SUBJECTS[facts.kind].format(name=one_line(facts.task_name))


def template_context(facts: Facts) -> dict[str, Any]:
    """The template's whole contract; the first nine are the seed's, under its names and with its types.

    `rows` holds (label, value) pairs of text: all that is known, in the order in which both parts of the mail show it.
    """
    dependent_tasks = list(facts.dependent_tasks)
    return {
        "task_name": facts.task_name,
        "current_status": facts.current_status,
        "expected_statuses": ", ".join(facts.expected_statuses),
        "lookback_hours": float(facts.lookback_hours),
        "started_at": facts.started_at,
        "finished_at": facts.finished_at,
        "check_time": facts.check_time,
        "has_dependent_tasks": bool(dependent_tasks),
        "dependent_tasks": dependent_tasks,
        "kind": facts.kind.value,
        "subject": subject_of(facts),
        "summary": summary_of(facts),
        "rows": _rows(facts),
        "listed_dependent_tasks": [one_line(name) for name in dependent_tasks[:LISTED_MAX]],
        "more_dependent_tasks": max(0, len(dependent_tasks) - LISTED_MAX),
        "context_type": facts.context_type,
        "reason": facts.reason,
        "site_url": conf().SITE_URL,
    }


def summary_of(facts: Facts) -> str:
    """What happened, in one sentence."""
    name, expected = one_line(facts.task_name), " or ".join(facts.expected_statuses)
    match facts.kind:
        case AlertKind.STATUS_MISMATCH:
            return f"{name} is {one_line(facts.current_status)}; expected was {expected}."
        case AlertKind.NOT_EXECUTED:
            return f"{name} has not executed: no run was found in the {_window(facts).lower()}."
        case AlertKind.NOT_JUDGED:
            return f"{name} could not be checked."
    return f"{name} is as expected again: {one_line(facts.current_status)}."


def written_time(time: datetime, zone: ZoneInfo) -> str:
    """`2026-11-22 08:35:00 CET (Europe/Berlin)`: the abbreviation tells the two hours of an autumn night apart."""
    local = time.astimezone(zone)
    name = str(zone)
    abbreviation = local.tzname()
    return f"{local:%Y-%m-%d %H:%M:%S} {name if abbreviation == name else f'{abbreviation} ({name})'}"


def written_hours(hours: float) -> str:
    """Plain decimals: 1, 1.5, 87600."""
    return format(Decimal(repr(hours)).normalize(), "f")


def _window(facts: Facts) -> str:
    return f"Last {written_hours(facts.lookback_hours)} hour(s)"


def _rows(facts: Facts) -> list[tuple[str, str]]:
    zone = _zone(facts)
    unstarted = facts.waiting_since and f"{facts.waiting_status}, submitted {written_time(facts.waiting_since, zone)}"
    rows = [
        ("Task", one_line(facts.task_name)),
        ("Context type", one_line(facts.context_type)),
        ("Current status", one_line(facts.current_status)),
        ("Expected status", ", ".join(facts.expected_statuses)),
        ("Lookback window", _window(facts)),
        ("Started", facts.started_at and written_time(facts.started_at, zone)),
        ("Finished", facts.finished_at and written_time(facts.finished_at, zone)),
        ("Unstarted run", unstarted if facts.current_status == NO_EXECUTION else ""),
        ("Reason", head(one_line(facts.reason), REASON_MAX)),
        ("Checked", written_time(facts.check_time, zone)),
    ]
    return [(label, value) for label, value in rows if value]


def _zone(facts: Facts) -> ZoneInfo:
    try:
        return ZoneInfo(facts.time_zone) if facts.time_zone else timezone.get_default_timezone()
    except ZoneInfoNotFoundError:  # this host knows fewer zones than the one where it was chosen
        return timezone.get_default_timezone()


def _render(template: str, subject: str, context: dict[str, Any], zone: ZoneInfo) -> Mail:
    with timezone.override(zone):
        text = _render_part(f"{template}.txt", context)
        html = _render_part(f"{template}.html", context)
    return Mail(subject=subject, text=storable(text).strip() + "\n", html=_inlined(storable(html)).strip() + "\n")


def _render_part(template: str, context: dict[str, Any]) -> str:
    try:
        return render_to_string(template, context)
    except Exception as error:  # whatever a project's own template does, the alert goes out
        logger.exception("The template %s could not be rendered; the built-in one takes its place", template)
        notice = head(one_line(f"{template} could not be rendered: {type(error).__name__}: {error}"), 300)
        return _built_in_engine().get_template(template).render(Context({**context, "template_error": notice}))


@cache
def _built_in_engine() -> Engine:
    return Engine(dirs=[str(_BUILT_IN)])


def _inlined(html: str) -> str:
    try:
        return _inliner.inline(html)
    except css_inline.InlineError:
        return html  # a style sheet that cannot be read is the reader's to judge


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
