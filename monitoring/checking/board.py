"""What somebody on call must know first: what fails, what is unusual, and whether the monitor itself works."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from monitoring.checking.evidence import Case, gather_cases
from monitoring.checking.health import TICK_LATE_AFTER, Problem, last_tick, problems
from monitoring.checking.incidents import found_by
from monitoring.checking.standing import counted
from monitoring.checking.unusual import Unusual, unusual_runs
from monitoring.models import Incident, Monitor, database_alias
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.facts import Facts

FAILING_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The number of monitors by standing as of `made_at`, and what is wrong with the monitor itself.

    `ticked_at` is when a consumer last looked for due checks, None if none ever has.
    """

    made_at: datetime
    ticked_at: datetime | None
    problems: tuple[Problem, ...]
    failing: int
    fine: int
    not_checked: int
    disabled: int

    @property
    def enabled(self) -> int:
        return self.failing + self.fine + self.not_checked

    @property
    def is_stale(self) -> bool:
        """Nothing is checking, so what is shown is out of date."""
        return self.ticked_at is None or self.made_at - self.ticked_at > TICK_LATE_AFTER

    def __str__(self) -> str:
        """What matters most, in one sentence."""
        return "The monitors are not being checked." if self.enabled and self.is_stale else self.standing

    @property
    def standing(self) -> str:
        """Where the monitors stand, in one sentence."""
        if not self.enabled:
            return "All monitors are disabled." if self.disabled else "There are no monitors yet."
        if self.enabled == 1 and not self.not_checked:
            return "The monitor is failing." if self.failing else "The monitor is as expected."
        if self.failing:
            return f"{self.failing:,} of {_monitors(self.enabled)} {_is(self.failing)} failing."
        if not self.fine:
            return f"{_monitors(self.enabled)} {_is(self.enabled)} yet to be checked."
        if self.not_checked:
            return f"{self.fine:,} of {_monitors(self.enabled)} {_is(self.fine)} as expected, and none is failing."
        return f"All {_monitors(self.fine)} are as expected."


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A monitor with its open incident, and what the last check found.

    `facts` is None if another version stored what this one cannot read. `snoozed_until` is None once that is over.
    """

    monitor: Monitor
    incident: Incident
    facts: Facts | None
    evidence: Evidence
    snoozed_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """`failing` holds the FAILING_SHOWN newest, newest first; `unusual` holds runs of tasks that are not failing."""

    head: Head
    failing: tuple[Failing, ...]
    unusual: tuple[Unusual, ...]


def board(now: datetime) -> Board:
    """The whole board. The number of SQL statements does not grow with monitors, incidents and runs."""
    newest = _open_incidents().select_related("monitor__state").order_by("-opened_at", "-pk")
    told_above = set(_open_incidents().values_list("task_name", flat=True))
    return Board(
        head=head(now),
        failing=tuple(_failing(newest[:FAILING_SHOWN], now)),
        unusual=tuple(unusual_runs(now, but_of=told_above)),
    )


def head(now: datetime) -> Head:
    """Only the first lines of the board."""
    counts = {stands.name.lower(): count for stands, count in counted(database_alias()).items()}
    return Head(made_at=now, ticked_at=last_tick(), problems=tuple(problems(now)), **counts)


def _open_incidents() -> QuerySet[Incident]:
    return Incident.objects.using(database_alias()).filter(closed_at=None, monitor__enabled=True)


def _failing(incidents: QuerySet[Incident], now: datetime) -> Iterator[Failing]:
    found = [(incident, found_by(incident)) for incident in incidents]
    cases = {incident.pk: Case(facts, incident, incident.monitor) for incident, facts in found if facts}
    evidence = dict(zip(cases, gather_cases([*cases.values()], now), strict=True))
    for incident, facts in found:
        if monitor := incident.monitor:  # never None: the query requires an enabled monitor
            yield Failing(
                monitor=monitor,
                incident=incident,
                facts=facts,
                evidence=evidence.get(incident.pk, NOTHING),
                snoozed_until=monitor.state.snoozed_at(now) if hasattr(monitor, "state") else None,
            )


def _monitors(count: int) -> str:
    return "1 monitor" if count == 1 else f"{count:,} monitors"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
