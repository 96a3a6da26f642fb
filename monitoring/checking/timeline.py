"""What happened to a monitor in a span of time: runs, the windows that its checks look at, incidents and alerts.

Takes a constant number of SQL statements, each by index, and reads a few thousand rows at most, however much happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice, takewhile
from math import ceil

from monitoring.checking.context import NotQueried, runs_of
from monitoring.checking.probe import ALL, Filter, Probe, newest_unstarted, place_in_time, started_in
from monitoring.checking.runs import context_of, start_of
from monitoring.models import Alert, Incident, Monitor, database_alias
from monitoring.values.outcome import RunFacts
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import InvalidSchedule
from monitoring.values.usual import completed_spans, middle, p95

RUNS_KNOWN = 1_500  # the newest ones of the task: a day of one that runs each minute
RUNS_APART = 300  # if there are more, runs of one status that started in one slice of the span share a bar
SLICES = 240
WINDOWS_MAX = 150
INCIDENTS_MAX = 100
ALERTS_MAX = 200
DUE_MOMENTS_IN_VIEW = 4  # that a span must hold to suit a schedule

_AN_INSTANT = timedelta(microseconds=1)


class Span(Enum):
    """How far back a page looks."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"

    @property
    def length(self) -> timedelta:
        return {Span.DAY: timedelta(days=1), Span.WEEK: timedelta(days=7), Span.MONTH: timedelta(days=30)}[self]


@dataclass(frozen=True, slots=True)
class Bar:
    """One run, or those of one status that started in one slice of the span, oldest first.

    A run that never started is placed by its submission. `stands_for_others`: it is the newest of a slice in which
    others may have started.
    """

    runs: tuple[RunFacts, ...]
    stands_for_others: bool = False

    @property
    def status(self) -> str:
        return self.runs[0].status

    @property
    def began(self) -> datetime:
        return place_in_time(self.runs[0])[0]

    @property
    def ended(self) -> datetime | None:
        """None while one of them runs or waits."""
        if any(_goes_on(run) for run in self.runs):
            return None
        return max(run.finished_at or place_in_time(run)[0] for run in self.runs)

    @property
    def alone(self) -> RunFacts | None:
        return self.runs[0] if len(self.runs) == 1 else None


@dataclass(frozen=True, slots=True)
class Window:
    """What a check at the instant `until` looks at."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Durations:
    """How long completed runs took; 95 of 100 did not exceed `p95`."""

    count: int
    median: timedelta
    p95: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All lists are oldest first. Incidents and alerts are rows without their facts.

    Before `known_since` each slice of the span shows only its newest run, or none if the monitor has a context; it is
    None if all runs are known. `windows` are those of the schedule as it is now, None if there are too many to tell
    apart. `problem` says why runs could not be queried.
    """

    since: datetime
    until: datetime
    bars: tuple[Bar, ...] = ()
    known_since: datetime | None = None
    problem: str = ""
    windows: tuple[Window, ...] | None = ()
    incidents: tuple[Incident, ...] = ()
    alerts: tuple[Alert, ...] = ()
    durations: Durations | None = None

    @property
    def is_sampled(self) -> bool:
        return any(bar.stands_for_others for bar in self.bars)


def suiting(monitor: Monitor, now: datetime) -> Span:
    """The shortest span in which a few checks were due."""
    return next((span for span in Span if _holds_some(windows_of(monitor, now - span.length, now))), Span.MONTH)


def timeline(monitor: Monitor, since: datetime, until: datetime) -> Timeline:
    """What happened from `since` to `until`, which is now: what is not over reaches up to it."""
    incidents = _incidents(monitor, since)
    using = database_alias()
    try:
        with runs_of(context_of(monitor), using) as only:
            found = _runs(monitor, since, until, using, only)
    except NotQueried as error:
        found = _Found(problem=str(error))
    sampled = tuple(Bar((run,), stands_for_others=True) for run in found.sampled)
    return Timeline(
        since=since,
        until=until,
        bars=(*sampled, *_bars(found.known, since, until)),
        known_since=found.known_since,
        problem=found.problem,
        windows=windows_of(monitor, since, until),
        incidents=incidents,
        alerts=_alerts(incidents, since),
        durations=durations_of(found.known),
    )


