import html
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings

import monitoring
from monitoring.alerting.envelope import message_to
from monitoring.alerting.mail import NESTED_MAX, Mail, render, render_digest
from monitoring.alerting.samples import sample_evidence, sample_facts
from monitoring.alerting.variables import LISTED_MAX, template_context
from monitoring.alerting.words import REASON_MAX, written_hours
from monitoring.models import BackgroundTask
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.facts import NO_EXECUTION, NOT_JUDGED, AlertKind, Facts
from tests.alerting.overriding import ALERT_HTML, ALERT_TEXT, DIGEST_HTML
from tests.alerting.reading import element, lines_of_html, lines_of_text, rows_of_html, words_of_html
from tests.factories import NOW, Wordless, ago, make_facts

BUILT_IN = Path(monitoring.__file__).parent / "templates"
LINE_MAX = 998  # octets; RFC 5322, 2.1.1

ProjectTemplate = Callable[[str, str | bytes], None]

FACTS = {
    "status mismatch": make_facts(
        task_id="run-1", dependent_tasks=("data_processing", "data_export"), time_zone="Europe/Berlin"
    ),
    "still running": make_facts(
        task_id="run-2", current_status="Running", finished_at=None, context_type="Hourly Tomorrow.io"
    ),
    "not executed": make_facts(
        kind=AlertKind.NOT_EXECUTED,
        current_status=NO_EXECUTION,
        expected_statuses=("Completed", "Running"),
        lookback_hours=1.5,
        started_at=None,
        finished_at=None,
        waiting_since=ago(minutes=50),
        waiting_status="Queued",
        dependent_tasks=tuple(f"export_{number}" for number in range(LISTED_MAX + 3)),
    ),
    "could not be judged": make_facts(
        kind=AlertKind.NOT_JUDGED,
        current_status=NOT_JUDGED,
        started_at=None,
        finished_at=None,
        reason="context model 'gap.models.IngestorSession': no installed app has the label or module 'gap'",
    ),
    "as expected again": make_facts(
        kind=AlertKind.RESOLVED, current_status="Completed", dependent_tasks=("data_export",)
    ),
}
each_kind = pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS.keys())


def sent(mail: Mail) -> tuple[bytes, EmailMessage]:
    """The mail as it goes over the wire, and as its reader's program takes it apart."""
    wire = message_to("ops@example.com", mail).message().as_bytes()
    return wire, message_from_bytes(wire, policy=policy.default)


# Subjects


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (AlertKind.STATUS_MISMATCH, "[ALERT] daily_report Status Check Failed"),
        (AlertKind.NOT_EXECUTED, "[ALERT] daily_report Has Not Executed"),
        (AlertKind.NOT_JUDGED, "[ALERT] daily_report Could Not Be Checked"),
        (AlertKind.RESOLVED, "[RESOLVED] daily_report Is As Expected Again"),
        (AlertKind.MONITOR_DOWN, "[ALERT] Monitoring Was Down"),
    ],
)
def test_each_kind_has_its_subject(kind: AlertKind, subject: str) -> None:
    assert render(make_facts(kind=kind)).subject == subject


def test_every_kind_has_a_subject_and_renders() -> None:
    for kind in AlertKind:
        subject = render(make_facts(kind=kind)).subject
        assert ("daily_report" in subject) is (kind is not AlertKind.MONITOR_DOWN)


def test_braces_in_a_name_stay_in_the_subject() -> None:
    assert render(make_facts(task_name="{name} {0}")).subject == "[ALERT] {name} {0} Status Check Failed"


def test_many_at_once_are_counted_without_the_recoveries() -> None:
    mail = render_digest([*[make_facts()] * 11, make_facts(kind=AlertKind.RESOLVED)])
    assert mail.subject == "[ALERT] 11 Task Checks Failed"
    assert mail.text.startswith("11 task checks failed. 1 task is as expected again.\n")


def test_many_recoveries_alone_are_no_alert() -> None:
    mail = render_digest([make_facts(kind=AlertKind.RESOLVED)] * 11)
    assert mail.subject == "[RESOLVED] 11 Tasks Are As Expected Again"
    assert "Action Required" not in mail.text + mail.html


# The template's variables


