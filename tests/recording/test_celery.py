"""Real tasks in a real Celery worker with forked children, on a real Redis, and the rows that they leave."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from billiard.exceptions import WorkerLostError
from celery import signals, states
from celery.app.task import Context
from celery.app.trace import trace_task
from celery.utils.dispatch import Signal
from kombu import Connection
from kombu.exceptions import EncodeError

from monitoring.models import BackgroundTask, Heartbeat, database_alias
from monitoring.recording import celery as recorder
from monitoring.recording.order import instant, place
from monitoring.recording.privacy import MASK
from monitoring.recording.upsert import upsert
from tests.app import celery as shop
from tests.consumer import wait_for
from tests.services import redis_server
from tests.worker import worker

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = 4711


@pytest.fixture(scope="module")
def shared_worker(django_db_setup: None) -> Iterator[Path]:
    recorder.connect()  # this process loaded Celery only after Django
    with redis_server() as broker_url:
        shop.app.conf.broker_url = broker_url
        with worker(broker_url) as log:
            yield log


@pytest.fixture(scope="module")
def heartbeats() -> list[Heartbeat]:
    """Those of the shared worker's children. What empties the tables after a test would have them look dead."""
    return []


@pytest.fixture
def _worker(
    transactional_db: None, shared_worker: Path, heartbeats: list[Heartbeat], request: pytest.FixtureRequest
) -> Iterator[None]:
    Heartbeat.objects.bulk_create(heartbeats, ignore_conflicts=True)
    said, failed = len(shared_worker.read_text(errors="replace")), request.session.testsfailed
    yield
    heartbeats[:] = Heartbeat.objects.all()
    if request.session.testsfailed > failed:
        print(shared_worker.read_text(errors="replace")[said:])  # noqa: T201 - pytest shows it with the failure


in_the_worker = pytest.mark.usefixtures("_worker")


def run_that_is(status: str, task_id: str, **told: Any) -> BackgroundTask:
    return wait_for(lambda: BackgroundTask.objects.filter(task_id=task_id, status=status, **told).first())


def run_of(task: Any, becomes: str, **options: Any) -> BackgroundTask:
    return run_that_is(becomes, task.apply_async((ORDER,), **options).id)


def shape(run: BackgroundTask) -> dict[str, Any]:
    """What a run has; its times by name only."""
    return {
        "attempts": run.attempts,
        "has": " ".join(name for name in ("submitted", "started", "finished") if getattr(run, f"{name}_at")),
        "context_id": run.context_id,
    }


def ran(attempts: int) -> dict[str, Any]:
    return {"attempts": attempts, "has": "submitted started finished", "context_id": str(ORDER)}


NEVER_STARTED = {"attempts": 0, "has": "submitted finished", "context_id": str(ORDER)}


def test_every_task_signal_of_the_installed_celery_has_a_meaning_or_a_reason_to_have_none() -> None:
    known = {name for name, value in vars(signals).items() if isinstance(value, Signal) and re.search("task_", name)}
    told = {*recorder.SIGNALS, "task_postrun"}
    assert told | recorder.UNUSED.keys() == known - {"after_setup_task_logger"}
    assert {signal.name for signal in recorder._HANDLERS} == told


def test_postrun_tells_of_those_states_that_no_signal_of_its_own_tells() -> None:
    told_by_others = {states.SUCCESS, states.FAILURE, states.RETRY}
    assert not told_by_others & recorder.POSTRUN_STATES.keys()


@in_the_worker
def test_a_task_that_completes() -> None:
    task_id = shop.succeed.delay(ORDER, "hunter2", note="by hand").id
    run = run_that_is("Completed", task_id)
    assert run.task_name == "tests.app.celery.succeed"
    assert shape(run) == ran(1)
    assert run.started_at < run.finished_at
    # It is noted when the broker has taken the message, and a worker may be quicker than that.
    assert abs(run.started_at - run.submitted_at) < timedelta(seconds=20)
    assert run.errors == ""
    assert json.loads(run.parameters) == {"order_id": ORDER, "token": MASK, "note": "by hand"}


