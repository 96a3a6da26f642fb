"""Incidents, spans in which a monitor is not as expected: its checks open, continue and close them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from monitoring.checking.due import Due, among
from monitoring.checking.probe import instant, parsed
from monitoring.models import Incident, Monitor, MonitorState
from monitoring.models.rows import insert, update
from monitoring.values.clock import SET_BY
from monitoring.values.facts import Facts, facts_of
from monitoring.values.incident import IncidentState, Wishes
from monitoring.values.outcome import Outcome
from monitoring.values.text import storable_name

# What `decide` needs of an open incident and its monitor; facts are long and seldom needed. Times are read as text,
# which most of them share, and parsed here: the drivers' own conversions would cost a round ten times as much.
_TIMES = ("opened_at", "last_failed_at", "told_at", "acknowledged_at")
_STATE: tuple[Any, ...] = ("pk", "failing_checks", *(Cast(name, TextField()) for name in _TIMES))
_FOUND = ("failing_checks", "told_at", "facts", "run_id")
_OPENED = ("monitor_id", "monitor_name", "task_name")
_WISHES: tuple[Any, ...] = (
    *("monitor__repeat", "monitor__repeat_hours", "monitor__tell_recovery", "monitor__alert_after"),
    Cast("monitor__state__snoozed_until", TextField()),
)


class Tracked(NamedTuple):
    """An incident as a check left it, and the facts to tell: those of its last failing check, or of its recovery."""

    incident: IncidentState
    facts: Facts
    notify_to: tuple[str, ...]
    wishes: Wishes


def track(claimed: Sequence[Due], outcomes: Sequence[Outcome], now: datetime, using: str) -> list[Tracked | None]:
    """The incident that each outcome opens, continues or closes, in their order; None if the monitor was and is fine.

    Called with the monitors' states locked, so that no other check opens or closes their incidents meanwhile. Nothing
    is written yet: whether people are told is decided first, and stored in the same row.
    """
    # Locked, since another worker may be reminding of one: what it owes must be known before this decides.
    return _tracked(claimed, outcomes, _open_of(claimed, using).select_for_update().order_by("id"), now)


def note_tracked(
    claimed: Sequence[Due], outcomes: Sequence[Outcome], tracked: Sequence[Tracked | None], now: datetime, using: str
) -> None:
    """Writes what `track` found; newly opened incidents get their key."""
    changed = [
        (due, outcome, each) for due, outcome, each in zip(claimed, outcomes, tracked, strict=True) if each is not None
    ]
    closed = [each.incident.pk for _, _, each in changed if each.incident.pk and each.incident.closed_at]
    _stamp("closed_at", closed, now, using)
    failing = [(due, each, _found(each, outcome)) for due, outcome, each in changed if not each.incident.closed_at]
    lasting = [(*found, each.incident.pk) for _, each, found in failing if each.incident.pk]
    update(Incident, (*_FOUND, "id"), lasting, using, last_failed_at=now)
    opened = [(due.row, each.incident, found) for due, each, found in failing if each.incident.pk is None]
    rows = [(row.id, row.name, row.task_name, *found) for row, _, found in opened]
    keys = insert(Incident, (*_OPENED, *_FOUND), rows, using, opened_at=now, last_failed_at=now)
    for (_, incident, _), key in zip(opened, keys, strict=True):
        incident.pk = key


def foresee(looked_at: Sequence[Due], outcomes: Sequence[Outcome], now: datetime, using: str) -> list[Tracked | None]:
    """What `track` would find, without locking anything."""
    return _tracked(looked_at, outcomes, _open_of(looked_at, using), now)


def lasting(now: datetime, using: str) -> Iterator[tuple[IncidentState, Wishes]]:
    """The open incidents of enabled monitors that no check at `now` has decided on; only read, not locked."""
    incidents = Incident.objects.using(using).filter(closed_at=None, monitor__enabled=True)
    for row in incidents.exclude(last_failed_at=now).order_by("id").values_list(*_STATE, *_WISHES):
        *wishes, snoozed_until = row[len(_STATE) :]
        yield _state_of(*row[: len(_STATE)]), Wishes._make((*wishes, instant(snoozed_until)))


def still_open(keys: Collection[int], using: str) -> list[Tracked]:
    """Locks those of these incidents that are open, with enabled monitors; skips what another worker has locked."""
    incidents = Incident.objects.using(using).filter(pk__in=among(keys, using), closed_at=None, monitor__enabled=True)
    locked = incidents.select_for_update(of=("self",), skip_locked=True).select_related("monitor__state").order_by("id")
    return [
        Tracked(
            IncidentState(
                failing_checks=incident.failing_checks,
                pk=incident.pk,
                **{name: getattr(incident, name) for name in _TIMES},
            ),
            facts,
            incident.monitor.addresses,
            wishes_of(incident.monitor, incident.monitor.state),
        )
        for incident in locked
        if incident.monitor and (facts := found_by(incident))
    ]


def wishes_of(monitor: Monitor, state: MonitorState) -> Wishes:
    return Wishes(monitor.repeat, monitor.repeat_hours, monitor.tell_recovery, monitor.alert_after, state.snoozed_until)


def found_by(incident: Incident) -> Facts | None:
    """What its last failing check found; None if that cannot be read, until the next check rewrites it."""
    return Facts.read(incident.facts)


def note_told(incidents: Sequence[IncidentState], now: datetime, using: str) -> None:
    """Notes that mails about these incidents are owed as of now."""
    _stamp("told_at", [incident.pk for incident in incidents if incident.pk], now, using)


def tell_again(now: datetime, using: str) -> None:
    """After the clock was set back: people told at a time now in the future would not be reminded until it is over.

    Called in a transaction.
    """
    incidents = Incident.objects.using(using)
    told = incidents.filter(closed_at=None, told_at__gte=now + SET_BY)
    incidents.filter(pk__in=among(_locked(told), using)).update(told_at=now, last_failed_at=now)


def close_unwatched(now: datetime, using: str) -> None:
    """Closes the incidents of monitors that were deleted or disabled; nobody is told that they recovered."""
    unwatched = Q(monitor=None) | Q(monitor__enabled=False)
    incidents = Incident.objects.using(using).filter(unwatched, closed_at=None)
    with transaction.atomic(using=using):
        _stamp("closed_at", _locked(incidents), now, using)


def acknowledge(keys: Collection[int], by: str, now: datetime, using: str) -> list[Incident]:
    """Acknowledges these incidents; returns those that were open and not yet acknowledged. Writes no other column."""
    incidents = Incident.objects.using(using)
    nobodys = incidents.filter(pk__in=keys, closed_at=None, acknowledged_at=None)
    with transaction.atomic(using=using):
        # In the order of a round: in another each would wait for the other.
        taken = list(nobodys.select_for_update().order_by("id"))
        incidents.filter(pk__in=[incident.pk for incident in taken]).update(
            acknowledged_at=now, acknowledged_by=storable_name(by)
        )
    return taken


def _locked(incidents: QuerySet[Incident]) -> list[int]:
    """Locks these incidents, in the order of a round: in another each would wait for the other. Returns their keys."""
    return list(incidents.select_for_update(of=("self",)).order_by("id").values_list("pk", flat=True))


def _stamp(column: str, keys: Collection[int], now: datetime, using: str) -> None:
    if keys:
        Incident.objects.using(using).filter(pk__in=among(keys, using)).update(**{column: now})


def _open_of(looked_at: Sequence[Due], using: str) -> QuerySet[Incident]:
    keys = among([due.row.id for due in looked_at], using)
    return Incident.objects.using(using).filter(closed_at=None, monitor__in=keys)


def _tracked(
    looked_at: Sequence[Due], outcomes: Sequence[Outcome], known: QuerySet[Incident], now: datetime
) -> list[Tracked | None]:
    open_of = {monitor: _state_of(*row) for monitor, *row in known.values_list("monitor_id", *_STATE)}
    return [
        # Most were fine and still are: they are not worth a call.
        None if outcome.is_as_expected and due.row.id not in open_of else _track(due, outcome, open_of, now)
        for due, outcome in zip(looked_at, outcomes, strict=True)
    ]


def _state_of(
    pk: int, failing_checks: int, opened_at: str, last_failed_at: str, told_at: str | None, acknowledged_at: str | None
) -> IncidentState:
    """The state of an open incident, whose times are given as text."""
    return IncidentState(
        opened_at=parsed(opened_at),
        last_failed_at=parsed(last_failed_at),
        failing_checks=failing_checks,
        told_at=instant(told_at),
        acknowledged_at=instant(acknowledged_at),
        pk=pk,
    )


def _track(due: Due, outcome: Outcome, open_of: Mapping[int, IncidentState], now: datetime) -> Tracked | None:
    incident = after_check(open_of.get(due.row.id), outcome.is_as_expected, now)
    if incident is None:
        return None
    return Tracked(incident, facts_of(outcome, due.row.time_zone), due.notify_to, due.wishes)


def after_check(incident: IncidentState | None, is_as_expected: bool, now: datetime) -> IncidentState | None:
    """A monitor's incident as a check leaves it: opened, continued or closed; None if the monitor was and is fine."""
    if incident is None:
        return None if is_as_expected else IncidentState(opened_at=now, last_failed_at=now)
    if is_as_expected:
        incident.closed_at = now
    else:
        incident.failing_checks += 1
        incident.last_failed_at = now
    return incident


def _found(tracked: Tracked, outcome: Outcome) -> tuple[Any, ...]:
    """The columns that each failing check writes."""
    incident = tracked.incident
    run_id = outcome.run.id if outcome.run else None
    return incident.failing_checks, incident.told_at, tracked.facts.written, run_id
