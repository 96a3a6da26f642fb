import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID
from weakref import ref

import pytest
from django.db import DatabaseError, DataError, OperationalError, connections, transaction
from django.db.models import TextChoices
from django.utils import timezone
from freezegun import freeze_time
from huey import MemoryHuey, crontab, signals
from huey.api import Task, chord, group
from huey.contrib.djhuey import HUEY, close_db
from huey.exceptions import CancelExecution, RateLimitExceeded, RetryTask, TaskLockedException, TaskTimeout

from monitoring.models import BackgroundTask, database_alias
from monitoring.recording import writer
from monitoring.recording.huey import SIGNALS, Queue, _end_what_left_the_queue, connect, queue_name, sighting_of
from monitoring.recording.privacy import MASK, REASON_MAX
from monitoring.tasks import dispatch_owed, monitor_task_status
from monitoring.values.run_event import WORKER_LOST, RunEvent, RunStatus
from tests.app.models import Customer
from tests.factories import NOW, ago, make_run

pytestmark = pytest.mark.django_db

SOON = 0.1  # seconds: long enough to be scheduled, short enough to be waited for


def event_of(signal: str, task: Task, exc: BaseException | None, now: datetime) -> RunEvent:
    return sighting_of(signal, task, exc, now, Queue("huey", utc=True)).event()


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def huey() -> MemoryHuey:
    huey = MemoryHuey()
    connect(huey)
    return huey


def watch(huey: MemoryHuey) -> list[str]:
    """What happens from now on: each signal and the status that its run has after it."""
    told: list[str] = []

    def note(signal: str, task: Task, error: BaseException | None = None) -> None:
        status = BackgroundTask.objects.values_list("status", flat=True).get(task_id=task.id)
        told.append(f"{task.name}: {signal} {status}")

    huey.signal()(note)
    return told


def work(huey: MemoryHuey) -> None:
    """Does what a consumer does, until nothing is left to do."""
    deadline = time.monotonic() + 5
    while huey.pending_count() or huey.scheduled_count():
        task = huey.dequeue()
        if task:
            huey.execute(task)
        for due in huey.read_schedule():
            huey.enqueue(due)
        assert time.monotonic() < deadline, "there is still work to do"


def job_of(huey: MemoryHuey, *endings: BaseException | None, **options: Any) -> Any:
    """A task whose attempts end as given, one after the other; without any it completes."""
    left = iter(endings)

    @huey.task(**options)
    def job(*_: object) -> None:
        ending = next(left, None)
        if ending:
            raise ending

    return job


def run() -> BackgroundTask:
    return BackgroundTask.objects.get()


def told_by(job: str, *signals_and_statuses: str) -> list[str]:
    return [f"{job}: {told}" for told in signals_and_statuses]


def test_every_signal_of_the_installed_huey_has_a_meaning() -> None:
    assert set(SIGNALS) == {value for name, value in vars(signals).items() if name.startswith("SIGNAL_")}


BEGINNING = ["enqueued Queued", "executing Running"]
AGAIN = ["retrying Invalidated", "enqueued Invalidated", "executing Running"]
LATER = ["retrying Invalidated", "scheduled Invalidated", "enqueued Invalidated", "executing Running"]


@pytest.mark.parametrize(
    ("options", "endings", "story"),
    [
        pytest.param({}, [None], ["complete Completed"], id="complete"),
        pytest.param({}, [ValueError()], ["error Stopped"], id="error"),
        pytest.param(
            {"retries": 2},
            [ValueError(), ValueError(), None],
            ["error Invalidated", *AGAIN, "error Invalidated", *AGAIN, "complete Completed"],
            id="error, retried until it completes",
        ),
        pytest.param(
            {"retries": 1},
            [ValueError(), ValueError()],
            ["error Invalidated", *AGAIN, "error Stopped"],
            id="error, retries exhausted",
        ),
        pytest.param(
            {"retries": 1, "retry_delay": SOON},
            [ValueError(), None],
            ["error Invalidated", *LATER, "complete Completed"],
            id="error, retried later",
        ),
        pytest.param({}, [RetryTask(), None], [*AGAIN, "complete Completed"], id="RetryTask"),
        pytest.param({}, [RetryTask(delay=SOON), None], [*LATER, "complete Completed"], id="RetryTask, later"),
        pytest.param(
            {"retries": 1},
            [RetryTask(), RetryTask(), ValueError(), ValueError()],
            [*AGAIN, *AGAIN, "error Invalidated", *AGAIN, "error Stopped"],
            id="RetryTask uses up no retries",
        ),
        pytest.param({}, [TaskTimeout()], ["timeout Stopped"], id="timeout"),
        pytest.param(
            {"retries": 1},
            [TaskTimeout(), None],
            ["timeout Invalidated", *AGAIN, "complete Completed"],
            id="timeout, retried",
        ),
        pytest.param({}, [TaskLockedException()], ["locked Stopped"], id="locked"),
        pytest.param(
            {"retries": 1, "retry_delay": SOON},
            [TaskLockedException(), None],
            ["locked Invalidated", *LATER, "complete Completed"],
            id="locked, retried",
        ),
        pytest.param(
            {},
            [RateLimitExceeded("till", SOON), RateLimitExceeded("till", SOON), None],
            ["rate-limited Invalidated", *LATER, "rate-limited Invalidated", *LATER, "complete Completed"],
            id="rate-limited, retried by the limit",
        ),
        pytest.param(
            {}, [RateLimitExceeded("till", SOON, retry=False)], ["rate-limited Stopped"], id="rate-limited, no retry"
        ),
        pytest.param(
            {"retries": 1},
            [RateLimitExceeded("till", SOON, retry=False), None],
            ["rate-limited Invalidated", *LATER, "complete Completed"],
            id="rate-limited, retried by the task",
        ),
        pytest.param({}, [CancelExecution()], ["canceled Cancelled"], id="cancelled"),
        pytest.param(
            {"retries": 1}, [CancelExecution(retry=False)], ["canceled Cancelled"], id="cancelled, retries given up"
        ),
        pytest.param(
            {"retries": 1},
            [CancelExecution(), None],
            ["canceled Cancelled", *AGAIN, "complete Completed"],
            id="cancelled, retried",
        ),
        pytest.param(
            {},
            [CancelExecution(retry=True), None],
            ["canceled Cancelled", *AGAIN, "complete Completed"],
            id="cancelled, retried without retries",
        ),
        pytest.param({}, [KeyboardInterrupt()], ["interrupted Stopped"], id="interrupted"),
    ],
)
def test_the_status_follows_the_signals(
    huey: MemoryHuey, options: dict[str, Any], endings: list[BaseException | None], story: list[str]
) -> None:
    told = watch(huey)
    huey.enqueue(job_of(huey, *endings, **options).s())
    work(huey)

    assert told == told_by("job", *BEGINNING, *story)
    assert run().attempts == len(endings)
    assert run().task_name == "job"
    assert run().submitted_at < run().started_at < run().finished_at


