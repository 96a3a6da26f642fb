"""When a monitor is checked: five crontab fields, a macro such as @daily, or an interval such as "every 30 minutes".

Where the clocks change, crontab follows Debian's cron. A time of day that is skipped is due right after the gap, and
one that comes twice is due once. But if the minute or hour field starts with `*`, it is due whenever a clock shows it.
Cronsim only lists the times that a clock may show. Which instants they are is decided here, since cronsim's own answer
near half-hour changes depends on the starting point.

An interval's minutes and hours are counted in elapsed time, from midnight of 2000-01-01 in the schedule's zone; its
days are counted on the zone's calendar.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from heapq import merge
from itertools import count, islice, pairwise, takewhile, tee
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from monitoring.values.text import head

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
LONGEST_INTERVAL = timedelta(days=3660)
LONGEST_TEXT = 200
EXAMPLES = "five crontab fields such as '35 8 * * *', @daily, or 'every 30 minutes'"
HINT = f"write {EXAMPLES}"
ZONES = "an IANA name such as 'Europe/Berlin' or 'UTC'"

# A wall is what a clock on the wall shows: a time without a zone, which in a given zone is zero, one or two instants.
_ANCHOR = datetime(2000, 1, 1)  # noqa: DTZ001
_INTERVAL = re.compile(r"every\s+(?:(\d+)\s+)?(minute|hour|day)s?", re.IGNORECASE)
_GAPS_LOOKED_AT = 400  # due moments: more than a year if daily, more than a week if half-hourly
_YEARS_LOOKED_AT = 50  # as far ahead as cronsim looks for a time that a clock may show
_MINUTE = timedelta(minutes=1)


class InvalidSchedule(ValueError):
    """A text that is not a schedule, a zone that is none, or both.

    `problems` say what is wrong and what would be right, by the name of the monitor's field: `schedule`, `time_zone`.
    """

    def __init__(self, problems: dict[str, str]):
        self.problems = problems
        super().__init__("; ".join(problems.values()))


@dataclass(frozen=True, slots=True)
class Schedule:
    """`text` is as a person wrote it, `zone` an IANA name. Instants must be aware; those returned are in UTC."""

    text: str
    zone: str

    def next_after(self, instant: datetime) -> datetime | None:
        """The first due moment after the instant; None when there is none within fifty years."""
        return next(self.upcoming(instant), None)

    def upcoming(self, instant: datetime) -> Iterator[datetime]:
        """The due moments after the instant, in order."""
        latest = instant
        for moment in self._moments(instant):
            if moment > latest:
                yield moment
                latest = moment

    def latest_until(self, instant: datetime) -> datetime | None:
        """The last due moment that is not after the instant; None when there was none within fifty years."""
        latest = None
        for moment in self.upcoming(self._before_latest(instant)):
            if moment > instant:
                break
            latest = moment
        return latest

    def longest_gap(self, instant: datetime) -> timedelta:
        """The longest time between two successive due moments, among the next few hundred and within fifty years."""
        moments = islice(self.upcoming(instant), _GAPS_LOOKED_AT)
        return max((later - earlier for earlier, later in pairwise(moments)), default=timedelta.max)

    @property
    def words(self) -> str:
        """`At 08:35 every day`, `Every 30 minutes`."""
        if self._cron:
            return CronSim(self._cron, _ANCHOR).explain()
        number, unit = _interval(self.text)
        return f"Every {unit}" if number == 1 else f"Every {number} {unit}s"

    @property
    def _cron(self) -> str:
        return "" if _INTERVAL.fullmatch(self.text) else MACROS.get(self.text.lower(), self.text)

    def _moments(self, instant: datetime) -> Iterator[datetime]:
        """Due moments in order; some may not be after the instant, and one may come twice."""
        zone = ZoneInfo(self.zone)
        if not self._cron:
            return _interval_moments(*_interval(self.text), instant, zone)
        wall = _wall(instant, zone)
        # If this wall comes twice and this is the first time, walls that are already past will come again.
        repeated = _shown(wall, zone, fold=1) - _shown(wall, zone, fold=0)
        walls = takewhile(lambda due: due.year <= wall.year + _YEARS_LOOKED_AT, CronSim(self._cron, wall - repeated))
        if not _comes_by_the_star(self._cron):
            return (_once(due, zone) for due in walls)
        first, again = tee(due for due in walls if not _is_skipped(due, zone))
        return merge((_shown(due, zone, fold=0) for due in first), (_shown(due, zone, fold=1) for due in again))

    def _before_latest(self, instant: datetime) -> datetime:
        """An instant from which going forward soon reaches the last due moment."""
        zone = ZoneInfo(self.zone)
        if not self._cron:
            number, unit = _interval(self.text)
            return instant - 2 * number * UNITS[unit]
        walls = CronSim(self._cron, _wall(instant, zone), reverse=True)
        shown = (_shown(due, zone, fold=0) for due in walls if not _is_skipped(due, zone))
        return next(shown, instant) - _MINUTE


def _comes_by_the_star(cron: str) -> bool:
    """Debian's cron takes such a line to mean "every so often", and any other "at this time of day"."""
    minute, hour, *_ = cron.split()
    return minute.startswith("*") or hour.startswith("*")


