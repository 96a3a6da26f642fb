"""Which monitors are due, and when they are due next. Due is a column; whoever claims it first has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from monitoring.models import Monitor, MonitorState
from monitoring.values.expectation import Expectation
from monitoring.values.outcome import Check
from monitoring.values.schedule import InvalidSchedule

# When a monitor is looked at again whose schedule cannot be read, or has no due moment any more.
UNPLANNABLE_AGAIN_AFTER = timedelta(hours=1)


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
    with transaction.atomic(using=using):
        states = list(unplanned.select_for_update(of=("self",), skip_locked=True).select_related("monitor"))
        for state in states:
            state.next_check_at = _next_check(state.monitor, state.monitor.changed_at)
        MonitorState.objects.using(using).bulk_update(states, ["next_check_at"], batch_size=500)


def claim_due(now: datetime, size: int, using: str) -> list[Due]:
    """Up to `size` enabled monitors whose time has come, each to be judged as of its latest due moment.

    Called in the transaction that checks them: until it ends other workers pass over these rows, then they are not due.
    """
    due = MonitorState.objects.using(using).filter(next_check_at__lte=now, monitor__enabled=True)
    states = due.select_for_update(of=("self",), skip_locked=True).order_by("next_check_at", "monitor_id")[:size]
    return [_due(state, _latest_due(state, now)) for state in _with_monitors(states)]


def claim_named(monitors: Sequence[Monitor], now: datetime, using: str) -> list[Due]:
    """These monitors, to be judged as of now; waits for a worker that has them."""
    states = MonitorState.objects.using(using).filter(monitor__in=[monitor.pk for monitor in monitors])
    return [_due(state, now) for state in _with_monitors(states.select_for_update(of=("self",)).order_by("monitor_id"))]


def as_if_due(monitor: Monitor, now: datetime) -> Due:
    """The monitor as it would be judged now; nothing is claimed and nothing locked, so nothing may follow from it."""
    state = getattr(monitor, "state", None) or MonitorState(monitor=monitor)
    return _due(state, now)


def look_at(monitors: Sequence[Monitor], now: datetime, using: str) -> list[Due]:
    """These monitors, as `claim_named` gives them, but only to see: nothing is claimed, nothing locked."""
    named = Monitor.objects.using(using).filter(pk__in=[monitor.pk for monitor in monitors])
    found = named.select_related("state").prefetch_related("dependent_tasks").order_by("pk")
    return [as_if_due(monitor, now) for monitor in found]


def plan_next(claimed: Sequence[Due], now: datetime, using: str) -> None:
    """The next due moment of each after now: for those that were missed the one check that was made makes up."""
    for due in claimed:
        due.state.next_check_at = _next_check(due.monitor, now)
        due.state.last_checked_at = now
    _write(claimed, ["next_check_at", "last_checked_at"], using)


def note_checked(claimed: Sequence[Due], now: datetime, using: str) -> None:
    """What a check by hand leaves: its time, and the plan alone."""
    for due in claimed:
        due.state.last_checked_at = now
    _write(claimed, ["last_checked_at"], using)


def _write(claimed: Sequence[Due], fields: list[str], using: str) -> None:
    MonitorState.objects.using(using).bulk_update([due.state for due in claimed], fields, batch_size=500)


def _with_monitors(states: QuerySet[MonitorState]) -> QuerySet[MonitorState]:
    return states.select_related("monitor").prefetch_related("monitor__dependent_tasks")


def _due(state: MonitorState, at: datetime) -> Due:
    monitor = state.monitor
    dependent_tasks = tuple(task.task_name for task in monitor.dependent_tasks.all())
    try:
        expectation = monitor.expectation(dependent_tasks)
        monitor.parsed_schedule()
    except (TypeError, ValueError) as error:
        unknown = Expectation(task_name=monitor.task_name, expected_statuses=(), dependent_tasks=dependent_tasks)
        return Due(monitor, state, Check(unknown, at=at), f"the monitor {monitor.name!r} cannot be read: {error}")
    return Due(monitor, state, Check(expectation, at=at))


def _latest_due(state: MonitorState, now: datetime) -> datetime:
    try:
        return state.monitor.parsed_schedule().latest_until(now) or now
    except InvalidSchedule:
        return now


def _next_check(monitor: Monitor, after: datetime) -> datetime:
    try:
        moment = monitor.parsed_schedule().next_after(after)
    except InvalidSchedule:
        moment = None
    return moment or after + UNPLANNABLE_AGAIN_AFTER
