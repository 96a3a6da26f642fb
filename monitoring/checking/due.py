"""Which monitors are due, and when they are due next. Due is a column; the first worker to claim a row has it."""

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import cache, lru_cache
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from monitoring.checking.probe import instant
from monitoring.models import DependentTask, Monitor, MonitorState
from monitoring.models.monitor import addresses_in
from monitoring.values.clock import SET_BY
from monitoring.values.expectation import Expectation
from monitoring.values.incident import Wishes
from monitoring.values.outcome import Check
from monitoring.values.schedule import InvalidSchedule, parse_schedule

# When to look again at a monitor whose schedule cannot be read, or has no due moment any more.
UNPLANNABLE_AGAIN_AFTER = timedelta(hours=1)

_AN_INSTANT = timedelta(microseconds=1)

PLANNED_AT_ONCE = 1_000  # new monitors in one transaction

# What checking and telling need, as the driver returns it: model instances cost ten times as much, and about most
# monitors there is nothing to tell. Lists and times stay text, which most monitors share, so parsing can be cached.
_READ = """
SELECT monitor.id, monitor.name, monitor.task_name, CAST(monitor.expected_statuses AS text), monitor.lookback_hours,
  CAST(monitor.notify_to AS text), monitor.context_model, monitor.context_type, monitor.schedule, monitor.time_zone,
  ({dependent_tasks}), monitor.repeat, monitor.repeat_hours, monitor.tell_recovery, monitor.alert_after,
  CAST(state.snoozed_until AS text), CAST(state.next_check_at AS text)
FROM {monitor} AS monitor {join} {state} AS state ON state.monitor_id = monitor.id
WHERE {condition}
"""
_DEPENDENT_TASKS = {
    "postgresql": """SELECT CAST(json_agg(task_name ORDER BY position, id) AS text)
    FROM {table} WHERE monitor_id = monitor.id""",
    "sqlite": """SELECT json_group_array(task_name)
    FROM (SELECT task_name FROM {table} WHERE monitor_id = monitor.id ORDER BY position, id)""",
}
_DUE = "monitor.enabled AND state.next_check_at <= %s ORDER BY state.next_check_at, state.monitor_id LIMIT %s"
_NAMED = "monitor.id IN ({among}) ORDER BY monitor.id"
_CLAIM = {"postgresql": " FOR UPDATE OF state SKIP LOCKED", "sqlite": ""}

# One JSON object from monitor to instant: both databases list its keys and values without parsing each entry.
_PLAN = {
    "postgresql": """
UPDATE {state} SET next_check_at = plan.value::timestamptz, last_checked_at = COALESCE(%s, last_checked_at)
FROM json_each_text(%s::json) AS plan WHERE monitor_id = plan.key::bigint""",
    "sqlite": """
UPDATE {state} SET next_check_at = plan.value, last_checked_at = COALESCE(%s, last_checked_at)
FROM json_each(%s) AS plan WHERE monitor_id = CAST(plan.key AS integer)""",
}

# Thousands of keys as one parameter: no limit on parameters applies, and the ORM spends no time on each key.
_AMONG = {
    "postgresql": "SELECT key::bigint FROM json_array_elements_text(%s::json) AS keys(key)",
    "sqlite": "SELECT value FROM json_each(%s)",
}


class Watched(NamedTuple):
    """A monitor with its state, as they were read; the fields are in the order of the columns of `_READ`."""

    id: int
    name: str
    task_name: str
    expected_statuses: str
    lookback_hours: float
    notify_to: str
    context_model: str
    context_type: str
    schedule: str
    time_zone: str
    dependent_tasks: str | None
    repeat: str
    repeat_hours: int | None
    tell_recovery: bool
    alert_after: int
    snoozed_until: str | None
    next_check_at: str | None