def test_a_scheduled_run_is_pending_until_its_time_has_come(huey: MemoryHuey) -> None:
    told = watch(huey)
    job_of(huey).schedule(delay=SOON)
    submitted_at = run().submitted_at
    work(huey)
    assert told == told_by(
        "job", "enqueued Pending", "scheduled Pending", "enqueued Queued", "executing Running", "complete Completed"
    )
    assert run().submitted_at == submitted_at


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_from_greenwich")
@pytest.mark.parametrize("utc", [True, False])
@pytest.mark.parametrize(("hours", "status"), [(1, "Pending"), (-1, "Queued")])
def test_an_eta_is_told_in_the_clock_of_its_huey(utc: bool, hours: int, status: str) -> None:
    huey = MemoryHuey(utc=utc)
    connect(huey)
    job_of(huey).schedule(eta=datetime.now(UTC) + timedelta(hours=hours))
    assert run().status == status


def test_a_revoked_run_is_cancelled_when_a_worker_finds_it(huey: MemoryHuey) -> None:
    told = watch(huey)
    task = job_of(huey).s()
    huey.enqueue(task)
    huey.revoke(task)
    work(huey)
    assert told == told_by("job", "enqueued Queued", "revoked Cancelled")
    assert (run().errors, run().started_at, run().attempts) == ("Revoked", None, 0)
    assert run().finished_at


def test_a_task_that_is_revoked_altogether_is_cancelled(huey: MemoryHuey) -> None:
    told = watch(huey)
    job = job_of(huey)
    job.revoke()
    job()
    work(huey)
    assert told == told_by("job", "enqueued Queued", "revoked Cancelled")


def test_a_scheduled_run_that_is_revoked_is_cancelled_when_its_time_has_come(huey: MemoryHuey) -> None:
    told = watch(huey)
    huey.revoke(job_of(huey).schedule(delay=SOON))
    work(huey)
    assert told == told_by("job", "enqueued Pending", "scheduled Pending", "enqueued Queued", "revoked Cancelled")


def test_a_retry_that_is_revoked_is_cancelled_though_it_had_started_before(huey: MemoryHuey) -> None:
    job = job_of(huey, ValueError("no"), retries=1)
    task = job.s()
    huey.enqueue(task)
    huey.execute(huey.dequeue())
    huey.revoke(task)
    work(huey)
    assert (run().status, run().errors, run().attempts) == ("Cancelled", "Revoked", 1)


def test_a_rescheduled_run_is_another_run_and_the_old_one_is_cancelled(huey: MemoryHuey) -> None:
    old = job_of(huey).schedule(delay=SOON)
    huey.execute(huey.dequeue())
    new = old.reschedule(delay=SOON)
    work(huey)
    statuses = dict(BackgroundTask.objects.values_list("task_id", "status"))
    assert statuses == {old.id: "Cancelled", new.id: "Completed"}


def test_an_expired_run_is_cancelled(huey: MemoryHuey) -> None:
    told = watch(huey)
    huey.enqueue(job_of(huey, expires=LONG_AGO).s())
    work(huey)
    assert told == told_by("job", "enqueued Queued", "expired Cancelled")
    assert (run().errors, run().started_at) == ("Expired before a worker took it", None)


