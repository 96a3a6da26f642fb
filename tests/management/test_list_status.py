import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.alerting.recipients import superuser_addresses
from monitoring.alerting.variables import template_context
from monitoring.alerting.words import MARKS
from monitoring.checking.byhand import acknowledge, snooze
from monitoring.checking.evidence import gather
from monitoring.checking.lately import lately
from monitoring.checking.lookup import all_monitors
from monitoring.checking.standing import standings
from monitoring.checking.suggestions import habits, unmonitored
from monitoring.management.listing import as_table
from monitoring.management.terminal import ASCII_MARKS, Terminal
from monitoring.management.unwatched import unwatched_as_table
from monitoring.models import Alert, BackgroundTask, Incident, Monitor, MonitorState
from monitoring.tick import tick
from monitoring.values.facts import Facts
from monitoring.values.run_event import WORKER_LOST
from tests.factories import NOW, ago, make_monitor, make_run
from tests.management.calling import Called, call

pytestmark = pytest.mark.django_db


def listed(*args: str, **options: Any) -> Called:
    return call("list_status", *args, **options)


def as_json(*args: str) -> list[dict[str, Any]]:
    said = json.loads(listed("--format=json", *args).out)
    assert said.keys() == {"schema", "monitors"}
    assert said["schema"] == 1
    return said["monitors"]  # type: ignore[no-any-return]


TRACEBACK = 'Traceback (most recent call last):\n  File "tasks.py", line 1, in daily_report\nOSError: gone\n'


def one_of_each() -> None:
    """As of 08:35 yesterday and today."""
    User.objects.create_superuser("root", "root@example.com")
    make_monitor("fails", due_at=ago(days=1), notify_to=["a@example.com", "b@example.com"])
    make_monitor("fine", due_at=ago(days=1), task_name="sync", notify_to=[])
    make_run("sync", "Stopped", started_at=ago(days=1, minutes=5))
    tick(ago(days=1))
    make_run("sync", started_at=ago(minutes=5))
    tick(NOW)
    make_monitor("new", task_name="absent", due_at=NOW + timedelta(days=1))
    make_monitor("off", enabled=False)


def test_a_monitor_whose_row_was_spoilt_is_listed_too() -> None:
    make_monitor("spoilt")
    Monitor.objects.update(expected_statuses=5)
    assert "not checked yet" in listed("--monitor=spoilt").out
    assert [each["name"] for each in as_json()] == ["spoilt"]


def table_at(now: datetime, width: int | None = None, *, is_unicode: bool = True) -> list[str]:
    shown = Terminal(no_style(), width, is_unicode)
    listed = lately(standings(all_monitors(), now), now)
    return list(as_table(listed, superuser_addresses(), now, shown))


def test_the_table_says_where_each_stands_since_when_its_runs_next_check_and_whom_it_tells() -> None:
    one_of_each()
    assert listed().code == 0
    assert listed().out.splitlines()[:2] == ["1 failing, 1 fine, 1 not checked yet, 1 disabled", ""]
    assert table_at(NOW + timedelta(hours=2)) == [
        "NAME   STANDS           SINCE    LAST RUNS  LAST RUN  NEXT CHECK  NOTIFIES",
        "fails  failing          1 d ago  -          -         in 22 h     a@example.com, b@example.com",
        "  daily_report has not executed: no run was found in the last 2 hour(s), and none was ever recorded.",
        "",
        "fine   fine             2 h ago  ✗✓         2 h ago   in 22 h     superusers: root@example.com",
        "new    not checked yet  -        -          -         in 22 h     ops@example.com",
        "off    disabled         -        -          -         -           ops@example.com",
    ]


def test_on_a_narrow_terminal_whom_it_tells_stands_under_its_line_and_words_are_wrapped() -> None:
    one_of_each()
    lines = table_at(NOW + timedelta(hours=2), width=80)
    assert max(map(len, lines)) <= 80
    assert lines[:5] == [
        "NAME   STANDS           SINCE    LAST RUNS  LAST RUN  NEXT CHECK",
        "fails  failing          1 d ago  -          -         in 22 h",
        "  daily_report has not executed: no run was found in the last 2 hour(s), and",
        "  none was ever recorded.",
        "  notifies a@example.com, b@example.com",
    ]


