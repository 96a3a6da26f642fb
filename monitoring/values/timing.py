"""When to check a task that runs by the clock: a little after its usual end, as a crontab in the zone's time."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice, pairwise, takewhile
from math import floor
from statistics import median
from zoneinfo import ZoneInfo

from monitoring.values.habit import Habit
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import Schedule, parse_schedule
from monitoring.values.usual import p95

CLOCK_SHARE = 0.8  # share of starts that must be near one place on the clock
EMPTY_SHARE = 0.1  # share of windows that may hold no run; with more, the task does not keep to that schedule
# The share of a weekday's dates with a run: from MOSTLY on it runs on that day, up to MOSTLY_NOT it does not.
MOSTLY, MOSTLY_NOT = 0.65, 0.35
MOMENTS_LOOKED_AT = 1_000  # due moments: more than there are runs, unless runs come in bursts
GAPS_LOOKED_AT = 100  # due moments: more than a week of a task that runs every two hours
MARGIN = 5  # minutes from the usual end to the check, as in the seed's examples

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_SUB_HOURLY = 45 * _MINUTE  # shorter intervals are counted in minutes
_BY_DAYS = 20 * _HOUR  # from here on, what repeats is the time of day
_MONTHLY = 27 * _DAY
_HOURS_KNOWN_FROM = 2 * _DAY  # a shorter history does not show which hours have no run
_HOURS, _MINUTES = range(24), range(60)
_WEEKDAYS = range(7)  # as crontab counts them: Sunday is 0


@dataclass(frozen=True, slots=True)
class Timing:
    """A schedule, and how long after the usual start its check comes."""

    schedule: Schedule
    after: timedelta

    @property
    def words(self) -> str:
        """`at 08:25 every day, Europe/Berlin`."""
        words = self.schedule.words
        return f"{words[0].lower()}{words[1:]}, {self.schedule.zone}"

    def is_kept(self, starts: Sequence[datetime], lookback: timedelta) -> bool:
        """Whether nearly every check would have found a run that started in its window."""
        moments = self._moments(starts)
        empty = sum(_is_empty(starts, due, lookback) for due in moments)
        return bool(moments) and empty <= len(moments) * EMPTY_SHARE

    def misses_late_runs(self, starts: Sequence[datetime], lookback: timedelta) -> bool:
        """Whether a check would have missed a run that only came late: two runs then start before the next check."""
        return any(
            _is_empty(starts, due, lookback) and bisect_right(starts, following) - bisect_right(starts, due) > 1
            for due, following in pairwise(self._moments(starts))
        )

    def shortest_gap(self, instant: datetime) -> timedelta:
        """The shortest time between two of the next checks, were there no change of the clocks."""
        moments = islice(parse_schedule(self.schedule.text, "UTC").upcoming(instant), GAPS_LOOKED_AT)
        return min(later - earlier for earlier, later in pairwise(moments))

    def _moments(self, starts: Sequence[datetime]) -> list[datetime]:
        until = starts[-1] + self.after
        return list(takewhile(until.__ge__, islice(self.schedule.upcoming(starts[0]), MOMENTS_LOOKED_AT)))


def _is_empty(starts: Sequence[datetime], due: datetime, lookback: timedelta) -> bool:
    return bisect_left(starts, due - lookback) == bisect_right(starts, due)


@dataclass(frozen=True, slots=True)
class _Beat:
    """Starts come at `minute` of each `period`, both in minutes; `offsets` says how far off each start was."""

    period: int
    minute: int
    offsets: tuple[float, ...]


def clock_timing(habit: Habit, interval: timedelta, zone: str) -> Timing | None:
    """None if the starts keep to no time of the hour, day, week or month."""
    beat = _beat(habit, interval, zone)
    if beat is None:
        return None
    after = _check_after(habit, beat)
    dues = [
        _to_minute(_wall(start, zone) - timedelta(minutes=offset)) + timedelta(minutes=after)
        for start, offset in zip(habit.starts, beat.offsets, strict=True)
        if abs(offset) <= _tolerance(beat.period)
    ]
    text = _crontab(interval, beat, after, dues)
    return Timing(parse_schedule(text, zone), timedelta(minutes=after)) if text else None


def _beat(habit: Habit, interval: timedelta, zone: str) -> _Beat | None:
    minutes = round(interval / _MINUTE)
    if interval < _SUB_HOURLY:
        if minutes < MARGIN or 60 % minutes:
            return None
        period = minutes
    else:
        period = 24 * 60 if interval >= _BY_DAYS else 60
    places = [_minute_of_day(_wall(start, zone)) % period for start in habit.starts]
    middle = floor(_middle(places, period) + 0.05) % period  # the minute in which it starts
    offsets = tuple((place - middle + period / 2) % period - period / 2 for place in places)
    near = sum(abs(offset) <= _tolerance(period) for offset in offsets)
    return _Beat(period, middle, offsets) if near >= len(places) * CLOCK_SHARE else None


def _tolerance(period: int) -> float:
    """How many minutes a start may be off: 30 in a daily period, 5 in an hourly one, fewer in a shorter one."""
    return 30 if period > 60 else period / 12


def _middle(places: Sequence[float], period: int) -> float:
    """The median on a dial, which is cut open at its widest empty stretch."""
    dial = sorted(places)
    gaps = [later - earlier for earlier, later in pairwise([*dial, dial[0] + period])]
    cut = gaps.index(max(gaps)) + 1
    return median([*dial[cut:], *(place + period for place in dial[:cut])]) % period


def _check_after(habit: Habit, beat: _Beat) -> int:
    """Minutes from the usual start to the check: past the usual end, at a minute that a person would write.

    A run that started at another time, perhaps by hand, says nothing about the usual end.
    """
    offset_of = dict(zip(habit.starts, beat.offsets, strict=True))
    ends = [
        timedelta(minutes=offset) + run.took
        for run in habit.runs
        if run.started_at and run.took is not None and run.status == RunStatus.COMPLETED
        if abs(offset := offset_of[run.started_at]) <= _tolerance(beat.period)
    ]
    end = max(p95(ends) / _MINUTE, 0) if ends else 0
    if beat.period < 15:
        return max(round(end + max(min(MARGIN, (beat.period - end) / 2), 1)), 1)
    return max(5 * floor((beat.minute + end + MARGIN) / 5 + 0.5) - beat.minute, 1)


def _crontab(interval: timedelta, beat: _Beat, after: int, dues: Sequence[datetime]) -> str:
    """Empty if no crontab can express it."""
    if beat.period < 60:
        minutes = [*range((beat.minute + after) % beat.period, 60, beat.period)]
        return f"{_field(minutes, _MINUTES)} * * * *"
    minute = dues[0].minute
    if beat.period == 60:
        weekdays = _weekdays(dues)
        hours = _hours(interval, dues, weekdays)
        return f"{minute} {_field(hours, _HOURS)} * * {_listed(weekdays, _WEEKDAYS)}" if hours and weekdays else ""
    at = f"{minute} {dues[0].hour}"
    if interval >= _MONTHLY:
        ((day, times),) = Counter(due.day for due in dues).most_common(1)
        return f"{at} {day} * *" if day <= 28 and times >= len(dues) * CLOCK_SHARE else ""
    weekdays = _weekdays(dues)
    return f"{at} * * {_listed(weekdays, _WEEKDAYS)}" if weekdays else ""


def _weekdays(dues: Sequence[datetime]) -> list[int]:
    """The weekdays on which it runs; empty if its runs do not follow the week.

    A day counts as free only if it has passed at least twice, but a whole weekend without a run counts at once.
    """
    passed = Counter(map(_weekday, _dates(dues)))
    ran = Counter(map(_weekday, {due.date() for due in dues}))
    known = [day for day in _WEEKDAYS if passed[day] >= 2]
    if any(MOSTLY_NOT < ran[day] / passed[day] < MOSTLY for day in known):
        return []
    free = {day for day in known if ran[day] / passed[day] <= MOSTLY_NOT}
    if passed[0] and passed[6] and not (ran[0] or ran[6]):
        free |= {0, 6}
    return [day for day in _WEEKDAYS if day not in free]


def _hours(interval: timedelta, dues: Sequence[datetime], weekdays: Sequence[int]) -> list[int]:
    """The hours of the day at which it is checked; empty if they are not the same every day."""
    if dues[-1] - dues[0] < _HOURS_KNOWN_FROM:
        every = round(interval / _HOUR)
        return [] if 24 % every else [*range(dues[0].hour % every, 24, every)]
    days = sum(_weekday(day) in weekdays for day in _dates(dues))
    ran = Counter(hour for _, hour in {(due.date(), due.hour) for due in dues})
    return [hour for hour in _HOURS if ran[hour] >= days / 2]


def _dates(dues: Sequence[datetime]) -> list[date]:
    """All dates from the first to the last."""
    first = dues[0].date()
    return [first + timedelta(days=passed) for passed in range((dues[-1].date() - first).days + 1)]


def _weekday(day: date) -> int:
    return day.isoweekday() % 7


def _field(values: Sequence[int], whole: range) -> str:
    """As a crontab field: `*`, `*/15`, or what `_listed` gives."""
    step = values[1] - values[0] if len(values) > 1 else 0
    is_even = step > 1 and [*values] == [*range(values[0], len(whole), step)] and values[0] < step
    if is_even and not values[0]:
        return f"*/{step}"
    if is_even and len(values) > 4:
        return f"{values[0]}-{whole[-1]}/{step}"
    return _listed(values, whole)


def _listed(values: Sequence[int], whole: range) -> str:
    """`*`, `9-17`, `5,35`."""
    if not values or [*values] == [*whole]:
        return "*"
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]}-{values[-1]}"
    return ",".join(map(str, values))


def _wall(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def _to_minute(wall: datetime) -> datetime:
    return (wall + _MINUTE / 2).replace(second=0, microsecond=0)


def _minute_of_day(wall: datetime) -> float:
    return wall.hour * 60 + wall.minute + wall.second / 60