def test_a_run_cancelled_before_its_function_is_called_is_cancelled(huey: MemoryHuey) -> None:
    @huey.pre_execute()
    def closed(task: Task) -> None:
        raise CancelExecution("the shop is closed")

    told = watch(huey)
    job_of(huey)()
    work(huey)
    assert told == told_by("job", *BEGINNING, "canceled Cancelled")
    assert run().errors == "Cancelled: the shop is closed"


def test_a_pipeline_is_a_run_for_each_task_that_is_reached(huey: MemoryHuey) -> None:
    @huey.task()
    def first() -> int:
        return 7

    @huey.task()
    def then(session_id: int) -> None:
        raise ValueError

    @huey.task()
    def never() -> None:
        """What follows a failed task is never enqueued."""

    told = watch(huey)
    huey.enqueue(first.s().then(then).then(never))
    work(huey)
    assert told == [
        *told_by("first", *BEGINNING, "complete Completed"),
        *told_by("then", *BEGINNING, "error Stopped"),
    ]
    assert BackgroundTask.objects.get(task_name="then").context_id == "7"


def test_the_handler_of_an_error_is_a_run_of_its_own(huey: MemoryHuey) -> None:
    @huey.task()
    def handler(error: BaseException) -> None:
        pass

    told = watch(huey)
    huey.enqueue(job_of(huey, ValueError("no")).s().error(handler))
    work(huey)
    assert told == [
        *told_by("job", *BEGINNING, "error Stopped"),
        *told_by("handler", *BEGINNING, "complete Completed"),
    ]
    assert json.loads(BackgroundTask.objects.get(task_name="handler").parameters) == {"error": "ValueError('no')"}


def test_each_member_of_a_group_is_a_run(huey: MemoryHuey) -> None:
    job = job_of(huey, None, ValueError())
    huey.enqueue(group([job.s(), job.s()]))
    work(huey)
    assert sorted(BackgroundTask.objects.values_list("status", flat=True)) == ["Completed", "Stopped"]


def test_the_callback_of_a_chord_is_a_run_after_its_members(huey: MemoryHuey) -> None:
    @huey.task()
    def callback(results: list[object]) -> None:
        pass

    told = watch(huey)
    job = job_of(huey, None, ValueError())
    huey.enqueue(chord([job.s(), job.s()], callback.s()))
    work(huey)
    assert told == [
        *told_by("job", "enqueued Queued", "enqueued Queued", "executing Running", "complete Completed"),
        *told_by("job", "executing Running", "error Stopped"),
        *told_by("callback", *BEGINNING, "complete Completed"),
    ]


def test_each_turn_of_a_periodic_task_is_a_run(huey: MemoryHuey) -> None:
    @huey.periodic_task(crontab(minute="*"))
    def hourly() -> None:
        pass

    told = watch(huey)
    for _ in range(2):
        for task in huey.read_periodic(datetime(2026, 11, 22, 8, 35)):  # noqa: DTZ001 - as Huey's scheduler gives it
            huey.enqueue(task)
        work(huey)
    assert told == told_by("hourly", *BEGINNING, "complete Completed") * 2
    assert BackgroundTask.objects.count() == 2


def test_immediate_tasks_are_recorded_like_all_others() -> None:
    huey = MemoryHuey(immediate=True)
    connect(huey)
    told = watch(huey)
    job_of(huey, ValueError(), None, retries=1)()
    assert told == told_by("job", *BEGINNING, "error Invalidated", *AGAIN, "complete Completed")
    assert run().attempts == 2


def test_an_immediate_task_that_is_scheduled_stays_pending_since_nobody_runs_it() -> None:
    huey = MemoryHuey(immediate=True)
    connect(huey)
    told = watch(huey)
    job_of(huey).schedule(delay=60)
    assert told == told_by("job", "enqueued Pending", "scheduled Pending")


def test_a_call_of_the_function_itself_is_no_run(huey: MemoryHuey) -> None:
    job_of(huey).call_local()
    assert not BackgroundTask.objects.exists()


def test_a_task_that_no_worker_knows_stays_queued(huey: MemoryHuey) -> None:
    job = job_of(huey)
    job()
    job.unregister()
    with pytest.raises(Exception, match="not found in TaskRegistry"):
        work(huey)
    assert run().status == "Queued"


def test_every_attempt_has_a_start_of_its_own_and_no_end_until_it_ends(huey: MemoryHuey) -> None:
    spans: list[tuple[bool, bool]] = []
    starts: set[datetime] = set()

    @huey.signal()
    def note(signal: str, *_: object) -> None:
        row = run()
        spans.append((bool(row.started_at), bool(row.finished_at)))
        if signal == "executing":
            starts.add(row.started_at)

    job_of(huey, ValueError(), None, retries=1)()
    work(huey)
    waiting, running, over = (False, False), (True, False), (True, True)
    assert spans == [waiting, running, over, over, over, running, over]
    assert len(starts) == 2


def test_the_error_of_a_failed_attempt_stays_with_the_run_that_completed_later(huey: MemoryHuey) -> None:
    job_of(huey, ValueError("no connection"), None, retries=1)()
    work(huey)
    assert run().status == "Completed"
    assert run().errors.startswith("Traceback (most recent call last):")
    assert run().errors.endswith("ValueError: no connection")


