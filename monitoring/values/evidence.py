"""What is known about an alert beside its facts, gathered when it is put into words."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from monitoring.values.outcome import RunFacts
from monitoring.values.run_event import RunStatus

RUNS_SHOWN = 10
USUAL_FROM = 3  # completed runs: fewer say nothing about how long one usually takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the run history, the incident and the monitor say, as they stood at `gathered_at`.

    That is None where nobody asked, or where, as `problem` then says, the history could not be asked. `runs` are the
    last ones, the newest first; `run` is the one that decided, else the newest that had started, and `errors` the end
    of what it left. `last_success` is the newest run that completed, None where there is none among the task's
    last `looked_back`. `usual` is how long a run that completes takes. `dependents` are the first dependent tasks, each
    with its newest run.
    """

    gathered_at: datetime | None = None
    problem: str = ""
    runs: tuple[RunFacts, ...] = ()
    run: RunFacts | None = None
    errors: str = ""
    worker_lost: bool = False
    last_success: RunFacts | None = None
    looked_back: int = 0
    usual: timedelta | None = None
    dependents: tuple[tuple[str, RunFacts | None], ...] = ()
    incident_id: int | None = None
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    failing_checks: int = 0
    monitor_id: int | None = None
    next_check_at: datetime | None = None


NOTHING = Evidence()


def usual_duration(runs: tuple[RunFacts, ...]) -> timedelta | None:
    """The median of those that completed, which one that hung does not move; None where they are too few."""
    took = [run.took for run in runs if run.status == RunStatus.COMPLETED and run.took is not None]
    return median(took) if len(took) >= USUAL_FROM else None  # type: ignore[type-var] # spans can be halved