class Due(NamedTuple):
    """A monitor to check; its state's row is locked if it was claimed.

    `problem` says why it cannot be checked, if its own row is corrupted. `next_due` is the first due moment
    after now; it is None if there is none, or if the monitor was not claimed because it is due.
    """

    row: Watched
    check: Check
    problem: str = ""
    next_due: datetime | None = None

    @property
    def notify_to(self) -> tuple[str, ...]:
        return addresses_in(json.loads(self.row.notify_to)) if self.problem else self.check.expectation.notify_to

    @property
    def wishes(self) -> Wishes:
        row = self.row
        return Wishes(row.repeat, row.repeat_hours, row.tell_recovery, row.alert_after, instant(row.snoozed_until))


def among(keys: Collection[int], using: str) -> RawSQL:
    """For `pk__in=`: selects the same rows as the keys themselves would."""
    return RawSQL(_AMONG[connections[using].vendor], [json.dumps(list(keys))])  # noqa: S611 - a constant


def plan_new(using: str) -> None:
    """Plans monitors that are new or were edited, from their last change on, so that no due moment is missed."""
    stateless = Monitor.objects.using(using).filter(state=None)
    MonitorState.objects.using(using).bulk_create(
        [MonitorState(monitor=monitor) for monitor in stateless], ignore_conflicts=True
    )
    unplanned = MonitorState.objects.using(using).filter(next_check_at=None, monitor__enabled=True)
    while _plan_some(unplanned, using):
        pass


def _plan_some(unplanned: QuerySet[MonitorState], using: str) -> int:
    with transaction.atomic(using=using):
        locked = unplanned.select_for_update(of=("self",), skip_locked=True).select_related("monitor")
        states = list(locked.order_by("monitor_id")[:PLANNED_AT_ONCE])
        _write_plan(
            [(state.monitor_id, _next_check(state.monitor, state.monitor.changed_at)) for state in states], using
        )
    return len(states)


def plan_again(now: datetime, using: str) -> None:
    """Replans monitors that were checked before the clock was set back, at a time that is now in the future.

    They would otherwise not be checked until that time is over.
    """
    checked = MonitorState.objects.using(using).filter(last_checked_at__gte=now + SET_BY).select_related("monitor")
    plan = [(state.monitor_id, _next_check(state.monitor, now)) for state in checked.order_by("monitor_id")]
    _write_plan(plan, using, checked_at=now)


def claim_due(now: datetime, size: int, using: str) -> list[Due]:
    """Claims up to `size` enabled monitors that are due, each to be judged as of its latest due moment.

    Called in the transaction that checks them: until it ends other workers skip these rows, and then they are not due.
    """
    connection = connections[using]
    until = connection.ops.adapt_datetimefield_value(now)
    rows = _read("JOIN", _DUE + _CLAIM[connection.vendor], [until, size], using)
    return _due(rows, lambda row: _around(row.schedule, row.time_zone, row.next_check_at or "", now))


def claim_named(monitors: Sequence[Monitor], now: datetime, using: str) -> list[Due]:
    """Claims these monitors, to be judged as of now; waits for any worker that has claimed them."""
    states = MonitorState.objects.using(using).filter(monitor__in=among([monitor.pk for monitor in monitors], using))
    # Locked first and read then: PostgreSQL reads only the rows that it locks as they are after the wait, not the
    # monitors beside them, which may have been edited meanwhile.
    list(states.select_for_update().order_by("monitor_id").values_list("pk"))
    return _due(_read("JOIN", _NAMED, [_keys(monitors)], using), lambda _: (now, None))


def look_at(monitors: Sequence[Monitor], now: datetime, using: str) -> list[Due]:
    """These monitors as `claim_named` returns them, but only to read: nothing is claimed or locked."""
    return _due(_read("LEFT JOIN", _NAMED, [_keys(monitors)], using), lambda _: (now, None))


def plan_next(claimed: Sequence[Due], now: datetime, using: str) -> None:
    """Plans each monitor's next due moment after now. The one check just made makes up for all that were missed."""
    again = now + UNPLANNABLE_AGAIN_AFTER
    _write_plan([(due.row.id, due.next_due or again) for due in claimed], using, checked_at=now)


