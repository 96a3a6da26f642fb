"""The true order of a run's events, which may arrive in any other order: how `RunEvent.seq` is made."""

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST_ATTEMPTS = 2047  # as many as eleven bits can number: Huey's `retries=-1` never ends
_clock = 0


def instant() -> datetime:
    """The wall clock's time, but always later than the last one given, so that the events of a run keep their order."""
    global _clock
    _clock = max(_clock + 1, time.time_ns() // 1000)
    return _EPOCH + timedelta(0, 0, _clock)


def place(attempt: int, at: datetime) -> int:
    """The place of an event of this attempt: by attempt first, since hosts' clocks may differ, then by time.

    `attempt` may begin at any number and grows with each attempt. Places 0 and 1 are for events before the first start.
    """
    return (min(max(0, attempt), _MOST_ATTEMPTS) << 52) | (at - _EPOCH) // _MICROSECOND
