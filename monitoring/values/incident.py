"""An incident and its monitor's wishes, as much of them as checks and decisions ask.

A round has thousands of both: instances of models cost it ten times as much.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Wishes(NamedTuple):
    """What a monitor's people want to hear, as the columns of the monitor and of its state have it."""

    repeat: str
    repeat_hours: int | None
    tell_recovery: bool
    alert_after: int
    snoozed_until: datetime | None = None


@dataclass(slots=True)
class IncidentState:
    """Its row, without what names it; `pk` is None for one that is not written yet."""

    opened_at: datetime
    last_failed_at: datetime
    failing_checks: int = 1
    closed_at: datetime | None = None
    told_at: datetime | None = None
    acknowledged_at: datetime | None = None
    pk: int | None = None
