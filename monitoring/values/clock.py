"""A wall clock that is set says that time has passed which has not: a steady one beside it tells."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitoring.values.outage import Period
from monitoring.values.outcome import Check

SET_BY = timedelta(minutes=1)  # and more; less is no outage, and hardly a window, and a slow answer looks the same
KEPT = 10  # steps


class Clocks:
    """Two clocks that were read together: the wall's, which may be set, and a steady one, in seconds from anywhere.

    `read` is for one thread; what it leaves may be asked for by any.
    """

    def __init__(self) -> None:
        self._last: tuple[datetime, float, tuple[Period, ...]] | None = None

    def read(self, now: datetime, steady: float) -> None:
        self._last = now, steady, self.steps(now, steady)

    def steps(self, now: datetime, steady: float) -> tuple[Period, ...]:
        """The spans that the wall clock was set forwards over since it was first read, the oldest first."""
        if self._last is None:
            return ()
        then, steady_then, steps = self._last
        skipped = (now - then) - timedelta(seconds=steady - steady_then)
        return (*steps, Period(then, then + skipped))[-KEPT:] if skipped >= SET_BY else steps


def as_time_passed(check: Check, steps: Sequence[Period]) -> Check:
    """The check with a window in which as much time has passed as its lookback says.

    What was due while the clock was set forwards looks back from where the clock stood before: else no task that runs
    more often than that would have run.
    """
    for step in reversed(steps):
        if check.threshold < step.ended_at:
            check = check._replace(not_passed=check.not_passed + step.shared(Period(step.began_at, check.at)))
    return check


def was_set_back(last_round: datetime | None, now: datetime) -> bool:
    """Whether the last round was in a time that has not come."""
    return last_round is not None and last_round - now >= SET_BY
