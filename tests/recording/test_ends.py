"""How runs, workers and servers end against their will: real consumers, real signals, real cuts."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from huey.contrib.djhuey import HUEY

from monitoring.models import BackgroundTask, Heartbeat, database_alias, database_now
from monitoring.recording.workers import DEAD_AFTER, end_lost_runs
from monitoring.values.run_event import WORKER_LOST
from tests.app import tasks
from tests.consumer import consumer, url_of_the_test_database, wait_for
from tests.proxy import proxy_to

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 400
MORE = 2_000  # than a worker does before the test has seen that it began


@pytest.fixture(autouse=True)
def _empty_queue() -> None:
    HUEY.flush()


def becomes(status: str) -> Callable[[], BackgroundTask | None]:
    return lambda: BackgroundTask.objects.filter(status=status).first()


@pytest.mark.parametrize("workers", ["thread", "process"])
def test_a_consumer_that_is_told_to_stop_loses_no_run(workers: str, tmp_path: Path) -> None:
    notes = tmp_path / "executed"
    for _ in range(MORE):
        tasks.note_in(str(notes))
    with consumer("--worker-type", workers) as running:
        wait_for(lambda: notes.exists() and notes.stat().st_size >= 20)
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(20)
    executed = notes.stat().st_size
    statuses = Counter(BackgroundTask.objects.values_list("status", flat=True))
    assert statuses == {"Completed": executed, "Queued": MORE - executed}
    assert 0 < executed < MORE
    assert not Heartbeat.objects.filter(name__contains=":").exists(), "who leaves in order says so"


def test_a_task_that_ends_its_worker_is_over_at_once() -> None:
    with consumer():
        tasks.leave(1)
        run = wait_for(becomes("Stopped"))
        assert run.errors.endswith("SystemExit: 3")
        tasks.succeed(2)
        wait_for(becomes("Completed"))


@pytest.mark.parametrize("workers", ["thread", "process"])
def test_the_run_of_a_killed_worker_is_lost_and_is_found_by_its_silence(workers: str) -> None:
    with consumer("--worker-type", workers) as running:
        tasks.never_end(1)
        run = wait_for(becomes("Running"))
        now = database_now()
        assert end_lost_runs(now, database_alias()) == 0
        assert Heartbeat.objects.get(name=run.worker).beat_at <= now
        running.kill()
    assert end_lost_runs(now + 2 * DEAD_AFTER, database_alias()) == 1
    run.refresh_from_db()
    assert (run.status, run.errors) == ("Stopped", WORKER_LOST)


def test_a_consumer_beats_from_its_start_though_it_runs_nothing() -> None:
    with consumer():
        beat = wait_for(Heartbeat.objects.filter(name__contains=":").first)
        assert database_now() - beat.beat_at < timedelta(seconds=5)


@pytest.mark.on_servers
def test_runs_that_end_while_the_database_is_away_are_written_when_it_is_back(tmp_path: Path) -> None:
    notes = tmp_path / "executed"
    with proxy_to(url_of_the_test_database()) as database, consumer(DATABASE_URL=database.url):
        tasks.succeed(1)
        wait_for(becomes("Completed"))
        database.cut()
        for _ in range(MANY):
            tasks.note_in(str(notes))
        wait_for(lambda: notes.exists() and notes.stat().st_size == MANY)
        assert BackgroundTask.objects.filter(status="Completed").count() == 1
        database.mend()
        wait_for(lambda: BackgroundTask.objects.filter(status="Completed").count() == MANY + 1)
    assert set(BackgroundTask.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.on_servers
def test_a_run_whose_end_the_queue_could_not_take_is_over(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with proxy_to(os.environ["HUEY_URL"]) as redis, consumer(HUEY_URL=redis.url):
        tasks.read(str(gate))
        wait_for(becomes("Running"))
        redis.cut()
        gate.write_text("")
        run = wait_for(becomes("Stopped"))
        assert "ConnectionError" in run.errors.splitlines()[-1]
        redis.mend()
        tasks.succeed(2)
        wait_for(becomes("Completed"), 20)


def test_the_longest_arguments_and_texts_that_no_database_holds_end_as_rows() -> None:
    with consumer():
        tasks.succeed("x" * 100_000, note="\0 and \ud800")
        run = wait_for(becomes("Completed"))
        assert len(run.parameters) < 2_000
        tasks.generate_daily_report(True)
        tasks.say("\0 and \ud800 " + "x" * 100_000)
        wait_for(lambda: BackgroundTask.objects.filter(status="Stopped").count() == 2)
