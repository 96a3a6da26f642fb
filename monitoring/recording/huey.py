"""Turns Huey's signals into run events, without a line in the host's tasks.

This relies on these facts about Huey 3.5 (read in its source):

- A task keeps its id over retries.
- `enqueued` is sent before the task is stored, and again when a scheduled task's time has come.
- When `error`, `timeout`, `locked` and `rate-limited` are sent, `task.retries` already tells whether a retry follows.
- `timeout`, `locked`, `rate-limited` and `canceled` are sent inside the `except` that caught their reason.
- A retry that a task asks for itself raises `task.retries` by one.
- What `enqueue` and `execute` raise has no signal: the queue cannot be reached, or a task calls `sys.exit()`. So these
  two are wrapped.
- Worker processes end without Python's normal exit, but they run their shutdown hooks.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial, wraps
from multiprocessing import parent_process
from threading import current_thread, main_thread
from typing import Any, NamedTuple

from django.conf import settings
from django.utils.module_loading import autodiscover_modules
from huey import Huey
from huey import signals as huey_signals
from huey.api import Task
from huey.contrib.djhuey import HUEY
from huey.exceptions import CancelExecution, HueyException

from monitoring.models import database_alias
from monitoring.models.background_task import WORKER_MAX
from monitoring.recording import djangotasks
from monitoring.recording.answering import Ask, when_workers_are_lost
from monitoring.recording.arguments import Call, places_of, texts_of
from monitoring.recording.meaning import Meaning
from monitoring.recording.order import instant, place
from monitoring.recording.privacy import is_simple, written_error, written_reason
from monitoring.recording.workers import waiting_runs
from monitoring.recording.writer import answer_for_runs, close, flush, not_recorded, note, observe
from monitoring.values.run_event import NOT_ENQUEUED, WORKER_LOST, RunEvent, RunStatus
from monitoring.values.text import one_line, said, storable, storable_name

SIGNALS = {
    huey_signals.SIGNAL_ENQUEUED: Meaning(RunStatus.QUEUED),
    huey_signals.SIGNAL_SCHEDULED: Meaning(RunStatus.PENDING),
    huey_signals.SIGNAL_EXECUTING: Meaning(RunStatus.RUNNING),
    huey_signals.SIGNAL_COMPLETE: Meaning(RunStatus.COMPLETED, ends=True),
    huey_signals.SIGNAL_ERROR: Meaning(RunStatus.STOPPED, ends=True, if_retried=RunStatus.INVALIDATED),
    huey_signals.SIGNAL_TIMEOUT: Meaning(
        RunStatus.STOPPED, ends=True, if_retried=RunStatus.INVALIDATED, reason="Timed out"
    ),
    huey_signals.SIGNAL_LOCKED: Meaning(
        RunStatus.STOPPED, ends=True, if_retried=RunStatus.INVALIDATED, reason="Not run: its lock was taken"
    ),
    huey_signals.SIGNAL_RATE_LIMITED: Meaning(
        RunStatus.STOPPED, ends=True, if_retried=RunStatus.INVALIDATED, reason="Not run: over its rate limit"
    ),
    huey_signals.SIGNAL_INTERRUPTED: Meaning(
        RunStatus.STOPPED, ends=True, reason="Interrupted: its worker was told to stop"
    ),
    huey_signals.SIGNAL_RETRYING: Meaning(RunStatus.INVALIDATED, ends=True),
    huey_signals.SIGNAL_REVOKED: Meaning(RunStatus.CANCELLED, ends=True, reason="Revoked"),
    huey_signals.SIGNAL_EXPIRED: Meaning(RunStatus.CANCELLED, ends=True, reason="Expired before a worker took it"),
    huey_signals.SIGNAL_CANCELED: Meaning(RunStatus.CANCELLED, ends=True, reason="Cancelled"),
}
# Ends that have no signal.
ENQUEUE_FAILED = Meaning(RunStatus.STOPPED, ends=True, reason=NOT_ENQUEUED)
BROKEN_OFF = Meaning(RunStatus.STOPPED, ends=True)

_MOST_RETRIES = 1024
_MOST_ASKED_FOR = 10_000  # tasks; a longer queue is not read

# A run with one of these statuses already says how it ended.
_OVER = frozenset({RunStatus.COMPLETED, RunStatus.STOPPED, RunStatus.CANCELLED})
_WAITS = frozenset({RunStatus.PENDING, RunStatus.QUEUED, RunStatus.INVALIDATED})
_KNOWN = "_monitoring"  # the attribute of a task under which `Known` is kept


class Queue(NamedTuple):
    """`name` takes the worker's place while a run waits; `utc` says whether Huey's naive times are in UTC."""

    name: str
    utc: bool


@dataclass(slots=True)
class Known:
    """What this process knows of a run, kept on its task. Huey does not send such an attribute along.

    `told` is the task's class and arguments, until they are put into words.
    """

    id: str
    name: str
    told: tuple[Any, Sequence[object], Mapping[str, object]] | None
    parameters: str = ""
    context_id: str | None = None
    retries_at_start: int | None = None
    started_at: datetime | None = None
    status: RunStatus | None = None

    def put_into_words(self) -> None:
        if told := self.told:
            call = _call_of(self.name, *told)
            self.id, self.name = storable_name(self.id), storable_name(call.name)
            self.parameters, self.context_id = texts_of(call)
            self.told = None


class TaskSighting(NamedTuple):
    """A task as a signal showed it. Its event is made later, so whatever may change by then is kept here as it was."""

    meaning: Meaning
    run: Known
    retries: int
    eta: datetime | None
    at: datetime
    errors: str
    queue: Queue

    @property
    def ends(self) -> bool:
        return self.meaning.ends

    @property
    def is_retried(self) -> bool:
        return self.meaning.status is RunStatus.INVALIDATED

    def event(self) -> RunEvent | None:
        """None for an exception of a run whose end is known already. A run's events must be made in order."""
        meaning, known, at = self.meaning, self.run, self.at
        known.put_into_words()
        if known.status in _OVER and (meaning is BROKEN_OFF or meaning is ENQUEUE_FAILED):
            return None
        is_start = meaning.status is RunStatus.RUNNING
        if is_start:
            known.retries_at_start, known.started_at = self.retries, at
        known.status = status = self._status()
        return RunEvent(
            task_id=known.id,
            task_name=known.name,
            status=status,
            seq=self._seq(known.retries_at_start, status),
            submitted_at=at if meaning.status is RunStatus.QUEUED else None,
            # Repeated at the end: if the start could not be written, the run would look as if it never started.
            started_at=known.started_at if is_start or meaning.ends else None,
            finished_at=at if meaning.ends else None,
            attempts=int(is_start),
            errors=self.errors,
            parameters=known.parameters,
            context_id=known.context_id,
            worker=self.queue.name if status in _WAITS else "",
        )

    def __str__(self) -> str:
        return one_line(f"{self.meaning.status} of {self.run.name} {self.run.id}")

    def _status(self) -> RunStatus:
        if self.meaning.if_retried and self.retries:
            return self.meaning.if_retried
        if self.eta is None or self.meaning.status is not RunStatus.QUEUED:
            return self.meaning.status
        is_naive_utc = self.queue.utc and self.eta.tzinfo is None
        eta = self.eta.replace(tzinfo=UTC) if is_naive_utc else self.eta.astimezone(UTC)
        return RunStatus.PENDING if eta > self.at else RunStatus.QUEUED

    def _seq(self, retries_at_start: int | None, status: RunStatus) -> int:
        """The event's place: before any start, then by attempt, then by time.

        The retries left fall by one with each attempt, and so put the events of two hosts in order even if their clocks
        differ. Only a retry that a task asks for itself uses none up: there the clocks decide. An event of being queued
        again, for a retry or by the scheduler, may come late but is never newer than a start. If a task was reported as
        not enqueued, but the queue took it and only its answer was lost, any start is newer than that report.
        """
        if status is RunStatus.PENDING or status is RunStatus.QUEUED:
            return int(status is RunStatus.QUEUED)
        retries = self.retries + (self.meaning is ENQUEUE_FAILED) if retries_at_start is None else retries_at_start
        return place(_MOST_RETRIES - retries, self.at)


