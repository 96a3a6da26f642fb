"""Suggested settings for a monitor of a task, based on how the task usually runs, with the reasons."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from monitoring.values.expectation import MAX_LOOKBACK_HOURS
from monitoring.values.habit import Habit
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import Schedule, parse_schedule
from monitoring.values.text import every, written_span
from monitoring.values.timing import Timing, clock_timing

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# The guidelines: a task's interval in hours, and the least and most hours to look back.
GUIDELINE = {1: (1, 2), 2: (2, 3), 24: (24, 25), 168: (168, 170)}
GUIDELINE_WITHIN = 0.1  # how far off an interval may be and still count as one of these, as a share of it
FRACTIONS = (0.25, 0.5, 0.75, 1, 1.5, 2, 2.5)  # hours that a person would write, before whole hours take over
# Intervals that a person would write, for a task that does not run by the clock.
SHORTEST = 5 * _MINUTE
EVERY = {
    **{f"every {minutes} minutes": minutes * _MINUTE for minutes in (5, 10, 15, 20, 30)},
    "every hour": _HOUR,
    **{f"every {hours} hours": hours * _HOUR for hours in (2, 3, 4, 6, 8, 12)},
    "every day": _DAY,
    **{f"every {days} days": days * _DAY for days in (2, 3, 7, 14, 28)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """`reasons` are sentences."""

    lookback_hours: float
    schedule: Schedule
    expected_statuses: tuple[RunStatus, ...]
    reasons: tuple[str, ...]


def propose(habit: Habit, zone: str) -> Proposal | None:
    """A proposal, with its schedule in the zone's time; None if it is not known how often the task runs."""
    if habit.interval is None or habit.interval_p95 is None:
        return None
    usual = habit.interval if habit.is_regular else habit.interval_p95
    timing = clock_timing(habit, habit.interval, zone)
    lookback = _lookback(habit, habit.interval if timing else usual)
    if timing and not timing.is_kept(habit.starts, lookback.span):
        timing, lookback = None, _lookback(habit, usual)
    schedule = timing.schedule if timing else parse_schedule(_every(lookback.interval), zone)
    overlaps = timing is not None and timing.after >= lookback.interval
    if timing and not overlaps:
        lookback = _one_gap(habit, timing) or lookback
    expected = (RunStatus.COMPLETED,) if timing and not overlaps else (RunStatus.COMPLETED, RunStatus.RUNNING)
    reasons = (
        _how_it_starts(habit),
        _how_long_it_takes(habit),
        lookback.reason,
        _when_checked(habit, schedule, timing),
        "By then the next run has begun, so Running is expected too." if overlaps else "",
        _left_out(habit, lookback, timing),
    )
    return Proposal(
        lookback_hours=lookback.hours,
        schedule=schedule,
        expected_statuses=expected,
        reasons=tuple(filter(None, reasons)),
    )


@dataclass(frozen=True, slots=True)
class _Lookback:
    """`interval` is the interval that the lookback covers."""

    hours: float
    interval: timedelta
    reason: str

    @property
    def span(self) -> timedelta:
        return timedelta(hours=self.hours)


def _lookback(habit: Habit, interval: timedelta) -> _Lookback:
    """1.25 times the interval or, if longer, the interval plus a run. A guideline caps it unless a run takes longer."""
    with_run = interval + (habit.took_p95 or timedelta(0))
    hours = _as_written(max(with_run, interval * 1.25))
    noun = "the interval" if interval == habit.interval else "the longest usual interval"
    why = f"{noun} and what a run may take" if with_run > interval * 1.25 else f"1.25 times {noun}"
    reason = f"Look back {hours:g} h: {why}."
    if guideline := _guideline(interval):
        least, most = guideline
        said = f"the guidelines say {least}–{most} h for a task that runs {every(interval)}"
        needed = _as_written(with_run)
        if needed > most:
            hours, reason = needed, f"Look back {needed:g} h, though {said}: a run may take that much longer."
        elif hours > most:
            hours, reason = most, f"Look back {most} h, since {said}; 1.25 times the interval would be {hours:g} h."
        else:
            reason = f"Look back {hours:g} h: {why}; {said}."
    return _Lookback(min(float(hours), float(MAX_LOOKBACK_HOURS)), interval, reason)


def _one_gap(habit: Habit, timing: Timing) -> _Lookback | None:
    """A window that notices a single missed run; None below an hour, or if a run has come too late for it."""
    gap = timing.shortest_gap(habit.starts[0])
    kept = timing.after < gap and timing.is_kept(habit.starts, gap) and not timing.misses_late_runs(habit.starts, gap)
    if gap < _HOUR or not kept:
        return None
    reason = (
        f"Look back {gap / _HOUR:g} h, as long as the time between two checks, so that a single missed run is noticed."
    )
    return _Lookback(gap / _HOUR, gap, reason)


def _guideline(interval: timedelta) -> tuple[int, int] | None:
    hours = interval / _HOUR
    return next((GUIDELINE[row] for row in GUIDELINE if abs(hours - row) <= row * GUIDELINE_WITHIN), None)


def _as_written(span: timedelta) -> float:
    hours = span / _HOUR
    return next((each for each in FRACTIONS if hours <= each), ceil(hours))


def _every(interval: timedelta) -> str:
    """The longest entry of EVERY that is not longer than the interval."""
    return [text for text, span in EVERY.items() if span <= max(interval, SHORTEST)][-1]


def _how_it_starts(habit: Habit) -> str:
    starts = f"Its last {len(habit.starts)} runs started"
    if habit.is_regular or not (habit.interval and habit.interval_p95):
        return f"{starts} {habit.how_often}."
    within = f"half of them within {written_span(habit.interval)} of the one before"
    return f"{starts} irregularly: {within}, 95 of 100 within {written_span(habit.interval_p95)}."


def _how_long_it_takes(habit: Habit) -> str:
    if habit.took is None or habit.took_p95 is None:
        return "How long a run takes is not known: too few have completed."
    return f"A run usually takes {written_span(habit.took)}, and 95 of 100 at most {written_span(habit.took_p95)}."


def _when_checked(habit: Habit, schedule: Schedule, timing: Timing | None) -> str:
    if timing:
        return f"Check {timing.words}: {written_span(timing.after)} after the usual start, past the usual end."
    oftener = habit.interval is not None and habit.interval < SHORTEST
    why = "it runs more often than that" if oftener else "its runs start at no fixed time"
    return f"Check {schedule.text}: {why}. A check may find a run in progress, so Running is expected too."


def _left_out(habit: Habit, lookback: _Lookback, timing: Timing | None) -> str:
    """What a window that is longer than the time between two runs does not notice."""
    if lookback.interval < _HOUR:
        return ""
    if timing is None:
        is_seen = habit.interval and lookback.span + EVERY[_every(lookback.interval)] <= 2 * habit.interval
        if is_seen:
            return ""
        why = (
            "checks come at other intervals than runs"
            if habit.is_regular
            else "the task starts too irregularly for a shorter window"
        )
        return f"A single missed run may go unnoticed: {why}."
    gap = timing.shortest_gap(habit.starts[0])
    if lookback.span < gap + timing.after:
        return ""
    return (
        "A single missed run goes unnoticed, since the one before it is still in the window; looking back "
        f"{gap / _HOUR:g} h would notice it, and report runs that only start late."
    )
