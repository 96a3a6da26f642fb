"""What a task may write (its name, errors, parameters, context, worker) and a provider may say, wherever it is shown.

Mails are in tests/alerting/test_mail.py and test_envelope.py; here are pages, terminals, files for programs, and logs.
"""

import csv
import io
import json
import logging
import re
import sys
import unicodedata
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import get_commands
from django.test import Client

from monitoring.alerting.envelope import envelope
from monitoring.alerting.mail import render, render_digest
from monitoring.models import BackgroundTask, Incident, Message, Monitor
from monitoring.values.text import NAME_MAX
from project.logs import LineFormatter
from tests.admin.people import logged_in
from tests.alerting.overriding import override
from tests.factories import make_facts
from tests.management.calling import Site, call
from tests.security.conftest import address_of, make_rows
from tests.security.pages import PAGES

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("webhook", "_empty_queue")]

MARK = "zq7"  # found again wherever the words come out
WORDS = {
    "markup": f"<script>{MARK}</script><img src=x onerror={MARK}>",
    "attribute": f'" onmouseover="{MARK}" \'',
    "template": f"{{{{ settings.SECRET_KEY }}}}{{% debug %}}{{% include 'admin/base.html' %}}{MARK}",
    "format": f"%s %(name)s {{0}} {{0.__class__}} {MARK}",
    "headers": f"{MARK}\r\nBcc: victim@example.com\r\n\r\n<script>{MARK}</script>",
    "lines": f"{MARK}\n2026-11-24 08:35:00,000 ERROR monitoring: forged\x0b\x0c\x85\u2028\u2029",
    "terminal": f"\x1b[2J\x1b]0;{MARK}\x07\x9b31m\x08\x7f",
    "direction": f"\u202e{MARK}\u2066\u200f",
    "formula": f"=cmd|'/C calc'!A1{MARK}",
}
hostile = pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
NO_TEXT = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def boss() -> Client:
    return logged_in(User.objects.create_superuser("boss", "boss@example.com"))


def make_hostile(text: str) -> dict[str, Any]:
    rows = make_rows(text)
    Incident.objects.update(acknowledged_by=text, acknowledged_at="2026-11-24T08:35Z")
    return rows


SHOWN = sorted(route for route in PAGES if route.startswith("admin/monitoring/") and "import" not in route)


@hostile
def test_no_page_takes_them_for_markup_or_a_template(boss: Client, text: str) -> None:
    rows = make_hostile(text)
    for route in SHOWN:
        response = boss.get(address_of(route, rows), follow=True)
        html = response.content.decode()
        assert f"<script>{MARK}" not in html, route
        assert not re.search(rf"<[^>\"']*\son\w+=\W*{MARK}", html), route
        assert django_settings.SECRET_KEY not in html, route
        assert "Bcc" not in response.headers, route
    assert (
        MARK in boss.get(address_of("admin/monitoring/backgroundtask/<path:object_id>/change/", rows)).content.decode()
    )


@hostile
def test_no_answer_to_an_action_takes_them_for_markup(boss: Client, text: str) -> None:
    rows = make_hostile(text)
    for action in ("check_now", "snooze_hour", "disable"):
        body = {"action": action, "index": "0", "_selected_action": rows["monitor"].pk}
        html = boss.post("/admin/monitoring/monitor/", body, follow=True).content.decode()
        assert f"<script>{MARK}" not in html
        assert MARK in html


