"""What a queue said about one run, in our terms."""

from datetime import datetime
from typing import NamedTuple

from django.db.models import TextChoices


class RunStatus(TextChoices):
    PENDING = "Pending"
    """Submitted for later. Becomes Queued when its time comes, or Cancelled when it is revoked."""

    QUEUED = "Queued"
    """Waiting for a worker. Becomes Running when one takes it, or Cancelled when one finds it revoked or expired."""

    RUNNING = "Running"
    """Being executed by a worker. Changes when it ends in any way, or when the worker is found dead (Stopped)."""

    COMPLETED = "Completed"
    """Ended without an error."""

    STOPPED = "Stopped"
    """Ended with an error, or broke off unreported; `errors` says why."""

    CANCELLED = "Cancelled"
    """Abandoned on purpose: revoked, cancelled or expired, most often before it started."""

    INVALIDATED = "Invalidated"
    """This attempt failed and another follows in the same row. Becomes Running when that one starts."""


# The statuses that a run can have before it has ever started.
BEFORE_START = frozenset({RunStatus.PENDING, RunStatus.QUEUED, RunStatus.CANCELLED})

# The errors of a run whose worker fell silent; if the real ending arrives late, it replaces them.
WORKER_LOST = "The worker that ran it was lost"

# How the errors begin of a run that its queue did not take.
NOT_ENQUEUED = "Not enqueued"


class RunEvent(NamedTuple):
    """One thing that happened to one run. A tuple, since each run has three or more events.

    `seq` puts the events of a run in their true order, whatever order they arrive in: the greater, the newer.
    `attempts` is 1 for an event that starts an attempt, else 0, so that their sum is the number of attempts. An end may
    be reported by another process than its start, and that start may never arrive; such an end has `attempts_at_least`
    instead. `earlier_errors` has a line for each failed attempt that was followed by another. `worker` is the process
    that runs it, by the name under which it beats, or the queue in which it waits; empty: no process answers for the
    run. Times are aware. Texts are already cut, masked and storable.
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
