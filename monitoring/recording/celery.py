"""Turns Celery's signals into run events, without a line in the host's tasks.

This relies on these facts about Celery 5.5 to 5.7 (read in 5.7's source, tried with all three):

- A task keeps its id over retries, which `request.retries` counts from 0, and over `replace`, which
  `replaced_task_nesting` counts.
- The next attempt is published before `task_retry` is sent.
- If a child process cannot report its own end (it was lost, or hit its hard time limit), the worker's main process
  reports it. There `task.request` may be empty.
- `Ignore` and `Reject` show only in the state that `task_postrun` is sent with.
- A task with an eta waits inside a worker, and no signal says that its time has come.
"""

import inspect
import sys
from datetime import UTC, datetime
from functools import lru_cache, partial
from signal import Signals
from typing import Any
from weakref import WeakValueDictionary

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import current_app, signals, states
from celery.app.task import Context
from celery.exceptions import Ignore, Reject
from celery.utils.serialization import UnpickleableExceptionWrapper
from celery.utils.time import maybe_make_aware

from monitoring.recording.arguments import Call, texts_of
from monitoring.recording.meaning import Meaning
from monitoring.recording.order import instant, place
from monitoring.recording.privacy import written_error, written_reason
from monitoring.recording.writer import close, observe
from monitoring.values.run_event import RunEvent, RunStatus
from monitoring.values.text import storable_name

SIGNALS = {
    "after_task_publish": Meaning(RunStatus.QUEUED),
    "task_received": Meaning(RunStatus.QUEUED),
    "task_prerun": Meaning(RunStatus.RUNNING),
    "task_success": Meaning(RunStatus.COMPLETED, ends=True),
    "task_failure": Meaning(RunStatus.STOPPED, ends=True),
    "task_internal_error": Meaning(RunStatus.STOPPED, ends=True),
    "task_retry": Meaning(RunStatus.INVALIDATED, ends=True),
    "task_revoked": Meaning(RunStatus.CANCELLED, ends=True, reason="Revoked"),
    "task_unknown": Meaning(RunStatus.STOPPED, ends=True, reason="Not run: its worker knows no task of this name"),
}
EXPIRED = Meaning(RunStatus.CANCELLED, ends=True, reason="Expired before a worker took it")
TERMINATED = Meaning(RunStatus.CANCELLED, ends=True, reason="Terminated")

# The states sent with `task_postrun` that no other signal reports.
POSTRUN_STATES = {
    states.IGNORED: Meaning(RunStatus.CANCELLED, ends=True),
    states.REJECTED: Meaning(RunStatus.STOPPED, ends=True),
}
REQUEUED = Meaning(RunStatus.INVALIDATED, ends=True)

UNUSED = {
    "before_task_publish": "a publishing that fails would leave a run that no worker ever takes",
    "task_sent": "after_task_publish says the same; it goes with Celery 6",
    "task_rejected": "of a message that cannot be read no run is known; of an unknown task task_unknown tells",
}

# Instead of a traceback, which would show only Celery's own code.
_REASONS: dict[type[BaseException], str] = {
    WorkerLostError: "Its worker was lost",
    TimeLimitExceeded: "Timed out",
    Ignore: "Ignored",
    Reject: "Rejected",
}

_STARTED_AT = "_monitoring_started_at"
_MOST_RETRIES = 100  # before a replacement: each replacement counts as a later attempt than all of them

# The requests that this worker's main process holds, by task id: the ends it reports may lack attempt and start.
_received: WeakValueDictionary[str, Any] = WeakValueDictionary()


def connect() -> None:
    """Records the runs of every Celery task; calling it again changes nothing."""
    for signal, handler in _HANDLERS.items():
        signal.connect(handler, dispatch_uid=f"monitoring {handler.__name__}")
    signals.worker_process_shutdown.connect(_worker_process_shutdown, dispatch_uid="monitoring close")


def event_of(
    meaning: Meaning,
    request: Context,
    task: Any,
    now: datetime,
    error: BaseException | None = None,
    cause: object = None,
) -> RunEvent:
    """The event that a signal stands for; `task` is None if this process does not know it.

    `cause` is added to the meaning's reason if there is no error.
    """
    is_start = meaning.status is RunStatus.RUNNING
    is_waiting = meaning.status is RunStatus.QUEUED
    if is_start:
        setattr(request, _STARTED_AT, now)
    is_told_elsewhere = not hasattr(request, _STARTED_AT)
    started_at = _started_at(request) if is_start or meaning.ends else None
    status = RunStatus.PENDING if is_waiting and _is_for_later(request, now) else meaning.status
    signature = _signature(task)
    # Without a signature the arguments have no names; a later event that knows the task adds them.
    call = Call(request.id, request.args or (), request.kwargs or {}, signature)
    parameters, context_id = texts_of(call) if signature else ("", None)
    return RunEvent(
        task_id=storable_name(request.id),
        task_name=storable_name(task.name if task else request.task),
        status=status,
        # A message that is queued again may come late, but is never newer than a start.
        seq=int(status is RunStatus.QUEUED) if is_waiting else place(_attempt(request), now),
        submitted_at=now if is_waiting else None,
        started_at=started_at,
        finished_at=now if meaning.ends else None,
        attempts=int(is_start),
        attempts_at_least=_attempts_at_least(request) if started_at and (request.retries or is_told_elsewhere) else 0,
        errors=_errors(meaning, error, cause),
        parameters=parameters,
        context_id=context_id,
    )


