import io
import json
from datetime import timedelta
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from monitoring.alerting.samples import sample_evidence, sample_facts
from monitoring.management.commands.preview_alert import KINDS
from monitoring.models import Alert, Delivery, Incident, Message, Monitor, MonitorState
from monitoring.values.facts import AlertKind
from monitoring.values.run_event import RunStatus
from tests.alerting import overriding
from tests.alerting.overriding import ALERT_HTML, override
from tests.factories import NOW, Wordless, ago, make_expectation, make_monitor, make_run
from tests.management.calling import call
from tests.smtp import Plain, Watching, send_by

pytestmark = pytest.mark.django_db


def preview(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("preview_alert", *args, stdout=out, **options)
    return out.getvalue()


def test_by_default_each_kind_is_shown_as_text_and_nothing_is_stored_or_sent() -> None:
    out = preview()
    assert out.count("Subject: ") == len(KINDS) == 6
    assert "[ALERT] data_collection Status Check Failed" in out
    assert "[ALERT] data_collection Has Not Executed" in out
    assert "[ALERT] data_collection Could Not Be Checked" in out
    assert "[RESOLVED] data_collection Is As Expected Again" in out
    assert "[ALERT] Monitoring Was Down" in out
    assert "[ALERT] 3 Task Checks Failed" in out
    assert [model.objects.count() for model in (Alert, Delivery, Message)] == [0, 0, 0]
    assert mail.outbox == []


def test_a_broken_template_is_one_line_beside_the_built_in_mail(
    tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    override(settings, tmp_path, ALERT_HTML, "{% if %}")
    called = call("preview_alert")
    (line,) = called.said.splitlines()
    assert (called.code, caplog.records) == (0, [])
    assert line.startswith(f"The template {ALERT_HTML} could not be rendered; the built-in one takes its place: Templ")
    assert "Subject: [ALERT] data_collection Status Check Failed" in called.out


def test_errors_that_cannot_be_put_into_words_are_told_too(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise Wordless

    monkeypatch.setattr(overriding, "happens", fail)
    override(settings, tmp_path, ALERT_HTML, "{% load overriding %}{% happen %}")
    called = call("preview_alert", "--kind=mismatch")
    assert (called.code, called.said.splitlines()) == (
        0,
        [
            f"The template {ALERT_HTML} could not be rendered; the built-in one takes its place: "
            "Wordless: it cannot be put into words"
        ],
    )
    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", fail)
    called = call("preview_alert", "--kind=mismatch", to="me@example.com")
    assert (called.code, called.said) == (
        3,
        "'[ALERT] data_collection Status Check Failed' could not be sent to me@example.com: "
        "it cannot be put into words",
    )


def test_html_is_the_mail_as_a_browser_shows_it() -> None:
    assert preview("--kind=not-executed", "--format=html").lstrip().startswith("<!DOCTYPE html>")


def test_eml_is_a_whole_mail() -> None:
    message = message_from_string(preview("--kind=mismatch", "--format=eml"), policy=policy.default)
    assert message["Subject"] == "[ALERT] data_collection Status Check Failed"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_json_holds_the_parts_of_each_kind() -> None:
    said = json.loads(preview("--format=json"))
    assert said.keys() == set(KINDS)
    assert said["mismatch"].keys() == {"subject", "text", "html"}


@pytest.mark.parametrize("options", [["--format=html"], ["--format=eml"], ["--to=me@example.com", "--out=x"]])
def test_options_that_contradict_each_other_end_with_3(options: list[str]) -> None:
    with pytest.raises(CommandError) as caught:
        preview(*options)
    assert caught.value.returncode == 3


def test_out_writes_one_file_a_mail(tmp_path: Path) -> None:
    preview("--format=html", out=tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {f"{kind}.html" for kind in KINDS}


def test_to_sends_to_that_address_alone_and_owes_nothing() -> None:
    preview("--kind=mismatch", to="me@example.com")
    assert [message.to for message in mail.outbox] == [["me@example.com"]]
    assert mail.outbox[0].subject == "[TEST] [ALERT] data_collection Status Check Failed"
    assert (Alert.objects.count(), Message.objects.count()) == (0, 0)


def test_what_a_provider_can_carry_only_bare_is_sent_so(settings: Any) -> None:
    send_by(Plain, settings)
    preview("--kind=mismatch", to="me@example.com")
    assert [message.to for message in mail.outbox] == [["me@example.com"]]


def test_what_the_mail_backend_did_not_send_is_not_called_sent(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watching, "send_messages", lambda self, messages: 0)
    send_by(Watching, settings)
    called = call("preview_alert", "--kind=mismatch", to="me@example.com")
    assert (called.code, called.out) == (3, "")
    assert called.said == (
        "'[ALERT] data_collection Status Check Failed' could not be sent to me@example.com: "
        "the mail backend says that it sent nothing"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_says_in_both_parts_that_it_is_a_sample_and_links_to_no_row_that_is_not_there(kind: str) -> None:
    preview(f"--kind={kind}", to="me@example.com")
    (sent,) = mail.outbox
    for part in (sent.body, sent.alternatives[0].content):
        assert "This is a sample, sent as a test: nothing that it says has happened." in part
        assert "/0/" not in part
    assert "This is a sample" not in preview(f"--kind={kind}")


def test_a_digest_that_is_sent_says_which_of_its_alerts_is_none_of_the_samples() -> None:
    make_run("hourly_data_sync", status="Stopped", started_at=timezone.now())
    make_monitor("sync", task_name="hourly_data_sync")
    preview("--monitor=sync", "--kind=digest", to="me@example.com")
    (sent,) = mail.outbox
    assert "This was sent as a test: only what it says of hourly_data_sync has happened." in sent.body
    assert "another_hourly_data_sync" in sent.body


def test_of_a_failing_monitor_what_is_found_now_is_sent_as_no_sample() -> None:
    make_run(status="Stopped", started_at=timezone.now())
    monitor = make_monitor()
    for kind in ("mismatch", "not-executed"):
        preview("--monitor=daily report", f"--kind={kind}", to="me@example.com")
    real, sample = mail.outbox
    assert (real.subject, sample.subject) == (
        "[TEST] [ALERT] daily_report Status Check Failed",
        "[TEST] [ALERT] daily_report Has Not Executed",
    )
    assert "This is a sample" not in real.body
    assert "This is a sample" in sample.body
    assert f"/monitor/{monitor.pk}/" in sample.body


@pytest.mark.parametrize("option", ["--to=nobody", "--to=", "--monitor=", "--kind=unknown", "--out=/dev/null/x"])
def test_what_cannot_be_done_ends_with_3(option: str) -> None:
    with pytest.raises(CommandError) as caught:
        preview(option)
    assert caught.value.returncode == 3


def test_a_file_is_no_folder_to_write_into(tmp_path: Path) -> None:
    path = tmp_path / "mails"
    path.touch()
    called = call("preview_alert", out=path)
    assert (called.code, called.said) == (3, f"--out {path} is a file, not a folder")


# Of a monitor


def test_the_mails_of_a_monitor_have_its_settings() -> None:
    make_run(started_at=timezone.now())
    make_monitor(lookback_hours=1.5, dependent_tasks=["data_export"], time_zone="Asia/Tokyo")
    called = call("preview_alert", monitor="daily report")
    assert called.out.count("Subject: ") == len(KINDS)
    assert "[ALERT] daily_report Status Check Failed" in called.out
    assert "[RESOLVED] daily_report Is As Expected Again" in called.out
    assert "data_collection" not in called.out
    for shown in ("Last 1.5 hour(s)", "data_export", "JST (Asia/Tokyo)"):
        assert shown in called.out
    assert called.said == "daily report, checked now: as expected; all kinds are samples\n"


def test_what_a_check_would_find_now_is_what_its_mail_shows() -> None:
    run = make_run(status="Invalidated", started_at=timezone.now() - timedelta(minutes=7))
    make_monitor()
    called = call("preview_alert", "--monitor=daily report", "--kind=mismatch")
    assert "Current status: Invalidated\n" in called.out
    assert f"Started: {run.started_at:%Y-%m-%d %H:%M:%S} UTC\n" in called.out
    assert called.said == (
        "daily report, checked now: status mismatch; only 'mismatch' shows real data; the other kinds are samples\n"
    )
    not_executed = call("preview_alert", "--monitor=daily report", "--kind=not-executed")
    assert "Current status: No execution found\n" in not_executed.out


def test_a_monitor_of_a_task_can_be_named_by_it_unless_there_are_several() -> None:
    make_monitor("one")
    assert call("preview_alert", monitor="daily_report").code == 0
    make_monitor("two")
    called = call("preview_alert", monitor="daily_report")
    assert (called.code, called.said) == (
        3,
        "Several monitors watch the task 'daily_report'; name one: 'one', 'two'",
    )


def test_several_monitors_are_refused() -> None:
    make_monitor("one")
    make_monitor("two")
    called = call("preview_alert", "--monitor=one", "--monitor=two")
    assert (called.code, called.out) == (3, "")
    assert called.said == "--monitor takes one monitor, not 2: preview each by itself"


def test_an_unknown_monitor_ends_with_3_and_shows_near_names() -> None:
    make_monitor()
    called = call("preview_alert", monitor="dayly report")
    assert called.code == 3
    assert "did you mean 'daily report'" in called.said


def test_previewing_a_monitor_stores_and_sends_nothing() -> None:
    make_monitor()
    call("preview_alert", monitor="daily report")
    counts = [model.objects.count() for model in (Alert, Delivery, Incident, Message)]
    assert counts == [0, 0, 0, 0]
    assert MonitorState.objects.get().last_checked_at is None
    assert mail.outbox == []


def test_a_spoilt_monitor_has_previews_too() -> None:
    make_monitor()
    Monitor.objects.update(expected_statuses=["Nonsense"])
    called = call("preview_alert", monitor="daily report", kind="not-judged")
    assert called.code == 0
    assert "cannot be read" in called.out


@pytest.mark.parametrize(
    ("expected", "mismatch", "resolved"),
    [
        (["Completed"], "Stopped", "Completed"),
        (["Stopped"], "Invalidated", "Stopped"),
        (["Running", "Completed"], "Stopped", "Running"),
        (list(RunStatus.values), "Stopped", "Pending"),
    ],
)
def test_a_sample_shows_a_status_that_fits_its_kind(expected: list[str], mismatch: str, resolved: str) -> None:
    of = make_expectation(expected_statuses=tuple(map(RunStatus, expected)), lookback_hours=0.1)
    failed = sample_facts(AlertKind.STATUS_MISMATCH, NOW, of)
    assert failed.current_status == mismatch
    assert failed.started_at
    assert failed.started_at > ago(hours=0.1)
    assert sample_facts(AlertKind.RESOLVED, NOW, of).current_status == resolved


@pytest.mark.parametrize("kind", [AlertKind.STATUS_MISMATCH, AlertKind.NOT_EXECUTED, AlertKind.RESOLVED])
@pytest.mark.parametrize("lookback", [0.5, 1, 25])
def test_what_a_sample_says_of_the_first_failing_check_is_what_its_runs_show(kind: AlertKind, lookback: float) -> None:
    facts = sample_facts(kind, NOW, make_expectation(lookback_hours=lookback))
    evidence = sample_evidence(facts)
    assert evidence.opened_at
    since = evidence.opened_at - timedelta(hours=lookback)
    started = [run for run in evidence.runs if run.started_at and since <= run.started_at <= evidence.opened_at]
    assert [run.status for run in started[:1]] == ([] if kind is AlertKind.NOT_EXECUTED else ["Stopped"])


@pytest.mark.parametrize("statuses", [["Completed"], ["Stopped"], []])
def test_a_digest_names_each_task_once(statuses: list[str]) -> None:
    words = preview("--kind=digest").split()
    samples = ["data_collection", "hourly_data_sync", "ingestor_session", "daily_report_generation"]
    assert list(map(words.count, samples)) == [1, 1, 1, 1]
    for status in statuses:
        make_run(status=status, started_at=timezone.now())
    make_monitor()
    assert preview("--monitor=daily report", "--kind=digest").split().count("daily_report") == 1


def test_without_a_context_a_sample_names_none() -> None:
    assert sample_facts(AlertKind.NOT_JUDGED, NOW, make_expectation()).context_type == ""
    of = make_expectation(context_model="a.models.B", context_type="c")
    facts = sample_facts(AlertKind.NOT_JUDGED, NOW, of)
    assert (facts.context_type, "'a.models.B'" in facts.reason) == ("c", True)
