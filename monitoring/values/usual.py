"""How long something usually takes: not how long on average, but what nearly all of it stayed within."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

PERCENT = 95
KNOWN_FROM = 20  # spans: of fewer the longest alone would be the limit


@dataclass(frozen=True, slots=True)
class Usual:
    """`within` of the last `of` spans were no longer than `limit`."""

    limit: timedelta
    within: int
    of: int


def usual_limit(spans: Sequence[timedelta]) -> Usual | None:
    """The shortest of these spans that at least 95 in 100 of them do not exceed; None where they are too few."""
    if len(spans) < KNOWN_FROM:
        return None
    limit = p95(spans)
    return Usual(limit, sum(span <= limit for span in spans), len(spans))


def p95(spans: Sequence[timedelta]) -> timedelta:
    """The shortest of them that at least 95 in 100 do not exceed: by the nearest rank, of one span that one."""
    return sorted(spans)[-(-PERCENT * len(spans) // 100) - 1]
