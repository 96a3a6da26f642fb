"""One measurement: tasks are enqueued, then executed by 4 worker threads in this process. Prints one line of JSON.

Execution includes writing: it ends only when everything that the recorder noted is in its database.
"""

import json
import os
import sys
import time
from threading import Event
from typing import Any

import django
from django.core.management import call_command

django.setup()

from django.db import connection  # noqa: E402
from huey.contrib.djhuey import HUEY  # noqa: E402

from bench.tasks import work  # noqa: E402

ROWS = {
    "ours": "SELECT count(*) FROM monitoring_backgroundtask WHERE status = 'Completed'",
    "django-huey-monitor": (
        "SELECT count(*) FROM huey_monitor_taskmodel t JOIN huey_monitor_signalinfomodel s ON s.id = t.state_id"
        " WHERE s.signal_name = 'complete'"
    ),
}
RECORDER = os.environ["BENCH_RECORDER"]
left: list[None] = []
is_done = Event()


@HUEY.signal("complete")
def count(*_: Any) -> None:
    """Connected after the recorder, so called after it."""
    left.pop()
    if not left:
        is_done.set()


def measure(tasks: int, milliseconds: float) -> dict[str, float]:
    left.extend([None] * tasks)
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(tasks):
        work(number, milliseconds)
    enqueued = time.perf_counter()
    consumer = HUEY.create_consumer(workers=4, periodic=False, check_worker_health=False, initial_delay=0.001)
    consumer.start()
    assert is_done.wait(600), f"{len(left)} tasks are left"
    _flush()
    ended, cpu = time.perf_counter(), time.process_time() - cpu
    consumer.stop(graceful=True)
    _all_is_recorded(tasks)
    return {"enqueue": enqueued - began, "execute": ended - enqueued, "total": ended - began, "cpu": cpu}


def _flush() -> None:
    if RECORDER == "ours":
        from monitoring.recording.writer import flush

        assert flush(60)
    elif RECORDER == "huey.contrib.djhuey.stats":
        HUEY._stats._flush()


def _all_is_recorded(tasks: int) -> None:
    if RECORDER in ROWS:
        with connection.cursor() as cursor:
            cursor.execute(ROWS[RECORDER])
            (recorded,) = cursor.fetchone()
        said = f"{RECORDER}: {recorded} of {tasks} runs are recorded as completed"
        assert recorded == tasks or RECORDER != "ours", said
        if recorded != tasks:  # another project's recorder may miss runs: reported, but not fatal
            print(said, file=sys.stderr)


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    HUEY.flush()
    print(json.dumps(measure(int(sys.argv[1]), float(sys.argv[2]))), flush=True)
    os._exit(0)  # recorders' threads may wait for ever