def test_a_project_template_is_given_the_variables_of_the_seed(project_template: ProjectTemplate) -> None:
    project_template(
        ALERT_TEXT,
        "{{ task_name }}|{{ current_status }}|{{ expected_statuses }}|{{ lookback_hours }}|{{ started_at|date:'c' }}|"
        "{{ finished_at|date:'c' }}|{{ check_time|date:'c' }}|{{ has_dependent_tasks }}|{{ dependent_tasks|join:'+' }}",
    )
    facts = make_facts(expected_statuses=("Running", "Completed"), lookback_hours=2.5, dependent_tasks=("b", "a"))
    assert render(facts).text == (
        "daily_report|Stopped|Running, Completed|2.5|2026-11-22T08:30:00+00:00|"
        "2026-11-22T08:31:00+00:00|2026-11-22T08:35:00+00:00|True|b+a\n"
    )


def test_a_project_template_is_told_that_there_was_no_execution(project_template: ProjectTemplate) -> None:
    project_template(
        ALERT_TEXT,
        "{{ current_status }}|{{ started_at }}|{{ finished_at }}|{{ has_dependent_tasks }}|{{ dependent_tasks }}",
    )
    facts = make_facts(
        kind=AlertKind.NOT_EXECUTED, current_status=NO_EXECUTION, started_at=None, finished_at=None, lookback_hours=1
    )
    assert render(facts).text == "No execution found|None|None|False|[]\n"


def test_the_variables_of_the_seed_have_its_types() -> None:
    context = template_context(make_facts(lookback_hours=1, dependent_tasks=("data_export",)))
    types = {
        "task_name": str,
        "current_status": str,
        "expected_statuses": str,
        "lookback_hours": float,
        "started_at": datetime,
        "finished_at": datetime,
        "check_time": datetime,
        "has_dependent_tasks": bool,
        "dependent_tasks": list,
    }
    assert {name: type(context[name]) for name in types} == types


# Customizing

LOGO = '<img src="https://yourcompany.com/logo.png" alt="Logo" style="height: 40px;">'
COLOURS = ".header { background-color: #123456; color: white; }"
CONTACT = "Contact: support@yourcompany.com | Internal Docs: https://wiki.yourcompany.com/monitoring"
HEADER = f'<div class="header">\n    {LOGO}\n    <h1>⚠️ Task Status Alert</h1>\n</div>'
FOOTER = (
    '<div class="footer">\n    <strong>Action Required:</strong> Please investigate immediately.\n'
    f"    <br><br>\n    {CONTACT}\n</div>"
)


def extending(styles: str = COLOURS) -> str:
    return (
        f'{{% extends "{ALERT_HTML}" %}}'
        f"{{% block styles %}}{{{{ block.super }}}}{styles}{{% endblock %}}"
        f"{{% block header %}}{HEADER}{{% endblock %}}{{% block footer %}}{FOOTER}{{% endblock %}}"
    )


def copied_and_edited() -> str:
    source = (BUILT_IN / ALERT_HTML).read_text(encoding="utf-8")
    source, times = re.subn(r'<div class="header.*?</div>', HEADER, source, flags=re.DOTALL)
    source, more = re.subn(r'<div class="footer.*?</div>', FOOTER, source, flags=re.DOTALL)
    assert (times, more) == (1, 1)
    return source.replace("</style>", f"{COLOURS}</style>")


@pytest.mark.parametrize("template", [extending(), copied_and_edited()], ids=["extended", "copied"])
def test_logo_colours_and_footer_of_a_project_are_in_its_mails(
    project_template: ProjectTemplate, template: str
) -> None:
    project_template(ALERT_HTML, template)
    facts = make_facts(dependent_tasks=("data_export",))
    mail = render(facts)

    header = element(mail.html, r'<div class="header".*?</div>')
    assert 'src="https://yourcompany.com/logo.png"' in header
    assert "height: 40px" in header
    style = element(header, r'style=".*?"')
    assert style.index("background-color: #123456") > style.index("background: #b42318"), "the later one is shown"
    assert "color: white" in style
    assert "padding: 18px 24px" in style, "the rest of the look stays"
    assert re.search(r"<h1 [^>]*>⚠️ Task Status Alert</h1>", header)

    footer = element(mail.html, r'<div class="footer".*?</div>')
    assert "Please investigate immediately." in footer
    assert CONTACT in footer
    assert "take appropriate action" not in mail.html
    assert rows_of_html(mail.html) == template_context(facts)["rows"]
    assert "data_export" in words_of_html(mail.html)
    assert "built-in" not in mail.html


