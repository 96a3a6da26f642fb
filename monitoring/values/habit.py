"""How a task usually runs, judging by its last runs: how often, how regularly, how long."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from monitoring.values.evidence import usual_duration
from monitoring.values.outcome import RunFacts
from monitoring.values.text import every
from monitoring.values.usual import completed_spans, middle, p95

STARTS_NEEDED = 4  # three intervals: fewer do not show what is usual

# A task is regular if at least this share of its intervals is within this fraction of their median.
REGULAR_SHARE = 0.75
REGULAR_WITHIN = 0.25

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# The least interval, and the step it is rounded to: what a person would say, ignoring how late each start was.
_STEPS = (
    (2 * _DAY, _HOUR),
    (6 * _HOUR, 5 * _MINUTE),
    (5 * _MINUTE, _MINUTE),
    (timedelta(0), timedelta(seconds=1)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """`runs` are the last runs, newest first; `starts` are the times at which they started, oldest first.

    `interval` is the median time between two starts, `interval_p95` what 95 of 100 do not exceed. Both are rounded, and
    None if there are too few starts. `took` and `took_p95` are the same for how long a completed run takes, but not
    rounded, and None if too few completed.
    """

    task_name: str
    runs: tuple[RunFacts, ...]
    starts: tuple[datetime, ...]
    interval: timedelta | None = None
    interval_p95: timedelta | None = None
    is_regular: bool = False
    took: timedelta | None = None
    took_p95: timedelta | None = None

    @property
    def how_often(self) -> str:
        """`every hour`, `irregular, about every 20 min`, `too few runs to say: 2`."""
        if self.interval is None:
            return f"too few runs to say: {len(self.starts)}"
        return every(self.interval) if self.is_regular else f"irregular, about {every(self.interval)}"


def habit_of(task_name: str, runs: Sequence[RunFacts]) -> Habit:
    """`runs` are the task's last runs, newest first."""
    starts = tuple(sorted({run.started_at for run in runs if run.started_at}))
    usual = usual_duration(runs)
    habit = Habit(
        task_name=task_name,
        runs=tuple(runs),
        starts=starts,
        took=usual,
        took_p95=None if usual is None else p95(completed_spans(runs)),
    )
    return habit if len(starts) < STARTS_NEEDED else _with_intervals(habit)


def _with_intervals(habit: Habit) -> Habit:
    intervals = [later - earlier for earlier, later in pairwise(habit.starts)]
    usual = middle(intervals)
    near = sum(abs(interval - usual) <= usual * REGULAR_WITHIN for interval in intervals)
    return replace(
        habit,
        interval=_rounded(usual),
        interval_p95=_rounded(p95(intervals)),
        is_regular=near >= len(intervals) * REGULAR_SHARE,
    )


def _rounded(span: timedelta) -> timedelta:
    step = next(step for least, step in _STEPS if span >= least)
    return max(round(span / step), 1) * step