def test_children_of_a_worker_that_is_told_to_stop_say_that_they_leave() -> None:
    with redis_server() as broker_url, worker(broker_url), Connection(broker_url) as connection:
        run = run_of(shop.succeed, becomes="Completed", connection=connection)
        wait_for(Heartbeat.objects.filter(name=run.worker).exists)
    assert not Heartbeat.objects.filter(name=run.worker).exists()


@in_the_worker
def test_a_task_has_the_whole_name_that_celery_registered() -> None:
    assert run_of(shop.sync, becomes="Completed").task_name == "shop.tasks.sync"


@in_the_worker
def test_a_task_that_fails() -> None:
    run = run_of(shop.fail, becomes="Stopped")
    assert shape(run) == ran(1)
    assert run.errors.startswith("Traceback (most recent call last):")
    assert run.errors.endswith(f"ValueError: there is no order {ORDER}")


@in_the_worker
def test_a_task_that_fails_with_an_error_that_cannot_leave_its_process() -> None:
    assert run_of(shop.fail_unspeakably, becomes="Stopped").errors.endswith("ShopClosed: the shop is closed")


@in_the_worker
def test_a_task_that_fails_and_completes_when_it_is_retried() -> None:
    # The child that ran the first attempt may tell of it after the other has told of the second.
    run = run_that_is("Completed", shop.fail_once.delay(ORDER).id, errors__endswith="ValueError: not yet")
    assert shape(run) == ran(2)
    assert json.loads(run.parameters) == {"order_id": ORDER}


@in_the_worker
def test_a_task_that_fails_until_its_retries_are_exhausted() -> None:
    run = run_of(shop.fail_always, becomes="Stopped")
    assert shape(run) == ran(3)
    assert run.errors.endswith("ValueError: failed after 2 retries")


@in_the_worker
def test_a_task_that_is_retried_later_is_invalidated_until_then() -> None:
    task_id = shop.fail_always.delay(ORDER, countdown=300).id
    run = run_that_is("Invalidated", task_id)
    assert shape(run) == ran(1)
    shop.app.control.revoke(task_id)  # it would hold up the worker's end


@in_the_worker
def test_a_task_for_later_is_pending_until_it_starts() -> None:
    task_id = shop.succeed.apply_async((ORDER,), countdown=1).id
    pending = run_that_is("Pending", task_id)
    assert shape(pending) == {"attempts": 0, "has": "submitted", "context_id": str(ORDER)}
    run = run_that_is("Completed", task_id)
    assert shape(run) == ran(1)
    assert (run.started_at - pending.submitted_at).total_seconds() > 0.9


@in_the_worker
def test_a_task_that_was_revoked_before_it_started() -> None:
    task_id = str(uuid4())
    shop.app.control.revoke(task_id, reply=True)
    run = run_of(shop.succeed, becomes="Cancelled", task_id=task_id)
    assert shape(run) == NEVER_STARTED
    assert run.errors == "Revoked"


@in_the_worker
def test_a_task_that_expired() -> None:
    run = run_of(shop.succeed, becomes="Cancelled", expires=datetime(2020, 1, 1, tzinfo=UTC))
    assert shape(run) == NEVER_STARTED
    assert run.errors == "Expired before a worker took it"


@in_the_worker
def test_a_running_task_that_is_terminated() -> None:
    task_id = shop.wait.delay(ORDER).id
    run_that_is("Running", task_id)
    shop.app.control.revoke(task_id, terminate=True)
    run = run_that_is("Cancelled", task_id)
    assert shape(run) == ran(1)
    assert run.errors == "Terminated: SIGTERM"


@in_the_worker
def test_a_task_whose_worker_is_lost_in_a_later_attempt() -> None:
    run = run_of(shop.fail_once_and_die, becomes="Stopped")
    assert shape(run) == ran(2)
    assert run.errors.startswith("Its worker was lost: Worker exited prematurely: signal 9 (SIGKILL)")


@in_the_worker
def test_a_task_that_meets_its_hard_time_limit_in_a_later_attempt() -> None:
    run = run_of(shop.fail_once_and_take_too_long, becomes="Stopped")
    assert shape(run) == ran(2)
    assert run.errors.startswith("Timed out: ")


@in_the_worker
def test_a_task_that_leaves_by_exit() -> None:
    run = run_of(shop.leave, becomes="Stopped")
    assert shape(run) == ran(1)
    assert re.search("Its worker was lost: |SystemExit: the shift is over", run.errors)  # as Celery's version has it