def _interval_moments(number: int, unit: str, instant: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    step = number * UNITS[unit]
    if unit == "day":
        passed = (_wall(instant, zone) - _ANCHOR) // step
        return (_once(_ANCHOR + step * steps, zone) for steps in count(passed))
    anchor = _once(_ANCHOR, zone)
    return (anchor + step * steps for steps in count((instant - anchor) // step))


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _shown(wall: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    """The instant that shows the wall: in a fold the first or the second one, in a gap one after it or before it."""
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _is_skipped(wall: datetime, zone: ZoneInfo) -> bool:
    return _shown(wall, zone, fold=1) < _shown(wall, zone, fold=0)


def _once(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant that shows the wall or, if it is skipped, the end of the gap."""
    if not _is_skipped(wall, zone):
        return _shown(wall, zone, fold=0)
    before, after = _shown(wall, zone, fold=1), _shown(wall, zone, fold=0)
    minutes = range((after - before) // _MINUTE)
    return before + _MINUTE * bisect_left(minutes, wall, key=lambda passed: _wall(before + _MINUTE * passed, zone))


def _interval(text: str) -> tuple[int, str]:
    """The number and the unit in the text of an interval."""
    ((number, unit),) = _INTERVAL.findall(text)
    return int(number or 1), unit.lower()


@cache
def _zones() -> set[str]:
    return available_timezones()


@lru_cache(maxsize=20_000)
def parse_schedule(text: str, zone: str) -> Schedule:
    """Raises InvalidSchedule if the text is no schedule or is never due, or if the zone is not known."""
    text = "\n".join(" ".join(line.split()) for line in text.strip().splitlines())
    zone_problem = _problem_of_zone(zone)
    schedule = Schedule(text, "UTC" if zone_problem else zone)
    found = {"schedule": _problem_of_text(schedule), "time_zone": zone_problem}
    if problems := {field: problem for field, problem in found.items() if problem}:
        raise InvalidSchedule(problems)
    return schedule


def _problem_of_zone(zone: str) -> str:
    if zone in _zones():
        return ""
    return f"{head(zone, 60)!r} is not a time zone; write {ZONES}" if zone else f"enter a time zone: {ZONES}"


def _problem_of_text(schedule: Schedule) -> str:
    if not schedule.text:
        return f"enter a schedule: {EXAMPLES}"
    problem = _problem_of_form(schedule.text) or _problem_of_times(schedule)
    return f"{head(schedule.text, 60)!r} {problem}" if problem else ""


def _problem_of_form(text: str) -> str:
    if "\n" in text:
        return f"is more than one line; {HINT}"
    if len(text) > LONGEST_TEXT:
        return f"is longer than {LONGEST_TEXT} characters; {HINT}"
    if not text.isascii():
        return f"has characters that no schedule has; {HINT}"
    if text.startswith("@") and text.lower() not in MACROS:
        return f"is not a schedule; there are {', '.join(MACROS)}"
    return ""


def _problem_of_times(schedule: Schedule) -> str:
    if not schedule._cron:
        number, unit = _interval(schedule.text)
        fits = 1 <= number <= LONGEST_INTERVAL // UNITS[unit]
        return "" if fits else f"is not between a minute and {LONGEST_INTERVAL.days} days"
    fields = schedule._cron.split()
    if len(fields) != 5:
        return f"has {len(fields)} field{'' if len(fields) == 1 else 's'} instead of 5; {HINT}"
    try:
        comes = schedule.next_after(_ANCHOR.replace(tzinfo=UTC))
    except CronSimError as error:
        if str(error) == "Bad day-of-month" and _is_day(fields[2]):
            return "never occurs: there is no such date"
        return f"has a {str(error).lower()}; {HINT}"
    return "" if comes else "never occurs"


def _is_day(field: str) -> bool:
    """Cronsim says "bad day" both of a day that no month has and of one that only the named months lack."""
    try:
        CronSim(f"0 0 {field} * *", _ANCHOR)
    except CronSimError:
        return False
    return True
