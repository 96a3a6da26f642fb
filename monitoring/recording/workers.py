"""Whether the processes that run tasks are alive: each says so every few seconds. If one falls silent, its runs end.

All times are the database's. A process that was held up itself calls no other dead: after an outage, or after the
machine slept, all beats are old.
"""

import os
import socket
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

from django.db.models import Q

from monitoring.models import BackgroundTask, Heartbeat
from monitoring.values.outage import DEAD_AFTER
from monitoring.values.run_event import WORKER_LOST, RunStatus
from monitoring.values.text import storable

BEAT_EVERY = timedelta(seconds=5)
_HELD_UP_AFTER = 1.5 * BEAT_EVERY  # so that another held up as long, which beat just before, is not silent for 15 s
_HOST_MAX = 64

LOOKED_THROUGH = 200_000  # runs

# How long the beats of dead processes are kept: one that could not write all its events is a problem for a day.
KEPT = timedelta(hours=1)
TROUBLE_KEPT = timedelta(days=1)


def new_name() -> str:
    """Host, process id and a random part, since in containers the first two are often the same."""
    return f"{storable(socket.gethostname())[:_HOST_MAX]}:{os.getpid()}:{uuid4().hex[:8]}"


@dataclass(slots=True)
class Worker:
    """This process, as it beats. `dropped` and `set_aside` count the events that it could not write."""

    name: str = field(default_factory=new_name)
    dropped: int = 0
    set_aside: int = 0
    told_trouble: int = 0
    beat_at: datetime | None = None
    unbroken_since: datetime | None = None

    @property
    def trouble(self) -> int:
        return self.dropped + self.set_aside

    def beat(self, now: datetime, using: str) -> bool:
        """Says that this process is alive. Returns whether it was silent so long that others may think it dead."""
        said, trouble = self.beat_at, self.trouble
        if said is None or not timedelta(0) <= now - said <= _HELD_UP_AFTER:
            self.unbroken_since = now
        beat = Heartbeat(name=self.name, beat_at=now, dropped=self.dropped, set_aside=self.set_aside)
        beat.unbroken_since = self.unbroken_since
        changed = ["beat_at", "unbroken_since"]
        if trouble != self.told_trouble:
            beat.trouble_at = now
            changed += ["dropped", "set_aside", "trouble_at"]
        Heartbeat.objects.using(using).bulk_create(
            [beat], update_conflicts=True, unique_fields=["name"], update_fields=changed
        )
        self.told_trouble = trouble
        self.beat_at = now
        return said is not None and now - said > DEAD_AFTER

    def may_judge(self) -> bool:
        """Whether it has beaten without a break long enough for every living process to have beaten too."""
        return bool(self.beat_at and self.unbroken_since and self.beat_at - self.unbroken_since >= DEAD_AFTER)

    def leave(self, using: str) -> None:
        """Removes its beat: nobody needs to watch it any more. It stays if there are events that it could not write."""
        Heartbeat.objects.using(using).filter(name=self.name, trouble_at=None).delete()


def dead_workers(now: datetime, using: str) -> set[str]:
    """The names of the workers that have been silent for too long and are not forgotten yet."""
    silent = Heartbeat.objects.using(using).filter(beat_at__lt=now - DEAD_AFTER, name__contains=":")
    return set(silent.values_list("name", flat=True))


def end_lost_runs(now: datetime, using: str) -> int:
    """Ends the runs whose worker is dead, and returns how many.

    Their `seq` stays as it is, so that whatever their worker still reports is newer.
    """
    alive = Heartbeat.objects.using(using).filter(beat_at__gte=now - DEAD_AFTER)
    running = BackgroundTask.objects.using(using).filter(status=RunStatus.RUNNING, worker__contains=":")
    lost = running.exclude(worker__in=alive.values("name"))
    return lost.update(status=RunStatus.STOPPED, errors=WORKER_LOST, finished_at=now)


def waiting_runs(queue: str, now: datetime, using: str) -> dict[str, tuple[str, int]]:
    """The runs of this queue that have waited longer than a worker may be silent: task id to name and `seq`.

    `queue` takes the worker's place. Only the newest runs are searched, since no index covers these.
    """
    runs = BackgroundTask.objects.using(using)
    newest = runs.order_by("-id").values_list("id", flat=True).first() or 0
    since = now - DEAD_AFTER
    waits = Q(status=RunStatus.QUEUED, submitted_at__lt=since) | Q(status=RunStatus.INVALIDATED, finished_at__lt=since)
    waiting = runs.filter(waits, id__gt=newest - LOOKED_THROUGH, worker=queue)
    return {run.task_id: (run.task_name, run.seq) for run in waiting.only("task_id", "task_name", "seq")}


def forget_the_dead(now: datetime, using: str) -> None:
    dead = Heartbeat.objects.using(using).filter(beat_at__lt=now - KEPT, name__contains=":")
    dead.filter(Q(trouble_at=None) | Q(trouble_at__lt=now - TROUBLE_KEPT)).delete()
