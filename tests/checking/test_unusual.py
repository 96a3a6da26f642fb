from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.checking import unusual
from monitoring.checking.unusual import TELLING_FROM, Unusually, unusual_runs
from monitoring.values.usual import KNOWN_FROM
from tests.factories import NOW, ago, make_run

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
FOUR_MINUTES = timedelta(minutes=4)


def before(
    task_name: str = "export", *, runs: int = 30, took: timedelta = FOUR_MINUTES, waited: timedelta = SECOND
) -> None:
    """So many runs that completed."""
    for number in range(runs):
        started_at = ago(hours=number + 2)
        make_run(
            task_name,
            submitted_at=started_at - waited,
            started_at=started_at,
            finished_at=started_at + took,
            attempts=1,
        )


def waits(task_name: str = "export", **over: object) -> None:
    make_run(task_name, "Queued", started_at=None, **{"submitted_at": ago(minutes=12), **over})


def said() -> list[tuple[str, str]]:
    return [(each.task_name, str(each)) for each in unusual_runs(NOW)]


def test_a_run_that_runs_for_longer_than_nearly_all_before_is_told_with_the_figure() -> None:
    before()
    make_run("export", "Running", started_at=ago(minutes=12))
    assert said() == [("export", "has been running for 12 min; all of the last 30 completed runs took at most 4 min")]


@pytest.mark.parametrize(("past", "is_unusual"), [(timedelta(0), False), (SECOND, True)])
def test_as_long_as_usual_is_not_unusual(past: timedelta, is_unusual: bool) -> None:
    before()
    make_run("export", "Running", started_at=NOW - FOUR_MINUTES - past)
    assert bool(said()) is is_unusual


def test_the_last_hundred_runs_say_what_is_usual_whatever_was_before() -> None:
    before(runs=100, took=FOUR_MINUTES)
    for number in range(50):
        make_run("export", started_at=ago(days=90, hours=number), finished_at=ago(days=89, hours=number))
    make_run("export", "Running", started_at=ago(minutes=12))
    # It is one of the hundred itself.
    assert said() == [("export", "has been running for 12 min; all of the last 99 completed runs took at most 4 min")]


@pytest.mark.parametrize("status", ["Stopped", "Cancelled"])
def test_runs_that_did_not_complete_do_not_say_how_long_one_usually_takes(status: str) -> None:
    before(runs=KNOWN_FROM - 1)
    make_run("export", status, started_at=ago(hours=1), finished_at=ago(minutes=59))
    make_run("export", "Running", started_at=ago(minutes=12))
    assert said() == []


def test_a_run_that_waits_for_longer_than_nearly_all_before_is_told_with_the_figure() -> None:
    before(waited=timedelta(seconds=20))
    waits()
    assert said() == [
        ("export", "has waited in the queue for 12 min; all of the last 30 started runs had waited at most 20 s")
    ]


def test_what_waits_for_later_or_was_tried_before_does_not_wait_in_the_queue() -> None:
    before()
    make_run("export", "Pending", started_at=None, submitted_at=ago(hours=1))
    make_run("export", "Queued", started_at=ago(minutes=30), submitted_at=ago(hours=1), attempts=1)
    assert said() == []


@pytest.mark.parametrize(("later", "is_told"), [(KNOWN_FROM - 1, True), (KNOWN_FROM, False)])
def test_what_many_later_runs_overtook_is_lost_and_waits_no_more(later: int, is_told: bool) -> None:
    before()
    waits()
    for number in range(later):
        submitted_at = ago(minutes=11, seconds=number)
        make_run("export", submitted_at=submitted_at, started_at=submitted_at, attempts=1)
    assert bool(said()) is is_told


def test_how_long_retried_runs_waited_is_not_known() -> None:
    before(runs=KNOWN_FROM - 1)
    make_run("export", submitted_at=ago(hours=3), started_at=ago(hours=1), finished_at=ago(minutes=50), attempts=2)
    waits()
    assert said() == []


@pytest.mark.parametrize(("since", "is_told"), [(TELLING_FROM, False), (TELLING_FROM + SECOND, True)])
def test_what_is_over_before_anybody_has_read_of_it_is_not_told(since: timedelta, is_told: bool) -> None:
    before(took=SECOND)
    make_run("export", "Running", started_at=NOW - since)
    waits(submitted_at=NOW - since)
    assert len(said()) == (2 if is_told else 0)


def test_of_several_runs_of_a_task_the_longest_is_told_and_how_many_are_past_the_limit() -> None:
    before()
    for minutes in (3, 5, 12):
        make_run("export", "Running", started_at=ago(minutes=minutes), task_id=f"since-{minutes}")
    (found,) = unusual_runs(NOW)
    assert (found.kind, found.run.task_id, found.count) == (Unusually.RUNNING, "since-12", 2)
    assert "12 min, the longest of 2 such runs;" in str(found)


def test_the_longest_comes_first_and_failing_tasks_are_left_out() -> None:
    for name, minutes in (("a", 6), ("b", 30), ("c", 90)):
        before(name)
        make_run(name, "Running", started_at=ago(minutes=minutes))
    assert [each.task_name for each in unusual_runs(NOW, but_of={"c"})] == ["b", "a"]


def test_only_the_newest_runs_are_looked_through_for_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    waits()
    before()
    assert len(said()) == 1
    monkeypatch.setattr(unusual, "QUEUED_AMONG", 30)
    assert said() == []


def test_it_takes_as_many_statements_for_many_runs() -> None:
    counts = []
    for tasks in (1, 40):
        for number in range(tasks):
            before(f"task_{tasks}_{number}", runs=KNOWN_FROM)
            make_run(f"task_{tasks}_{number}", "Running", started_at=ago(minutes=12))
            waits(f"task_{tasks}_{number}")
        with CaptureQueriesContext(connection) as asked:
            unusual_runs(NOW)
        counts.append(len(asked))
    assert counts == [4, 4]
