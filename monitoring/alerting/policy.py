"""Whether to tell people about an incident now: one pure function, with a named answer for each case."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache

from monitoring.models import Repeat
from monitoring.values.incident import MAX_REPEAT_HOURS, IncidentState, Wishes


class Decision(Enum):
    OPENED = "opened"
    """Nobody was told of it yet, and enough checks failed: tell."""

    REMINDED = "reminded"
    """They were told, and it is time to tell them again."""

    RECOVERED = "recovered"
    """It is over: tell those who were told of it."""

    QUIET_SNOOZED = "snoozed"
    """Somebody has snoozed the mails; after that it is decided again."""

    QUIET_ACKNOWLEDGED = "acknowledged"
    """They were told and somebody has taken it on; its recovery is still told."""

    QUIET_TOO_FEW = "too few failing checks"
    """Fewer checks in a row failed than the monitor asks for."""

    QUIET_TOLD = "told"
    """They were told, and nothing has happened since that calls for another mail."""

    QUIET_RECOVERY = "recovery not told"
    """It is over, but nobody was told of it, or nobody wants to be told of recoveries."""

    @property
    def speaks(self) -> bool:
        return self in (Decision.OPENED, Decision.REMINDED, Decision.RECOVERED)


@dataclass(frozen=True, slots=True)
class Policy:
    """When a monitor's recipients want to be told. `repeat_every` applies to Repeat.HOURS only."""

    repeat: Repeat = Repeat.EVERY_CHECK
    repeat_every: timedelta = timedelta(hours=1)
    tell_recovery: bool = True
    alert_after: int = 1
    snoozed_until: datetime | None = None


@lru_cache(maxsize=1_000)  # most monitors have the same wishes
def policy_of(wishes: Wishes) -> Policy:
    return Policy(
        # A corrupt value must not mean fewer mails, nor keep all other monitors from being checked.
        repeat=Repeat(wishes.repeat) if wishes.repeat in Repeat.values else Repeat.EVERY_CHECK,
        repeat_every=timedelta(hours=min(wishes.repeat_hours or 1, MAX_REPEAT_HOURS)),
        tell_recovery=wishes.tell_recovery,
        alert_after=wishes.alert_after,
        snoozed_until=wishes.snoozed_until,
    )


def decide(incident: IncidentState, policy: Policy, now: datetime) -> Decision:
    """Called after each check of an incident's monitor, and every minute while the incident is open."""
    if incident.closed_at:
        # Even while snoozed: those who were told that it fails would otherwise believe so for ever.
        return Decision.RECOVERED if incident.told_at and policy.tell_recovery else Decision.QUIET_RECOVERY
    if policy.snoozed_until and now < policy.snoozed_until:
        return Decision.QUIET_SNOOZED
    if incident.told_at is None:
        return Decision.OPENED if incident.failing_checks >= policy.alert_after else Decision.QUIET_TOO_FEW
    if incident.acknowledged_at:
        return Decision.QUIET_ACKNOWLEDGED
    return Decision.REMINDED if _is_time_again(incident, incident.told_at, policy, now) else Decision.QUIET_TOLD


def next_reminder(incident: IncidentState, policy: Policy) -> datetime | None:
    """When the passing of time alone makes a reminder due; None if only another check does."""
    return incident.told_at + policy.repeat_every if incident.told_at and policy.repeat is Repeat.HOURS else None


def _is_time_again(incident: IncidentState, told_at: datetime, policy: Policy, now: datetime) -> bool:
    if policy.repeat is Repeat.EVERY_CHECK:
        return incident.last_failed_at > told_at
    due = next_reminder(incident, policy)
    return due is not None and due <= now
