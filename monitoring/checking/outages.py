"""The times in which the monitor itself did not work: found by the first round after one, remembered for the checks."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from monitoring.models import BackgroundTask, Heartbeat, MonitorState, Outage
from monitoring.models.heartbeat import TICK
from monitoring.values.outage import DOWN_AFTER, Down, Life, Period, excused, silent_part
from monitoring.values.outcome import Outcome, Verdict

# The newest runs are those of now, then those of the outage, if there are any: no index knows when runs were recorded.
LOOKED_AT = 1_000


def last_round(using: str) -> datetime | None:
    """When the last round ended; None when there was none."""
    last = Heartbeat.objects.using(using).filter(name=TICK).first()
    return last.beat_at + timedelta(seconds=last.took or 0) if last else None


def note_outage(span: Period, using: str) -> Down | None:
    """Writes the outage down; None if another round has done so already.

    That is another worker's, or one that found it and then failed: the outage goes on until one succeeds.
    """
    silent = silent_part(span, _lives(using), _recorded(span, using))
    found = {
        "ended_at": span.ended_at,
        "silent_from": silent.began_at if silent else None,
        "silent_until": silent.ended_at if silent else None,
    }
    _, is_new = Outage.objects.using(using).update_or_create(began_at=span.began_at, defaults=found)
    return Down(span, silent, _late(span.ended_at, using)) if is_new else None


def excuse(outcomes: Sequence[Outcome], using: str) -> list[Outcome]:
    """What `excused` makes of them; asks only where something was not executed."""
    missing = [outcome.check for outcome in outcomes if outcome.verdict is Verdict.NOT_EXECUTED]
    if not missing:
        return list(outcomes)
    # One that ended before a window does excuses nothing.
    recent = Outage.objects.using(using).filter(silent_until__gte=min(check.at for check in missing))
    times = recent.values_list("silent_from", "silent_until")
    return excused(outcomes, [Period(began_at, ended_at) for began_at, ended_at in times if began_at and ended_at])


def _lives(using: str) -> list[Life]:
    processes = Heartbeat.objects.using(using).exclude(name=TICK)
    return [Life(*times) for times in processes.values_list("unbroken_since", "beat_at")]


def _recorded(span: Period, using: str) -> Iterator[datetime]:
    newest = BackgroundTask.objects.using(using).order_by("-id")[:LOOKED_AT]
    for times in newest.values_list("submitted_at", "started_at", "finished_at"):
        yield from (time for time in times if time and span.began_at <= time <= span.ended_at)


def _late(now: datetime, using: str) -> int:
    enabled = MonitorState.objects.using(using).filter(monitor__enabled=True)
    return enabled.filter(next_check_at__lt=now - DOWN_AFTER).count()
