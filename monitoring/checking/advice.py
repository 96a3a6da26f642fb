"""Advice on settings that are allowed but hardly intended: shown beside the form, never refused."""

import sys
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from monitoring.checking.history import ever_ran, near_names, seen_names
from monitoring.checking.runs import last_runs
from monitoring.models import Monitor
from monitoring.values.habit import STARTS_NEEDED
from monitoring.values.schedule import InvalidSchedule, Schedule, parse_schedule

HOUR = timedelta(hours=1)
RUNS_LOOKED_AT = 30  # last runs


def advice(
    monitor: Monitor,
    now: datetime,
    registered: Sequence[str],
    superusers: Sequence[str],
    unrecorded: Collection[str] = (),
) -> list[str]:
    """Sentences for people, none if all is well.

    `registered` are the names of the tasks that the queue knows and whose runs are recorded; `unrecorded` are the names
    of those whose runs never are.
    """
    said = (
        _never_ran(monitor.task_name, registered, unrecorded),
        _unjudged_runs(monitor, now),
        "" if monitor.addresses or superusers else NOBODY,
    )
    return [sentence for sentence in said if sentence]


NOBODY = (
    "Nobody would be told: “Notify to” is empty, and no active superuser has an e-mail address. "
    "Enter an address, or give a superuser one."
)


NEVER_RECORDED = (
    "Runs of “{}” are never recorded, so every check of it fails: it is a task of the monitor itself, or is named in "
    "MONITORING['NOT_RECORDED']. Choose another task, or take the name out of that setting."
)
OF_CELERY = " Celery's tasks are known once they have run, by their whole name, such as “shop.tasks.sync”."


def _never_ran(name: str, registered: Sequence[str], unrecorded: Collection[str]) -> str:
    if name not in unrecorded and ever_ran(name):
        return ""
    return no_run_of(name, registered, seen_names(), unrecorded)


def no_run_of(name: str, registered: Sequence[str], ran: Sequence[str], unrecorded: Collection[str]) -> str:
    """What to say of a task of which no run is known; `ran` are the names of those that have run."""
    if name in unrecorded:
        return NEVER_RECORDED.format(name)
    if name in registered:
        return f"No run of “{name}” is known yet. Huey knows a task of that name, so its first run will be seen."
    near = near_names(name, sorted({*registered, *ran}))
    meant = (
        f" Did you mean {_either(near)}?" if near else " That is fine if the task is new; otherwise check the spelling."
    )
    of_celery = OF_CELERY if "celery" in sys.modules else ""  # which is so wherever its tasks are recorded
    return f"No run of “{name}” is known, and Huey knows no task of that name.{meant}{of_celery}"


def _unjudged_runs(monitor: Monitor, now: datetime) -> str:
    try:
        schedule = monitor.parsed_schedule()
        # Without changes of the clocks: one night a year is no reason to look back further in all others.
        gap = parse_schedule(monitor.schedule, "UTC").longest_gap(now)
        lookback = timedelta(hours=monitor.lookback_hours)
    except (InvalidSchedule, OverflowError):  # the row is corrupted
        return ""
    if gap <= lookback or gap == timedelta.max:  # the latter: it is due at most once in fifty years
        return ""
    starts = [run.started_at for run in last_runs(monitor, RUNS_LOOKED_AT).runs if run.started_at]
    if len(starts) >= STARTS_NEEDED and all(_is_judged(start, schedule, lookback) for start in starts):
        return ""  # as for a task that runs shortly before its check
    return (
        f"Checks are up to {_hours(gap)} apart and each looks back {_hours(lookback)}: runs that start in the other "
        f"{_hours(gap - lookback)} are never judged. That is fine for a task that runs once, shortly before its "
        f"check; otherwise look back {_hours(gap)} or more, or check more often."
    )


def _is_judged(start: datetime, schedule: Schedule, lookback: timedelta) -> bool:
    try:
        due = schedule.next_after(start)
    except OverflowError:  # the run's time is at the end of the calendar
        return False
    return due is not None and due - lookback <= start


def _either(names: Sequence[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _hours(span: timedelta) -> str:
    if span < HOUR:
        minutes = round(span / timedelta(minutes=1), 1)
        return f"{minutes:g} {'minute' if minutes == 1 else 'minutes'}"
    hours = round(span / HOUR, 2)
    return f"{hours:,.10g} {'hour' if hours == 1 else 'hours'}"
