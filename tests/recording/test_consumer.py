"""Real tasks in a real consumer, and the rows that they leave."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction
from huey.api import Task
from huey.contrib.djhuey import HUEY

from monitoring.models import BackgroundTask, database_alias
from monitoring.recording.privacy import MASK
from tests.app import tasks
from tests.app.models import Customer
from tests.consumer import Consumer, consumer, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = 4711


@pytest.fixture(scope="module")
def shared_consumer(django_db_setup: None) -> Iterator[Consumer]:
    HUEY.flush()  # what other tests left
    with consumer() as running:
        yield running


@pytest.fixture(autouse=True)
def _consumer(shared_consumer: Consumer, request: pytest.FixtureRequest) -> Iterator[None]:
    said, failed = len(shared_consumer.output()), request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(shared_consumer.output()[said:])  # noqa: T201 - pytest shows it with the failure


def enqueue(task: Task) -> str:
    HUEY.enqueue(task)
    return task.id


def run_that_is(status: str, task_id: str) -> BackgroundTask:
    return wait_for(lambda: BackgroundTask.objects.filter(task_id=task_id, status=status).first())


def run_of(task: Task, becomes: str) -> BackgroundTask:
    return run_that_is(becomes, enqueue(task))


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


def test_a_task_that_completes() -> None:
    run = run_of(tasks.succeed.s(ORDER, "hunter2", note="by hand"), becomes="Completed")
    assert run.task_name == "succeed"
    assert shape(run) == ran(1)
    assert run.started_at < run.finished_at
    assert run.errors == ""
    assert json.loads(run.parameters) == {"order_id": ORDER, "token": MASK, "note": "by hand"}


def test_a_task_of_the_database_that_completes() -> None:
    run = run_of(tasks.succeed_in_the_database.s(order_id=ORDER), becomes="Completed")
    assert shape(run) == ran(1)
    assert Customer.objects.count() == 1


def test_a_task_that_fails() -> None:
    run = run_of(tasks.fail.s(ORDER), becomes="Stopped")
    assert shape(run) == ran(1)
    assert run.errors.startswith("Traceback (most recent call last):")
    assert run.errors.endswith(f"ValueError: there is no order {ORDER}")


def test_a_task_that_fails_and_completes_when_it_is_retried() -> None:
    run = run_of(tasks.fail_once.s(ORDER), becomes="Completed")
    assert shape(run) == ran(2)
    assert run.errors.endswith("ValueError: not yet")
    assert json.loads(run.parameters) == {"order_id": ORDER}


def test_a_task_that_fails_until_its_retries_are_exhausted() -> None:
    run = run_of(tasks.fail_always.s(ORDER), becomes="Stopped")
    assert shape(run) == ran(3)
    assert run.errors.endswith("ValueError: failed with 0 retries left")


def test_a_task_that_is_retried_later() -> None:
    task_id = enqueue(tasks.fail_once_and_wait.s(ORDER))
    failed = run_that_is("Invalidated", task_id)
    assert shape(failed) == ran(1)
    run = run_that_is("Completed", task_id)
    assert shape(run) == ran(2)
    assert run.started_at > failed.finished_at


def test_a_task_that_was_revoked() -> None:
    task = tasks.succeed.s(ORDER)
    HUEY.revoke(task)
    run = run_of(task, becomes="Cancelled")
    assert shape(run) == NEVER_STARTED
    assert run.errors == "Revoked"


def test_a_task_that_expired() -> None:
    run = run_of(tasks.succeed.s(ORDER, expires=datetime(2020, 1, 1, tzinfo=UTC)), becomes="Cancelled")
    assert shape(run) == NEVER_STARTED
    assert run.errors == "Expired before a worker took it"


def test_a_task_that_is_scheduled_for_later() -> None:
    task_id = enqueue(tasks.succeed.s(ORDER, delay=2))
    pending = run_that_is("Pending", task_id)
    assert shape(pending) == {"attempts": 0, "has": "submitted", "context_id": str(ORDER)}
    run = run_that_is("Completed", task_id)
    assert shape(run) == ran(1)
    assert run.submitted_at == pending.submitted_at


def test_a_task_whose_lock_is_taken() -> None:
    with HUEY.lock_task("till"):
        run = run_of(tasks.need_the_till.s(ORDER), becomes="Stopped")
    assert shape(run) == ran(1)
    assert run.errors == "Not run: its lock was taken: unable to acquire lock till"


def test_a_task_that_asks_for_a_retry() -> None:
    run = run_of(tasks.ask_for_a_retry.s(ORDER), becomes="Completed")
    assert shape(run) == ran(2)
    assert run.errors == ""


def test_a_task_that_cancels_itself() -> None:
    run = run_of(tasks.give_up.s(ORDER), becomes="Cancelled")
    assert shape(run) == ran(1)
    assert run.errors == "Cancelled: the shop is closed"


def test_a_task_that_cancels_itself_but_asks_for_a_retry() -> None:
    run = run_of(tasks.give_up_and_retry.s(ORDER), becomes="Completed")
    assert shape(run) == ran(2)


def test_a_task_that_times_out() -> None:
    run = run_of(tasks.take_too_long.s(ORDER), becomes="Stopped")
    assert shape(run) == ran(1)
    assert run.errors == "Timed out: timeout 0.2s"


def test_a_task_over_its_rate_limit() -> None:
    run = run_of(tasks.be_over_the_limit.s(ORDER), becomes="Stopped")
    assert shape(run) == ran(1)
    assert run.errors == 'Not run: over its rate limit: Rate limit exceeded on "never"'


def test_a_periodic_task() -> None:
    with consumer(SHOP_TICKS="1"):
        run = wait_for(lambda: BackgroundTask.objects.filter(task_name="count_the_till", status="Completed").first())
    assert shape(run) == ran(1) | {"context_id": None}
    assert run.parameters == ""


def test_a_task_enqueued_in_a_transaction_that_goes_on_while_it_runs() -> None:
    with transaction.atomic(using=database_alias()):
        task_id = enqueue(tasks.succeed.s(ORDER))
        wait_for(lambda: not HUEY.pending_count())  # a worker has it
    assert shape(run_that_is("Completed", task_id)) == ran(1)


def test_a_task_enqueued_in_a_transaction_that_is_rolled_back() -> None:
    """Huey knows no transactions: the task runs, so there is a run."""
    with transaction.atomic(using=database_alias()):
        task_id = enqueue(tasks.succeed.s(ORDER))
        transaction.set_rollback(True, using=database_alias())
    run = run_that_is("Completed", task_id)
    assert (run.attempts, run.context_id) == (1, str(ORDER))
