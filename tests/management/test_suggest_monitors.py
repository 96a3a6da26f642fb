import json
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring.checking.transfer import plan_import
from monitoring.models import Monitor
from monitoring.values.expectation import parse_json
from monitoring.values.schedule import parse_schedule
from tests.factories import ago, make_monitor, make_run
from tests.management.calling import Called, Site, call

pytestmark = pytest.mark.django_db


def make_runs(task_name: str, number: int, every: timedelta) -> None:
    """The newest started at 08:00, each took a minute."""
    for n in range(number):
        make_run(task_name, started_at=ago(minutes=35) - n * every, finished_at=ago(minutes=34) - n * every)


def suggested(*args: str) -> Called:
    return call("suggest_monitors", *args)


def test_it_prints_a_configuration_that_imports_and_says_why_beside_it() -> None:
    make_runs("hourly", 30, timedelta(hours=1))
    make_runs("daily", 30, timedelta(days=1))
    called = suggested("daily", "hourly")
    assert called.code == 0
    assert json.loads(called.out) == [
        {
            "daily": {"expected_statuses": ["Completed"], "lookback_hours": 24},
            "hourly": {"expected_statuses": ["Completed"], "lookback_hours": 1},
        }
    ]
    changes = plan_import(parse_json(called.out), parse_schedule("@daily", "UTC"))
    assert [(change.name, change.monitor.lookback_hours) for change in changes] == [("daily", 24), ("hourly", 1)]
    assert "daily\n  Its last 30 runs started every day.\n" in called.said
    assert "  manage.py suggest_monitors -- daily | manage.py import_monitors - --schedule '5 8 * * *'\n" in called.said
    assert (
        "  manage.py suggest_monitors -- hourly | manage.py import_monitors - --schedule '5 * * * *'\n" in called.said
    )


def test_tasks_of_one_schedule_are_imported_by_one_line() -> None:
    for name in ("b", "a"):
        make_runs(name, 5, timedelta(hours=1))
    assert "manage.py suggest_monitors -- a b | manage.py import_monitors -" in suggested("a", "b").said


def test_all_that_nobody_watches_when_asked_with_those_that_are_named() -> None:
    for name in ("watched", "wanted", "free"):
        make_runs(name, 5, timedelta(hours=1))
    make_run("timeless", "Queued", started_at=None)
    make_monitor("w", task_name="watched")
    make_monitor("x", task_name="wanted")
    called = suggested("--unmonitored")
    assert list(json.loads(called.out)[0]) == ["free"]
    assert "timeless\n  Too few runs for a suggestion: 0; 4 are needed.\n" in called.said
    assert list(json.loads(suggested("--unmonitored", "wanted").out)[0]) == ["wanted", "free"]


def test_schedules_are_of_the_zone_that_is_named() -> None:
    make_runs("daily", 20, timedelta(days=1))
    assert "--schedule '35 13 * * *' --time-zone Asia/Kolkata" in suggested("daily", "--time-zone=Asia/Kolkata").said
    refused = suggested("daily", "--time-zone=Mars/Olympus")
    assert (refused.code, refused.out) == (3, "")
    assert refused.said.startswith("--time-zone: 'Mars/Olympus' is not a time zone")


def test_a_task_with_too_few_runs_is_named_and_left_out() -> None:
    make_runs("hourly", 5, timedelta(hours=1))
    make_runs("rare", 2, timedelta(hours=1))
    called = suggested("rare", "hourly")
    assert list(json.loads(called.out)[0]) == ["hourly"]
    assert "rare\n  Too few runs for a suggestion: 2; 4 are needed.\n" in called.said
    alone = suggested("rare")
    assert (alone.code, alone.out) == (3, "")


def test_an_unknown_name_ends_with_3_and_shows_near_ones_however_long_ago_they_ran() -> None:
    make_runs("hourly_data_sync", 5, timedelta(hours=1))
    called = suggested("hourly_data_sink", "hourly_data_sync")
    assert (called.code, called.out) == (3, "")
    assert called.said == "No run of a task named 'hourly_data_sink' is known; did you mean 'hourly_data_sync'?"


@pytest.mark.parametrize(
    ("args", "said"),
    [((), "Name tasks, or use --unmonitored"), (("--unmonitored",), "Every task that ever ran has a monitor")],
)
def test_nothing_to_suggest_is_said(args: tuple[str, ...], said: str) -> None:
    make_monitor(task_name="watched")
    make_run("watched")
    called = suggested(*args)
    assert (called.code, called.out, called.said) == (3, "", said)


def test_where_nothing_was_ever_recorded_that_is_said() -> None:
    called = suggested("--unmonitored")
    assert called.said == "No run is recorded yet: keep a worker running, and let it run a task"


@pytest.mark.django_db(transaction=True)
def test_the_lines_that_it_prints_make_the_monitors(tmp_path: Path, settings: Any) -> None:
    """In processes of their own, as a shell would run them."""
    site = Site(tmp_path)
    assert site.manage("migrate", "--verbosity=0").code == 0
    filled = site.manage("shell", stdin=FILL)
    assert filled.code == 0, filled.said
    called = site.manage("suggest_monitors", "--unmonitored")
    assert called.code == 0, called.said
    lines = [line.strip() for line in called.said.splitlines() if line.startswith("  manage.py")]
    assert len(lines) == 2
    for line in lines:
        first, second = (shlex.split(part)[1:] for part in line.split(" | "))
        imported = site.manage(*second, stdin=site.manage(*first).out)
        assert (imported.code, imported.said) == (0, "")
    listed = json.loads(site.manage("list_status", "--format=json").out)["monitors"]
    assert {each["name"]: each["schedule"] for each in listed} == {"a task; echo": "5 * * * *", "daily": "5 8 * * *"}
    assert Monitor.objects.count() == 0, "they are in a database of their own"


FILL = """
from datetime import datetime, timedelta, timezone
from monitoring.models import BackgroundTask
for name, every in (("a task; echo", 1), ("daily", 24)):
    for n in range(9):
        start = datetime(2026, 11, 22, 8, tzinfo=timezone.utc) - timedelta(hours=every * n)
        BackgroundTask.objects.create(task_id=f"{name}{n}", task_name=name, status="Completed", started_at=start)

"""