def test_a_hundred_kilobytes_and_a_nul_are_shown_as_they_were_stored(boss: Client) -> None:
    long = "x" * 100_000
    run = BackgroundTask.objects.create(task_id="1", task_name="n" * NAME_MAX, status="Stopped", errors=long)
    message = Message.objects.create(
        address="ops@example.com", subject=long, text=long, html=long, error=long, provider_said=long,
        created_at="2026-11-24T08:35Z", next_attempt_at="2026-11-24T08:35Z",
    )  # fmt: skip
    for row in (run, message):
        for place in ("", f"{row.pk}/change/"):
            assert boss.get(f"/admin/monitoring/{row._meta.model_name}/{place}").status_code == 200
    assert len(boss.get("/admin/monitoring/message/").content) < 2 * len(long) + 50_000
    for query in ("q=%00", "q=" + long, "status__exact=%00", "started_at__gte=%00", "older_than=%00", "o=%00", "p=-1"):
        response = boss.get(f"/admin/monitoring/backgroundtask/?{query}")
        assert response.status_code in (200, 302, 400), query
    for query in ("stands=%00", "snoozed=%00", "enabled__exact=%00", "q=%00"):
        assert boss.get(f"/admin/monitoring/monitor/?{query}").status_code in (200, 302, 400), query


COMMANDS = [
    ["list_status"],
    ["list_status", "--format=json"],
    ["list_status", "--format=csv"],
    ["list_status", "--monitor", "{name}"],
    ["list_status", "--unmonitored"],
    ["suggest_monitors", "--", "{name}"],
    ["suggest_monitors", "--unmonitored"],
    ["check_task_status", "--since=30d"],
    ["check_task_status", "--dry-run"],
    ["check_task_status"],
    ["check_task_status", "--format=json"],
    ["check_task_status", "--self"],
    ["check_task_status", "--self", "--format=json"],
    ["check_task_status", "--monitor", "{name}"],
    ["check_task_status", "--monitor", "{name}x"],
    ["check_task_status", "--since", "30d", "--monitor", "{name}"],
    ["check_task_status", "--since", "30d", "--format=json"],
    ["list_status", "--monitor", "{name}"],
    ["list_status", "--unmonitored"],
    ["list_status", "--unmonitored", "--format=csv"],
    ["suggest_monitors", "{name}"],
    ["suggest_monitors", "{name}x"],
    ["suggest_monitors", "--unmonitored"],
    ["export_monitors"],
    ["preview_alert", "--monitor", "{name}"],
    ["preview_alert", "--monitor", "{name}", "--format=json"],
    ["preview_alert", "--monitor", "{name}", "--kind=mismatch", "--format=html"],
    ["prune_history", "--dry-run"],
]


# Tried below in ways of their own.
ELSEWHERE = {"import_monitors", "record_run"}


def test_every_command_is_tried() -> None:
    ours = {name for name, app in get_commands().items() if app == "monitoring"}
    assert {command[0] for command in COMMANDS} == ours - ELSEWHERE, "write the new ones into COMMANDS"


@hostile
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_lets_them_act_on_a_terminal(command: list[str], text: str) -> None:
    make_hostile(text)
    name = Monitor.objects.get().name
    called = call(*[part.format(name=name) if "{name}" in part else part for part in command])
    for said in (called.out, called.said):
        assert not NO_TEXT.search(said), NO_TEXT.search(said)
    if "--format=json" in command and "preview_alert" not in command:
        assert MARK in json.dumps(json.loads(called.out))


def test_a_jobs_name_acts_on_no_terminal_whatever_becomes_of_it(tmp_path: Path) -> None:
    """There is no table here to write into, and no such command."""
    called = Site(tmp_path).manage("record_run", f"{MARK}\x1b[2J\x9b2J", "--", f"no-{MARK}\x1b[2J\n\x9b2J")
    assert called.code == 127
    assert f"no-{MARK} [2J" in called.said
    assert f"{MARK} [2J" in called.said.replace(f"no-{MARK}", ""), "its log says what could not be written"
    assert not NO_TEXT.search(called.out + called.said)


@hostile
def test_json_says_them_exactly(text: str) -> None:
    make_hostile(text)
    (monitor,) = json.loads(call("list_status", "--format=json").out)["monitors"]
    assert (monitor["task_name"], monitor["acknowledged_by"]) == (text, text)
    (config,) = json.loads(call("export_monitors").out)
    assert config[text]["dependent_tasks"] == [text]