def test_what_was_found_stands_there_in_the_words_of_its_mail_with_the_last_good_run() -> None:
    make_monitor(due_at=NOW)
    make_run(started_at=ago(days=1), finished_at=ago(hours=23))
    make_run(
        status="Stopped", started_at=ago(minutes=30), finished_at=ago(minutes=5), errors="Traceback …\nOSError: gone"
    )
    tick(NOW)
    mail = template_context(Facts.from_json(Incident.objects.get().facts), gather([Alert.objects.get()], NOW)[0])
    said = [mail["summary"], mail["error_line"], f"Last success: {dict(mail['evidence_rows'])['Last success']}"]
    assert [line.strip() for line in table_at(NOW)[2:]] == said
    assert said == [
        "daily_report ended as Stopped after 25 min.",
        "OSError: gone",
        "Last success: 2026-11-21 09:35:00 UTC: the data was 23 h old at the check",
    ]
    named = listed("--monitor=daily report").out
    for words in (mail["summary"], mail["error_line"], mail["since"], mail["traceback"], *mail["run_lines"]):
        assert words in named
    (evidence,) = (monitor["evidence"] for monitor in as_json())
    assert {key: evidence[key] for key in ("cause", "summary", "since", "error_line", "traceback")} == {
        key: mail[key] for key in ("cause", "summary", "since", "error_line", "traceback")
    }
    assert evidence["last_success"]["started_at"] == ago(days=1).isoformat()


def test_what_became_of_a_run_since_the_check_is_told_apart_from_what_the_check_found() -> None:
    make_monitor(due_at=NOW)
    run = make_run(status="Running", started_at=ago(minutes=2), worker="host:1:ab")
    tick(NOW)
    said, last_success = "  daily_report is still running after 2 min.", "  Last success: none is known"
    assert table_at(NOW)[2:] == [said, last_success]
    BackgroundTask.objects.filter(pk=run.pk).update(status="Stopped", errors=WORKER_LOST, finished_at=NOW)
    assert table_at(NOW)[2:] == [
        said,
        "  Since the check: this run is Stopped",
        f"  {WORKER_LOST}",
        last_success,
    ]


def test_facts_that_cannot_be_read_leave_the_line_of_their_monitor() -> None:
    make_monitor(due_at=NOW)
    tick(NOW)
    Incident.objects.update(facts={"kind": "of another version"})
    assert table_at(NOW)[1].startswith("daily report  failing")
    assert as_json("--monitor=daily report")[0]["found"] is None
    assert len(table_at(NOW)) == 2
    named = listed("--monitor=daily report").out
    assert named.splitlines()[1:3] == ["failing since 2026-11-22 08:35:00 UTC", ""]
    assert "as expected" not in named


def test_named_it_is_shown_in_full_with_what_depends_on_it_and_links(monitoring_settings: Any) -> None:
    monitoring_settings(SITE_URL="https://monitor.example.org")
    monitor = make_monitor(due_at=NOW, dependent_tasks=("report", "dashboard"))
    make_run("report", started_at=ago(hours=1))
    run = make_run(status="Stopped", started_at=ago(minutes=30), finished_at=ago(minutes=5), errors=TRACEBACK)
    tick(NOW)
    acknowledge([monitor], "anna", NOW)
    incident = Incident.objects.get()
    assert (
        listed("--monitor=daily report").out
        == f"""\
daily report
failing since 2026-11-22 08:35:00 UTC

daily_report ended as Stopped after 25 min.
    OSError: gone
This is the first failing check. 2 tasks depend on it.

Task             daily_report
Current status   Stopped
Expected status  Completed
Lookback window  Last 2 hour(s)
Run              {run.task_id}
Started          2026-11-22 08:05:00 UTC
Finished         2026-11-22 08:30:00 UTC
Checked          2026-11-22 08:35:00 UTC
Last success     none is known
Schedule         At 08:35 every day, UTC
Last check       2026-11-22 08:35:00 UTC
Next check       2026-11-23 08:35:00 UTC
Incident         {incident.pk}, failing checks in a row: 1, acknowledged by anna
Notifies         ops@example.com

Dependent tasks
  report     Completed, started 2026-11-22 07:35 UTC
  dashboard  no run recorded

Last runs: oldest ✗ newest
  Started, UTC          Status     Took
  2026-11-22 08:05 UTC  ✗ Stopped  25 min

Where it went wrong
  Traceback (most recent call last):
    File "tasks.py", line 1, in daily_report

Open incident: https://monitor.example.org/admin/monitoring/incident/{incident.pk}/change/
Open monitor: https://monitor.example.org/admin/monitoring/monitor/{monitor.pk}/overview/
Open run: https://monitor.example.org/admin/monitoring/backgroundtask/{run.pk}/change/
"""
    )


