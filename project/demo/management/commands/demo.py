import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from operator import attrgetter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from huey.contrib.djhuey import enqueue

from monitoring.management.plugin import NotAsExpected, PluginCommand
from monitoring.models import BackgroundTask
from project.demo import tasks
from project.demo.models import IngestorSession

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
LOGIN = {"username": "admin", "password": "admin", "email": "admin@example.com"}
PIPELINE = CONFIGS / "2-pipeline-with-dependencies.json"
DEADLINE = 20  # seconds
HISTORY = timedelta(days=7)
# For each task, how many minutes into the hour or the day it starts, and how many seconds it takes.
HOURLY = {
    "hourly_data_sync": (2, 40),
    "data_collection": (5, 180),
    "data_processing": (10, 700),
    "data_export": (25, 70),
}
DAILY = {"daily_report_generation": (480, 1500), "daily_cleanup": (120, 30)}
ABSENT_FOR = {"daily_cleanup": timedelta(days=2)}
EXPORT_FAILS_EVERY = 50  # hours


class Command(PluginCommand):
    help = (
        "Runs the example tasks in a real worker, checks the example configurations, imports one as monitors and "
        "lists the mails. The runs of the week before are made up."
    )

    def handle(self, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo adds an account with a known password: it runs only with DEBUG=1.")
        call_command("migrate", verbosity=0)
        make_superuser()
        BackgroundTask.objects.bulk_create(made_up_runs(timezone.now()), ignore_conflicts=True)
        mails_before = set(mail_files())
        log = settings.VAR / "demo-worker.log"
        with worker(log) as process:
            self.stdout.write(
                self.style.MIGRATE_HEADING(f"A worker is running (process {process.pid}, log {shown(log)})")
            )
            self.run_tasks()
            for config in sorted(CONFIGS.glob("*.json")):
                self.call("check_task_status", "--config", shown(config))
            self.call("import_monitors", shown(PIPELINE), "--schedule", "*/30 * * * *")
            self.call("check_task_status")
            self.call("list_status")
        self.show_mails(sorted(set(mail_files()) - mails_before))
        self.stdout.write(
            f"\nThe worker has stopped. `make run` serves the site and a worker until Ctrl-C: {settings.SITE_URL}/ "
            f"(log in as {LOGIN['username']!r}, password {LOGIN['password']!r})."
        )

    def call(self, *words: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n$ manage.py {shlex.join(words)}"))
        with contextlib.suppress(NotAsExpected):
            call_command(*words, stdout=self.stdout)

    def run_tasks(self) -> None:
        """Starts the tasks and waits until each has ended, except the one that will be found running."""
        hourly = IngestorSession.objects.create(ingestor_type="Hourly Tomorrow.io")
        salient = IngestorSession.objects.create(ingestor_type="Salient")
        started = [
            tasks.hourly_data_sync.s(),
            tasks.data_collection.s(),
            tasks.data_export.s("sftp.example.com"),
            tasks.daily_report_generation.s(),
            tasks.ingestor_session.s(hourly.pk),
            tasks.data_processing.s(),
        ]
        for task in started:
            enqueue(task)
        ids = [task.id for task in started]
        wait_for("the tasks to run", lambda: ended(ids) == len(ids) - 1 and running(ids) == 1)
        # Last of all, so that the newest session of any type is a good one.
        last = tasks.ingestor_session.s(salient.pk)
        enqueue(last)
        wait_for("the last session", lambda: ended([last.id]) == 1)

    def show_mails(self, files: list[Path]) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING("\nThe mails that went out"))
        if not files:
            self.stdout.write("EMAIL_URL does not write them to files: look where it sends them, or unset it.")
            return
        rows = [["TO", "SUBJECT", "OPEN"]]
        for file in files:
            mail = message_from_bytes(file.read_bytes(), policy=policy.default)
            rows.append([str(mail["To"]), str(mail["Subject"]), shown(file.with_suffix(".html"))])
        self.print_table(rows)


def made_up_runs(now: datetime) -> list[BackgroundTask]:
    """The week before now, so that pages, back-tests and suggestions have something to look at; oldest first."""
    runs = []
    first = now.replace(hour=0, minute=0, second=0, microsecond=0) - HISTORY
    for tasks_of, every in ((HOURLY, timedelta(hours=1)), (DAILY, timedelta(days=1))):
        for name, (minutes, seconds) in tasks_of.items():
            started_at = first + timedelta(minutes=minutes)
            last = now - timedelta(seconds=2 * seconds) - ABSENT_FOR.get(name, timedelta(0))
            while started_at < last:
                runs.append(made_up_run(name, started_at, seconds))
                started_at += every
    return sorted(runs, key=attrgetter("started_at"))


def made_up_run(name: str, started_at: datetime, seconds: int) -> BackgroundTask:
    hour = int(started_at.timestamp()) // 3600
    failed = name == "data_export" and hour % EXPORT_FAILS_EVERY == 0
    return BackgroundTask(
        task_id=f"made-up-{name}-{hour}",
        task_name=name,
        status=BackgroundTask.Status.STOPPED if failed else BackgroundTask.Status.COMPLETED,
        submitted_at=started_at - timedelta(seconds=1),
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=seconds + hour * 7919 % 23),
        attempts=1,
        errors="ConnectionError: sftp.example.com closed the connection after 5 of 12 files" if failed else "",
    )


def make_superuser() -> None:
    users = get_user_model()._default_manager
    if not users.filter(username=LOGIN["username"]).exists():
        users.create_superuser(**LOGIN)


@contextlib.contextmanager
def worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real consumer in its own process, ended gracefully."""
    command = [sys.executable, "manage.py", "run_huey", "--workers=4", "--graceful-signal=TERM", "--max-delay=0.2"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=output, stderr=subprocess.STDOUT)  # noqa:S603
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE)


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise CommandError(
                f"Waited in vain for {what}, {DEADLINE} s; see {shown(settings.VAR / 'demo-worker.log')}."
            )
        time.sleep(0.05)


def ended(ids: list[str]) -> int:
    return BackgroundTask.objects.filter(task_id__in=ids, finished_at__isnull=False).count()


def running(ids: list[str]) -> int:
    return BackgroundTask.objects.filter(task_id__in=ids, status=BackgroundTask.Status.RUNNING).count()


def mail_files() -> list[Path]:
    return list((settings.VAR / "mail").glob("*.eml"))


def shown(path: Path) -> str:
    """The path as one would type it from here."""
    return os.path.relpath(path)
