"""Which monitors are due, and when they are due next. Due is a column; whoever claims it first has it."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from django.db import connections, transaction
from django.db.models import QuerySet

from monitoring.models import DependentTask, Monitor, MonitorState
from monitoring.values.expectation import Expectation
from monitoring.values.outcome import Check
from monitoring.values.schedule import InvalidSchedule, parse_schedule

# When a monitor is looked at again whose schedule cannot be read, or has no due moment any more.
UNPLANNABLE_AGAIN_AFTER = timedelta(hours=1)

PLANNED_AT_ONCE = 1_000  # new monitors in one transaction

# What checking and telling need; select_related, which makes instances of all columns, takes three times as long.
_OF_MONITOR = (
    "id",
    "name",
    "task_name",
    "expected_statuses",
    "lookback_hours",
    "notify_to",
    "context_model",
    "context_type",
    "schedule",
    "time_zone",
    "repeat",
    "repeat_hours",
    "tell_recovery",
    "alert_after",
)

# Each row's own moment in one statement; bulk_update's CASE WHEN costs thirty times as much.
_PLAN = {
    "postgresql": """
UPDATE {table} AS state
SET next_check_at = plan.moment, last_checked_at = COALESCE(%s::timestamptz, state.last_checked_at)
FROM (SELECT (item->>0)::bigint AS monitor_id, (item->>1)::timestamptz AS moment
      FROM json_array_elements(%s::json) AS items(item)) AS plan
WHERE state.monitor_id = plan.monitor_id
""",
    "sqlite": """
UPDATE {table} AS state
SET next_check_at = plan.moment, last_checked_at = COALESCE(%s, state.last_checked_at)
FROM (SELECT json_extract(value, '$[0]') AS monitor_id, json_extract(value, '$[1]') AS moment
      FROM json_each(%s)) AS plan
WHERE state.monitor_id = plan.monitor_id
""",
}


@dataclass(frozen=True, slots=True)
class Due:
    """A monitor to check, with its state's row locked. `problem` says why it cannot be, if its own row was spoilt."""

    monitor: Monitor
    state: MonitorState
    check: Check
    problem: str = ""


def plan_new(using: str) -> None:
    """Plans what was never planned or was edited, from the monitor's last change on: no due moment is missed."""
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
        _write_plan([(state.monitor_id, _next_check(state.monitor, state.monitor.changed_at)) for state in states], using)
    return len(states)


def claim_due(now: datetime, size: int, using: str) -> list[Due]:
    """Up to `size` enabled monitors whose time has come, each to be judged as of its latest due moment.

    Called in the transaction that checks them: until it ends other workers pass over these rows, then they are not due.
    """
    due = MonitorState.objects.using(using).filter(next_check_at__lte=now, monitor__enabled=True)
    states = due.select_for_update(of=("self",), skip_locked=True).order_by("next_check_at", "monitor_id")[:size]
    return [_due(*each, at=_latest_due(each[1], now)) for each in _with_monitors(states, using)]


def claim_named(monitors: Sequence[Monitor], now: datetime, using: str) -> list[Due]:
    """These monitors, to be judged as of now; waits for a worker that has them."""
    states = MonitorState.objects.using(using).filter(monitor__in=[monitor.pk for monitor in monitors])
    locked = states.select_for_update(of=("self",)).order_by("monitor_id")
    return [_due(*each, at=now) for each in _with_monitors(locked, using)]


def as_if_due(monitor: Monitor, now: datetime) -> Due:
    """The monitor as it would be judged now; nothing is claimed and nothing locked, so nothing may follow from it."""
    state = getattr(monitor, "state", None) or MonitorState(monitor=monitor)
    return _due(state, monitor, tuple(task.task_name for task in monitor.dependent_tasks.all()), at=now)


