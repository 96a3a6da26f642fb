"""A wall clock that is set forwards shows time that never passed: comparing it with a steady clock reveals this."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitoring.values.outage import Period
from monitoring.values.outcome import Check

# Smaller steps are ignored: they are no outage, hardly change a window, and look the same as a slow answer.
SET_BY = timedelta(minutes=1)
KEPT = 10  # steps


class Clocks:
    """Two clocks read together: the wall clock, which may be set, and a steady one, in seconds from any origin.

    Only one thread may call `read`; any thread may call `steps`.
    """

    def __init__(self) -> None:
        self._last: tuple[datetime, float, tuple[Period, ...]] | None = None

    def read(self, now: datetime, steady: float) -> None:
        self._last = now, steady, self.steps(now, steady)

    def steps(self, now: datetime, steady: float) -> tuple[Period, ...]:
        """The spans that the wall clock was set forwards over since it was first read, oldest first."""
        if self._last is None:
            return ()
        then, steady_then, steps = self._last
        skipped = (now - then) - timedelta(seconds=steady - steady_then)
        return (*steps, Period(then, then + skipped))[-KEPT:] if skipped >= SET_BY else steps


def as_time_passed(check: Check, steps: Sequence[Period]) -> Check:
    """The check with its window extended, so that as much time really passed in it as its lookback says.

    A check that was due inside a span that the clock skipped looks back from where the clock stood before. Otherwise
    every task that runs more often than the span is long would seem not to have run.
    """
    for step in reversed(steps):
        if check.threshold < step.ended_at:
            check = check._replace(not_passed=check.not_passed + step.shared(Period(step.began_at, check.at)))
    return check


def was_set_back(last_round: datetime | None, now: datetime) -> bool:
    """Whether the last round lies in the future: the clock was set back since."""
    return last_round is not None and last_round - now >= SET_BY
