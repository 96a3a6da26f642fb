"""What is unusual though nothing has failed yet: runs that take or wait longer than nearly all before them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import QuerySet

from monitoring.checking.probe import Probe, newest_runs
from monitoring.models import BackgroundTask, database_alias
from monitoring.values.outcome import RunFacts
from monitoring.values.run_event import RunStatus
from monitoring.values.text import written_span
from monitoring.values.usual import KNOWN_FROM, Usual, completed_spans, usual_limit

TELLING_FROM = timedelta(minutes=1)  # anything shorter is over before anybody has read about it
USUAL_AMONG = 100  # last started runs of a task
RUNS_LOOKED_AT = 1_000  # that are running, and as many that wait
QUEUED_AMONG = 25_000  # newest runs that are searched for those that wait: no index covers these
TASKS_LOOKED_AT = 25  # those that run longest, and as many that wait longest


class Unusually(StrEnum):
    RUNNING = "running long"
    """It has been running longer than nearly all of its task's last completed runs took."""

    WAITING = "waiting long"
    """It has waited in the queue longer than nearly all of its task's last runs did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """`run` has run or waited for `span` as of now, the longest of `count` such runs of its task."""

    kind: Unusually
    task_name: str
    run: RunFacts
    span: timedelta
    usual: Usual
    count: int

    def __str__(self) -> str:
        """The words that follow the task's name."""
        usual, most = self.usual, written_span(self.usual.limit)
        within = "all" if usual.within == usual.of else usual.within
        if self.kind is Unusually.RUNNING:
            doing, compared = "has been running", f"completed runs took at most {most}"
        else:
            doing, compared = "has waited in the queue", f"started runs had waited at most {most}"
        among = f", the longest of {self.count} such runs" if self.count > 1 else ""
        return f"{doing} for {written_span(self.span)}{among}; {within} of the last {usual.of} {compared}"


@dataclass(frozen=True, slots=True)
class _Lasting:
    kind: Unusually
    task_name: str
    run: RunFacts
    span: timedelta


def unusual_runs(now: datetime, but_of: Collection[str] = ()) -> list[Unusual]:
    """One of each task and kind, the longest first; tasks whose names are in `but_of` are left out.

    Takes four SQL statements, however many runs there are.
    """
    using = database_alias()
    groups = [*_by_task(_running(now, using), but_of), *_by_task(_waiting(now, using), but_of)]
    names = sorted({group[0].task_name for group in groups})
    probes = [Probe(name, until=now) for name in names]
    before = dict(zip(names, newest_runs(probes, using, started=USUAL_AMONG, unstarted=0), strict=True))
    found = (_compared(group, before[group[0].task_name]) for group in groups)
    return sorted(filter(None, found), key=lambda each: each.span, reverse=True)


def _running(now: datetime, using: str) -> Iterator[_Lasting]:
    runs = BackgroundTask.objects.using(using).filter(status=RunStatus.RUNNING, started_at__lt=now - TELLING_FROM)
    # Ordered to use the index on running rows: few rows are running, and a scan of the table would find them last.
    for name, run in _read(runs.order_by("worker")):
        if run.started_at:
            yield _Lasting(Unusually.RUNNING, name, run, now - run.started_at)


def _waiting(now: datetime, using: str) -> Iterator[_Lasting]:
    runs = BackgroundTask.objects.using(using)
    newest = runs.order_by("-pk").values_list("pk", flat=True).first() or 0
    queued = runs.filter(pk__gt=newest - QUEUED_AMONG, status=RunStatus.QUEUED, submitted_at__lt=now - TELLING_FROM)
    for name, run in _read(queued.order_by("pk")):
        # Not part of the query: SQLite would then look through all runs of each name that never started.
        if run.submitted_at and run.started_at is None:
            yield _Lasting(Unusually.WAITING, name, run, now - run.submitted_at)


def _read(runs: QuerySet[BackgroundTask]) -> Iterator[tuple[str, RunFacts]]:
    for row in runs.values("task_name", *RunFacts.__dataclass_fields__)[:RUNS_LOOKED_AT]:
        yield row.pop("task_name"), RunFacts(**row)


def _by_task(lasting: Iterable[_Lasting], but_of: Collection[str]) -> list[list[_Lasting]]:
    """Runs grouped by task, longest first in each group; the groups with the longest runs come first."""
    groups: dict[str, list[_Lasting]] = {}
    for each in sorted(lasting, key=lambda each: each.span, reverse=True):
        if each.task_name not in but_of:
            groups.setdefault(each.task_name, []).append(each)
    return list(groups.values())[:TASKS_LOOKED_AT]


def _compared(group: Sequence[_Lasting], before: Sequence[RunFacts]) -> Unusual | None:
    kind = group[0].kind
    usual = usual_limit(completed_spans(before) if kind is Unusually.RUNNING else _waited(before))
    longer = [each for each in group if usual and each.span > usual.limit and not _is_lost(each, before)]
    if usual is None or not longer:
        return None
    longest = longer[0]
    return Unusual(
        kind=kind,
        task_name=longest.task_name,
        run=longest.run,
        span=longest.span,
        usual=usual,
        count=len(longer),
    )


def _is_lost(lasting: _Lasting, before: Sequence[RunFacts]) -> bool:
    """Whether so many later runs of its task overtook it that it cannot be in a queue any more."""
    submitted_at = lasting.run.submitted_at
    if lasting.kind is Unusually.RUNNING or submitted_at is None:
        return False
    return sum(run.submitted_at is not None and run.submitted_at > submitted_at for run in before) >= KNOWN_FROM


def _waited(runs: Iterable[RunFacts]) -> list[timedelta]:
    """Only of runs that were not retried, since only the newest attempt's start is known."""
    return [
        run.started_at - run.submitted_at
        for run in runs
        if run.attempts <= 1 and run.started_at and run.submitted_at and run.started_at >= run.submitted_at
    ]