def windows_of(monitor: Monitor, since: datetime, until: datetime) -> tuple[Window, ...] | None:
    """The windows of checks that are due in the span; None if there are too many to tell apart."""
    try:
        moments, lookback = monitor.parsed_schedule().upcoming(since), timedelta(hours=monitor.lookback_hours)
        due = list(islice(takewhile(lambda moment: moment <= until, moments), WINDOWS_MAX + 1))
        return None if len(due) > WINDOWS_MAX else tuple(Window(moment - lookback, moment) for moment in due)
    except (InvalidSchedule, OverflowError):  # the row is corrupted
        return ()


def durations_of(runs: Sequence[RunFacts]) -> Durations | None:
    """None if none completed."""
    took = completed_spans(runs)
    return Durations(len(took), middle(took), p95(took), max(took)) if took else None


@dataclass(frozen=True, slots=True)
class _Found:
    """Runs, oldest first."""

    known: tuple[RunFacts, ...] = ()
    sampled: tuple[RunFacts, ...] = ()
    known_since: datetime | None = None
    problem: str = ""


def _runs(monitor: Monitor, since: datetime, until: datetime, using: str, only: Filter) -> _Found:
    oldest = start_of(monitor.task_name, RUNS_KNOWN, until, using)
    # Runs that began up to a span's length earlier may reach into the span.
    reach = since - (until - since)
    probe = Probe(monitor.task_name, max(oldest, reach), context_type=monitor.context_type)
    (started,) = started_in([probe], using, only, limit=RUNS_KNOWN)
    unstarted = newest_unstarted([probe], using, only).values()
    known = tuple(run for run in sorted([*started, *unstarted], key=place_in_time) if _is_in(run, since))
    if oldest <= since:
        return _Found(known)
    return _Found(known, _newest_of_slices(monitor, since, oldest, until, using) if only is ALL else (), oldest)


def _newest_of_slices(
    monitor: Monitor, since: datetime, known_since: datetime, until: datetime, using: str
) -> tuple[RunFacts, ...]:
    """One descent of the index for each slice, however many runs are in it."""
    slice_ = (until - since) / SLICES
    begins = [since + number * slice_ for number in range(ceil((known_since - since) / slice_))]
    ends = [min(begin + slice_, known_since) - _AN_INSTANT for begin in begins]
    probes = [Probe(monitor.task_name, begin, end) for begin, end in zip(begins, ends, strict=True)]
    return tuple(run for runs in started_in(probes, using, limit=1) for run in runs)


def _is_in(run: RunFacts, since: datetime) -> bool:
    return _goes_on(run) or (run.finished_at or place_in_time(run)[0]) >= since


def _goes_on(run: RunFacts) -> bool:
    waits = run.started_at is None and run.status in (RunStatus.PENDING, RunStatus.QUEUED)
    return waits or (run.status == RunStatus.RUNNING and run.finished_at is None)


def _bars(runs: Sequence[RunFacts], since: datetime, until: datetime) -> list[Bar]:
    if len(runs) <= RUNS_APART:
        return [Bar((run,)) for run in runs]
    slice_ = (until - since) / SLICES
    groups: dict[tuple[int, str], list[RunFacts]] = {}
    for run in runs:
        groups.setdefault(((place_in_time(run)[0] - since) // slice_, run.status), []).append(run)
    return [Bar(tuple(group)) for group in groups.values()]


def _incidents(monitor: Monitor, since: datetime) -> tuple[Incident, ...]:
    """Incidents of one monitor do not overlap, so those that reach into the span are the newest ones."""
    newest = Incident.objects.using(database_alias()).filter(monitor=monitor).order_by("-opened_at", "-id")
    shown = list(newest.defer("facts")[:INCIDENTS_MAX])
    return tuple(incident for incident in shown[::-1] if incident.closed_at is None or incident.closed_at >= since)


def _alerts(incidents: Sequence[Incident], since: datetime) -> tuple[Alert, ...]:
    keys = [incident.pk for incident in incidents]
    alerts = Alert.objects.using(database_alias()).filter(incident__in=keys, created_at__gte=since).defer("facts")
    # By time, which no index covers: ordered by key, PostgreSQL might read all alerts until it has met these.
    return tuple(list(alerts.order_by("-created_at", "-id")[:ALERTS_MAX])[::-1]) if keys else ()


def _holds_some(windows: Sequence[Window] | None) -> bool:
    return windows is None or len(windows) >= DUE_MOMENTS_IN_VIEW
