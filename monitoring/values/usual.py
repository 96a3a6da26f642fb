"""How long something usually takes: not on average, but the limit that nearly all of it stayed within."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from monitoring.values.outcome import RunFacts
from monitoring.values.run_event import RunStatus

PERCENT = 95
KNOWN_FROM = 20  # spans: with fewer, the limit would simply be the longest one


@dataclass(frozen=True, slots=True)
class Usual:
    """`within` of the last `of` spans were no longer than `limit`."""

    limit: timedelta
    within: int
    of: int


def usual_limit(spans: Sequence[timedelta]) -> Usual | None:
    """The shortest of these spans that at least 95 in 100 of them do not exceed; None if there are too few."""
    if len(spans) < KNOWN_FROM:
        return None
    limit = p95(spans)
    return Usual(limit, sum(span <= limit for span in spans), len(spans))


def completed_spans(runs: Iterable[RunFacts]) -> list[timedelta]:
    """How long each of the runs took that completed."""
    return [run.took for run in runs if run.status == RunStatus.COMPLETED and run.took is not None]


def middle(spans: Sequence[timedelta]) -> timedelta:
    """The median, which a single run that hung does not shift."""
    return median(spans)  # type: ignore[type-var] # spans can be halved


def p95(spans: Sequence[timedelta]) -> timedelta:
    """The shortest span that at least 95 in 100 do not exceed, by nearest rank; a single span is its own limit."""
    return sorted(spans)[-(-PERCENT * len(spans) // 100) - 1]
