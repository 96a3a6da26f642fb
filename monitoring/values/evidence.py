"""What is known about an alert besides its facts, gathered when it is put into words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.values.outcome import RunFacts
from monitoring.values.usual import completed_spans, middle

RUNS_SHOWN = 10
USUAL_FROM = 3  # completed runs: fewer do not show how long one usually takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the run history, the incident and the monitor say, as they stood at `gathered_at`.

    `gathered_at` is None if nothing was gathered, or if the history could not be read; then `problem` says why. `runs`
    are the last runs, newest first. `run` is the one that decided, else the one that ended without a start if the alert
    is about it, else the newest that had started; `errors` is the end of its error text. `last_success` is the newest
    run that completed, None if there is none among the task's last `looked_back`. `usual` is how long a run that
    completes usually takes. `dependents` are the first dependent tasks, each with its newest run.
    """

    gathered_at: datetime | None = None
    problem: str = ""
    runs: tuple[RunFacts, ...] = ()
    run: RunFacts | None = None
    errors: str = ""
    worker_lost: bool = False
    not_enqueued: bool = False
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


def usual_duration(runs: Sequence[RunFacts]) -> timedelta | None:
    """The median of the completed runs; None if there are too few."""
    took = completed_spans(runs)
    return middle(took) if len(took) >= USUAL_FROM else None