def test_a_colour_that_is_none_leaves_the_built_in_one(project_template: ProjectTemplate) -> None:
    project_template(ALERT_HTML, extending(".header { background-color: #your-brand-color; color: white; }"))
    style = element(render(make_facts()).html, r'<div class="header" style=".*?"')
    # A reader's program drops the declaration that it cannot read, and what stands before it counts.
    assert "background: #b42318" in style
    assert style.index("background-color: #your-brand-color") > style.index("background: #b42318")
    assert style.count("background") == 2


def test_the_built_in_header_and_footer_stand_as_the_seed_shows_them() -> None:
    mail = render(make_facts())
    assert re.search(r'<div class="header"[^>]*>\s*<h1[^>]*>⚠️ Task Status Alert</h1>\s*</div>', mail.html)
    footer = element(mail.html, r'<div class="footer".*?</div>')
    assert words_of_html(footer).startswith("Action Required: Please investigate")


def test_one_block_of_the_built_in_template_can_be_overridden_alone(project_template: ProjectTemplate) -> None:
    for block in ("styles", "header", "content", "footer"):
        project_template(ALERT_HTML, f'{{% extends "{ALERT_HTML}" %}}{{% block {block} %}}/*mine*/{{% endblock %}}')
        mail = render(make_facts())
        assert mail.html.count("/*mine*/") == 1
        assert ('<div class="header' in mail.html) == (block != "header")
        assert ('<div class="footer' in mail.html) == (block != "footer")
        assert (rows_of_html(mail.html) != []) == (block != "content")


def test_the_mail_brings_its_looks_along() -> None:
    for mail in (render(FACTS["status mismatch"]), render_digest([make_facts()] * 3)):
        assert "@media (prefers-color-scheme: dark)" in mail.html
        assert 'style="padding: 18px 24px;background: #b42318;color: #ffffff;"' in mail.html
        assert not re.search(r"<img|<link|<script|url\(|@import|src=", mail.html), "nothing is fetched"


# Templates that do not render


BROKEN = {
    "a syntax error": ("{% if %}{{ task_name }}", "TemplateSyntaxError"),
    "an unknown tag": ("{% load nothing_of_that_name %}", "TemplateSyntaxError"),
    "a missing include": ("{{ task_name }}{% include 'emails/none.html' %}", "TemplateDoesNotExist"),
    "an include of itself": ("{% include template_name %}", "RecursionError"),
    "bytes that are no text": (b"\xff\xfe{{ task_name }}", "UnicodeDecodeError"),
}