@in_the_worker
def test_a_task_that_asks_to_be_ignored() -> None:
    run = run_of(shop.ignore, becomes="Cancelled")
    assert shape(run) == ran(1)
    assert run.errors == "Ignored: nobody wants it"


@in_the_worker
def test_a_task_that_is_rejected() -> None:
    run = run_of(shop.reject, becomes="Stopped")
    assert shape(run) == ran(1)
    assert run.errors == "Rejected: it is spoilt"


@in_the_worker
def test_a_task_that_is_put_back_into_the_queue() -> None:
    run = run_that_is("Completed", shop.requeue_once.delay(ORDER).id, errors="Rejected: not here")
    assert shape(run) == ran(2)


@in_the_worker
def test_a_task_that_is_replaced_goes_on_in_its_row() -> None:
    assert shape(run_of(shop.replace_itself, becomes="Completed")) == ran(2)


@in_the_worker
def test_a_task_that_no_worker_knows() -> None:
    task_id = shop.app.send_task("shop.tasks.gone", [ORDER]).id
    run = run_that_is("Stopped", task_id)
    assert run.task_name == "shop.tasks.gone"
    assert run.errors == "Not run: its worker knows no task of this name"
    assert (run.attempts, run.parameters, run.context_id) == (0, "", None)


@pytest.fixture
def _connected() -> None:
    recorder.connect()


@pytest.mark.usefixtures("_connected")
def test_an_error_of_celery_itself() -> None:
    task_id = str(uuid4())
    with pytest.warns(RuntimeWarning):
        trace_task(shop.succeed, task_id, [ORDER], kwargs=[], request={"id": task_id}, app=shop.app)
    run = BackgroundTask.objects.get(task_id=task_id)
    assert run.status == "Stopped"
    assert run.errors.endswith("InvalidTaskError: Task keyword arguments is not a mapping")


@dataclass
class Received:
    """What a worker's main process knows of a task, as far as it is looked at."""

    id: str
    task: Any
    request_dict: dict[str, Any]
    name: str = ""
    time_start: float | None = None


@pytest.mark.usefixtures("_connected")
def test_what_a_main_process_tells_of_a_childs_end_belongs_to_the_attempt_that_it_received() -> None:
    received = Received("17", shop.succeed, {"id": "17", "retries": 1, "args": [ORDER], "kwargs": {}})
    signals.task_received.send(sender=None, request=received)
    BackgroundTask.objects.update(status="Running", seq=place(1, instant()), started_at=None)
    received.time_start = 1_700_000_000.0
    signals.task_failure.send(sender=shop.succeed, task_id="17", exception=WorkerLostError("signal 9"))
    run = BackgroundTask.objects.get()
    assert (run.status, run.errors) == ("Stopped", "Its worker was lost: signal 9")
    assert run.started_at == datetime.fromtimestamp(received.time_start, UTC)
    assert run.attempts == 2, "the child had no time to tell its start"


def test_attempts_are_counted_though_the_child_that_ran_the_first_one_tells_of_it_later() -> None:
    told = {
        retries: [
            recorder.event_of(recorder.SIGNALS[signal], request, shop.succeed, instant())
            for signal in ("task_prerun", end)
        ]
        for retries, end in enumerate(("task_retry", "task_success"))
        for request in [Context(id="17", retries=retries, args=[ORDER], kwargs={})]
    }
    for retries in (1, 0):
        upsert(told[retries], database_alias())
    run = BackgroundTask.objects.get()
    assert (run.status, run.attempts) == ("Completed", 2)


@pytest.mark.usefixtures("_connected")
def test_a_task_that_runs_at_once_in_the_process_that_calls_it() -> None:
    task_id = shop.succeed.apply((ORDER,)).id
    run = BackgroundTask.objects.get(task_id=task_id)
    assert (run.status, run.attempts, run.context_id) == ("Completed", 1, str(ORDER))


@pytest.mark.usefixtures("_connected")
def test_a_task_that_cannot_be_published_leaves_no_run() -> None:
    with pytest.raises(EncodeError):
        shop.succeed.apply_async((object(),))
    assert not BackgroundTask.objects.exists()
