"""Where monitors stand: what every list of them shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import BooleanField, Count, ExpressionWrapper, FilteredRelation, OuterRef, Q, Subquery

from monitoring.checking.due import among
from monitoring.checking.evaluation import evaluate
from monitoring.checking.incidents import found_by
from monitoring.models import Incident, Monitor, MonitorState, database_alias
from monitoring.values.expectation import MAX_LOOKBACK_HOURS, Expectation
from monitoring.values.facts import Facts
from monitoring.values.outcome import Check, RunFacts
from monitoring.values.schedule import InvalidSchedule


class Stands(StrEnum):
    """What the last due check found, never what a check at another moment would find."""

    FAILING = "failing"
    """An incident is open."""

    FINE = "fine"
    """It was checked, and no incident is open."""

    NOT_CHECKED = "not checked yet"
    """Its first due moment has not come."""

    DISABLED = "disabled"
    """Nobody wants it checked."""

    @property
    def tone(self) -> str:
        """How lists mark it, as they mark the tones of runs."""
        return {Stands.FAILING: "bad", Stands.FINE: "good"}.get(self, "idle")


def in_standing(stands: Stands) -> Q:
    """The condition on monitors with this standing; the caller must annotate `is_failing`."""
    match stands:
        case Stands.FAILING:
            return Q(is_failing=True)
        case Stands.FINE:
            return Q(enabled=True, is_failing=False, state__last_checked_at__isnull=False)
        case Stands.NOT_CHECKED:
            return Q(enabled=True, is_failing=False, state__last_checked_at=None)
        case Stands.DISABLED:
            return Q(enabled=False)


def counted(using: str) -> dict[Stands, int]:
    """The number of monitors by standing."""
    # A join, since at most one incident of each is open: EXISTS would run again for each monitor and count.
    still_open = FilteredRelation("incidents", condition=Q(incidents__closed_at=None))
    fails = ExpressionWrapper(Q(enabled=True, still_open__isnull=False), BooleanField())
    monitors = Monitor.objects.using(using).annotate(still_open=still_open).annotate(is_failing=fails)
    found = monitors.aggregate(**{stands.name: Count("pk", filter=in_standing(stands)) for stands in Stands})
    return {stands: found[stands.name] for stands in Stands}


@dataclass(frozen=True, slots=True)
class Standing:
    """`since` is when the current standing began, None if not known.

    `last_run` is the newest run that started, of its context if it has one, within the last ten years.
    """

    monitor: Monitor
    state: MonitorState
    stands: Stands
    since: datetime | None
    incident: Incident | None
    last_run: RunFacts | None

    @property
    def next_check_at(self) -> datetime | None:
        """As planned or, until the next tick plans it, as that tick will plan it; None if no check is coming."""
        if self.stands is Stands.DISABLED:
            return None
        if self.state.next_check_at:
            return self.state.next_check_at
        try:
            return self.monitor.parsed_schedule().next_after(self.monitor.changed_at)
        except InvalidSchedule:
            return None

    @property
    def found(self) -> Facts | None:
        """What the open incident's last failing check found; None without one, or if this version cannot read it."""
        return found_by(self.incident) if self.incident else None


def standings(monitors: Sequence[Monitor], now: datetime) -> list[Standing]:
    """Where each stands, in their order. The number of SQL statements does not grow with them."""
    using = database_alias()
    keys = [monitor.pk for monitor in monitors]
    incidents = Incident.objects.using(using).filter(closed_at=None, monitor__in=among(keys, using))
    open_of = {incident.monitor_id: incident for incident in incidents}
    # Incidents of one monitor do not overlap: the last that opened is the last that closed.
    closed = Incident.objects.filter(monitor=OuterRef("monitor")).exclude(closed_at=None).order_by("-opened_at")
    of_these = MonitorState.objects.using(using).filter(monitor__in=among(keys, using))
    found_states = of_these.annotate(recovered_at=Subquery(closed.values("closed_at")[:1]))
    recovered_at = {state.monitor_id: state.recovered_at for state in found_states}
    states = {state.monitor_id: state for state in found_states}
    found = []
    for monitor, run in zip(monitors, _last_runs(monitors, now), strict=True):
        state = states.get(monitor.pk) or MonitorState(monitor=monitor)
        incident = open_of.get(monitor.pk)
        stands, since = _stands(monitor, state, incident, recovered_at.get(monitor.pk))
        found.append(Standing(monitor, state, stands, since, incident, run))
    return found


def _stands(
    monitor: Monitor, state: MonitorState, incident: Incident | None, recovered_at: datetime | None
) -> tuple[Stands, datetime | None]:
    """Where it stands, and since when."""
    if not monitor.enabled:
        return Stands.DISABLED, None
    if incident:
        return Stands.FAILING, incident.opened_at
    return (Stands.FINE, recovered_at) if state.last_checked_at else (Stands.NOT_CHECKED, None)


def _last_runs(monitors: Sequence[Monitor], now: datetime) -> list[RunFacts | None]:
    """The newest run of each, of its context if it has one: what a check that looks back ten years finds."""
    checks = [
        Check(
            Expectation(
                task_name=monitor.task_name,
                expected_statuses=(),
                lookback_hours=MAX_LOOKBACK_HOURS,
                context_model=monitor.context_model or None,
                context_type=monitor.context_type or None,
            ),
            at=now,
        )
        for monitor in monitors
    ]
    return [outcome.run for outcome in evaluate(checks)]
