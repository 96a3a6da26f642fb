"""What people do to monitors besides editing: enable, disable and snooze them, and acknowledge their incidents."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from django.db import transaction

from monitoring.checking.due import plan_new
from monitoring.checking.incidents import acknowledge as take_on
from monitoring.models import Incident, Monitor, MonitorState, database_alias
from monitoring.values.zone import zone_named

MORNING = time(8, 0)


def switch(monitors: Sequence[Monitor], enabled: bool) -> list[Monitor]:
    """Enables or disables monitors and returns those that changed; their next check is planned from now on."""
    using = database_alias()
    changed = [monitor for monitor in monitors if monitor.enabled is not enabled]
    with transaction.atomic(using=using):
        # In the order of a check by hand: in another each would wait for the other. So are states locked below.
        for monitor in sorted(changed, key=lambda monitor: monitor.pk):
            monitor.enabled = enabled
            # Only these fields, so that edits of other fields since the monitor was read are kept.
            monitor.save(using=using, update_fields=["enabled"])
        plan_new(using)
    return changed


def snooze(monitors: Sequence[Monitor], until: datetime) -> list[Monitor]:
    """Raises no alerts about these monitors until then, except about the recovery of what people were told of.

    Never shortens a snooze; returns the monitors that were not snoozed for as long already.
    """
    return _snooze(monitors, {monitor.pk: until for monitor in monitors})


def snooze_until_morning(monitors: Sequence[Monitor], now: datetime) -> list[Monitor]:
    """The same until tomorrow at 08:00, in each monitor's own time zone."""
    return _snooze(monitors, {monitor.pk: tomorrow_morning(now, monitor.time_zone) for monitor in monitors})


def tomorrow_morning(now: datetime, zone: str) -> datetime:
    """08:00 on the zone's next calendar day, in UTC."""
    local_zone = zone_named(zone)
    tomorrow = now.astimezone(local_zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, MORNING, tzinfo=local_zone).astimezone(UTC)


def lift_snooze(monitors: Sequence[Monitor], now: datetime) -> list[Monitor]:
    """Ends snoozes, so that mails go out again at once; returns the monitors that were snoozed."""
    using = database_alias()
    states = MonitorState.objects.using(using)
    with transaction.atomic(using=using):
        locked = states.filter(monitor__in=_keys(monitors)).select_for_update().order_by("monitor_id")
        snoozed = set(locked.filter(snoozed_until__gt=now).values_list("monitor_id", flat=True))
        states.filter(monitor__in=snoozed).update(snoozed_until=None)
    return [monitor for monitor in monitors if monitor.pk in snoozed]


def acknowledge(monitors: Sequence[Monitor], by: str, now: datetime) -> list[Monitor]:
    """Acknowledges their open incidents that nobody has acknowledged, and returns the monitors of these."""
    using = database_alias()
    incidents = Incident.objects.using(using).filter(monitor__in=_keys(monitors), closed_at=None)
    taken = take_on(list(incidents.values_list("pk", flat=True)), by, now, using)
    keys = {incident.monitor_id for incident in taken}
    return [monitor for monitor in monitors if monitor.pk in keys]


def _snooze(monitors: Sequence[Monitor], until: dict[int, datetime]) -> list[Monitor]:
    using = database_alias()
    plan_new(using)
    states = MonitorState.objects.using(using)
    with transaction.atomic(using=using):
        locked = states.filter(monitor__in=_keys(monitors)).select_for_update().order_by("monitor_id")
        ends = dict(locked.values_list("monitor_id", "snoozed_until"))
        snoozed = {key for key, end in ends.items() if end is None or end < until[key]}
        # One UPDATE per instant, of this column only: what the checker writes to these rows meanwhile is kept.
        for instant in set(until.values()):
            states.filter(monitor__in=[key for key in snoozed if until[key] == instant]).update(snoozed_until=instant)
    return [monitor for monitor in monitors if monitor.pk in snoozed]


def _keys(monitors: Sequence[Monitor]) -> list[int]:
    return [monitor.pk for monitor in monitors]
