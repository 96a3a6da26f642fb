"""Advice on settings that are allowed but hardly intended: shown beside the form, never refused."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitoring.checking.history import ever_ran, near_names, seen_names
from monitoring.models import Monitor
from monitoring.values.schedule import InvalidSchedule

HOUR = timedelta(hours=1)


def advice(monitor: Monitor, now: datetime, registered: Sequence[str], superusers: Sequence[str]) -> list[str]:
    """Sentences for people, none if all is well; `registered` are the task names that the queue knows."""
    said = (
        _never_ran(monitor.task_name, registered),
        _unjudged_runs(monitor, now),
        "" if monitor.addresses or superusers else NOBODY,
    )
    return [sentence for sentence in said if sentence]


NOBODY = (
    "Nobody would be told: “Notify to” is empty, and no active superuser has an e-mail address. "
    "Enter an address, or give a superuser one."
)


def _never_ran(name: str, registered: Sequence[str]) -> str:
    if ever_ran(name):
        return ""
    if name in registered:
        return f"No run of “{name}” is known yet. Huey knows a task of that name, so its first run will be seen."
    near = near_names(name, sorted({*registered, *seen_names()}))
    meant = (
        f" Did you mean {_either(near)}?" if near else " That is fine if the task is new; otherwise check the spelling."
    )
    return f"No run of “{name}” is known, and Huey knows no task of that name.{meant}"


def _unjudged_runs(monitor: Monitor, now: datetime) -> str:
    try:
        gap, lookback = monitor.parsed_schedule().longest_gap(now), timedelta(hours=monitor.lookback_hours)
    except (InvalidSchedule, OverflowError):  # the row is corrupted
        return ""
    if gap <= lookback or gap == timedelta.max:  # the latter: it is due at most once in fifty years
        return ""
    return (
        f"Checks are up to {_hours(gap)} apart and each looks back {_hours(lookback)}: runs that start in the other "
        f"{_hours(gap - lookback)} are never judged. That is fine for a task that runs once, shortly before its "
        f"check; otherwise look back {_hours(gap)} or more, or check more often."
    )


def _either(names: Sequence[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _hours(span: timedelta) -> str:
    if span < HOUR:
        minutes = round(span / timedelta(minutes=1), 1)
        return f"{minutes:g} {'minute' if minutes == 1 else 'minutes'}"
    hours = round(span / HOUR, 2)
    return f"{hours:,.10g} {'hour' if hours == 1 else 'hours'}"
