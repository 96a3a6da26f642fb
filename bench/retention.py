"""A tenth of the runs is pruned while 100 runs a second are recorded by another process, each in three events.

The oldest tenth of those that are left: it can be measured again, and what was recorded goes afterwards.
"""

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from tqdm import tqdm

from bench import report
from bench.site import arguments, site

RUNS_A_SECOND = 100
RECORDER = """
import json, sys, time
import django
django.setup()
from django.db import OperationalError, transaction
from monitoring.models import database_alias, database_now
from monitoring.recording.upsert import upsert
from monitoring.values.run_event import RunEvent, RunStatus
waits, failed, begun, n = [], [], time.monotonic(), 0
print("ready", flush=True)
STEPS = ((RunStatus.QUEUED, 2), (RunStatus.RUNNING, 3), (RunStatus.COMPLETED, 4))
import select
while not select.select([sys.stdin], [], [], max(0, begun + n / {rate} - time.monotonic()))[0]:
    for status, seq in STEPS:
        now = database_now()
        event = RunEvent(task_id=f"bench-{{begun}}-{{n}}", task_name=f"task_{{n % 500}}", status=status, seq=seq,
            submitted_at=now, started_at=now if seq > 2 else None, finished_at=now if seq > 3 else None, attempts=int(seq == 3))
        began = time.perf_counter()
        try:
            with transaction.atomic(using=database_alias()):
                upsert([event], using=database_alias())
        except OperationalError as error:
            failed.append(str(error))
        waits.append(time.perf_counter() - began)
    n += 1
print(json.dumps({{"waits": waits, "failed": failed}}), flush=True)
"""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--share", type=float, default=0.1, help="of the runs, to be pruned")
    options = parser.parse_args()
    with site(options):
        from django.db import connection

        from bench import data

        data.fill(options.runs)
        result = measure(options, connection.vendor)
        report.keep(options, "retention", result[0], result[1])


def measure(options, vendor: str) -> tuple[str, dict[str, object]]:
    import json

    from bench import data
    from monitoring.models import BackgroundTask, database_alias
    from monitoring.retention import politely, prune_runs

    oldest = BackgroundTask.objects.order_by("pk").values_list("submitted_at", flat=True)[0]
    before = oldest + timedelta(days=data.DAYS * options.share)
    code = RECORDER.format(rate=RUNS_A_SECOND)
    recorder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert recorder.stdout
    assert recorder.stdin
    recorder.stdout.readline()
    time.sleep(1)
    removed = wal = 0
    began = time.perf_counter()
    wal_began = _wal_position()
    with tqdm(total=int(options.runs * options.share), desc="pruned", unit=" runs", disable=None) as bar:
        for step in politely(prune_runs(before, database_alias())):
            removed += step.removed
            wal = max(wal, _wal_file())
            bar.update(step.removed)
    took = time.perf_counter() - began
    recorder.stdin.write("\n")
    recorder.stdin.close()
    recorded = json.loads(recorder.stdout.readline())
    recorder.wait()
    wal = wal or _wal_position() - wal_began
    BackgroundTask.objects.filter(task_id__startswith="bench-", pk__gt=options.runs)._raw_delete("default")
    waits, failed = recorded["waits"], recorded["failed"]
    figures = {
        "removed": removed,
        "seconds": took,
        "rows_per_second": removed / took,
        "recorded_events": len(waits),
        "recorded_p50_ms": report.percentile(waits, 0.5) * 1_000,
        "recorded_p99_ms": report.percentile(waits, 0.99) * 1_000,
        "recorded_max_ms": max(waits) * 1_000,
        "failed": failed,
        "wal_mb": wal / 1e6,
        "left": BackgroundTask.objects.count(),
    }
    wal_is = "greatest size of the WAL file, MB" if vendor == "sqlite" else "WAL written, MB"
    rows = [
        ["runs removed", removed],
        ["seconds", took],
        ["runs removed a second", removed / took],
        [f"events recorded meanwhile, {RUNS_A_SECOND} runs a second", len(waits)],
        ["an event's time, median, ms", figures["recorded_p50_ms"]],
        ["p99, ms", figures["recorded_p99_ms"]],
        ["greatest, ms", figures["recorded_max_ms"]],
        ["events that failed (database is locked)", len(failed)],
        [wal_is, wal / 1e6],
    ]
    return report.table(["pruning", ""], rows), figures


def _wal_file() -> int:
    from django.db import connection

    if connection.vendor != "sqlite":
        return 0
    wal = Path(f"{connection.settings_dict['NAME']}-wal")
    return wal.stat().st_size if wal.exists() else 0


def _wal_position() -> int:
    from django.db import connection

    if connection.vendor == "sqlite":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    main()
