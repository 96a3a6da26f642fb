from dataclasses import dataclass

from monitoring.values.run_event import RunStatus


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a queue's signal means for a run.

    `if_retried` replaces the status if another attempt follows; `reason` is for ends that come without an error of
    their own.
    """

    status: RunStatus
    ends: bool = False
    if_retried: RunStatus | None = None
    reason: str = ""