def registered_names() -> list[str]:
    """The names of all tasks of the installed apps, found as Huey's consumer does; a shared name comes twice."""
    autodiscover_modules("tasks")
    names = (task_class.__name__ for task_class in HUEY._registry._registry.values())
    return sorted(name for name in names if name != djangotasks.SHIM)  # no run has that name


def is_immediate_by_default() -> bool:
    """Whether tasks run inside their caller only since DEBUG is on and the setting HUEY says nothing of it."""
    given = getattr(settings, "HUEY", None)
    return HUEY.immediate and isinstance(given, dict) and "immediate" not in given


def queue_problem() -> str:
    """Why the queue cannot be asked; empty if it answers."""
    try:
        HUEY.pending_count()
    except Exception as error:  # each of Huey's storages raises its own
        return one_line(f"{type(error).__name__}: {said(error)}")
    return ""


def queue_name(huey: Huey) -> str:
    """What takes the worker's place while a run waits in this queue; unlike a worker's name, it has no colon."""
    return storable(f"huey {huey.name}".replace(":", " "))[:WORKER_MAX]


def connect(huey: Huey = HUEY, except_for: Iterable[Any] = ()) -> None:
    """Records the runs of every task of this Huey, except those of the given task wrappers."""
    unrecorded = {wrapper.task_class for wrapper in except_for}
    queue = Queue(queue_name(huey), huey.utc)

    def record_signal(signal: str, task: Any, exc: BaseException | None = None) -> None:
        if type(task) not in unrecorded:
            try:  # as few calls as possible: caches are cold after a task's own code, so each costs some microseconds
                note(sighting_of(signal, task, exc, instant(), queue))
            except Exception as error:
                not_recorded(error, signal, "of", task.name, task.id)

    def record_raised(meaning: Meaning, task: Any, error: BaseException) -> None:
        if type(task) not in unrecorded:
            make = partial(_sighting_of_raised, meaning, task, error, instant(), queue)
            observe(make, type(error).__name__, "of", task.name, task.id)

    huey.signal()(record_signal)
    _tell_what_is_raised(huey, record_raised)
    when_workers_are_lost(_end_what_left_the_queue(huey))
    huey.on_startup("monitoring")(answer_for_runs)
    huey.on_shutdown("monitoring")(_write_what_is_left)