@pytest.mark.parametrize(("source", "error"), BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("name", [ALERT_HTML, ALERT_TEXT])
def test_a_broken_template_gives_way_to_the_built_in_one_which_says_so(
    project_template: ProjectTemplate, caplog: pytest.LogCaptureFixture, name: str, source: str | bytes, error: str
) -> None:
    facts = FACTS["not executed"]
    good = render(facts)
    if isinstance(source, str):
        source = source.replace("template_name", repr(name))
    project_template(name, source)
    mail = render(facts)

    notice = f"This is the built-in mail: {name} could not be rendered: {error}"
    of_html, of_text = words_of_html(mail.html), mail.text
    assert (notice in of_html, notice in of_text) == (name == ALERT_HTML, name == ALERT_TEXT)
    assert mail.subject == good.subject
    assert rows_of_html(mail.html) == rows_of_html(good.html)
    assert set(good.text.splitlines()) <= set(mail.text.splitlines())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("monitoring", logging.ERROR)
    assert name in record.getMessage()
    assert record.exc_info


def test_a_template_that_raises_midway_is_not_sent_by_half(happening: Any) -> None:
    def fail() -> None:
        raise ValueError("no </p>\r\nBcc: all@example.com")

    happening(fail)
    mail = render(make_facts())
    assert "by the project" not in mail.html
    notice = f"{ALERT_HTML} could not be rendered: ValueError: no </p> Bcc: all@example.com"
    assert notice in words_of_html(mail.html)
    assert "&lt;/p&gt;" in mail.html


def test_a_template_whose_error_cannot_be_put_into_words_gives_way_too(happening: Any) -> None:
    def fail() -> None:
        raise Wordless

    happening(fail)
    notice = f"{ALERT_HTML} could not be rendered: Wordless: it cannot be put into words"
    assert notice in words_of_html(render(make_facts()).html)


def test_a_broken_digest_template_gives_way_too(project_template: ProjectTemplate) -> None:
    project_template(DIGEST_HTML, "{% if %}")
    mail = render_digest([make_facts()] * 3)
    assert f"This is the built-in mail: {DIGEST_HTML} could not be rendered" in words_of_html(mail.html)
    assert lines_of_html(mail.html).count("daily_report ended as Stopped after 1 min.") == 3


def test_the_built_in_styles_are_there_when_a_project_broke_the_style_sheet(project_template: ProjectTemplate) -> None:
    project_template("emails/task_status_styles.css", "{% if %}")
    mail = render(make_facts())
    assert "could not be rendered" in mail.html
    assert "background: #b42318" in mail.html


@pytest.mark.parametrize(
    ("repeated", "times", "gives_way"),
    [
        ("<div>", NESTED_MAX, False),
        ("<div>", NESTED_MAX + 1, True),
        ("<DIV\nclass=row><!-- </DIV> --></b>", NESTED_MAX + 1, True),
        ("<div><br><img src=logo.png></div>", 20_000, False),
        ("<p>line<li>item<tr><td>cell", 20_000, False),
        ("<!-- <div> --><!--><i></i><!-- -->", 20_000, False),
    ],
)
def test_html_nested_so_deeply_that_the_inliner_would_die_of_it_gives_way(
    project_template: ProjectTemplate, repeated: str, times: int, gives_way: bool
) -> None:
    project_template(ALERT_HTML, repeated * times + "by the project")
    mail = render(make_facts())
    notice = f"{ALERT_HTML} could not be rendered: ValueError: more than 1,000 elements are open at once"
    assert (notice in words_of_html(mail.html), "by the project" in mail.html) == (gives_way, not gives_way)


def test_markup_in_a_text_part_is_text(project_template: ProjectTemplate) -> None:
    project_template(ALERT_TEXT, "<div>" * (NESTED_MAX + 1))
    assert render(make_facts()).text.count("<div>") == NESTED_MAX + 1


@pytest.mark.django_db
def test_a_template_may_query_the_database(happening: Any) -> None:
    happening(BackgroundTask.objects.count)
    assert render(make_facts()).html.count("daily_report by the project: 0") == 1


def test_a_template_whose_query_fails_gives_way(happening: Any) -> None:
    happening(BackgroundTask.objects.count)  # without the mark, pytest-django refuses
    mail = render(make_facts())
    assert "by the project" not in mail.html
    assert "could not be rendered: RuntimeError" in words_of_html(mail.html)


def test_what_no_database_can_hold_is_taken_out_of_a_template_s_output(
    happening: Any, project_template: ProjectTemplate
) -> None:
    happening(lambda: "nul \0 and half a pair \ud800")
    project_template(ALERT_TEXT, "{% load overriding %}{% happen %}")
    mail = render(make_facts())
    for part in (mail.text, mail.html):
        assert "and half a pair" in part
        assert "\0" not in part
        part.encode()


def test_the_notice_is_one_line_and_bounded(happening: Any, project_template: ProjectTemplate) -> None:
    def fail() -> None:
        raise ValueError("Action Required: pay\n" * 100)

    happening(fail)
    project_template(ALERT_TEXT, "{% load overriding %}{% happen %}")
    (notice,) = [line for line in render(make_facts()).text.splitlines() if "pay" in line]
    assert notice.startswith(f"This is the built-in mail: {ALERT_TEXT} could not be rendered: ValueError: ")
    assert notice.endswith("…")
    assert len(notice) < 350


# HTML and text


@each_kind
def test_html_and_text_state_the_same_facts_in_the_same_order(facts: Facts) -> None:
    for evidence in (NOTHING, sample_evidence(facts, monitor_id=7), Evidence(problem="the database is away")):
        mail, context = render(facts, evidence), template_context(facts, evidence)
        lines = lines_of_text(mail.text)
        assert lines_of_html(mail.html) == lines
        assert lines[0] == context["summary"]
        for label, value in [*context["rows"], *context["evidence_rows"], *context["links"]]:
            assert lines.count(f"{label}: {value}") == 1
        for run in context["runs"]:
            assert " ".join([run["started"], run["mark"], run["status"], run["took"]]).strip() in lines
        if context["error_line"]:
            assert lines[1] == context["error_line"]
            assert lines.count(context["error_line"]) == 1
            assert [line.strip() for line in context["traceback"].splitlines()][-1] in lines
        names = [name for name, _ in context["dependents"]]
        assert names == list(facts.dependent_tasks[:LISTED_MAX])
        assert all(any(line.startswith(name) for line in lines) for name in names)


@each_kind
def test_nothing_is_said_twice(facts: Facts) -> None:
    lines = lines_of_text(render(facts, sample_evidence(facts)).text)
    told = [line for line in lines if "Completed" not in line]  # runs may look alike
    assert sorted(told) == sorted(set(told))


@each_kind
def test_what_a_list_of_mails_shows_is_what_the_subject_could_not_say(facts: Facts) -> None:
    evidence = sample_evidence(facts)
    mail, context = render(facts, evidence), template_context(facts, evidence)
    shown = html.unescape(element(mail.html, r'<div class="preheader"[^>]*>(.*?)</div>'))
    assert context["preheader"] in shown
    assert context["preheader"] in (context["error_line"], facts.reason, context["summary"])


@each_kind
def test_every_fact_has_a_row(facts: Facts) -> None:
    rows = dict(template_context(facts)["rows"])
    zone = "CET (Europe/Berlin)" if facts.time_zone else "UTC"
    hour = 9 if facts.time_zone else 8
    wanted = {
        "Task": facts.task_name,
        "Context type": facts.context_type,
        "Current status": facts.current_status,
        "Expected status": ", ".join(facts.expected_statuses),
        "Lookback window": f"Last {facts.lookback_hours:g} hour(s)",
        "Run": facts.task_id,
        "Started": facts.started_at and f"2026-11-22 0{hour}:30:00 {zone}",
        "Finished": facts.finished_at and f"2026-11-22 0{hour}:31:00 {zone}",
        "Unstarted run": facts.waiting_since and "Queued, submitted 2026-11-22 07:45:00 UTC",
        "Reason": facts.reason,
        "Checked": f"2026-11-22 0{hour}:35:00 {zone}",
    }
    assert rows == {label: value for label, value in wanted.items() if value}


@pytest.mark.parametrize(
    ("kind", "note", "warning", "action"),
    [
        (AlertKind.STATUS_MISMATCH, False, True, True),
        (AlertKind.NOT_EXECUTED, True, True, True),
        (AlertKind.NOT_JUDGED, False, True, True),
        (AlertKind.RESOLVED, False, False, False),
    ],
)
def test_note_warning_and_action_stand_where_they_belong(
    kind: AlertKind, note: bool, warning: bool, action: bool
) -> None:
    mail = render(make_facts(kind=kind, dependent_tasks=("data_export",)))
    for part in (mail.text, words_of_html(mail.html)):
        assert ("did not execute within the expected time" in part) == note
        assert ("dependent tasks may be delayed or fail" in part) == warning
        assert ("Action Required:" in part) == action
        assert "data_export" in part


def test_without_dependent_tasks_there_is_no_warning_box() -> None:
    mail = render(make_facts())
    assert '<div class="warning"' not in mail.html
    assert "dependent" not in words_of_html(mail.html) + mail.text


def test_a_run_that_waits_is_not_told_twice_when_it_is_the_answer() -> None:
    facts = make_facts(
        current_status="Cancelled",
        expected_statuses=("Pending",),
        started_at=None,
        waiting_since=ago(minutes=5),
        waiting_status="Cancelled",
    )
    assert "Unstarted run" not in dict(template_context(facts)["rows"])


def test_the_site_is_named_only_where_there_is_one(monitoring_settings: Any) -> None:
    assert 'href="https://monitor.example.org"' in render(make_facts()).html
    monitoring_settings(SITE_URL="")
    for mail in (render(make_facts()), render_digest([make_facts()])):
        assert "Sent by" not in mail.html + mail.text


# Windows and times


@pytest.mark.parametrize(
    ("hours", "written"),
    [
        (1, "1"),
        (1.0, "1"),
        (1.5, "1.5"),
        (2.25, "2.25"),
        (10.0, "10"),
        (100.0, "100"),
        (168.0, "168"),
        (0.0000001, "0.0000001"),
        (0.1, "0.1"),
        (87_600.0, "87600"),
        (87599.99999, "87599.99999"),
    ],
)
def test_hours_are_written_in_plain_decimals(hours: float, written: str) -> None:
    assert written_hours(hours) == written
    mail = render(make_facts(kind=AlertKind.NOT_EXECUTED, lookback_hours=hours))
    assert f"Lookback window: Last {written} hour(s)\n" in mail.text
    assert ("Lookback window", f"Last {written} hour(s)") in rows_of_html(mail.html)
    assert f"no run was found in the last {written} hour(s)." in mail.text.splitlines()[0]


@pytest.mark.parametrize(
    ("instant", "zone", "written"),
    [
        (NOW, "", "2026-11-22 08:35:00 UTC"),
        (NOW, "Europe/Berlin", "2026-11-22 09:35:00 CET (Europe/Berlin)"),
        (NOW, "Asia/Kolkata", "2026-11-22 14:05:00 IST (Asia/Kolkata)"),
        (NOW, "America/Sao_Paulo", "2026-11-22 05:35:00 -03 (America/Sao_Paulo)"),
        # Both are half past two, in the night in which that comes twice.
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "Europe/Berlin", "2026-10-25 02:30:00 CEST (Europe/Berlin)"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Europe/Berlin", "2026-10-25 02:30:00 CET (Europe/Berlin)"),
        (datetime(2026, 11, 22, 8, 35, 59, 999_999, tzinfo=UTC), "", "2026-11-22 08:35:59 UTC"),
        (NOW, "Nowhere/At_All", "2026-11-22 08:35:00 UTC"),
    ],
)
def test_times_are_in_the_zone_and_name_it(instant: datetime, zone: str, written: str) -> None:
    mail = render(make_facts(check_time=instant, started_at=instant, finished_at=instant, time_zone=zone))
    for label in ("Started", "Finished", "Checked"):
        assert f"{label}: {written}\n" in mail.text
        assert (label, written) in rows_of_html(mail.html)


def test_without_a_zone_times_are_in_the_time_zone_of_the_site(settings: Any) -> None:
    settings.TIME_ZONE = "America/New_York"
    assert "Checked: 2026-11-22 03:35:00 EST (America/New_York)\n" in render(make_facts()).text


def test_a_project_template_shows_times_in_the_same_zone(project_template: ProjectTemplate) -> None:
    project_template(ALERT_TEXT, "{{ check_time|date:'H:i T' }}")
    assert render(make_facts(time_zone="Europe/Berlin")).text == "09:35 CET\n"
    assert render(make_facts()).text == "08:35 UTC\n"


# What strangers wrote

HOSTILE = {
    "HTML": "<script>alert('1')</script>&amp;<b>",
    "the end of our HTML": "</td></tr></table></style></title><h1>",
    "template syntax": "{{ task_name }}{% include 'x' %}",
    "a header": "daily\r\nBcc: all@example.com\r\n\r\n<p>",
    "a line of text": "daily\nAction Required: pay",
    "a carriage return": "daily\rreport",
    "NUL": "daily\0report",
    "an escape sequence": "daily\x1b[2Jreport",
    "a separator of lines": "daily\u2028report\u2029\x85\x0b\x0c\x1c",
    "half a surrogate pair": "daily\ud83d",
    "emoji": "🛰️ orbit 👩‍🚀",
    "right-to-left text": "تقرير يومي",
    "an override": "report_\u202egpj.exe\u2066\u200f",
    "255 letters": "x" * 255,
    "255 letters of two bytes": "é" * 255,
    "255 emoji": "🛰" * 255,
    "lines of SMTP": ".\r\n.",
    "quotes": '"it\'s"',
}
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200f\ud800-\udfff]")


