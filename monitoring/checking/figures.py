"""The monitor in figures, for graphs: they are about the whole site, and name no monitor."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Sum

from monitoring.checking.health import GAVE_UP_WITHIN, overdue_monitors
from monitoring.checking.ids import RECORDED_AT, ids_before
from monitoring.checking.standing import Stands, counted
from monitoring.models import BackgroundTask, Delivery, Heartbeat, Incident, Message, database_alias
from monitoring.models.heartbeat import TICK
from monitoring.values.outage import DEAD_AFTER
from monitoring.values.run_event import RunStatus

RUNS_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The current figures; durations are in seconds.

    `runs` counts those first recorded within the last hour, by their current status. `unsent` counts alerts to an
    address, and mails, that wait to be written or sent; the oldest has waited for `unsent_for`, 0 without one.
    `dropped` and `set_aside` count events that the processes still known could not record. `since_tick` and
    `round_took` are None before the first round.
    """

    monitors: Mapping[Stands, int]
    overdue: int
    open_incidents: int
    runs: Mapping[RunStatus, int]
    unsent: int
    unsent_for: float
    given_up: int
    since_tick: float | None
    round_took: float | None
    recorders: int
    dropped: int
    set_aside: int


def figures(now: datetime) -> Figures:
    """The figures as of `now`, which is by the database's clock.

    The number of SQL statements does not grow with monitors, and hardly with runs.
    """
    using = database_alias()
    tick = Heartbeat.objects.using(using).filter(name=TICK).first()
    return Figures(
        monitors=counted(using),
        overdue=overdue_monitors(now).count(),
        open_incidents=Incident.objects.using(using).filter(closed_at=None).count(),
        runs=_runs(now - RUNS_WITHIN, using),
        since_tick=(now - tick.beat_at).total_seconds() if tick else None,
        round_took=tick.took if tick else None,
        **_mails(now, using),
        **_recording(now, using),
    )


def _runs(since: datetime, using: str) -> dict[RunStatus, int]:
    runs = BackgroundTask.objects.using(using).order_by()
    _, first = ids_before(runs, RECORDED_AT, since)
    counts = dict(runs.filter(pk__gte=first).values_list("status").annotate(Count("pk")))
    return {status: counts.get(status, 0) for status in RunStatus}


def _mails(now: datetime, using: str) -> dict[str, Any]:
    messages, deliveries = Message.objects.using(using), Delivery.objects.using(using)
    unsent = messages.filter(sent_at=None, gave_up_at=None).aggregate(count=Count("pk"), oldest=Min("created_at"))
    unwritten = deliveries.filter(message=None).aggregate(count=Count("pk"), oldest=Min("alert__created_at"))
    oldest = min((each["oldest"] for each in (unsent, unwritten) if each["oldest"]), default=now)
    return {
        "unsent": unsent["count"] + unwritten["count"],
        "unsent_for": max(0.0, (now - oldest).total_seconds()),
        "given_up": messages.filter(sent_at=None, gave_up_at__gte=now - GAVE_UP_WITHIN).count(),
    }


def _recording(now: datetime, using: str) -> dict[str, int]:
    processes = Heartbeat.objects.using(using).exclude(name=TICK)
    lost = processes.aggregate(dropped=Sum("dropped", default=0), set_aside=Sum("set_aside", default=0))
    return {"recorders": processes.filter(beat_at__gte=now - DEAD_AFTER).count(), **lost}