def _write_what_is_left() -> None:
    """Called at the end of each worker; if the worker is a thread, its process goes on."""
    is_process = parent_process() is not None and current_thread() is main_thread()
    close() if is_process else flush()


def _end_what_left_the_queue(huey: Huey) -> Ask:
    """Ends the runs that a worker took just before it was killed, before it could write that it runs them.

    A living worker may be taking a run from the queue at that very moment, so a run is over only if it is still missing
    the next time. A queue can only be read as a whole, so one that is too long is not read.
    """
    missed: set[str] = set()

    def ask(now: datetime) -> Callable[[], None] | None:
        waiting = waiting_runs(queue_name(huey), now, database_alias())
        if not waiting:
            missed.clear()
        return partial(end_what_left, waiting) if waiting else None

    def end_what_left(waiting: Mapping[str, tuple[str, int]]) -> None:
        if huey.pending_count() + huey.scheduled_count() > _MOST_ASKED_FOR:
            return
        gone = waiting.keys() - {storable_name(task.id) for task in (*huey.pending(), *huey.scheduled())}
        for task_id in gone & missed:
            name, seq = waiting[task_id]
            observe(partial(_lost, task_id, name, seq), "loss of", name, task_id)
        missed.clear()
        missed.update(gone)

    return ask


def _lost(task_id: str, task_name: str, seq: int) -> RunEvent:
    """The end of a lost run: newer than its wait, whose `seq` is given, and older than any start that may yet come."""
    return RunEvent(
        task_id=task_id,
        task_name=task_name,
        status=RunStatus.STOPPED,
        seq=seq + 1,
        finished_at=instant(),
        errors=WORKER_LOST,
    )