def note_checked(claimed: Sequence[Due], now: datetime, using: str) -> None:
    """Notes the time of a check by hand; the plan stays as it is."""
    checked = among([due.row.id for due in claimed], using)
    MonitorState.objects.using(using).filter(monitor__in=checked).update(last_checked_at=now)


def _write_plan(plan: Sequence[tuple[int, datetime]], using: str, checked_at: datetime | None = None) -> None:
    """Writes when each monitor is checked next and, if it was checked now, that it was."""
    if not plan:
        return
    connection = connections[using]
    write = connection.ops.adapt_datetimefield_value
    written = cache(lambda instant: str(write(instant)))
    items = json.dumps({monitor: written(instant) for monitor, instant in plan})
    with connection.cursor() as cursor:
        statement = _PLAN[connection.vendor].format(state=MonitorState._meta.db_table)
        cursor.execute(statement, [write(checked_at), items])


def _read(join: str, condition: str, parameters: list[Any], using: str) -> list[Watched]:
    vendor = connections[using].vendor
    statement = _READ.format(
        monitor=Monitor._meta.db_table,
        state=MonitorState._meta.db_table,
        dependent_tasks=_DEPENDENT_TASKS[vendor].format(table=DependentTask._meta.db_table),
        join=join,
        condition=condition.format(among=_AMONG[vendor]),
    )
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(map(Watched._make, cursor.fetchall()))


def _keys(monitors: Sequence[Monitor]) -> str:
    return json.dumps([monitor.pk for monitor in monitors])


def _due(rows: Sequence[Watched], moments: Callable[[Watched], tuple[datetime, datetime | None]]) -> list[Due]:
    """Each row is judged as of the first of its `moments`; the second is when it is due next."""
    found = []
    for row in rows:
        expectation, problem = _expectation(*row[2:11])
        said = f"the monitor {row.name!r} cannot be read: {problem}" if problem else ""
        at, next_due = moments(row)
        found.append(Due(row, Check(expectation, at=at), said, next_due))
    return found


# Cached: a monitor's arguments are the same each minute, until somebody edits it.
@lru_cache(maxsize=20_000)
def _expectation(
    task_name: str,
    expected_statuses: str,
    lookback_hours: float,
    notify_to: str,
    context_model: str,
    context_type: str,
    schedule: str,
    time_zone: str,
    dependent_tasks: str | None,
) -> tuple[Expectation, str]:
    """What is expected, and what is wrong with the row if it is corrupted."""
    dependent = tuple(json.loads(dependent_tasks or "[]"))
    try:
        monitor = Monitor(
            task_name=task_name,
            expected_statuses=json.loads(expected_statuses),
            lookback_hours=lookback_hours,
            notify_to=json.loads(notify_to),
            context_model=context_model,
            context_type=context_type,
        )
        parse_schedule(schedule, time_zone)
        return monitor.expectation(dependent), ""
    except (TypeError, ValueError) as error:
        return Expectation(task_name=task_name, expected_statuses=(), dependent_tasks=dependent), str(error)


def _next_check(monitor: Monitor, after: datetime) -> datetime:
    try:
        return monitor.parsed_schedule().next_after(after) or after + UNPLANNABLE_AGAIN_AFTER
    except InvalidSchedule:
        return after + UNPLANNABLE_AGAIN_AFTER


# Cached: thousands of monitors share a few schedules, and a round asks about one instant.
@lru_cache(maxsize=2_000)
def _around(schedule: str, time_zone: str, planned_at: str, now: datetime) -> tuple[datetime, datetime | None]:
    """The latest due moment up to now, and the first after now; now itself if there is no such moment."""
    try:
        parsed = parse_schedule(schedule, time_zone)
    except InvalidSchedule:
        return now, None
    planned = instant(planned_at) or now
    # Most are checked at their planned moment: computing two moments forwards is cheaper than searching backwards.
    first, second = islice(chain(parsed.upcoming(planned - _AN_INSTANT), repeat(None)), 2)
    if first == planned and (second is None or second > now):
        return planned, second
    return parsed.latest_until(now) or now, parsed.next_after(now)
