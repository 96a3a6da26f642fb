"""The times in which the monitor itself did not work: found by the first round after one, and kept for the checks."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from monitoring.models import BackgroundTask, Heartbeat, MonitorState, Outage
from monitoring.models.heartbeat import TICK
from monitoring.values.outage import DOWN_AFTER, Down, Life, Period, excused, silent_part
from monitoring.values.outcome import Outcome, Verdict

# Newest runs by id that are searched for any recorded during the outage, since no index covers when runs were recorded.
# The newest are those since its end, and before them come those of the outage.
LOOKED_AT = 1_000


def last_round(using: str) -> datetime | None:
    """When the last round ended; None if there was none."""
    last = Heartbeat.objects.using(using).filter(name=TICK).first()
    return last.beat_at + timedelta(seconds=last.took or 0) if last else None


def note_outage(span: Period, using: str) -> Down | None:
    """Records the outage; returns None if another round has already done so.

    That was another worker's round, or one that found the outage and then failed: it lasts until a round succeeds.
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
    """Applies `excused` to the outcomes; queries outages only if something was not executed."""
    missing = [outcome.check for outcome in outcomes if outcome.verdict is Verdict.NOT_EXECUTED]
    if not missing:
        return list(outcomes)
    # An outage that ended before the end of a window excuses nothing there.
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