@pytest.mark.parametrize(
    ("ending", "errors"),
    [
        (TaskTimeout("timeout 1s"), "Timed out: timeout 1s"),
        (
            TaskLockedException("unable to acquire lock till"),
            "Not run: its lock was taken: unable to acquire lock till",
        ),
        (
            RateLimitExceeded("till", 1, retry=False),
            'Not run: over its rate limit: Rate limit exceeded on "till"',
        ),
        (KeyboardInterrupt("something else"), "Interrupted: its worker was told to stop"),
        (CancelExecution("closed"), "Cancelled: closed"),
        (CancelExecution(), "Cancelled"),
        (CancelExecution("x" * 100_000), f"Cancelled: {'x' * (REASON_MAX - 1)}…"),
        (RetryTask("later"), ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_ending_without_an_error_has_its_reason(huey: MemoryHuey, ending: BaseException, errors: str) -> None:
    job_of(huey, ending)()
    huey.execute(huey.dequeue())
    assert run().errors == errors


def test_huey_itself_says_why_a_task_was_not_run(huey: MemoryHuey) -> None:
    @huey.task(context=True, timeout=SOON)
    def slow(task: Task) -> None:
        while True:
            task.check_timeout()

    @huey.task()
    @huey.lock_task("till")
    def locked() -> None:
        pass

    @huey.task()
    @huey.rate_limit("till", limit=0, per=60, retry=False)
    def limited() -> None:
        pass

    for job in (slow, locked, limited):
        job()
    with huey.lock_task("till"):
        work(huey)
    assert dict(BackgroundTask.objects.values_list("task_name", "errors")) == {
        "slow": f"Timed out: timeout {SOON}s",
        "locked": "Not run: its lock was taken: unable to acquire lock till",
        "limited": 'Not run: over its rate limit: Rate limit exceeded on "till"',
    }
    assert set(BackgroundTask.objects.values_list("status", flat=True)) == {"Stopped"}


def test_what_the_host_is_handling_is_not_the_reason_of_the_run(huey: MemoryHuey) -> None:
    """With immediate tasks our handler runs under the host's own `except`."""
    task = job_of(huey, expires=LONG_AGO).s()
    try:
        raise ConnectionError("of the host")
    except ConnectionError:
        huey.enqueue(task)
        work(huey)
    assert run().errors == "Expired before a worker took it"


def test_workers_whose_clocks_differ_keep_the_order_of_the_attempts(huey: MemoryHuey) -> None:
    job = job_of(huey)
    first, second = job.s(retries=1), job.s(retries=0)
    early = event_of("executing", second, None, ago(hours=1))
    assert early.seq > event_of("executing", first, None, NOW).seq
    assert early.seq > event_of("retrying", first, None, NOW).seq


def test_waiting_is_older_than_any_start(huey: MemoryHuey) -> None:
    task = job_of(huey).s(retries=100_000)
    assert event_of("scheduled", task, None, NOW).seq < event_of("enqueued", task, None, NOW).seq
    assert event_of("enqueued", task, None, NOW).seq < event_of("executing", task, None, LONG_AGO).seq


def test_a_clock_that_stands_still_keeps_the_order_of_a_run(huey: MemoryHuey) -> None:
    with freeze_time(LONG_AGO):
        job_of(huey, ValueError(), None, retries=1)()
        work(huey)
    assert (run().status, run().attempts) == ("Completed", 2)


@pytest.mark.parametrize("retries", [-1, -5_000, 5_000])
def test_any_number_of_retries_can_be_recorded(huey: MemoryHuey, retries: int) -> None:
    """A negative number is how one asks Huey to retry for ever."""
    huey.enqueue(job_of(huey, ValueError(), None).s(retries=retries))
    work(huey)
    assert (run().status, run().attempts) == ("Completed", 2)


# Context ids and parameters.


class Region(int, Enum):  # unlike an IntEnum, it prints itself by name
    NORTH = 3


class Carrier(TextChoices):
    SEA = "sea"


def ingest(session_id: object = None, mode: object = None) -> None: ...


def ingest_for(customer: object, *, session_id: object = None) -> None: ...


def ingest_all(*session_ids: object) -> None: ...


def ingest_any(**session: object) -> None: ...


def ingest_nothing() -> None: ...


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "context_id"),
    [
        (ingest, (7,), {}, "7"),
        (ingest, (7, 8), {}, "7"),
        (ingest, (), {"session_id": 7}, "7"),
        (ingest, (), {"mode": 8, "session_id": 7}, "7"),
        (ingest, (), {"mode": 8}, None),
        (ingest, (), {}, None),
        (ingest, (0,), {}, "0"),
        (ingest, (-7,), {}, "-7"),
        (ingest, ("Nairobi",), {}, "Nairobi"),
        (ingest, ("",), {}, ""),
        (ingest, ("redis://:hunter2@queue/0",), {}, "redis://:********@queue/0"),
        (ingest, ("x" * 300,), {}, "x" * 255),
        (ingest, ("a\0b",), {}, "a\N{REPLACEMENT CHARACTER}b"),
        (ingest, (10**30,), {}, "1" + "0" * 30),
        (ingest, (10**300,), {}, "1" + "0" * 254),
        (ingest, (10**5_000,), {}, None),
        (ingest, (Region.NORTH,), {}, "3"),
        (ingest, (Carrier.SEA,), {}, "sea"),
        (ingest, (True,), {}, None),
        (ingest, (False,), {}, None),
        (ingest, (None,), {}, None),
        (ingest, (1.0,), {}, None),
        (ingest, (UUID(int=7),), {}, None),
        (ingest, ([7],), {}, None),
        (ingest, (b"7",), {}, None),
        (ingest, (7, 8, "one too many"), {}, "7"),
        (ingest_for, (), {"session_id": 7}, None),
        (ingest_for, (7,), {"session_id": 8}, "7"),
        (ingest_all, (7, 8), {}, None),
        (ingest_any, (), {"session_id": 7}, None),
        (ingest_nothing, (), {}, None),
    ],
)
def test_the_context_id_is_the_first_parameter(
    huey: MemoryHuey,
    function: Callable[..., None],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    context_id: str,
) -> None:
    huey.task(name="plain")(function)(*args, **kwargs)
    huey.task(name="of the database")(close_db(function))(*args, **kwargs)  # as db_task wraps it
    assert list(BackgroundTask.objects.values_list("context_id", flat=True)) == [context_id] * 2


@pytest.mark.parametrize("execute_first", [False, True])
def test_a_task_that_asks_for_itself_is_not_its_own_context(huey: MemoryHuey, execute_first: bool) -> None:
    @huey.task(context=True)
    def itself_last(session_id: int, task: Task | None = None) -> None: ...

    @huey.task(context=True)
    def itself_first(task: Task, session_id: int) -> None: ...

    @huey.task(context=True)
    def itself_alone(task: Task) -> None: ...

    @huey.task()
    def not_itself(task: int) -> None: ...

    itself_last(7)
    itself_first(session_id=7)
    itself_alone()
    not_itself(7)
    if execute_first:
        BackgroundTask.objects.all().delete()
        work(huey)
    assert dict(BackgroundTask.objects.values_list("task_name", "context_id")) == {
        "itself_last": "7",
        "itself_first": "7",
        "itself_alone": None,
        "not_itself": "7",
    }
    parameters = dict(BackgroundTask.objects.values_list("task_name", "parameters"))
    assert parameters["itself_last"] == parameters["itself_first"] == '{"session_id": 7}'
    assert parameters["itself_alone"] == ""


def login(user: object, password: object = None, *more: object, key: object = None, **rest: object) -> None: ...


def strict_login(user: object, password: object) -> None: ...


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "parameters"),
    [
        (login, ("ann", "hunter2"), {}, {"user": "ann", "password": MASK}),
        (login, ("ann",), {"password": "hunter2"}, {"user": "ann", "password": MASK}),
        (login, ("ann", "hunter2", 1, 2), {}, {"user": "ann", "password": MASK, "more": [1, 2]}),
        (login, ("ann",), {"key": "hunter2"}, {"user": "ann", "key": MASK}),
        (login, ("ann",), {"token": "hunter2", "x": 1}, {"user": "ann", "rest": {"token": MASK, "x": 1}}),
        (login, ({"password": "hunter2"},), {}, {"user": {"password": MASK}}),
        (login, (), {"password": "hunter2"}, {"password": MASK}),
        # Calls that do not fit: the run will fail, its secrets stay secrets.
        (strict_login, ("ann", "hunter2", 3), {}, {"user": "ann", "password": MASK, "argument 3": 3}),
        (strict_login, ("ann", "hunter2"), {"password": "hunter2"}, {"user": "ann", "password": MASK}),
        (strict_login, ("ann",), {"token": "hunter2"}, {"user": "ann", "token": MASK}),
    ],
)
def test_parameters_are_written_under_their_names_with_secrets_masked(
    huey: MemoryHuey,
    function: Callable[..., None],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    parameters: dict[str, object],
) -> None:
    huey.task(name="plain")(function)(*args, **kwargs)
    huey.task(name="of the database")(close_db(function))(*args, **kwargs)
    for written in BackgroundTask.objects.values_list("parameters", flat=True):
        assert json.loads(written) == parameters