def test_all_times_of_a_monitor_are_in_its_own_time_zone() -> None:
    monitor = make_monitor(due_at=NOW, time_zone="Europe/Berlin")
    make_run(started_at=ago(hours=12), finished_at=ago(hours=11))
    make_run(status="Stopped", started_at=ago(minutes=30), finished_at=ago(minutes=5))
    tick(NOW)
    snooze([monitor], timezone.now() + timedelta(days=1))
    shown = listed("--monitor=daily report").out
    make_run(status="Running", started_at=timezone.now())
    checked = call("check_task_status", "--dry-run").out
    assert "\nNext check       2026-11-23 08:35:00 CET (Europe/Berlin)\n" in shown
    tried = call("check_task_status", "--since=2d").out
    for said in (shown, listed().out, checked, tried):
        assert "(Europe/Berlin)" in said
        assert "UTC" not in said


def test_of_one_that_is_fine_nothing_is_said_to_have_failed_or_been_checked() -> None:
    one_of_each()
    lines = listed("--monitor=fine").out.splitlines()
    assert lines[:2] == ["fine", "fine since 2026-11-22 08:35:00 UTC"]
    assert "Last success     2026-11-22 08:30:00 UTC" in lines
    assert not any(line.startswith(("Checked", "Incident", "Where", "It ")) for line in lines)
    (evidence,) = (monitor["evidence"] for monitor in as_json("--monitor=fine"))
    assert (evidence["cause"], evidence["summary"], evidence["since"]) == (None, None, None)


def test_colours_mark_what_is_good_and_bad_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    one_of_each()
    coloured = listed("--force-color").out
    assert "\x1b[31;1mfailing\x1b[0m          " in coloured
    assert "\x1b[31;1m✗\x1b[0m\x1b[32;1m✓\x1b[0m" in coloured
    assert "\x1b" not in listed().out
    monkeypatch.setattr("django.core.management.color.supports_color", lambda: True)
    assert "\x1b" in listed().out
    assert "\x1b" not in listed("--no-color").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in listed().out


def test_a_terminal_that_knows_ascii_alone_gets_it() -> None:
    one_of_each()
    Monitor.objects.filter(name="new").update(name="für “alle” …")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    for args in ([], ["--monitor=fine"], ["--format=json"], ["--unmonitored"]):
        call_command("list_status", *args, stdout=out)
    out.seek(0)
    said = out.read()
    assert "  x+  " in said
    assert 'f\\xfcr "alle" ...' in said
    assert "Last runs: oldest x+ newest" in said


def test_each_mark_has_one_in_ascii() -> None:
    assert ASCII_MARKS.keys() == MARKS.keys()
    assert len(set(ASCII_MARKS.values())) == len(MARKS)


