"""The span in which a monitor is not as expected: opened, carried on and closed by its checks."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet

from monitoring.checking.due import Due, among
from monitoring.models import Incident, Monitor, MonitorState
from monitoring.models.rows import insert, update
from monitoring.values.facts import Facts, facts_of
from monitoring.values.outcome import Outcome

# What `decide` asks of an open incident, of its monitor and of that one's state; facts are long and seldom needed.
_OF_INCIDENT = ("id", "closed_at", "last_failed_at", "failing_checks", "told_at", "acknowledged_at")
_OF_MONITOR = ("id", "repeat", "repeat_hours", "tell_recovery", "alert_after")
_OF_STATE = ("monitor_id", "snoozed_until")
_OF_EACH_FAILURE = ("failing_checks", "last_failed_at", "facts", "run_id")


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
    closed = among([incident.pk for incident in changed if incident.closed_at], using)
    incidents.filter(pk__in=closed).update(closed_at=now)
    lasting = [incident for incident in changed if incident.pk and not incident.closed_at]
    update(Incident, "id", [_columns(incident, "id", *_OF_EACH_FAILURE) for incident in lasting], using)
    opened = [incident for incident in changed if incident.pk is None]
    columns = ("monitor_id", "monitor_name", "task_name", "opened_at", *_OF_EACH_FAILURE)
    for incident, key in zip(
        opened, insert(Incident, [_columns(each, *columns) for each in opened], using), strict=True
    ):
        incident.pk = key
    return tracked


def _columns(incident: Incident, *names: str) -> dict[str, Any]:
    return {name: getattr(incident, name) for name in names}


def foresee(looked_at: Sequence[Due], outcomes: Sequence[Outcome], now: datetime, using: str) -> list[Tracked | None]:
    """What `track` would do, without writing it."""
    return _tracked(looked_at, outcomes, _open_of(looked_at, using), now)


def lasting(now: datetime, using: str) -> Iterator[tuple[Incident, Monitor, MonitorState]]:
    """The open incidents of enabled monitors that no check at `now` has asked about, only to ask about them."""
    incidents = Incident.objects.using(using).filter(closed_at=None, monitor__enabled=True)
    columns = [*_OF_INCIDENT, *(f"monitor__{name}" for name in _OF_MONITOR)]
    columns += [f"monitor__state__{name}" for name in _OF_STATE]
    for row in incidents.exclude(last_failed_at=now).order_by("id").values_list(*columns):
        values = iter(row)
        yield (
            Incident.from_db(using, _OF_INCIDENT, list(islice(values, len(_OF_INCIDENT)))),
            Monitor.from_db(using, _OF_MONITOR, list(islice(values, len(_OF_MONITOR)))),
            MonitorState.from_db(using, _OF_STATE, list(values)),
        )


def still_open(keys: Collection[int], using: str) -> list[Tracked]:
    """Those of these incidents that are, locked, with enabled monitors; what another worker has is passed over."""
    incidents = Incident.objects.using(using).filter(pk__in=among(keys, using), closed_at=None, monitor__enabled=True)
    locked = incidents.select_for_update(of=("self",), skip_locked=True).select_related("monitor__state").order_by("id")
    return [
        Tracked(incident.monitor, incident.monitor.state, incident, facts)
        for incident in locked
        if incident.monitor and (facts := found_by(incident))
    ]


def found_by(incident: Incident) -> Facts | None:
    """What its last failing check found; None for what another version stored and this one cannot read.

    The next check writes it anew.
    """
    try:
        return Facts.from_json(incident.facts)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def note_told(incidents: Sequence[Incident], now: datetime, using: str) -> None:
    """Their people are owed a mail as of now."""
    told = among([incident.pk for incident in incidents], using)
    Incident.objects.using(using).filter(pk__in=told).update(told_at=now)


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
    keys = among([due.row.id for due in looked_at], using)
    return Incident.objects.using(using).filter(closed_at=None, monitor__in=keys).defer("facts")


def _tracked(
    looked_at: Sequence[Due], outcomes: Sequence[Outcome], known: Iterable[Incident], now: datetime
) -> list[Tracked | None]:
    open_of = {incident.monitor_id: incident for incident in known}
    return [
        _track(due, outcome, open_of.get(due.row.id), now) for due, outcome in zip(looked_at, outcomes, strict=True)
    ]


def _track(due: Due, outcome: Outcome, incident: Incident | None, now: datetime) -> Tracked | None:
    incident = after_check(incident, outcome.is_as_expected, now)
    if incident is None:
        return None
    facts = facts_of(outcome, due.row.time_zone)
    if incident.pk is None:
        incident.monitor_id, incident.monitor_name, incident.task_name = due.row.id, due.row.name, due.row.task_name
    if not incident.closed_at:
        incident.facts = facts.to_json()
        incident.run_id = outcome.run.id if outcome.run else None
    return Tracked(due.monitor, due.state, incident, facts)


def after_check(incident: Incident | None, is_as_expected: bool, now: datetime) -> Incident | None:
    """A monitor's open incident as a check leaves it: opened, carried on or closed; None where all is fine and was."""
    if incident is None:
        return None if is_as_expected else Incident(opened_at=now, last_failed_at=now)
    if is_as_expected:
        incident.closed_at = now
    else:
        incident.failing_checks += 1
        incident.last_failed_at = now
    return incident