def test_of_a_task_without_a_known_function_only_named_arguments_are_written(huey: MemoryHuey) -> None:
    """Which of the others are secrets nobody can tell."""

    class Odd(Task):
        def execute(self) -> None: ...

    huey._registry.register(Odd)
    huey.enqueue(Odd(args=("hunter2",), kwargs={"user": "ann"}))
    assert json.loads(run().parameters) == {"user": "ann"}
    assert run().context_id is None


# Recording never disturbs.


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


Execute = Callable[[str, Any, bool, Any], Any]


def refused(execute: Execute, sql: str, params: Sequence[Any], many: bool, context: Any) -> Any:
    """The database itself refuses what would record a run: on PostgreSQL that breaks a transaction."""
    if sql.lstrip().startswith("INSERT INTO monitoring_backgroundtask"):
        return execute("SELECT 1 FROM there_is_no_such_table", None, many, context)
    return execute(sql, params, many, context)


def test_a_run_that_cannot_be_recorded_runs_all_the_same_and_is_logged(
    huey: MemoryHuey, caplog: pytest.LogCaptureFixture
) -> None:
    ran = []

    @huey.task()
    def job() -> None:
        ran.append(True)

    with connections[database_alias()].execute_wrapper(refused):
        job()
        work(huey)
    assert ran == [True]
    assert not BackgroundTask.objects.exists()
    logged = [record for record in caplog.records if record.name == "monitoring"]
    assert [record.getMessage().rsplit(" ", 1)[0] for record in logged] == [
        f"Not recorded: {signal} of job" for signal in ("enqueued", "executing", "complete")
    ]
    assert all(record.exc_info and isinstance(record.exc_info[1], DatabaseError) for record in logged)