@hostile
def test_a_bad_configuration_is_refused_without_acting_on_a_terminal(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({text: {"expected_statuses": [text], "notify_to": [text], text: 1}}))
    for command in (["check_task_status", "--config"], ["import_monitors", "--schedule=@daily"]):
        called = call(*command, str(path))
        assert called.code == 3
        assert MARK in called.said
        assert not NO_TEXT.search(called.said)


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", " =", "\t=", "\r="])
def test_a_spreadsheet_calculates_nothing_of_the_csv(begins: str) -> None:
    make_hostile(f"{begins}cmd|'/C calc'!A1")
    header, cells = csv.reader(io.StringIO(call("list_status", "--format=csv").out))
    row = dict(zip(header, cells, strict=True))
    for name in ("name", "task_name", "acknowledged_by", "found"):
        assert row[name].startswith("'"), name
    assert row["tells"] == "ops@example.com"


@hostile
def test_a_mail_has_its_own_headers_and_no_other(text: str) -> None:
    plain = {name for name, _ in _wire("plain").items()}
    for mail in (_wire(text), _wire(text, many=True)):
        assert {name for name, _ in mail.items()} == plain
        assert mail["To"] == "ops@example.com"
        assert len(mail["Subject"].splitlines()) == 1
        assert "victim@example.com" not in [address.addr_spec for address in mail["To"].addresses]


def _wire(text: str, many: bool = False) -> Any:
    facts = make_facts(task_name=text, context_type=text, reason=text, current_status=text, dependent_tasks=(text,))
    words = render_digest([facts, facts]) if many else render(facts)
    message = Message(
        pk=1,
        address="ops@example.com",
        subject=words.subject,
        text=words.text,
        html=words.html,
        thread="<1@example.com>",
    )
    return message_from_bytes(envelope(message).message().as_bytes(), policy=policy.default)


def test_a_project_template_reaches_no_setting_and_no_request(settings: Any, tmp_path: Path) -> None:
    """Django gives a template what it is rendered with and no more; what is put into one is no template itself."""
    names = ("settings.SECRET_KEY", "settings", "request", "user", "perms", "debug")
    source = "".join(f"{{{{ {name} }}}}" for name in names)
    override(settings, tmp_path, "emails/task_status_alert.txt", f"[{source}]{{{{ task_name|safe }}}}")
    assert render(make_facts(task_name=WORDS["template"])).text == f"[]{WORDS['template']}\n"


def logged(message: str, *args: object, error: BaseException | None = None, name: str = "monitoring") -> str:
    form = django_settings.LOGGING["formatters"]["text"]
    formatter = LineFormatter(form["format"], style=form["style"])
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, exc_info)
    return formatter.format(record)


@hostile
def test_no_line_of_the_log_is_forged(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        said = logged("Not recorded: %s", text, error=error)
    assert MARK in said
    assert not NO_TEXT.search(said)
    first, *rest = said.split("\n")
    assert " ERROR monitoring: Not recorded: " in first
    assert all(line.startswith("    ") for line in rest)


def test_the_projects_log_is_written_so() -> None:
    assert django_settings.LOGGING["formatters"]["text"]["class"] == "project.logs.LineFormatter"
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            assert isinstance(handler.formatter, LineFormatter)


def test_an_odd_request_is_a_line_in_the_log_and_no_traceback() -> None:
    error = ValueError("Invalid HTTP_HOST header")
    assert "\n" not in logged("Invalid HTTP_HOST header", error=error, name="django.security.DisallowedHost")
    assert "ValueError" in logged("It broke", error=error, name="django.request")


def test_every_breaking_character_is_known() -> None:
    odd = {chr(point) for point in range(sys.maxunicode) if unicodedata.category(chr(point)) in ("Cc", "Zl", "Zp")}
    assert {char for char in odd if not NO_TEXT.fullmatch(char)} == {"\n"}
