"""The span in which a monitor is not as expected: opened, carried on and closed by its checks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from monitoring.checking.due import Due
from monitoring.models import Incident, Monitor, MonitorState
from monitoring.values.facts import Facts, facts_of
from monitoring.values.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Tracked:
    """An incident as a check left it, and the facts to tell of it: of its last failing check, or of its recovery."""

    monitor: Monitor
    state: MonitorState
    incident: Incident
    facts: Facts


def track(claimed: Sequence[Due], outcomes: Sequence[Outcome], now: datetime, using: str) -> list[Tracked | None]:
    """What each outcome opened, carried on or closed, in their order; None for a monitor that is fine and was so.

    Called with the monitors' states locked, so that no other check opens or closes incidents of theirs meanwhile.
    """
    tracked = foresee(claimed, outcomes, now, using)
    incidents = [each.incident for each in tracked if each]
    changed = [incident for incident in incidents if incident.pk]
    fields = ["closed_at", "failing_checks", "last_failed_at", "facts"]
    Incident.objects.using(using).bulk_update(changed, fields, batch_size=500)
    Incident.objects.using(using).bulk_create([incident for incident in incidents if incident.pk is None])
    return tracked


def foresee(looked_at: Sequence[Due], outcomes: Sequence[Outcome], now: datetime, using: str) -> list[Tracked | None]:
    """What `track` would do, without writing it."""
    known = Incident.objects.using(using).filter(closed_at=None, monitor__in=[due.monitor.pk for due in looked_at])
    open_of = {incident.monitor_id: incident for incident in known}
    return [
        _track(due, outcome, open_of.get(due.monitor.pk), now) for due, outcome in zip(looked_at, outcomes, strict=True)
    ]


def still_open(using: str) -> list[Tracked]:
    """The open incidents of enabled monitors, locked; those that another worker has are passed over."""
    incidents = Incident.objects.using(using).filter(closed_at=None, monitor__enabled=True)
    locked = incidents.select_for_update(of=("self",), skip_locked=True).select_related("monitor__state").order_by("id")
    return [
        Tracked(incident.monitor, incident.monitor.state, incident, Facts.from_json(incident.facts))
        for incident in locked
        if incident.monitor
    ]


def note_told(incidents: Sequence[Incident], now: datetime, using: str) -> None:
    """Their people are owed a mail as of now."""
    Incident.objects.using(using).filter(pk__in=[incident.pk for incident in incidents]).update(told_at=now)


def close_unwatched(now: datetime, using: str) -> None:
    """Ends the incidents of monitors that were deleted or disabled: nobody hears that they recovered."""
    unwatched = Q(monitor=None) | Q(monitor__enabled=False)
    Incident.objects.using(using).filter(unwatched, closed_at=None).update(closed_at=now)


def acknowledge(keys: Collection[int], by: str, now: datetime, using: str) -> list[Incident]:
    """Somebody takes these incidents on; returns those that were open and nobody's. No other column is written."""
    nobodys = Incident.objects.using(using).filter(pk__in=keys, closed_at=None, acknowledged_at=None)
    taken = list(nobodys)
    nobodys.filter(pk__in=[incident.pk for incident in taken]).update(acknowledged_at=now, acknowledged_by=by)
    return taken


def _track(due: Due, outcome: Outcome, incident: Incident | None, now: datetime) -> Tracked | None:
    if outcome.is_as_expected and incident is None:
        return None
    facts = facts_of(outcome, due.monitor.time_zone)
    if outcome.is_as_expected and incident:
        incident.closed_at = now
        return Tracked(due.monitor, due.state, incident, facts)
    if incident is None:
        incident = Incident(
            monitor=due.monitor, monitor_name=due.monitor.name, task_name=due.monitor.task_name, opened_at=now
        )
    else:
        incident.failing_checks += 1
    incident.last_failed_at = now
    incident.facts = facts.to_json()
    return Tracked(due.monitor, due.state, incident, facts)
