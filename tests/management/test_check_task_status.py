import io
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from monitoring.models import Alert, Message
from tests.factories import make_monitor, make_run
from tests.smtp import send_through

pytestmark = pytest.mark.django_db

GOOD = {"expected_statuses": ["Completed"], "notify_to": ["ops@example.com"]}


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def write(**entries: Any) -> str:
        path = tmp_path / "config.json"
        path.write_text(json.dumps([entries]))
        return str(path)

    return write


def check(*args: str, **options: Any) -> tuple[int, str, str]:
    """Exit code, standard output and what the error said."""
    out = io.StringIO()
    try:
        call_command("check_task_status", *args, stdout=out, **options)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), ""


def test_all_as_expected_ends_with_0_and_sends_nothing(config: Any) -> None:
    make_run("daily_report", started_at=timezone.now())
    code, out, _ = check(config=config(daily_report=GOOD))
    assert code == 0
    assert out.startswith("TASKS OK - 1 as expected\n")
    assert mail.outbox == []


def test_a_task_that_is_not_as_expected_ends_with_2_after_the_mail_was_sent(config: Any) -> None:
    make_run("daily_report", "Stopped", started_at=timezone.now())
    make_run("hourly_sync", started_at=timezone.now())
    code, out, said = check(config=config(daily_report=GOOD, hourly_sync=GOOD))
    assert code == 2
    assert said == "1 status mismatch, 1 as expected"
    assert out.startswith("TASKS CRITICAL - 1 status mismatch, 1 as expected\n")
    assert [sent.to for sent in mail.outbox] == [["ops@example.com"]]
    assert "Sent to ops@example.com: [ALERT] daily_report Status Check Failed" in out


def test_a_dry_run_says_whom_it_would_tell_and_writes_and_sends_nothing(config: Any) -> None:
    code, out, _ = check("--dry-run", config=config(daily_report=GOOD))
    assert code == 2
    assert "WOULD NOTIFY" in out
    assert "ops@example.com" in out
    assert (Alert.objects.count(), Message.objects.count(), mail.outbox) == (0, 0, [])


def test_nobody_to_tell_ends_with_3_after_the_others_were_told(config: Any) -> None:
    nobody = {"expected_statuses": ["Completed"]}
    with pytest.raises(ValueError, match="notify_to is empty but no superuser found for task 'orphan'") as caught:
        call_command("check_task_status", config=config(orphan=nobody, daily_report=GOOD), stdout=io.StringIO())
    assert isinstance(caught.value, CommandError)
    assert caught.value.returncode == 3
    assert [sent.to for sent in mail.outbox] == [["ops@example.com"]]


def test_superusers_are_told_when_the_config_names_nobody(config: Any) -> None:
    User.objects.create_superuser("root", "root@example.com", "x")
    assert check(config=config(orphan={"expected_statuses": ["Completed"]}))[0] == 2
    assert [sent.to for sent in mail.outbox] == [["root@example.com"]]


def test_a_bad_config_ends_with_3_names_every_place_and_checks_nothing(config: Any) -> None:
    bad = {"expected_statuses": ["Complete"], "lookback_hours": 0}
    code, out, said = check(config=config(daily_report=bad, other=GOOD))
    assert (code, out) == (3, "")
    assert "daily_report.expected_statuses[0]: 'Complete' is not a task status; did you mean 'Completed'?" in said
    assert "daily_report.lookback_hours: must be above 0" in said
    assert Alert.objects.count() == 0


def test_a_file_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    code, _, said = check(config=str(tmp_path / "absent.json"))
    assert code == 3
    assert said.startswith(f"{tmp_path / 'absent.json'}: No such file or directory; --config takes a JSON file")


@pytest.mark.parametrize("options", [{}, {"since": "1d", "schedule": "@hourly"}], ids=["now", "back-test"])
def test_an_empty_name_of_a_config_is_not_taken_for_all_monitors(options: dict[str, str]) -> None:
    """As from a shell variable that is not set."""
    monitor = make_monitor(notify_to=["ops@example.com"])
    code, _, said = check(config="", **options)
    assert (code, said[:2]) == (3, "''")
    assert "--config takes a JSON file" in said
    assert not Alert.objects.exists()
    assert check(config="", monitor=[monitor.name])[0] == 3