def said_with(text: str) -> Facts:
    return make_facts(
        task_name=text,
        current_status=text,
        reason=text,
        context_type=text,
        dependent_tasks=(text, text),
    )


@hostile
def test_what_strangers_wrote_breaks_no_line_and_no_markup(text: str) -> None:
    harmless, mail = render(said_with("harmless")), render(said_with(text))
    assert not BREAKING.search(mail.subject)
    assert not BREAKING.search(mail.text.replace("\n", ""))
    assert not BREAKING.search(mail.html.replace("\n", ""))
    assert mail.text.count("\n") == harmless.text.count("\n")
    tags = re.compile(r"</?\w+")
    assert tags.findall(mail.html) == tags.findall(harmless.html)

    shown = BREAKING.sub(" ", text)
    assert mail.subject == f"[ALERT] {shown} Status Check Failed"
    assert f"Task: {shown}\n" in mail.text
    assert ("Task", shown) in rows_of_html(mail.html)
    assert ("Current status", shown) in rows_of_html(mail.html)


@hostile
def test_what_a_task_left_breaks_no_line_and_no_markup(text: str) -> None:
    def with_error(text: str) -> Mail:
        facts = make_facts(task_id=text)
        evidence = sample_evidence(facts)
        runs = (replace(evidence.runs[0], status=text), *evidence.runs[1:])
        return render(facts, replace(evidence, runs=runs, errors=f"first\n{text}\nlast"))

    harmless, mail = with_error("harmless"), with_error(text)
    assert not BREAKING.search(mail.text.replace("\n", ""))
    assert not BREAKING.search(mail.html.replace("\n", ""))
    tags = re.compile(r"</?\w+")
    assert tags.findall(mail.html) == tags.findall(harmless.html)
    assert lines_of_text(mail.text)[1] == "last"