@pytest.mark.parametrize("args", [(), ("--format=json",), ("--unmonitored",)])
def test_statements_do_not_grow_with_monitors(args: tuple[str, ...]) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as asked:
            listed(*args)
        return len(asked)

    def add(number: int) -> None:
        for n in range(number):
            make_monitor(f"{number} fails {n}", due_at=NOW, dependent_tasks=("sync",))
            make_monitor(f"{number} fine {n}", task_name=f"{number} task {n}", due_at=NOW)
            make_run(f"{number} task {n}")
            make_run(f"{number} unwatched {n}")
        tick(NOW)

    add(1)
    before = statements()
    add(30)
    assert statements() == before


def test_the_tasks_that_run_and_nobody_watches_are_listed_with_how_often_and_their_last_runs() -> None:
    make_monitor(task_name="watched")
    make_run("watched")
    for n in range(12):
        make_run("hourly", "Stopped" if n == 0 else "Completed", started_at=ago(hours=n))
    make_run("once", started_at=ago(days=2))
    found = habits(unmonitored())
    lines = list(unwatched_as_table(found, NOW + timedelta(hours=2), Terminal(no_style())))
    assert lines == [
        "2 tasks have no monitor",
        "",
        "TASK    LAST RUNS   LAST RUN  STATUS     HOW OFTEN",
        "hourly  ✓✓✓✓✓✓✓✓✓✗  2 h ago   Stopped    every hour",
        "once    ✓           2 d ago   Completed  too few runs to say: 1",
        "",
        "suggest_monitors --unmonitored prints a configuration for them.",
    ]
    assert listed("--unmonitored").out.splitlines()[0] == lines[0]
    hourly, once = json.loads(listed("--unmonitored", "--format=json").out)["tasks"]
    assert (hourly["how_often"], hourly["interval_seconds"], hourly["is_regular"]) == ("every hour", 3600, True)
    assert (once["interval_seconds"], once["is_regular"], once["last_run"]["status"]) == (None, None, "Completed")
    rows = {row["task_name"]: row for row in csv.DictReader(io.StringIO(listed("--unmonitored", "--format=csv").out))}
    assert (rows["hourly"]["last_run_status"], rows["once"]["how_often"]) == ("Stopped", "too few runs to say: 1")


def test_where_each_task_has_a_monitor_that_is_said() -> None:
    make_monitor(task_name="watched")
    make_run("watched")
    called = listed("--unmonitored")
    assert (called.code, called.out) == (0, "Every task that ever ran has a monitor\n")


def test_where_nothing_was_ever_recorded_no_task_is_said_to_have_a_monitor() -> None:
    called = listed("--unmonitored")
    assert called.out == "No run is recorded yet: keep a worker running, and let it run a task\n"


def test_tasks_without_a_monitor_have_none_to_name() -> None:
    assert listed("--unmonitored", "--failing").code == 3


def test_listing_judges_and_writes_nothing() -> None:
    make_monitor(due_at=ago(days=1))
    state = MonitorState.objects.values().get()
    assert listed().code == 0
    assert MonitorState.objects.values().get() == state
    assert [model.objects.count() for model in (Alert, Incident, BackgroundTask)] == [0, 0, 0]


def test_only_failing_ones_when_asked_and_all_are_counted() -> None:
    one_of_each()
    lines = listed("--failing").out.splitlines()
    assert lines[0] == "1 failing, 1 fine, 1 not checked yet, 1 disabled"
    assert [line.partition(" ")[0] for line in lines[2:]] == ["NAME", "fails", ""]
    assert [monitor["name"] for monitor in as_json("--failing")] == ["fails"]


def test_with_nothing_failing_only_the_counts_are_said() -> None:
    make_monitor()
    assert listed("--failing").out == "1 not checked yet\n"


def test_without_monitors_it_says_the_way_out() -> None:
    called = listed()
    said = "There are no monitors; add one in the admin, or import some with `manage.py import_monitors`\n"
    assert (called.code, called.out) == (0, said)
    assert as_json() == []


@pytest.mark.parametrize(
    ("named", "found"), [(["fine"], ["fine"]), (["sync"], ["fine"]), (["off", "fails"], ["off", "fails"])]
)
def test_named_ones_are_listed_by_name_or_task(named: list[str], found: list[str]) -> None:
    one_of_each()
    assert [monitor["name"] for monitor in as_json(*[f"--monitor={name}" for name in named])] == found


