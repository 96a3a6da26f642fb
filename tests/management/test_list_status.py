import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from monitoring.checking.byhand import acknowledge, snooze
from monitoring.models import Alert, BackgroundTask, Incident, Monitor, MonitorState
from monitoring.tick import tick
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


def test_the_table_says_where_each_stands_since_when_its_last_run_next_check_and_whom_it_tells() -> None:
    one_of_each()
    called = listed()
    assert called.code == 0
    assert called.out.splitlines() == [
        "1 failing, 1 fine, 1 not checked yet, 1 disabled",
        "",
        "NAME   STANDS           SINCE                    LAST RUN                           "
        "NEXT CHECK               TELLS                         NOTE",
        "fails  failing          2026-11-21 08:35:00 UTC  -                                  "
        "2026-11-23 08:35:00 UTC  a@example.com, b@example.com  found: No execution found",
        "fine   fine             2026-11-22 08:35:00 UTC  Completed 2026-11-22 08:30:00 UTC  "
        "2026-11-23 08:35:00 UTC  superusers: root@example.com",
        "new    not checked yet  -                        -                                  "
        "2026-11-23 08:35:00 UTC  ops@example.com",
        "off    disabled         -                        -                                  "
        "-                        ops@example.com",
    ]


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
    assert [line.partition(" ")[0] for line in lines[2:]] == ["NAME", "fails"]
    assert [monitor["name"] for monitor in as_json("--failing")] == ["fails"]


def test_with_nothing_failing_only_the_counts_are_said() -> None:
    make_monitor()
    assert listed("--failing").out == "1 not checked yet\n"


def test_without_monitors_it_says_the_way_out() -> None:
    called = listed()
    assert (called.code, called.out) == (0, "There are no monitors: add one in the admin, or with import_monitors\n")
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
    note = f"found: No execution found, acknowledged by anna, snoozed until {until:%Y-%m-%d %H:%M:%S} UTC\n"
    assert listed().out.endswith(note)
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


def test_times_are_in_the_zone_of_the_site_and_name_it(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    make_monitor(due_at=NOW)
    tick(NOW)
    assert "2026-11-22 09:35:00 CET (Europe/Berlin)" in listed().out


def test_json_has_every_key_for_every_monitor() -> None:
    one_of_each()
    fails, fine, new, off = as_json()
    assert fails == {
        "name": "fails",
        "task_name": "daily_report",
        "stands": "failing",
        "since": "2026-11-21T08:35:00+00:00",
        "found": "No execution found",
        "last_run": None,
        "schedule": "35 8 * * *",
        "time_zone": "UTC",
        "last_checked_at": "2026-11-22T08:35:00+00:00",
        "next_check_at": "2026-11-23T08:35:00+00:00",
        "snoozed_until": None,
        "acknowledged_by": None,
        "tells": ["a@example.com", "b@example.com"],
    }
    assert fine.keys() == new.keys() == off.keys() == fails.keys()
    assert fine["last_run"]["status"] == "Completed"
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
