"""Why there is an alert, as far as facts and evidence tell: one pure function, one name for each case."""

from collections.abc import Iterable
from enum import Enum

from monitoring.values.evidence import Evidence
from monitoring.values.facts import AlertKind, Facts
from monitoring.values.outcome import RunFacts
from monitoring.values.run_event import RunStatus


class Cause(Enum):
    NEVER_STARTED = "did not start"
    """No run started in the window, none is waiting, and none is known from before."""

    WAITING = "waiting to start"
    """A run was submitted, and no worker has taken it."""

    NOT_ENQUEUED = "could not be enqueued"
    """A run was submitted, and its queue did not take it."""

    NO_START = "no start recorded"
    """A run was submitted and, by its status, waits no more, but no start of it was recorded."""

    OUTSIDE_WINDOW = "last run before the window"
    """The newest run to start did so before the window, and has ended."""

    STILL_RUNNING = "still running"
    """The newest run has not ended."""

    WORKER_LOST = "worker lost"
    """The newest run was cut short because its worker is gone."""

    FAILING = "failed, being retried"
    """The newest run's last attempt failed, and another follows."""

    CANCELLED = "cancelled"
    """The newest run was abandoned on purpose."""

    ENDED = "ended otherwise than expected"
    """The newest run ended, most often with an error."""

    NOT_JUDGED = "could not be checked"
    """The check itself was not possible."""

    RECOVERED = "as expected again"
    """The problem reported before is over."""

    MONITOR_DOWN = "monitoring was down"
    """Nothing was checked for some time."""


_BY_STATUS: dict[str, Cause] = {
    RunStatus.PENDING: Cause.WAITING,
    RunStatus.QUEUED: Cause.WAITING,
    RunStatus.RUNNING: Cause.STILL_RUNNING,
    RunStatus.INVALIDATED: Cause.FAILING,
    RunStatus.CANCELLED: Cause.CANCELLED,
}


def cause_of(facts: Facts, evidence: Evidence) -> Cause:
    """The cause; without gathered evidence, the facts alone decide."""
    match facts.kind:
        case AlertKind.NOT_EXECUTED:
            return _why_nothing_started(facts, evidence)
        case AlertKind.NOT_JUDGED:
            return Cause.NOT_JUDGED
        case AlertKind.RESOLVED:
            return Cause.RECOVERED
        case AlertKind.MONITOR_DOWN:
            return Cause.MONITOR_DOWN
    if facts.current_status == RunStatus.STOPPED and evidence.worker_lost:
        return Cause.WORKER_LOST
    if facts.current_status == RunStatus.STOPPED and evidence.not_enqueued and not facts.started_at:
        return Cause.NOT_ENQUEUED
    return _BY_STATUS.get(facts.current_status, Cause.ENDED)


def last_before(facts: Facts, evidence: Evidence) -> RunFacts | None:
    """The newest run that had started when it was checked."""
    return _last_started(facts, evidence.runs)


def is_about_unstarted(facts: Facts, runs: Iterable[RunFacts]) -> bool:
    """Whether it is about the run that never started: none of these, newest first, started after its submission."""
    last = _last_started(facts, runs)
    return facts.waiting_since is not None and not (last and last.started_at and last.started_at > facts.waiting_since)


def _last_started(facts: Facts, runs: Iterable[RunFacts]) -> RunFacts | None:
    return next((run for run in runs if run.started_at and run.started_at <= facts.check_time), None)


def _why_nothing_started(facts: Facts, evidence: Evidence) -> Cause:
    if is_about_unstarted(facts, evidence.runs):
        return _why_it_never_started(facts, evidence)
    last = last_before(facts, evidence)
    if last is None:
        return Cause.NEVER_STARTED
    return Cause.STILL_RUNNING if last.status == RunStatus.RUNNING else Cause.OUTSIDE_WINDOW


def _why_it_never_started(facts: Facts, evidence: Evidence) -> Cause:
    match facts.waiting_status:
        case RunStatus.PENDING | RunStatus.QUEUED:
            return Cause.WAITING
        case RunStatus.CANCELLED:
            return Cause.CANCELLED
        case RunStatus.STOPPED if evidence.run and evidence.run.task_id == facts.waiting_task_id:
            if evidence.not_enqueued:
                return Cause.NOT_ENQUEUED
            if evidence.worker_lost:
                return Cause.WORKER_LOST
    return Cause.NO_START