def test_an_unknown_name_ends_with_3_and_shows_near_ones() -> None:
    make_monitor("nightly backup")
    called = listed("--monitor=nightly_backup")
    assert (called.code, called.out) == (3, "")
    assert "did you mean 'nightly backup'?" in called.said


def test_what_people_did_about_it_is_noted() -> None:
    monitor = make_monitor(due_at=NOW)
    tick(NOW)
    acknowledge([monitor], "anna", NOW)
    until = timezone.now() + timedelta(hours=2)
    snooze([monitor], until)
    assert listed().out.endswith(f"  acknowledged by anna, snoozed until {until:%Y-%m-%d %H:%M:%S} UTC\n")
    (said,) = as_json()
    assert (said["acknowledged_by"], said["snoozed_until"]) == ("anna", until.isoformat())


def test_a_snooze_that_is_over_is_not_noted() -> None:
    monitor = make_monitor()
    snooze([monitor], timezone.now() - timedelta(minutes=1))
    assert "snoozed" not in listed().out
    assert as_json()[0]["snoozed_until"] is None


def test_nobody_to_tell_is_said() -> None:
    make_monitor(notify_to=[])
    assert listed().out.splitlines()[-1].endswith("  nobody")


def test_json_has_every_key_for_every_monitor(monitoring_settings: Any) -> None:
    monitoring_settings(SITE_URL="")
    one_of_each()
    fails, fine, new, off = as_json()
    assert fails == {
        "name": "fails",
        "task_name": "daily_report",
        "stands": "failing",
        "since": "2026-11-21T08:35:00+00:00",
        "found": "No execution found",
        "last_run": None,
        "last_runs": [],
        "schedule": "35 8 * * *",
        "time_zone": "UTC",
        "last_checked_at": "2026-11-22T08:35:00+00:00",
        "next_check_at": "2026-11-23T08:35:00+00:00",
        "snoozed_until": None,
        "acknowledged_by": None,
        "tells": ["a@example.com", "b@example.com"],
        "incident": {
            "id": Incident.objects.get(monitor__name="fails").pk,
            "opened_at": "2026-11-21T08:35:00+00:00",
            "failing_checks": 2,
        },
        "evidence": {
            "cause": "did not start",
            "summary": "daily_report has not executed: no run was found in the last 2 hour(s), and none was ever "
            "recorded.",
            "since": "It has failed 2 checks in a row, since 2026-11-21 08:35:00 UTC.",
            "error_line": "",
            "traceback": "",
            "last_success": None,
            "usual_seconds": None,
            "dependent_tasks": [],
            "problem": "",
            "links": {},
        },
    }
    assert fine.keys() == new.keys() == off.keys() == fails.keys()
    assert fine["last_run"]["status"] == "Completed"
    assert [run["status"] for run in fine["last_runs"]] == ["Completed", "Stopped"]
    assert fine["evidence"] is None
    assert fine["last_run"]["started_at"] == "2026-11-22T08:30:00+00:00"
    assert fine["tells"] == ["root@example.com"]


def test_csv_has_a_line_a_monitor_whatever_its_name_holds() -> None:
    one_of_each()
    Monitor.objects.filter(name="new").update(name='a "new", odd\none')
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(listed("--format=csv").out))}
    assert rows.keys() == {"fails", "fine", 'a "new", odd one', "off"}
    assert rows["fails"]["tells"] == "a@example.com b@example.com"
    assert (rows["fine"]["last_run_status"], rows["fine"]["last_run_started_at"]) == (
        "Completed",
        datetime(2026, 11, 22, 8, 30, tzinfo=UTC).isoformat(),
    )
    assert rows["off"]["since"] == ""


def test_names_are_never_cut_and_keep_to_their_line() -> None:
    long = "nightly_backup_of_the_main_database_" * 7
    make_monitor(long)
    make_monitor("two\nlines")
    out = listed().out
    assert long in out
    assert "two lines" in out
    assert len(out.splitlines()) == 5