def test_the_config_can_come_from_standard_input(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps({"daily_report": GOOD}).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert check(config="-")[0] == 2


def test_json_is_for_programs(config: Any) -> None:
    run = make_run("daily_report", "Stopped", started_at=timezone.now())
    code, out, _ = check("--format=json", config=config(daily_report=GOOD))
    said = json.loads(out)
    assert code == 2
    assert (said["schema"], said["as_expected"]) == (1, False)
    (found,) = said["checks"]
    assert (found["verdict"], found["tells"]) == ("status mismatch", ["ops@example.com"])
    assert found["run"]["task_id"] == run.task_id
    assert found["run"]["started_at"] == run.started_at.isoformat()
    assert said["mails"] == [
        {"address": "ops@example.com", "subject": "[ALERT] daily_report Status Check Failed", "sent": True}
    ]


def test_names_are_never_cut_and_columns_align(config: Any) -> None:
    long, wide = "nightly_backup_of_the_main_database_" * 5, "日次レポート"
    _, out, _ = check("--dry-run", config=config(**{long: GOOD, wide: GOOD}))
    lines = out.splitlines()[2:]
    assert long in lines[1]
    assert lines[0].index("VERDICT") == lines[1].index("not executed")
    # Each of these six characters takes two cells.
    assert lines[2].index("not executed") == lines[1].index("not executed") - len(wide)


def test_bad_usage_ends_with_3_on_the_command_line_and_through_call_command() -> None:
    assert check("--format=xml", config="-")[0] == 3
    command = [sys.executable, "manage.py", "check_task_status", "--format=xml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "usage:" in done.stderr


def test_a_database_that_is_away_ends_with_3_and_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"daily_report": GOOD}))
    command = [sys.executable, "manage.py", "check_task_status", f"--config={config}"]
    environment = {"PATH": "", "DEBUG": "1", "SECRET_KEY": "x", "DATABASE_URL": f"sqlite:///{tmp_path}/none/db.sqlite3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 3
    assert done.stderr == "Error: Cannot query the database: unable to open database file\n"


def test_what_the_columns_do_not_say_stands_below_them(config: Any) -> None:
    make_run("daily_report", "Queued", started_at=None, submitted_at=timezone.now())
    sessions = {"context_model": "gap.models.IngestorSession", "context_type": "x"}
    path = config(daily_report=GOOD, ingestor_session=GOOD | sessions)
    _, out, _ = check("--dry-run", config=path)
    assert "\ndaily_report: a run that never started is Queued, submitted 2" in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("daily_reprt", "No run of “daily_reprt” is known, and Huey knows no task of that name. Did you mean"),
        ("Report", "Did you mean “orders.tasks.report”"),
        ("succeed", "No run of “succeed” is known yet. Huey knows a task of that name"),
        ("tick_monitors", "Runs of “tick_monitors” are never recorded"),
    ],
)
def test_a_name_that_never_ran_is_told_with_what_may_have_been_meant(config: Any, name: str, words: str) -> None:
    make_run("orders.tasks.report")
    make_run("daily_report", started_at=timezone.now() - timedelta(days=3))
    out = check("--dry-run", config=config(daily_report=GOOD, **{name: GOOD}))[1]
    assert f"\n{name}: {words}" in out if name != "Report" else words in out
    assert "\ndaily_report: " not in out


def test_a_name_that_is_no_longer_recorded_is_told_though_it_ran(config: Any, monitoring_settings: Any) -> None:
    make_run("succeed", started_at=timezone.now() - timedelta(days=3))
    monitoring_settings(NOT_RECORDED=["succeed"])
    assert "\nsucceed: Runs of “succeed” are never recorded" in check("--dry-run", config=config(succeed=GOOD))[1]


def test_times_of_a_configuration_are_in_the_time_zone_of_the_site(config: Any, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    make_run("daily_report", started_at=timezone.now())
    assert " IST (Asia/Kolkata)" in check(config=config(daily_report=GOOD))[1]


def test_what_could_not_be_sent_is_said_and_in_json_too(config: Any, settings: Any) -> None:
    send_through("smtp://127.0.0.1:1", settings)
    code, out, _ = check(config=config(daily_report=GOOD))
    assert code == 2
    assert "Not sent to ops@example.com, to be tried again: [ALERT] daily_report Has Not Executed (" in out
    _, out, _ = check("--format=json", config=config(daily_report=GOOD))
    assert [mail["sent"] for mail in json.loads(out)["mails"]] == [False]


def test_a_name_with_an_escape_sequence_never_reaches_the_terminal(config: Any) -> None:
    _, out, _ = check("--dry-run", config=config(**{"evil\x1b[2J\nname": GOOD}))
    assert "\x1b" not in out
    assert "evil [2J name" in out
