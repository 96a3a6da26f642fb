"""What is lost when consumers are killed, how soon an event is a row, and whether load makes live processes look dead.

Runs in a process of its own on one database, and prints a line of Markdown for each result.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command

django.setup()

from django.conf import settings  # noqa: E402
from huey.contrib.djhuey import HUEY  # noqa: E402

from bench.tasks import wait, work  # noqa: E402
from monitoring.models import BackgroundTask  # noqa: E402
from monitoring.recording.writer import flush, observe  # noqa: E402
from monitoring.values.run_event import WORKER_LOST, RunEvent, RunStatus  # noqa: E402

FLAGS = ("--graceful-signal", "TERM", "--max-delay", "0.1", "--no-periodic")
NAMED_WITHIN = 30  # seconds
KILLS = 5
TASKS = 2_000  # of 4 ms each; a consumer has executed some hundreds of them when it is killed


@contextmanager
def consumer(workers: int = 4, kind: str = "thread") -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "manage.py", "run_huey", "--workers", str(workers), "--worker-type", kind, *FLAGS]
    with subprocess.Popen(command, process_group=0, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def kill_in_full_run(number: int) -> None:
    notes = settings.VAR / f"executed-{number}"
    HUEY.flush()
    BackgroundTask.objects.all().delete()
    for _ in range(TASKS):
        wait(0.004, str(notes))
    flush()
    with consumer() as running:
        assert wait_for(lambda: notes.exists() and len(_lines(notes)) >= 300, 60)
        os.killpg(running.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        running.wait()
    executed = _lines(notes)
    left = Counter(BackgroundTask.objects.filter(task_id__in=executed).values_list("status", flat=True))
    del left["Completed"]
    with consumer():
        lost = BackgroundTask.objects.filter(task_id__in=executed, status__in=["Running", "Queued"])
        taken = BackgroundTask.objects.filter(status__in=["Running", "Queued"])
        is_named = wait_for(lambda: not lost.exists() and not taken.exists(), NAMED_WITHIN + 30)
        named_after = time.monotonic() - killed_at
    named = BackgroundTask.objects.filter(errors=WORKER_LOST).count()
    print(
        f"| {len(executed)} | {sum(left.values())} ({', '.join(f'{n} {status}' for status, n in left.items()) or '-'}) "
        f"| {named} {'within' if is_named else 'NOT within'} {named_after:.0f} s |",
        flush=True,
    )


def _lines(notes: Path) -> list[str]:
    return notes.read_text().split()


def kills() -> None:
    print("\n| executed | of these without their end when killed | runs named lost |\n|---|---|---|")
    for number in range(KILLS):
        kill_in_full_run(number)


def stops() -> None:
    print("\n| SIGTERM, workers | executed | Completed |\n|---|---|---|")
    for kind in ("thread", "process") * 2:
        notes = settings.VAR / f"stopped-{kind}"
        notes.unlink(missing_ok=True)
        HUEY.flush()
        BackgroundTask.objects.all().delete()
        for _ in range(TASKS):
            wait(0.004, str(notes))
        with consumer(kind=kind) as running:
            assert wait_for(lambda: notes.exists() and len(_lines(notes)) >= 300, 60)  # noqa: B023
            running.terminate()
            running.wait()
        completed = BackgroundTask.objects.filter(status="Completed").count()
        print(f"| {kind} | {len(_lines(notes))} | {completed} |", flush=True)


def latency() -> None:
    """Time from an event to its committed row, as another connection sees it: 100 runs of 2 ms in a quiet process."""
    starts, ends = [], []
    for number in range(100):
        time.sleep(0.15)
        starts.append(_row_after(number, RunStatus.RUNNING, seq=1))
        time.sleep(0.002)
        ends.append(_row_after(number, RunStatus.COMPLETED, seq=2))
    for what, took in {"start": starts, "end": ends}.items():
        print(f"\nA run's {what} is a row after {statistics.median(took):.2f} ms (median), {max(took):.1f} ms at most.")


def _row_after(number: int, status: RunStatus, seq: int) -> float:
    """In milliseconds. Does nothing but look for the row, so that nothing speeds it up."""
    event = RunEvent(task_id=f"idle {number}", task_name="idle", status=status, seq=seq)
    began = time.perf_counter()
    observe(lambda: event)
    while not BackgroundTask.objects.filter(task_id=event.task_id, status=status).exists():
        time.sleep(0.0001)
    return (time.perf_counter() - began) * 1000


def load(seconds: float) -> None:
    """Thread and process consumers under load, with tasks that last longer than a dead worker's silence."""
    notes = str(settings.VAR / "load")
    HUEY.flush()
    BackgroundTask.objects.all().delete()
    began = time.monotonic()
    with consumer(4), consumer(2, "process"):
        while time.monotonic() - began < seconds:
            wait(20, notes)
            for number in range(400):
                work(number, 5)
                wait(0.005, notes)
            wait_for(lambda: HUEY.pending_count() < 100, 60)
        wait_for(lambda: not BackgroundTask.objects.filter(status__in=["Queued", "Running"]).exists(), 120)
    flush()
    statuses = Counter(BackgroundTask.objects.values_list("status", "errors"))
    print(f"\n{time.monotonic() - began:.0f} s of load: {dict(statuses)}", flush=True)


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for name, *arguments in (argument.split("=") for argument in sys.argv[1:]):
        {"kills": kills, "stops": stops, "latency": latency, "load": load}[name](*map(float, arguments))