def test_a_refused_recording_leaves_the_transaction_of_the_host_whole(huey: MemoryHuey) -> None:
    using = database_alias()
    job = job_of(huey)
    with transaction.atomic(using=using):
        Customer.objects.create()
        with connections[using].execute_wrapper(refused):
            job()
        Customer.objects.create()
    assert Customer.objects.count() == 2
    work(huey)
    assert run().status == "Completed"


@pytest.mark.django_db(transaction=True)
def test_a_recording_goes_with_the_transaction_of_the_host_that_it_stands_in(huey: MemoryHuey) -> None:
    using = database_alias()
    job = job_of(huey)
    with transaction.atomic(using=using):
        job()
        transaction.set_rollback(True, using=using)
    assert not BackgroundTask.objects.exists()
    work(huey)
    assert (run().status, run().submitted_at) == ("Completed", None)


@pytest.mark.parametrize(
    "argument",
    [Unprintable(), {"a": Unprintable()}, "\ud800", "\0", 10**5_000, "x" * 100_000],
    ids=["unprintable", "unprintable inside", "half a surrogate pair", "NUL", "huge number", "long text"],
)
def test_no_argument_keeps_a_run_from_being_recorded(huey: MemoryHuey, argument: object) -> None:
    job_of(huey)(argument)
    work(huey)
    assert run().status == "Completed"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class MuteCancel(Mute, CancelExecution): ...


@pytest.mark.parametrize(
    ("ending", "status"),
    [(Mute(), "Stopped"), (MuteCancel(), "Cancelled"), (ValueError("x" * 100_000), "Stopped")],
    ids=["error", "reason", "length"],
)
def test_no_error_keeps_an_ending_from_being_recorded(huey: MemoryHuey, ending: BaseException, status: str) -> None:
    job_of(huey, ending)()
    work(huey)
    assert run().status == status


def test_a_signal_that_is_not_known_yet_is_logged(huey: MemoryHuey, caplog: pytest.LogCaptureFixture) -> None:
    task = job_of(huey).s()
    huey._emit("suspended", task)
    assert [record.getMessage() for record in caplog.records] == [f"Not recorded: suspended of job {task.id}"]


