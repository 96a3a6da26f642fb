"""Who still lives is told by the database's clock alone, and so `now` is all that passes here."""

from datetime import datetime, timedelta

import pytest

from monitoring.models import BackgroundTask, Heartbeat, database_alias, database_now
from monitoring.models.heartbeat import TICK
from monitoring.recording.answering import Answering, steady
from monitoring.recording.upsert import upsert
from monitoring.recording.workers import (
    BEAT_EVERY,
    DEAD_AFTER,
    KEPT,
    TROUBLE_KEPT,
    Worker,
    dead_workers,
    end_lost_runs,
    forget_the_dead,
    new_name,
)
from monitoring.values.run_event import WORKER_LOST, RunEvent, RunStatus
from tests.factories import NOW, ago, make_run

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def beat(worker: Worker, now: datetime) -> bool:
    return worker.beat(now, database_alias())


def beat_until(worker: Worker, now: datetime, since: datetime) -> None:
    while since < now:
        beat(worker, since)
        since += BEAT_EVERY
    beat(worker, now)


def end_lost() -> int:
    return end_lost_runs(NOW, database_alias())


def test_two_processes_of_a_host_have_two_names() -> None:
    assert new_name() != new_name()
    assert new_name().rpartition(":")[0] == new_name().rpartition(":")[0]


@pytest.mark.parametrize(("silent_for", "status"), [(DEAD_AFTER, "Running"), (DEAD_AFTER + SECOND, "Stopped")])
def test_the_run_of_a_worker_that_says_nothing_any_more_is_over(silent_for: timedelta, status: str) -> None:
    beat(Worker("host:1:a"), NOW - silent_for)
    run = make_run(status="Running", worker="host:1:a", errors="of an earlier attempt")
    assert end_lost() == (status == "Stopped")
    run.refresh_from_db()
    assert run.status == status
    if status == "Stopped":
        assert (run.errors, run.finished_at) == (WORKER_LOST, NOW)


def test_the_run_of_a_worker_that_is_forgotten_already_is_over() -> None:
    make_run(status="Running", worker="host:1:a")
    assert end_lost() == 1


def test_only_running_runs_are_lost_and_only_those_that_have_a_worker() -> None:
    for status in RunStatus.values:
        make_run(status=status, worker="" if status == "Running" else "host:1:a")
    assert end_lost() == 0


def test_a_run_of_a_living_worker_stays_beside_one_of_a_dead() -> None:
    beat(Worker("host:1:a"), NOW - DEAD_AFTER - SECOND)
    beat(Worker("host:2:b"), NOW)
    for worker in ("host:1:a", "host:2:b"):
        make_run(status="Running", worker=worker)
    assert end_lost() == 1
    assert BackgroundTask.objects.get(status="Running").worker == "host:2:b"


def test_what_a_worker_thought_dead_still_says_is_newer() -> None:
    running = RunEvent(
        task_id="run", task_name="t", status=RunStatus.RUNNING, seq=5, started_at=ago(hours=1), worker="host:1:a"
    )
    upsert([running], database_alias())
    assert end_lost() == 1
    ended = RunEvent(task_id="run", task_name="t", status=RunStatus.COMPLETED, seq=6, finished_at=NOW)
    upsert([ended], database_alias())
    run = BackgroundTask.objects.get()
    assert (run.status, run.errors) == ("Completed", "")


def test_who_leaves_is_not_dead_but_what_it_could_not_write_stays() -> None:
    left, troubled, killed = Worker("host:1:a"), Worker("host:2:b", dropped=1), Worker("host:3:c")
    for worker in (left, troubled, killed):
        beat(worker, NOW)
    for worker in (left, troubled):
        worker.leave(database_alias())
    assert dead_workers(NOW + DEAD_AFTER, database_alias()) == set()
    assert dead_workers(NOW + DEAD_AFTER + SECOND, database_alias()) == {"host:2:b", "host:3:c"}


def test_only_who_has_beaten_without_a_break_may_judge_others() -> None:
    worker = Worker()
    assert not worker.may_judge()
    beat_until(worker, NOW + DEAD_AFTER - SECOND, since=NOW)
    assert not worker.may_judge()
    beat(worker, NOW + DEAD_AFTER)
    assert worker.may_judge()


@pytest.mark.parametrize("gap", [3 * BEAT_EVERY, timedelta(hours=-1)], ids=["held up", "clock put back"])
def test_who_was_held_up_waits_again_before_it_judges(gap: timedelta) -> None:
    """After an outage of the database the others have not had their turn yet."""
    worker = Worker()
    beat_until(worker, NOW, since=NOW - 2 * DEAD_AFTER)
    assert worker.may_judge()
    beat(worker, NOW + gap)
    assert not worker.may_judge()
    beat_until(worker, NOW + gap + DEAD_AFTER, since=NOW + gap)
    assert worker.may_judge()


@pytest.mark.parametrize(("gap", "is_late"), [(DEAD_AFTER, False), (DEAD_AFTER + SECOND, True)])
def test_a_worker_knows_when_others_may_have_thought_it_dead(gap: timedelta, is_late: bool) -> None:
    worker = Worker()
    assert not beat(worker, NOW)
    assert beat(worker, NOW + gap) is is_late


def test_a_beat_tells_what_could_not_be_written_and_when_that_grew() -> None:
    worker = Worker("host:1:a")
    beat(worker, NOW)
    assert Heartbeat.objects.get().trouble_at is None
    worker.dropped, worker.set_aside = 3, 1
    beat(worker, NOW + BEAT_EVERY)
    beat(worker, NOW + 2 * BEAT_EVERY)
    row = Heartbeat.objects.get()
    assert (row.dropped, row.set_aside, row.trouble_at) == (3, 1, NOW + BEAT_EVERY)
    assert row.beat_at == NOW + 2 * BEAT_EVERY


def test_the_dead_are_forgotten_but_not_what_they_could_not_write_nor_the_tick() -> None:
    long_ago = NOW - KEPT - SECOND
    Heartbeat.objects.create(name=TICK, beat_at=long_ago)
    Heartbeat.objects.create(name="host:1:a", beat_at=long_ago)
    Heartbeat.objects.create(name="host:2:b", beat_at=NOW - KEPT)
    Heartbeat.objects.create(name="host:3:c", beat_at=long_ago, trouble_at=NOW - TROUBLE_KEPT)
    Heartbeat.objects.create(name="host:4:d", beat_at=long_ago, trouble_at=NOW - TROUBLE_KEPT - SECOND)
    forget_the_dead(NOW, database_alias())
    assert set(Heartbeat.objects.values_list("name", flat=True)) == {TICK, "host:2:b", "host:3:c"}


def test_beating_and_finding_the_lost_take_few_statements(django_assert_num_queries: object) -> None:
    for number in range(20):
        make_run(status="Running", worker=f"host:{number}:a")
    with django_assert_num_queries(2):  # type: ignore[operator]
        beat(Worker(), NOW)
        end_lost()


def test_a_beat_reads_both_clocks_so_that_one_that_is_set_is_noticed() -> None:
    answering = Answering()
    answering.beat()
    assert answering.clocks.steps(database_now(), steady()) == ()
    (step,) = answering.clocks.steps(database_now() + timedelta(hours=1), steady())
    assert step.length > timedelta(minutes=59)
