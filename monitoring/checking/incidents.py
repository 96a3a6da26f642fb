"""The span in which a monitor is not as expected: opened, carried on and closed by its checks."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

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
    # Locked, since another worker may just remind of one: what it owes must be known before this decides.
    locked = _open_of(claimed, using).select_for_update(of=("self",)).order_by("id")
    tracked = _tracked(claimed, outcomes, locked, now)
    incidents = Incident.objects.using(using)
    changed = [each.incident for each in tracked if each]
    closed = [incident.pk for incident in changed if incident.closed_at]
    incidents.filter(pk__in=closed).update(closed_at=now)
    incidents.bulk_create(
        [incident for incident in changed if incident.pk and not incident.closed_at],
        # bulk_update's CASE WHEN costs ten times as much.
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["failing_checks", "last_failed_at", "facts"],
    )
    incidents.bulk_create([incident for incident in changed if incident.pk is None])
    return tracked


def foresee(looked_at: Sequence[Due], outcomes: Sequence[Outcome], now: datetime, using: str) -> list[Tracked | None]:
    """What `track` would do, without writing it."""
    return _tracked(looked_at, outcomes, _open_of(looked_at, using), now)


def still_open(using: str) -> list[Tracked]:
    """The open incidents of enabled monitors, locked; those that another worker has are passed over."""
    incidents = Incident.objects.using(using).filter(closed_at=None, monitor__enabled=True)
    locked = incidents.select_for_update(of=("self",), skip_locked=True).select_related("monitor__state").order_by("id")
    return [
        Tracked(incident.monitor, incident.monitor.state, incident, facts)
        for incident in locked
        if incident.monitor and (facts := _readable(incident))
    ]


def _readable(incident: Incident) -> Facts | None:
    """None for what another version stored and this one cannot read: its next check writes it anew."""
    try:
        return Facts.from_json(incident.facts)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


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


def _open_of(looked_at: Sequence[Due], using: str) -> QuerySet[Incident]:
    return Incident.objects.using(using).filter(closed_at=None, monitor__in=[due.monitor.pk for due in looked_at])


def _tracked(
    looked_at: Sequence[Due], outcomes: Sequence[Outcome], known: Iterable[Incident], now: datetime
) -> list[Tracked | None]:
    open_of = {incident.monitor_id: incident for incident in known}
    return [
        _track(due, outcome, open_of.get(due.monitor.pk), now) for due, outcome in zip(looked_at, outcomes, strict=True)
    ]


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
