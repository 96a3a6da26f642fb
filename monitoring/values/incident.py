"""An incident and its monitor's wishes, reduced to what checks and decisions need.

A round has thousands of both; model instances would cost it ten times as much.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

MAX_REPEAT_HOURS = 8_760  # a year


class Wishes(NamedTuple):
    """What the people of a monitor want to be told, as stored in the columns of the monitor and of its state."""

    repeat: str
    repeat_hours: int | None
    tell_recovery: bool
    alert_after: int
    snoozed_until: datetime | None = None


@dataclass(slots=True)
class IncidentState:
    """An incident's row without the columns that identify it; `pk` is None if it is not written yet.

    Not frozen: a round writes into it what it finds and tells, and then the row.
    """

    opened_at: datetime
    last_failed_at: datetime
    failing_checks: int = 1
    closed_at: datetime | None = None
    told_at: datetime | None = None
    acknowledged_at: datetime | None = None
    pk: int | None = None
