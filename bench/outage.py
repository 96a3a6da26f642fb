"""Whether every row is right after the database was away for 10 seconds while tasks were enqueued and executed.

SQLite is locked by another process. PostgreSQL runs as a separate server, which is stopped immediately, cutting all
connections, and started again. Prints one line.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests import services

SECONDS = 10
LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
time.sleep(float(sys.argv[2]))
"""

Away = Callable[[float], None]


@contextmanager
def sqlite() -> Iterator[Away]:
    path = os.environ["DATABASE_URL"].removeprefix("sqlite:///")

    def away(seconds: float) -> None:
        subprocess.run([sys.executable, "-c", LOCK, path, str(seconds)], check=True)

    yield away


@contextmanager
def postgres() -> Iterator[Away]:
    with services.postgres(is_safe=True) as server, ExitStack() as running:
        process = running.enter_context(server.running())
        os.environ["DATABASE_URL"] = server.url

        def away(seconds: float) -> None:
            process.send_signal(signal.SIGQUIT)  # "immediate shutdown"
            process.wait()
            time.sleep(seconds)
            running.enter_context(server.running())

        yield away


def measure(away: Away) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)

    from threading import Thread

    from django.conf import settings
    from django.db import connection
    from huey.contrib.djhuey import HUEY

    from bench.losses import consumer, wait_for
    from bench.tasks import wait
    from monitoring.models import BackgroundTask
    from monitoring.recording.writer import flush

    HUEY.flush()
    notes = settings.VAR / "executed"
    took = []

    def enqueue() -> None:
        began = time.perf_counter()
        wait(0.02, str(notes))
        took.append((time.perf_counter() - began) * 1_000)

    def executed() -> int:
        return len(notes.read_text().split()) if notes.exists() else 0

    with consumer():
        enqueue()
        assert wait_for(executed, 30)
        connection.close()
        breaking = Thread(target=away, args=[SECONDS])
        breaking.start()
        while breaking.is_alive():
            enqueue()
            time.sleep(0.01)
        back_at = time.monotonic()
        assert wait_for(lambda: executed() == len(took), 60), f"{executed()} of {len(took)} tasks were executed"
        is_right = wait_for(lambda: BackgroundTask.objects.filter(status="Completed").count() == len(took), 30)
        seconds = time.monotonic() - back_at
        flush()
    runs = BackgroundTask.objects.filter(submitted_at=None) | BackgroundTask.objects.exclude(attempts=1)
    statuses = dict(Counter(BackgroundTask.objects.values_list("status", flat=True)))
    print(
        f"Away {SECONDS} s, {len(took):,} tasks meanwhile, enqueued in {statistics.median(took):.1f} ms (median), "
        f"{max(took):.0f} at most: {'all are Completed' if is_right else f'NOT all are Completed: {statuses}'} "
        f"{seconds:.1f} s after its return; rows that lack their submission or have not one attempt: {runs.count()}"
    )


if __name__ == "__main__":
    with {"sqlite": sqlite, "postgres": postgres}[sys.argv[1]]() as away:
        measure(away)