def _is_for_later(request: Context, now: datetime) -> bool:
    if not request.eta:
        return False
    eta = maybe_make_aware(datetime.fromisoformat(request.eta), current_app.timezone)
    return bool(eta > now)


def _attempt(request: Context) -> int:
    return int((request.replaced_task_nesting or 0) * _MOST_RETRIES + (request.retries or 0))


def _attempts_at_least(request: Context) -> int:
    """How many attempts there must have been, this one included.

    Needed in the main process, since a killed child may not have written its start; and after a retry, since the child
    that ran the attempt before may write later.
    """
    return int((request.replaced_task_nesting or 0) + (request.retries or 0)) + 1


def _started_at(request: Context) -> datetime | None:
    """The start as this process noted it or, in the main process, as its child reported it."""
    noted: datetime | None = getattr(request, _STARTED_AT, None)
    seconds = getattr(_received.get(request.id), "time_start", None)
    return noted or (datetime.fromtimestamp(seconds, UTC) if seconds else None)


def _errors(meaning: Meaning, error: BaseException | None, cause: object) -> str:
    reason = next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), meaning.reason)
    if reason:
        return written_reason(reason, error.reason if isinstance(error, Reject) else error or cause)
    return written_error(error) if error else ""


@lru_cache(maxsize=4096)
def _signature(task: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(task.run) if task else None
    except (TypeError, ValueError):
        return None


def _request_of(task: Any, task_id: str) -> Context:
    """The attempt that a signal is about: the one that runs here, or else the one that the main process received."""
    if task.request.id == task_id:
        return task.request
    received = _received.get(task_id)
    return Context(received.request_dict) if received else Context(id=task_id)


def _record(
    meaning: Meaning, request: Context, task: Any, error: BaseException | None = None, cause: object = None
) -> None:
    name = task.name if task else request.task
    observe(partial(event_of, meaning, request, task, instant(), error, cause), meaning.status, "of", name, request.id)


def _after_task_publish(sender: str, headers: dict[str, Any], body: Any, **_: Any) -> None:
    # A message of protocol 1 has everything in its body.
    request = Context(headers, args=body[0], kwargs=body[1]) if "task" in headers else Context(body)
    _record(SIGNALS["after_task_publish"], request, current_app.tasks.get(sender))


def _task_received(request: Any, **_: Any) -> None:
    _received[request.id] = request
    _record(SIGNALS["task_received"], Context(request.request_dict), request.task)


def _task_prerun(task: Any, task_id: str, **_: Any) -> None:
    _record(SIGNALS["task_prerun"], _request_of(task, task_id), task)


def _task_success(sender: Any, **_: Any) -> None:
    _record(SIGNALS["task_success"], sender.request, sender)


def _task_failure(sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
    # An error that cannot be sent between processes comes wrapped; the original is still being handled here.
    error = sys.exception() if isinstance(exception, UnpickleableExceptionWrapper) else exception
    _record(SIGNALS["task_failure"], _request_of(sender, task_id), sender, error)


def _task_internal_error(sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
    _record(SIGNALS["task_internal_error"], _request_of(sender, task_id), sender, exception)


def _task_retry(sender: Any, request: Context, reason: Any = None, **_: Any) -> None:
    _record(SIGNALS["task_retry"], request, sender, reason.exc if reason else None)


def _task_revoked(sender: Any, request: Context, terminated: bool, signum: object, expired: bool, **_: Any) -> None:
    meaning = TERMINATED if terminated else EXPIRED if expired else SIGNALS["task_revoked"]
    _record(meaning, request, sender, cause=Signals(signum).name if isinstance(signum, int) else signum)


def _task_unknown(message: Any, name: str, id: str, **_: Any) -> None:
    request = Context(id=id, task=name, retries=message.headers.get("retries"))
    _record(SIGNALS["task_unknown"], request, None)


def _task_postrun(task: Any, task_id: str, retval: Any, state: str | None, **_: Any) -> None:
    if state in POSTRUN_STATES:
        is_requeued = isinstance(retval, Reject) and retval.requeue
        meaning = REQUEUED if is_requeued else POSTRUN_STATES[state]
        _record(meaning, _request_of(task, task_id), task, retval)


def _worker_process_shutdown(**_: Any) -> None:
    """Celery's processes end without Python's normal exit."""
    close()


# Module-level functions, since Celery holds only weak references to them.
_HANDLERS = {
    signals.after_task_publish: _after_task_publish,
    signals.task_received: _task_received,
    signals.task_prerun: _task_prerun,
    signals.task_success: _task_success,
    signals.task_failure: _task_failure,
    signals.task_internal_error: _task_internal_error,
    signals.task_retry: _task_retry,
    signals.task_revoked: _task_revoked,
    signals.task_unknown: _task_unknown,
    signals.task_postrun: _task_postrun,
}