def look_at(monitors: Sequence[Monitor], now: datetime, using: str) -> list[Due]:
    """These monitors, as `claim_named` gives them, but only to see: nothing is claimed, nothing locked."""
    named = Monitor.objects.using(using).filter(pk__in=[monitor.pk for monitor in monitors])
    found = named.select_related("state").prefetch_related("dependent_tasks").order_by("pk")
    return [as_if_due(monitor, now) for monitor in found]


def plan_next(claimed: Sequence[Due], now: datetime, using: str) -> None:
    """The next due moment of each after now: for those that were missed the one check that was made makes up."""
    _write_plan([(due.monitor.pk, _next_check(due.monitor, now)) for due in claimed], using, checked_at=now)


def note_checked(claimed: Sequence[Due], now: datetime, using: str) -> None:
    """What a check by hand leaves: its time, and the plan alone."""
    keys = [due.monitor.pk for due in claimed]
    MonitorState.objects.using(using).filter(monitor__in=keys).update(last_checked_at=now)


def _write_plan(plan: Sequence[tuple[int, datetime]], using: str, checked_at: datetime | None = None) -> None:
    """When each monitor is checked next and, if it was checked now, that it was."""
    connection = connections[using]
    write = connection.ops.adapt_datetimefield_value
    statement = _PLAN[connection.vendor].format(table=MonitorState._meta.db_table)
    moments = json.dumps([[key, str(write(moment))] for key, moment in plan])
    with connection.cursor() as cursor:
        cursor.execute(statement, [write(checked_at) if checked_at else None, moments])


def _with_monitors(
    states: QuerySet[MonitorState], using: str
) -> Iterator[tuple[MonitorState, Monitor, tuple[str, ...]]]:
    """Each state with its monitor and that one's dependent tasks."""
    state_of = {state.monitor_id: state for state in states}
    monitors = Monitor.objects.using(using).filter(pk__in=state_of).values_list(*_OF_MONITOR)
    monitor_of = {row[0]: Monitor.from_db(using, _OF_MONITOR, row) for row in monitors.order_by()}
    tasks_of = _dependent_tasks(state_of, using)
    for key, state in state_of.items():
        yield state, monitor_of[key], tuple(tasks_of.get(key, ()))


def _dependent_tasks(keys: Collection[int], using: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    tasks = DependentTask.objects.using(using).filter(monitor__in=keys)
    for key, task_name in tasks.values_list("monitor_id", "task_name"):
        found.setdefault(key, []).append(task_name)
    return found


def _due(state: MonitorState, monitor: Monitor, dependent_tasks: tuple[str, ...], at: datetime) -> Due:
    try:
        expectation = monitor.expectation(dependent_tasks)
        monitor.parsed_schedule()
    except (TypeError, ValueError) as error:
        unknown = Expectation(task_name=monitor.task_name, expected_statuses=(), dependent_tasks=dependent_tasks)
        return Due(monitor, state, Check(unknown, at=at), f"the monitor {monitor.name!r} cannot be read: {error}")
    return Due(monitor, state, Check(expectation, at=at))


def _latest_due(monitor: Monitor, now: datetime) -> datetime:
    return _latest_until(monitor.schedule, monitor.time_zone, now) or now


def _next_check(monitor: Monitor, after: datetime) -> datetime:
    return _next_after(monitor.schedule, monitor.time_zone, after) or after + UNPLANNABLE_AGAIN_AFTER


# Thousands of monitors share some schedules, and a round asks all of them about one instant.
@lru_cache(maxsize=10_000)
def _latest_until(schedule: str, time_zone: str, instant: datetime) -> datetime | None:
    try:
        return parse_schedule(schedule, time_zone).latest_until(instant)
    except InvalidSchedule:
        return None


@lru_cache(maxsize=10_000)
def _next_after(schedule: str, time_zone: str, instant: datetime) -> datetime | None:
    try:
        return parse_schedule(schedule, time_zone).next_after(instant)
    except InvalidSchedule:
        return None
