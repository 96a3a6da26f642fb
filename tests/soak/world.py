"""A site as in production, a gunicorn and a worker, and all that keeps them busy."""

import http.client
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle
from threading import Event, Thread
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, connections
from django.db.models import F, Model
from django.test import Client
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from monitoring.models import Alert, BackgroundTask, Incident, Message, Monitor, MonitorState, Repeat
from monitoring.tasks import prune_history, tick_monitors
from tests.smtp import MailServer
from tests.soak.measuring import Sample, family, memory, open_files
from tests.soak.tasks import NAMES, TASKS

MONITORS = 1_000
EACH_TASK, EACH_PAGE, EACH_ROUND, EACH_AGING = 0.05, 0.25, 1.0, 10.0  # seconds
AGED_BY = timedelta(hours=6)  # the day for which history is kept is 40 seconds long
YOUNG = timedelta(seconds=5)
FAILING = 3  # names at a time
WAITING_MAX = 20  # tasks in the queue, beyond which no round is asked for

PAGES = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/admin/",
    "/admin/monitoring/monitor/board/",
    "/admin/monitoring/monitor/",
    "/admin/monitoring/monitor/{monitor}/overview/",
    "/admin/monitoring/monitor/{monitor}/change/",
    "/admin/monitoring/incident/",
    "/admin/monitoring/incident/{incident}/change/",
    "/admin/monitoring/backgroundtask/",
    "/admin/monitoring/message/",
)
# What grows older, and by when it has settled.
AGING: dict[type[Model], tuple[str, tuple[str, ...]]] = {
    BackgroundTask: ("finished_at", ("submitted_at", "started_at", "finished_at")),
    Incident: ("closed_at", ("opened_at", "last_failed_at", "told_at", "closed_at")),
    Alert: ("created_at", ("created_at",)),
    Message: ("sent_at", ("created_at", "next_attempt_at", "sent_at")),
}


@dataclass
class Site:
    web: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]
    port: int
    mail: MailServer
    answers: Counter[int] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    enqueued: int = 0
    rounds: int = 0
    mails: int = 0
    _agings: int = 0
    _over: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("root", "root@example.com"))
        self._cookie = f"sessionid={client.cookies['sessionid'].value}"
        monitors = Monitor.objects.bulk_create(
            Monitor(
                name=f"monitor {number}",
                task_name=NAMES[number % len(NAMES)],
                expected_statuses=["Completed", "Running", "Queued"],
                lookback_hours=25,
                notify_to=[f"team-{number % 10}@example.com"],
                schedule="* * * * *",
                time_zone="UTC",
                repeat=Repeat.ONCE,
            )
            for number in range(MONITORS)
        )
        self._monitors = cycle([monitor.pk for monitor in monitors])
        self._names, self._pages = cycle(NAMES), cycle(PAGES)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Tasks run, pages are asked for, rounds are made and history grows old, each by a thread, all the while."""
        works = {self._enqueue: EACH_TASK, self._ask: EACH_PAGE, self._make_round: EACH_ROUND, self._age: EACH_AGING}
        threads = [Thread(target=self._repeat, args=each, daemon=True) for each in works.items()]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def sample(self, at: float) -> Sample:
        web, worker = family(self.web.pid), family(self.worker.pid)
        opened = {"files of web": open_files(web), "files of worker": open_files(worker), **self._connections()}
        with connection.cursor() as cursor:
            rows = {name: _count(name) for name in sorted(connection.introspection.table_names(cursor))}
        return Sample(at, {"web": memory(web), "worker": memory(worker)}, opened, rows)

    def _connections(self) -> dict[str, int]:
        """Those of this process too, whose number does not change."""
        if connection.vendor != "postgresql":
            return {}
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
            (clients,) = cursor.fetchone()
        redis = HUEY.storage.conn.info("clients")["connected_clients"]
        return {"connections of PostgreSQL": clients, "connections of Redis": redis}

    def _repeat(self, work: Callable[[], Any], each: float) -> None:
        try:
            while not self._over.wait(each):
                try:
                    work()
                except Exception as error:  # one that did not work out is shown, and the next is tried
                    self.troubles[f"{work.__name__}: {type(error).__name__}: {error}"] += 1
        finally:
            connections.close_all()

    def _enqueue(self) -> None:
        name = next(self._names)
        TASKS[name](f"context {self.enqueued}", name in self._failing())
        self.enqueued += 1

    def _failing(self) -> list[str]:
        """Some names for a while, then others."""
        first = self._agings * FAILING % len(NAMES)
        return NAMES[first : first + FAILING]

    def _ask(self) -> None:
        incident = Incident.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        path = next(self._pages).format(monitor=next(self._monitors), incident=incident)
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request("GET", path, headers={"Host": "localhost", "Cookie": self._cookie})
        answer = client.getresponse()
        said = answer.read()
        client.close()
        self.answers[answer.status] += 1
        if answer.status != http.HTTPStatus.OK:
            self.troubles[f"{path}: {answer.status}: {said.decode()[:200]}"] += 1

    def _make_round(self) -> None:
        if HUEY.pending_count() <= WAITING_MAX:
            MonitorState.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))
            tick_monitors()
            self.rounds += 1
        self.mails += len(self.mail.received)
        self.mail.received.clear()

    def _age(self) -> None:
        now = timezone.now()
        for model, (settled, moments) in AGING.items():
            old = model._default_manager.filter(**{f"{settled}__lt": now - YOUNG})
            old.update(**{moment: F(moment) - AGED_BY for moment in moments})
        self._agings += 1
        prune_history()


def _count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")
        (count,) = cursor.fetchone()
    return int(count)
