"""Removes what is too old, a little at a time, while runs are recorded and monitors are checked.

Some old runs always stay: those that are Running, that a monitor's window still reaches or that an incident cites and,
for each task, the newest success and the newest failure among its old runs. No state is kept between prunings: each
goes over what the last one left, which is little.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable

from monitoring.checking.due import among
from monitoring.checking.ids import RECORDED_AT, ids_before
from monitoring.conf import conf
from monitoring.models import Alert, BackgroundTask, Delivery, Incident, Message, Monitor, Outage, database_alias
from monitoring.values.expectation import MAX_LOOKBACK_HOURS
from monitoring.values.run_event import RunStatus

# Rows deleted in one transaction. SQLite has one write lock: it is held for some tens of milliseconds.
RUNS_AT_ONCE = {"sqlite": 1_000, "postgresql": 10_000}
RECORDS_AT_ONCE = 500
# Runs searched at once for the newest of each task and status. They are only read; no lock is held.
RUNS_LOOKED_AT = 100_000
# How long to wait after a transaction, as a share of the time it took. SQLite restarts its WAL file only when nobody
# writes (measured: without a pause it grows to gigabytes).
PAUSE = {"sqlite": 0.7, "postgresql": 0.1}
# How much longer than its window a monitor's runs are kept: a late check looks back from the moment when it was due.
LATE_BY = timedelta(days=1)

ENDINGS = (RunStatus.COMPLETED, RunStatus.STOPPED)

# Removes the rows of a query, or only counts them; returns how many.
Remove = Callable[[QuerySet[Any]], int]


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction: the kind and number of rows it removed, and the share of old rows gone through so far."""

    what: str
    removed: int
    done: float


def delete(rows: QuerySet[Any]) -> int:
    return rows.delete()[0]


def count(rows: QuerySet[Any]) -> int:
    """For a dry run."""
    return rows.count()


def prune(now: datetime, keep_runs_days: int | None = None, remove: Remove = delete) -> Iterator[Step]:
    """Removes what the settings say is too old; `keep_runs_days` overrides KEEP_RUNS_DAYS. Zero keeps all."""
    using, settings = database_alias(), conf()
    if days := settings.KEEP_RUNS_DAYS if keep_runs_days is None else keep_runs_days:
        before = now - timedelta(days=days)
        yield from prune_runs(before, using, remove, longer_kept(now, before, using))
    if days := settings.KEEP_INCIDENTS_DAYS:
        yield from prune_records(now - timedelta(days=days), using, remove)


def politely(steps: Iterator[Step], within: timedelta | None = None) -> Iterator[Step]:
    """The same steps, with pauses that leave the database to others; no step begins after `within`."""
    pause = PAUSE[connections[database_alias()].vendor]
    began = time.monotonic()
    while within is None or time.monotonic() - began < within.total_seconds():
        step_began = time.monotonic()
        step = next(steps, None)
        if step is None:
            return
        took = time.monotonic() - step_began
        yield step
        if step.removed:
            time.sleep(took * pause)


def longer_kept(now: datetime, before: datetime, using: str) -> list[tuple[datetime, list[str]]]:
    """The tasks with a monitor that looks back further than `before`, by the instant since when their runs are kept."""
    monitors = Monitor.objects.using(using).filter(lookback_hours__lte=MAX_LOOKBACK_HOURS)  # else its row is corrupted
    longest = monitors.order_by().values_list("task_name").annotate(Max("lookback_hours"))
    named: dict[datetime, list[str]] = {}
    for task_name, hours in longest:
        named.setdefault(now - timedelta(hours=hours) - LATE_BY, []).append(task_name)
    return [(since, names) for since, names in named.items() if since < before]