@hostile
def test_every_mail_can_be_sent_and_says_the_same_when_it_arrives(text: str) -> None:
    long = "\n".join([text * 100] * 30)
    evidence = replace(sample_evidence(said_with(text)), errors=long)
    for mail in (render(said_with(text), evidence), render_digest([said_with(text)] * 3, [evidence] * 3)):
        wire, message = sent(mail)
        assert max(len(line) for line in wire.splitlines()) <= LINE_MAX
        assert message["Subject"].strip() == mail.subject  # Python begins an encoded subject on a line of its own
        assert "Bcc" not in message
        of_text, of_html = message.iter_parts()
        assert of_text.get_content() == mail.text
        assert of_html.get_content() == mail.html


def test_two_hundred_dependent_tasks_of_long_names_are_bounded() -> None:
    names = tuple(f"{number:03}_{'n' * 251}" for number in range(200))
    mail = render(make_facts(dependent_tasks=names))
    for part in (mail.text, words_of_html(mail.html)):
        assert names[LISTED_MAX - 1] in part
        assert names[LISTED_MAX] not in part
        assert f"and {200 - LISTED_MAX} more" in part
    assert len(mail.html) < 50_000
    for each in (mail, render_digest([make_facts(dependent_tasks=names)] * 3)):
        wire, _ = sent(each)
        assert max(len(line) for line in wire.splitlines()) <= LINE_MAX


