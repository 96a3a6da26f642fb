from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.checking.suggestions import BEYOND_THE_CALENDAR, RUNS_READ, habits, suggest, suggest_for, unmonitored
from monitoring.models import BackgroundTask, Monitor
from project.demo.models import IngestorSession
from tests.factories import NOW, ago, make_monitor, make_run

pytestmark = pytest.mark.django_db


def make_runs(task_name: str, number: int, every: timedelta = timedelta(hours=1), **over: object) -> None:
    """The newest started at 08:00, the others before it; each took a minute."""
    BackgroundTask.objects.bulk_create(
        BackgroundTask(
            task_id=f"{task_name}-{n}",
            task_name=task_name,
            status="Completed",
            started_at=ago(minutes=35) - n * every,
            finished_at=ago(minutes=34) - n * every,
            **over,
        )
        for n in range(number)
    )


def test_each_task_gets_what_its_own_runs_suggest_in_two_statements() -> None:
    make_runs("hourly", 30)
    make_runs("daily", 30, timedelta(days=1))
    make_runs("rare", 2)
    with CaptureQueriesContext(connection) as asked:
        daily, rare, absent, hourly = suggest(["daily", "rare", "absent", "hourly"], "UTC")
    assert len(asked) == 2
    assert daily.proposal
    assert hourly.proposal
    assert (daily.proposal.schedule.text, daily.proposal.lookback_hours) == ("5 8 * * *", 24)
    assert (hourly.proposal.schedule.text, hourly.proposal.lookback_hours) == ("5 * * * *", 1)
    assert (rare.proposal, rare.problem) == (None, "too few runs for a suggestion: 2; 4 are needed")
    assert (absent.proposal, absent.problem) == (None, "too few runs for a suggestion: 0; 4 are needed")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_runs_at_the_end_of_the_calendar_suggest_nothing(zone: str) -> None:
    for minute in range(0, 60, 10):
        make_run("odd", started_at=datetime(9999, 12, 31, 23, minute, tzinfo=UTC))
    make_runs("hourly", 30)
    odd, hourly = suggest(["odd", "hourly"], zone)
    assert (odd.proposal, odd.problem) == (None, BEYOND_THE_CALENDAR)
    assert hourly.proposal


def test_of_a_long_history_only_the_last_runs_are_read() -> None:
    make_runs("busy", RUNS_READ + 50)
    make_run("busy", "Queued", started_at=None, submitted_at=NOW)
    (habit,) = habits(["busy"])
    assert len(habit.starts) == RUNS_READ
    assert habit.starts[-1] == ago(minutes=35)
    assert habit.runs[0].status == "Queued"


def test_a_monitor_of_a_context_gets_what_its_runs_alone_suggest_by_its_own_clock() -> None:
    sea, land = (IngestorSession.objects.create(ingestor_type=kind) for kind in ("sea", "land"))
    make_runs("ingest", 30, timedelta(days=1), context_id=str(sea.pk))
    for n in range(40):
        make_run("ingest", started_at=ago(hours=n), context_id=str(land.pk))
    monitor = make_monitor(
        task_name="ingest",
        context_model="gap.models.IngestorSession",
        context_type="sea",
        time_zone="Asia/Kolkata",
    )
    found = suggest_for(monitor)
    assert found.proposal
    assert (found.proposal.schedule.text, found.proposal.lookback_hours) == ("35 13 * * *", 24)


def test_a_context_model_that_is_gone_and_a_zone_that_is_none_are_no_error() -> None:
    make_runs("daily", 30, timedelta(days=1))
    monitor = Monitor(task_name="daily", context_model="nowhere.models.Thing", time_zone="UTC")
    assert "nowhere" in suggest_for(monitor).problem
    found = suggest_for(Monitor(task_name="daily", time_zone="Mars/Olympus"))
    assert found.proposal
    assert found.proposal.schedule.zone == "UTC"


def test_unmonitored_are_all_names_that_have_a_run_and_no_monitor() -> None:
    for name in ("b", "a", "a", "watched", "off"):
        make_run(name)
    make_run("waits", "Queued", started_at=None)
    make_monitor("watched", task_name="watched")
    make_monitor("off", task_name="off", enabled=False)
    make_monitor("never ran", task_name="absent")
    assert unmonitored() == ["a", "b", "waits"]


def test_without_runs_nothing_is_unmonitored() -> None:
    assert unmonitored() == []
    assert list(suggest([], "UTC")) == []
