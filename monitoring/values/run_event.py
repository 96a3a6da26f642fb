"""What a queue said about one run, in our words."""

from datetime import datetime
from typing import NamedTuple

from django.db.models import TextChoices


class RunStatus(TextChoices):
    PENDING = "Pending"
    """Submitted for later. Left when its time comes (Queued), or when it is revoked (Cancelled)."""

    QUEUED = "Queued"
    """Waits for a worker. Left when one takes it (Running), or finds it revoked or expired (Cancelled)."""

    RUNNING = "Running"
    """A worker executes it. Left when it ends, however it ends, or when the worker is found dead (Stopped)."""

    COMPLETED = "Completed"
    """Ended without an error."""

    STOPPED = "Stopped"
    """Ended with an error, or without a word; `errors` says why."""

    CANCELLED = "Cancelled"
    """Given up on purpose: revoked, cancelled or expired, most often before it started."""

    INVALIDATED = "Invalidated"
    """This attempt failed and another follows in the same row. Left when that one starts (Running)."""


# The statuses that a run can have before it has ever started.
BEFORE_START = frozenset({RunStatus.PENDING, RunStatus.QUEUED, RunStatus.CANCELLED})

# The errors of a run whose worker said nothing any more; a real ending that comes late takes their place.
WORKER_LOST = "The worker that ran it was lost"


class RunEvent(NamedTuple):
    """One thing that happened to one run. A tuple, since there are three or more of each run.

    `seq` puts the events of a run in their true order, whatever order they arrive in: an event with a greater one is
    newer. `attempts` is 1 for an event that starts an attempt, else 0, so that the attempts of a run are their sum; an
    end that is told in another process than its start, which may never arrive, says `attempts_at_least` instead.
    `earlier_errors` has a line for each failed attempt that another followed. `worker` is the process that runs it, by
    the name under which it beats; empty: nobody answers for the run. Times are aware. Texts are already cut, masked and
    storable.
    """

    task_id: str
    task_name: str
    status: RunStatus
    seq: int
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    errors: str = ""
    earlier_errors: str = ""
    parameters: str = ""
    context_id: str | None = None
    worker: str = ""
    attempts_at_least: int = 0

    @property
    def ends(self) -> bool:
        return self.finished_at is not None

    @property
    def is_retried(self) -> bool:
        return self.status is RunStatus.INVALIDATED