def prune_runs(
    before: datetime, using: str, remove: Remove = delete, longer: Sequence[tuple[datetime, list[str]]] = ()
) -> Iterator[Step]:
    """Removes runs that have given no sign of life since `before`, in the order of their ids.

    `longer` names tasks whose runs stay if they have given one since an earlier instant.
    """
    runs = BackgroundTask.objects.using(using)
    at_once = RUNS_AT_ONCE[connections[using].vendor]
    cited = Incident.objects.using(using).filter(run_id=OuterRef("pk"))
    old = runs.exclude(_alive_since(before)).exclude(status=RunStatus.RUNNING).exclude(Exists(cited))
    for since, names in longer:
        old = old.exclude(_alive_since(since), task_name__in=names)
    first, end = ids_before(runs, RECORDED_AT, before)
    newest: dict[tuple[str, str], int] = {}
    for after, until in _spans(runs, first - 1, end, RUNS_LOOKED_AT):
        endings = runs.filter(pk__gt=after, pk__lte=until, status__in=ENDINGS)
        found = endings.values_list("task_name", "status").annotate(Max("pk")).order_by()
        newest_here = {(task_name, status): key for task_name, status, key in found}
        outlived = [newest[ending] for ending in newest_here.keys() & newest.keys()]
        newest |= newest_here
        for low, high in _spans(runs, after, until + 1, at_once):
            kept = among([key for key in newest_here.values() if low < key <= high], using)
            removed = remove(old.filter(pk__gt=low, pk__lte=high).exclude(pk__in=kept))
            yield Step("runs", removed, (high - first + 1) / (end - first))
        for start in range(0, len(outlived), at_once):
            removed = remove(old.filter(pk__in=among(outlived[start : start + at_once], using)))
            yield Step("runs", removed, (until - first + 1) / (end - first))


def prune_records(before: datetime, using: str, remove: Remove = delete) -> Iterator[Step]:
    """Removes alerts with their deliveries, then messages, then incidents, then the monitor's own outages.

    What is open or not sent yet is never old: who was told of an incident must be known until it has closed.
    """
    unsettled = Q(message=None) | Q(message__sent_at=None, message__gave_up_at=None)
    pending = Delivery.objects.using(using).filter(unsettled, alert=OuterRef("pk"))
    closed = Q(incident=None) | Q(incident__closed_at__lt=before)
    alerts = Alert.objects.using(using).filter(closed, created_at__lt=before).exclude(Exists(pending))
    yield from _prune(alerts, F("created_at"), before, remove)

    carrying = Delivery.objects.using(using).filter(message=OuterRef("pk"))
    settled = Message.objects.using(using).exclude(sent_at=None, gave_up_at=None).filter(created_at__lt=before)
    needed = carrying.exclude(alert__in=alerts)
    yield from _prune(settled.exclude(Exists(needed)), F("created_at"), before, remove)

    kept = Alert.objects.using(using).filter(incident=OuterRef("pk")).exclude(pk__in=alerts)
    incidents = Incident.objects.using(using).filter(closed_at__lt=before).exclude(Exists(kept))
    yield from _prune(incidents, F("opened_at"), before, remove)

    yield from _prune(Outage.objects.using(using).filter(ended_at__lt=before), F("began_at"), before, remove)


def _alive_since(instant: datetime) -> Q:
    return Q(submitted_at__gte=instant) | Q(started_at__gte=instant) | Q(finished_at__gte=instant)


def _prune(old: QuerySet[Any], born: Combinable, before: datetime, remove: Remove) -> Iterator[Step]:
    rows = old.model._default_manager.using(old.db)
    first, end = ids_before(rows, born, before)
    for low, high in _spans(rows, first - 1, end, RECORDS_AT_ONCE):
        with transaction.atomic(using=old.db):
            removed = remove(old.filter(pk__gt=low, pk__lte=high).only("pk"))
        yield Step(str(old.model._meta.verbose_name_plural), removed, (high - first + 1) / (end - first))


def _spans(rows: QuerySet[Any], after: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Adjacent spans of up to `size` rows, as (after, until), from the oldest to the last before `end`."""
    while True:
        keys = rows.filter(pk__gt=after, pk__lt=end).order_by("pk").values_list("pk", flat=True)
        last = keys[:size].aggregate(last=Max("pk"))["last"]
        if last is None:
            return
        yield after, last
        after = last
