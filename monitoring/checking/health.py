"""Whether the monitor itself works: what watches the tasks must not stop unnoticed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet

from monitoring.models import BackgroundTask, Delivery, Heartbeat, Message, Monitor, database_alias
from monitoring.models.heartbeat import TICK
from monitoring.values.outage import DEAD_AFTER
from monitoring.values.run_event import RunStatus
from monitoring.values.text import written_span

TICK_LATE_AFTER = timedelta(minutes=3)  # it comes each minute; a skipped one is no alarm
OVERDUE_AFTER = timedelta(minutes=5)
MAIL_STUCK_AFTER = timedelta(minutes=30)  # four tries: longer than a mail server's restart or greylisting takes
GAVE_UP_WITHIN = timedelta(days=1)
NOT_RECORDED_WITHIN = timedelta(days=1)
LONG_AFTER = timedelta(minutes=1)  # rounds come as often: a task that takes no longer holds none up
NAMED_MAX = 5  # monitors, processes or tasks
WORKER_HINT = "Is `manage.py run_huey` running?"
THREADS_TAKEN = (
    "though a worker is alive. Either `manage.py run_huey` is not running, or it needs more `--workers` than there are "
    "tasks that take long"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """`text` says what is wrong and what to do, without names; `names` are the monitors, processes or tasks."""

    code: str
    text: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The whole sentence with the names, for people who may see monitors."""
        if not self.names:
            return self.text
        more = len(self.names) - NAMED_MAX
        return f"{self.text}: {', '.join(self.names[:NAMED_MAX])}{f' and {more} more' if more > 0 else ''}"


def problems(now: datetime) -> list[Problem]:
    """What is wrong with the monitor itself, by the database's clock; empty when all is well."""
    return [*_tick(now), *_overdue(now), *_mails(now), *_recording(now)]


def last_tick() -> datetime | None:
    """When a consumer last ticked; None when none ever has."""
    beats = Heartbeat.objects.using(database_alias()).filter(name=TICK)
    return beats.values_list("beat_at", flat=True).first()


def _tick(now: datetime) -> Iterator[Problem]:
    beat_at = last_tick()
    if beat_at is None:
        code, said = "never-ticked", "No worker has run checks yet"
    elif now - beat_at > TICK_LATE_AFTER:
        minute = timedelta(minutes=1)
        since = f"{beat_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({written_span((now - beat_at) // minute * minute)} ago)"
        code, said = "tick-late", f"No worker has run checks since {since}"
    else:
        return
    long = _runs_longest(now)
    yield Problem(code, f"{said}, {THREADS_TAKEN}" if long else f"{said}. {WORKER_HINT}", long)


def _runs_longest(now: datetime) -> tuple[str, ...]:
    """The tasks that a living worker has been running longest; they may hold up the rounds."""
    alive = Heartbeat.objects.using(database_alias()).filter(beat_at__gte=now - DEAD_AFTER)
    running = BackgroundTask.objects.using(database_alias()).filter(status=RunStatus.RUNNING)
    long = running.filter(worker__in=alive.values("name"), started_at__lt=now - LONG_AFTER).order_by("started_at")
    return tuple(long.values_list("task_name", flat=True)[:NAMED_MAX])


def overdue_monitors(now: datetime) -> QuerySet[Monitor]:
    latest = now - OVERDUE_AFTER
    unplanned = Q(state__next_check_at=None, changed_at__lt=latest)
    enabled = Monitor.objects.using(database_alias()).filter(enabled=True)
    return enabled.filter(Q(state__next_check_at__lt=latest) | unplanned)


def _overdue(now: datetime) -> Iterator[Problem]:
    names = tuple(overdue_monitors(now).order_by("name").values_list("name", flat=True))
    if names:
        monitors = "1 monitor is" if len(names) == 1 else f"{len(names)} monitors are"
        minutes = OVERDUE_AFTER // timedelta(minutes=1)
        yield Problem("overdue", f"{monitors} overdue by more than {minutes} minutes", names)


def _mails(now: datetime) -> Iterator[Problem]:
    using, latest = database_alias(), now - MAIL_STUCK_AFTER
    unsent = Message.objects.using(using).filter(sent_at=None, gave_up_at=None, created_at__lt=latest).count()
    # Alerts for which no mail could be written.
    unsent += Delivery.objects.using(using).filter(message=None, alert__created_at__lt=latest).count()
    if unsent:
        minutes = MAIL_STUCK_AFTER // timedelta(minutes=1)
        mails = "1 mail is" if unsent == 1 else f"{unsent} mails are"
        yield Problem("mail-stuck", f"{mails} still not sent after {minutes} minutes; the messages' pages say why")
    since = now - GAVE_UP_WITHIN
    given_up = Message.objects.using(using).filter(sent_at=None, gave_up_at__gte=since).count()
    if given_up:
        mails = "1 mail was" if given_up == 1 else f"{given_up} mails were"
        yield Problem(
            "mail-given-up",
            f"{mails} given up in the last day; see why on the messages' pages, and send again from there",
        )
    came_back = Q(bounced_at__gte=since) | Q(rejected_at__gte=since)
    returned = Message.objects.using(using).filter(came_back).count()
    if returned:
        mails = "1 mail" if returned == 1 else f"{returned} mails"
        yield Problem("mail-returned", f"{mails} came back in the last day; the messages' pages say why")


def _recording(now: datetime) -> Iterator[Problem]:
    troubled = Heartbeat.objects.using(database_alias()).filter(trouble_at__gte=now - NOT_RECORDED_WITHIN)
    rows = list(troubled.order_by("name"))
    dropped = {process.name: process.dropped for process in rows if process.dropped}
    refused = {process.name: process.set_aside for process in rows if process.set_aside}
    if dropped:
        yield Problem(
            "events-dropped",
            f"{_events(dropped)} dropped because too many were waiting for the database; some runs are out of date",
            tuple(dropped),
        )
    if refused:
        yield Problem(
            "events-refused",
            f"{_events(refused)} refused by the database; the log says which and why",
            tuple(refused),
        )


def _events(counts: Mapping[str, int]) -> str:
    count = sum(counts.values())
    return "1 event of a run was" if count == 1 else f"{count} events of runs were"