def test_exactly_as_many_dependent_tasks_as_are_listed_leave_no_more() -> None:
    mail = render(make_facts(dependent_tasks=tuple(f"export_{number}" for number in range(LISTED_MAX))))
    assert " more" not in mail.text + words_of_html(mail.html)


def test_a_project_template_is_given_every_dependent_task() -> None:
    names = tuple(f"export_{number}" for number in range(LISTED_MAX + 1))
    assert template_context(make_facts(dependent_tasks=names))["dependent_tasks"] == list(names)


def test_a_long_reason_is_cut_and_shows_it() -> None:
    rows = dict(template_context(make_facts(kind=AlertKind.NOT_JUDGED, reason="r" * 10_000))["rows"])
    assert rows["Reason"] == "r" * (REASON_MAX - 1) + "…"


# The message


@each_kind
def test_the_mail_is_text_with_an_html_alternative_to_one_address(facts: Facts) -> None:
    _, message = sent(render(facts))
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert message["To"] == "ops@example.com"
    assert message["From"] == project_settings.DEFAULT_FROM_EMAIL
    assert "Cc" not in message


def test_rendering_twice_says_the_same() -> None:
    assert render(FACTS["not executed"]) == render(FACTS["not executed"])


def test_the_mail_of_an_outage_leads_to_the_board(monitoring_settings: Any) -> None:
    outage = sample_facts(AlertKind.MONITOR_DOWN, NOW)
    monitoring_settings(SITE_URL="")
    assert "Open the board" not in render(outage).text
    monitoring_settings(SITE_URL="https://monitor.example.org")
    assert "Open the board: https://monitor.example.org/admin/monitoring/monitor/board/\n" in render(outage).text


def test_no_date_breaks_at_a_hyphen() -> None:
    facts = sample_facts(AlertKind.STATUS_MISMATCH, NOW)
    mail = render(facts, sample_evidence(facts))
    dates = re.findall(r"\d{4}-\d\d-\d\d", words_of_html(mail.html))
    whole = re.findall(r'<span class="mon-date" style="white-space: nowrap;">\d{4}-\d\d-\d\d</span>', mail.html)
    assert len(whole) == len(dates) > 0