@pytest.fixture
def cut() -> Iterator[Callable[[], object]]:
    """Cuts the connection as a restarted database does; returns what was cut."""
    connection = connections[database_alias()]
    dead: list[object] = []

    def fails_when_dead(execute: Execute, *args: Any) -> Any:
        if any(connection.connection is one for one in dead):
            raise OperationalError("server closed the connection unexpectedly")
        return execute(*args)

    def do() -> object:
        connection.ensure_connection()
        if connection.vendor == "postgresql":
            other = connection.copy()
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
            other.close()
        else:  # SQLite has nothing that could be cut
            dead.append(connection.connection)
        return connection.connection

    with connection.execute_wrapper(fails_when_dead):
        yield do


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_cut_heals_and_nothing_is_lost(
    huey: MemoryHuey, cut: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    job = job_of(huey)
    task = job.s()
    was = cut()
    huey.enqueue(task)
    assert connections[database_alias()].connection is not was
    assert run().status == "Queued"
    cut()
    work(huey)
    assert (run().status, run().attempts) == ("Completed", 1)
    assert "Not recorded" not in caplog.text


@pytest.mark.django_db
def test_a_run_whose_start_could_not_be_written_is_known_to_have_started(
    huey: MemoryHuey, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(huey)
    written = writer.upsert

    def not_the_start(events: Any, using: str) -> None:
        if events[0].status is RunStatus.RUNNING:
            raise DataError("refused")
        written(events, using)

    monkeypatch.setattr(writer, "upsert", not_the_start)
    huey.enqueue(job.s())
    work(huey)
    assert run().status == "Completed"
    assert run().started_at is not None
    assert run().started_at <= run().finished_at


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["ACME", 482_913])
@pytest.mark.parametrize(
    ("name", "is_context"),
    [("order_key", True), ("keyword", True), ("api_key", False), ("access_token", False), ("password", False)],
)
def test_a_secret_is_no_context_but_a_business_key_is(
    huey: MemoryHuey, name: str, is_context: bool, value: str | int
) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def job({name}): ...", namespace)  # a parameter of that name
    huey.enqueue(huey.task(name=f"job_{name}")(namespace["job"]).s(value))
    assert run().context_id == (str(value) if is_context else None)


@pytest.mark.django_db(transaction=True)
def test_a_connection_cut_inside_a_transaction_is_left_to_the_host(
    huey: MemoryHuey, cut: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    """A new connection would silently lose what the host did before."""
    using = database_alias()
    job = job_of(huey)

    def lose_the_connection() -> None:
        with transaction.atomic(using=using):
            Customer.objects.create()
            cut()
            job()
            Customer.objects.create()

    with pytest.raises(DatabaseError):
        lose_the_connection()
    connections[using].close()  # as the host's next request or task would
    assert not Customer.objects.exists()
    assert "Not recorded: enqueued of job" in caplog.text
    work(huey)
    assert run().status == "Completed"


def test_excepted_tasks_are_not_recorded() -> None:
    huey = MemoryHuey()
    quiet, loud = huey.task(name="quiet")(ingest), huey.task(name="loud")(ingest)
    connect(huey, except_for=[quiet])
    quiet()
    loud()
    work(huey)
    assert run().task_name == "loud"


def test_tasks_that_the_settings_except_leave_no_row(huey: MemoryHuey, monitoring_settings: Any) -> None:
    monitoring_settings(NOT_RECORDED=["quiet"])
    huey.task(name="quiet")(ingest)()
    huey.task(name="loud")(ingest)()
    work(huey)
    assert run().task_name == "loud"


def test_tasks_that_the_settings_name_leave_no_parameters(huey: MemoryHuey, monitoring_settings: Any) -> None:
    monitoring_settings(WITHOUT_PARAMETERS=["private"])
    huey.task(name="private")(ingest)("ann@example.com", mode="open")
    work(huey)
    assert (run().status, run().parameters, run().context_id) == ("Completed", "", None)


def test_arguments_stand_in_their_parameters_order_however_they_are_given(huey: MemoryHuey) -> None:
    @huey.task()
    def report(number: int, day: int, name: str = "") -> None: ...

    report(1, name="a", day=2)
    report(name="a", day=2, number=1)
    report(1, 2, "a")
    assert set(BackgroundTask.objects.values_list("parameters")) == {('{"number": 1, "day": 2, "name": "a"}',)}


def test_what_a_signal_showed_is_told_though_the_task_has_changed_when_its_event_is_made(huey: MemoryHuey) -> None:
    @huey.task(retries=2)
    def report(number: int, day: int, *, final: bool = False) -> None: ...

    task = report.s(1, day=2)
    shown = sighting_of("error", task, None, NOW, Queue("huey", utc=True))
    task.args, task.retries, task.kwargs["day"] = (3,), 0, 4
    event = shown.event()
    assert (event.status, event.parameters) == ("Invalidated", '{"number": 1, "day": 2}')


def test_only_a_signal_that_another_attempt_follows_is_not_kept_waiting_for_others(huey: MemoryHuey) -> None:
    @huey.task(retries=1)
    def report() -> None: ...

    shown = {signal: sighting_of(signal, report.s(), None, NOW, Queue("huey", utc=True)) for signal in SIGNALS}
    assert [signal for signal, sighting in shown.items() if sighting.is_retried] == ["retrying"]


def test_who_changes_an_argument_later_does_not_change_the_record(huey: MemoryHuey) -> None:
    order = {"lines": [1]}

    @huey.task()
    def change(given: dict[str, list[int]]) -> None:
        given["lines"].append(2)

    task = change.s(order)
    queued = event_of("enqueued", task, None, NOW)
    change.call_local(order)
    assert event_of("complete", task, None, NOW).parameters == queued.parameters == '{"given": {"lines": [1]}}'


def test_what_waits_to_be_written_holds_no_large_argument(huey: MemoryHuey) -> None:
    class Export:
        """Stands for a hundred kilobytes."""

    job, export = huey.task()(lambda rows: None), Export()
    is_held = ref(export)
    waiting = sighting_of("enqueued", job.s(export), None, NOW, Queue("huey", utc=True))
    del export
    assert is_held() is None
    assert "Export object at" in waiting.event().parameters


# What Huey raises and has no signal for.


class Away(MemoryHuey):
    """One whose queue is away; what it is asked for then, it may have done all the same."""

    is_away = False
    has_taken_it = False

    def away(self) -> None:
        if self.is_away:
            raise ConnectionError("no route to the queue")


@pytest.fixture
def away() -> Away:
    huey = Away()
    storage, store, forget = huey.storage, huey.storage.enqueue, huey.storage.delete_data

    def enqueue(*args: Any) -> None:
        if not huey.is_away or huey.has_taken_it:
            store(*args)
        huey.away()

    def delete_data(*args: Any) -> Any:
        huey.away()
        return forget(*args)

    storage.enqueue, storage.delete_data = enqueue, delete_data
    connect(huey)
    return huey


def test_a_run_that_could_not_be_enqueued_does_not_wait_for_ever(away: Away) -> None:
    away.is_away = True
    with pytest.raises(ConnectionError):
        job_of(away)()
    assert (run().status, run().errors) == ("Stopped", "Not enqueued: no route to the queue")
    assert (run().started_at, run().attempts) == (None, 0)


def test_a_run_of_which_only_the_answer_was_lost_goes_on_when_a_worker_has_it(away: Away) -> None:
    away.is_away = away.has_taken_it = True
    with pytest.raises(ConnectionError):
        job_of(away)()
    away.is_away = False
    work(away)
    assert (run().status, run().attempts) == ("Completed", 1)


@pytest.mark.parametrize(
    ("ending", "retries", "error"),
    [
        (None, 0, "ConnectionError: no route to the queue"),
        (ValueError("no"), 1, "ConnectionError: no route to the queue"),
        (ValueError("no"), 0, "ValueError: no"),
        (SystemExit(3), 1, "SystemExit: 3"),
    ],
    ids=["completed", "to be retried", "failed", "sys.exit()"],
)
def test_a_run_that_ends_without_a_signal_is_over(
    away: Away, ending: BaseException | None, retries: int, error: str
) -> None:
    @away.task(retries=retries)
    def job() -> None:
        away.is_away = True
        if ending:
            raise ending

    job()
    with pytest.raises((ConnectionError, SystemExit)):
        work(away)
    assert (run().status, run().attempts) == ("Stopped", 1)
    assert run().errors.endswith(error)
    assert run().finished_at


def test_a_completed_run_stays_so_when_its_successor_cannot_be_enqueued(away: Away) -> None:
    @away.signal(signals.SIGNAL_COMPLETE)
    def lose_the_queue(*_: object) -> None:
        away.is_away = True

    away.enqueue(job_of(away).s().then(job_of(away, name="successor")))
    with pytest.raises(ConnectionError):
        work(away)
    statuses = dict(BackgroundTask.objects.values_list("task_name", "status"))
    assert statuses == {"job": "Completed", "successor": "Stopped"}


def asking(huey: MemoryHuey) -> Callable[[datetime], None]:
    """Asks as the writer does, but here and now."""
    ask = _end_what_left_the_queue(huey)

    def ask_at(now: datetime) -> None:
        if question := ask(now):
            question()

    return ask_at


def test_a_run_that_a_killed_worker_took_before_it_could_say_so_is_lost(huey: MemoryHuey) -> None:
    ask = asking(huey)
    job = job_of(huey)
    for _ in range(3):
        job()
    later = timezone.now() + timedelta(minutes=1)
    lost, taken = huey.dequeue(), huey.dequeue()
    ask(later)
    assert set(BackgroundTask.objects.values_list("status", flat=True)) == {"Queued"}, (
        "they may have been taken just now"
    )
    huey.execute(taken)
    ask(later)
    run = BackgroundTask.objects.get(task_id=lost.id)
    assert (run.status, run.errors, run.started_at) == ("Stopped", WORKER_LOST, None)
    assert sorted(BackgroundTask.objects.values_list("status", flat=True)) == ["Completed", "Queued", "Stopped"]
    huey.execute(lost)
    run.refresh_from_db()
    assert (run.status, run.errors) == ("Completed", "")


def test_a_retry_that_a_killed_worker_took_is_lost_too(huey: MemoryHuey) -> None:
    ask = asking(huey)

    @huey.task(retries=1)
    def fail_and_be_retried() -> None:
        raise ValueError("no")

    fail_and_be_retried()
    huey.execute(huey.dequeue())
    retry = huey.dequeue()
    assert run().worker == queue_name(huey)
    for _ in range(2):
        ask(timezone.now() + timedelta(minutes=1))
    assert (run().status, run().attempts, run().errors) == ("Stopped", 1, WORKER_LOST)
    huey.execute(retry)
    assert (run().status, run().attempts, run().worker) == ("Stopped", 2, "")
    assert "ValueError" in run().errors


def test_a_queue_that_is_too_long_is_not_read(huey: MemoryHuey, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = asking(huey)
    job = job_of(huey)
    for _ in range(3):
        job()
    huey.dequeue()
    monkeypatch.setattr("monitoring.recording.huey._MOST_ASKED_FOR", 1)
    for _ in range(2):
        ask(timezone.now() + timedelta(minutes=1))
    assert set(BackgroundTask.objects.values_list("status", flat=True)) == {"Queued"}


def test_a_run_names_its_queue_until_it_starts(huey: MemoryHuey) -> None:
    job_of(huey)()
    assert run().worker == queue_name(huey) == f"huey {huey.name}"
    work(huey)
    assert run().worker == "", "here nobody answers for it"


def test_the_name_of_a_queue_is_never_like_that_of_a_worker() -> None:
    assert queue_name(MemoryHuey("shop:high")) == "huey shop high"


def test_runs_of_other_queues_and_young_ones_are_not_missed(huey: MemoryHuey) -> None:
    ask = asking(huey)
    job = job_of(huey)
    job()
    huey.dequeue()
    make_run(job.task_class.__name__, "Queued", started_at=None, submitted_at=LONG_AGO)
    make_run(job.task_class.__name__, "Queued", started_at=None, submitted_at=LONG_AGO, worker="huey other")
    for _ in range(2):
        ask(timezone.now())
    assert set(BackgroundTask.objects.values_list("status", flat=True)) == {"Queued"}


def test_the_app_records_its_checks_but_not_its_own_tick() -> None:
    HUEY.flush()
    dispatch_owed()
    monitor_task_status({})
    HUEY.flush()
    assert run().task_name == "monitor_task_status"
