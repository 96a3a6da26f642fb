"""What experiments are made in: real database, queue, mail server and consumers, and a clock that can be moved."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from django.apps import apps
from django.db import transaction
from django.db.models import DateTimeField, F
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from monitoring.models import (
    Alert,
    BackgroundTask,
    Delivery,
    Heartbeat,
    Incident,
    Message,
    Monitor,
    MonitorState,
    Outage,
    Repeat,
)
from monitoring.models.heartbeat import TICK
from monitoring.tasks import dispatch_owed, tick_monitors
from monitoring.values.facts import AlertKind
from tests.consumer import ROOT, Consumer, consumer, launched, wait_for
from tests.faults.tally import Said
from tests.smtp import MailServer

A, B, C = (f"{name}@example.com" for name in ("anna", "bert", "cleo"))
EVERYBODY = (A, B, C)
WORK_DEADLINE = 60  # seconds for what the workers were given

_starts = count()


@dataclass
class World:
    mail: MailServer
    kills: int
    seed: int
    consumers: list[Consumer] = field(default_factory=list)

    @property
    def runs_on_sqlite(self) -> bool:
        return "sqlite" in os.environ["DATABASE_URL"]

    def reset(self) -> None:
        """Nothing watched, nothing owed, nothing queued, and a mail server that behaves."""
        HUEY.flush()
        for model in (Delivery, Message, Alert, Incident, Monitor, BackgroundTask, Heartbeat, Outage):
            model.objects.all().delete()
        self.mail.behave()
        self.mail.received.clear()

    # Consumers

    @contextlib.contextmanager
    def consumer(self, workers: int = 2, code: Path = ROOT, **environment: str) -> Iterator[Consumer]:
        """Ready to work; it ticks when it starts and each minute, as it does in production."""
        with consumer("--workers", str(workers), code=code, **self._environment(environment)) as running:
            yield from self._while_running(running)

    @contextlib.contextmanager
    def launched(self, **environment: str) -> Iterator[Consumer]:
        """Just started."""
        with launched(**self._environment(environment)) as running:
            yield from self._while_running(running)

    def _while_running(self, running: Consumer) -> Iterator[Consumer]:
        self.consumers.append(running)
        try:
            yield running
        finally:
            self.consumers.remove(running)

    def _environment(self, environment: dict[str, str]) -> dict[str, str]:
        mail = f"smtp://127.0.0.1:{self.mail.port}"
        return {"DJANGO_SETTINGS_MODULE": "tests.faults.settings", "EMAIL_URL": mail, "LOG_LEVEL": "INFO"} | environment

    def work(self, times: int = 1) -> None:
        """The consumers tick, then send, with so many tasks at once, and are done with it."""
        done_before = self._tasks()[1]
        for _ in range(times):
            tick_monitors()
        wait_for(none_is_due, WORK_DEADLINE)
        for _ in range(times):
            dispatch_owed()
        wait_for(lambda: self._is_done(done_before + 2 * times), WORK_DEADLINE)

    def _is_done(self, tasks: int) -> bool:
        pending = HUEY.pending_count()
        begun, ended = self._tasks()
        return ended >= tasks and begun == ended and pending == 0

    def _tasks(self) -> tuple[int, int]:
        """How many tasks the living consumers began and ended, as their logs say."""
        said = "".join(consumer.output() for consumer in self.consumers)
        return said.count("Executing "), said.count(" executed in ") + said.count("Unhandled exception in task")

    def settle(self, hours: int = 4) -> bool:
        """Time passes until nothing waits to be sent any more; False when something still does after that long."""
        for _ in range(hours * 12):
            self.work()
            if not owing():
                return True
            pass_time(minutes=5)
        return False


def owing() -> bool:
    """Whether an alert waits for its mail, or a mail to be sent."""
    unsent = Message.objects.filter(sent_at=None, gave_up_at=None)
    return Delivery.objects.filter(message=None).exists() or unsent.exists()


# Time


def pass_time(**span: float) -> None:
    """All that is written down is older than it was: whoever reads it believes that this time has passed.

    Only while nobody is sending: a sender would find its lease run out under its hands.
    """
    passed = timedelta(**span)
    with transaction.atomic():
        for model in apps.get_app_config("monitoring").get_models():
            moments = [field.name for field in model._meta.get_fields() if isinstance(field, DateTimeField)]
            if moments:
                model.objects.update(**{name: F(name) - passed for name in moments})


# Tasks and their monitors


def watch(number: int, notify_to: Sequence[str] = EVERYBODY, first: int = 0) -> list[str]:
    """Monitors of so many tasks, whose names are returned; none is due by itself, and none has ever run."""
    in_half_a_year = timezone.now() + timedelta(days=183)
    with transaction.atomic():  # a tick would plan monitors that have no state yet
        monitors = Monitor.objects.bulk_create(
            Monitor(
                name=f"watches {task_name}",
                task_name=task_name,
                expected_statuses=["Completed"],
                notify_to=list(notify_to),
                schedule=f"0 0 1 {in_half_a_year.month} *",
                time_zone="UTC",
                repeat=Repeat.ONCE,
            )
            for task_name in (f"job_{place:04}" for place in range(first, first + number))
        )
        MonitorState.objects.bulk_create(
            MonitorState(monitor=monitor, next_check_at=in_half_a_year) for monitor in monitors
        )
    return [monitor.task_name for monitor in monitors]


def run(task_names: Iterable[str], status: str) -> None:
    """Each task ran and ended so. Each start is told apart from all others by its second, and so is each mail."""
    started_at = timezone.now() - timedelta(hours=12) + timedelta(seconds=next(_starts))
    BackgroundTask.objects.bulk_create(
        BackgroundTask(
            task_id=f"{task_name} {started_at.isoformat()}",
            task_name=task_name,
            status=status,
            started_at=started_at,
            finished_at=started_at,
        )
        for task_name in task_names
    )


def make_due(task_names: Iterable[str] | None = None) -> None:
    states = MonitorState.objects.all()
    if task_names is not None:
        states = states.filter(monitor__task_name__in=list(task_names))
    states.update(next_check_at=timezone.now() - timedelta(seconds=1))


def none_is_due() -> bool:
    return not MonitorState.objects.filter(next_check_at__lte=timezone.now()).exists()


def last_beat() -> datetime | None:
    return Heartbeat.objects.filter(name=TICK).values_list("beat_at", flat=True).first()


def seconds_of_a_tick(deadline: float = 30) -> float:
    """How long a tick that is asked for now has to wait for a worker and to do its work."""
    before, asked_at = last_beat(), time.monotonic()
    tick_monitors()
    wait_for(lambda: last_beat() != before, deadline)
    return time.monotonic() - asked_at


def owed(
    task_names: Iterable[str],
    addresses: Iterable[str] = EVERYBODY,
    kinds: Sequence[AlertKind] = (AlertKind.NOT_EXECUTED,),
) -> set[Said]:
    """Each address is to learn of each task's alerts, which are of these kinds, one after the other."""
    addresses = list(addresses)
    return {
        Said(address, task_name, nth, kind)
        for task_name in task_names
        for address in addresses
        for nth, kind in enumerate(kinds)
    }