def _tell_what_is_raised(huey: Huey, tell: Callable[..., None]) -> None:
    enqueue, execute = huey.enqueue, huey.execute

    @wraps(enqueue)
    def telling_enqueue(task: Any) -> Any:
        try:
            return enqueue(task)
        except Exception as error:
            if isinstance(task, Task) and not huey.immediate:  # an immediate task is executed, not stored
                tell(ENQUEUE_FAILED, task, error)
            raise

    @wraps(execute)
    def telling_execute(task: Any, timestamp: Any = None) -> Any:
        try:
            return execute(task, timestamp)
        except BaseException as error:
            tell(BROKEN_OFF, task, error)
            raise

    huey.enqueue, huey.execute = telling_enqueue, telling_execute


def sighting_of(signal: str, task: Any, exc: BaseException | None, now: datetime, queue: Queue) -> TaskSighting:
    """What a signal shows. Raises KeyError for a signal that is not in SIGNALS."""
    meaning = SIGNALS[signal]
    errors = _errors(meaning, exc) if exc or meaning.reason else ""
    known = getattr(task, _KNOWN, None) or _known(task)
    return TaskSighting(meaning, known, task.retries, task.eta, now, errors, queue)


def _sighting_of_raised(meaning: Meaning, task: Any, error: BaseException, now: datetime, queue: Queue) -> TaskSighting:
    errors = written_reason(meaning.reason, error) if meaning.reason else written_error(error)
    known = getattr(task, _KNOWN, None) or _known(task)
    return TaskSighting(meaning, known, task.retries, task.eta, now, errors, queue)


def _known(task: Any) -> Known:
    """What is known of a task that is seen for the first time; also kept on the task."""
    args, kwargs = tuple(task.args), dict(task.kwargs)
    known = Known(task.id, task.name, (task.__class__, args, kwargs))
    # Arguments that can change are written down at once, so that changing them later does not change the record. They
    # are not held either: they may be large, and thousands wait while the database is away.
    if not all(map(is_simple, (*args, *kwargs.values()))):
        known.put_into_words()
    setattr(task, _KNOWN, known)
    return known


def _errors(meaning: Meaning, error: BaseException | None) -> str:
    if not meaning.reason:
        return written_error(error) if error else ""
    # The exception being handled is the task's own only if it is one of Huey's: in immediate mode it may be the host's.
    cause = sys.exception()
    return written_reason(meaning.reason, cause if isinstance(cause, (CancelExecution, HueyException)) else None)


def _call_of(name: str, task_class: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> Call:
    """What a task calls; for a task of Django's framework, the function behind it."""
    if name == djangotasks.SHIM:
        match args:
            case str() as path, list() | tuple() as its_args, dict() as its_kwargs:
                return djangotasks.call_of(path, its_args, its_kwargs)
    return Call(name, args, kwargs, _signature(task_class), _places(task_class))


@lru_cache(maxsize=4096)
def _signature(task_class: Any) -> inspect.Signature | None:
    """The signature of the function behind a task, as its callers see it.

    Huey keeps the function only in the closure of the class's `execute`, which also passes the task if asked to.
    """
    try:
        signature = inspect.signature(inspect.getclosurevars(task_class.execute).nonlocals["func"])
    except (KeyError, TypeError, ValueError):
        return None
    if not getattr(task_class, "context", False):
        return signature
    return signature.replace(parameters=[given for name, given in signature.parameters.items() if name != "task"])


@lru_cache(maxsize=4096)
def _places(task_class: Any) -> tuple[str, ...]:
    return places_of(_signature(task_class))
