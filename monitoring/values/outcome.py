"""What a check asks, and what it finds."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from monitoring.values.expectation import Expectation

END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class Check(NamedTuple):
    """One question: is `expectation` met, looking back from the instant `at`?

    A run that started after `until` is ignored; a live check sees every run. `not_passed` is the part of its window
    that never passed, because a clock was set forwards.
    """

    expectation: Expectation
    at: datetime
    until: datetime = END_OF_TIME
    not_passed: timedelta = timedelta(0)

    @property
    def threshold(self) -> datetime:
        """The start of the window, inclusive."""
        return _earlier(self.at, self.expectation.lookback_hours, self.not_passed)


@lru_cache(maxsize=1_000)  # thousands of checks share their window
def _earlier(instant: datetime, hours: float, not_passed: timedelta) -> datetime:
    return instant - timedelta(hours=hours) - not_passed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run as it stood when it was read. `submitted_at` and `finished_at` are None if nobody reported them."""

    id: int
    task_id: str
    status: str
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int = 0

    @property
    def took(self) -> timedelta | None:
        """How long the run took; None if it has not ended or its times are not known."""
        if self.started_at is None or self.finished_at is None or self.finished_at < self.started_at:
            return None
        return self.finished_at - self.started_at


class Verdict(StrEnum):
    AS_EXPECTED = "as expected"
    """The newest run in the window has an expected status."""

    STATUS_MISMATCH = "status mismatch"
    """The newest run in the window has another status."""

    NOT_EXECUTED = "not executed"
    """There is no run in the window."""

    NOT_JUDGED = "could not be checked"
    """The question could not be answered, for instance because the context model is gone or no run could have been
    recorded; `reason` says why."""


class Outcome(NamedTuple):
    """`run` decided the verdict (None: there was none); `waiting` is the newest submitted run that never started."""

    check: Check
    verdict: Verdict
    run: RunFacts | None = None
    waiting: RunFacts | None = None
    reason: str = ""

    @property
    def is_as_expected(self) -> bool:
        return self.verdict is Verdict.AS_EXPECTED
