"""What recording costs a task, against plain Huey and two other recorders, and what is lost when workers are killed.

`make bench-recording` prints the tables.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests import services

ROOT = Path(__file__).resolve().parent.parent
RECORDERS = ("plain", "ours", "huey.contrib.djhuey.stats", "django-huey-monitor")
ROUNDS = 5


def run(module: str, *arguments: str, **environment: str) -> str:
    """What a module of this folder prints, run in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{module}", *arguments],
            cwd=ROOT,
            env=os.environ
            | {"DJANGO_SETTINGS_MODULE": "bench.settings", "SECRET_KEY": "bench", "HTTPS": "0", "VAR_DIR": folder}
            | {"SITE_URL": "http://127.0.0.1", "EMAIL_URL": "memory:", "DEFAULT_FROM_EMAIL": "bench@example.org"}
            | {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3"}
            | environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return done.stdout


def compare(title: str, tasks: int, milliseconds: float, recorders: Iterable[str], **environment: str) -> None:
    """All variants in turn, so that what else the machine does meets all of them."""
    measured: dict[str, list[dict[str, float]]] = {recorder: [] for recorder in recorders}
    for _ in range(ROUNDS):
        for recorder, results in measured.items():
            if "DATABASE_URL" in environment:
                services.empty_postgres(environment["DATABASE_URL"])
            out = run("load", str(tasks), str(milliseconds), BENCH_RECORDER=recorder, **environment)
            results.append(json.loads(out.splitlines()[-1]))
    print(f"\n### {title}: {tasks:,} tasks of {milliseconds:g} ms\n")
    print("| | enqueue | execute | total [min – max] | total, × plain | CPU | CPU, × plain |")
    print("|---|---|---|---|---|---|---|")
    plain = {part: _median(measured["plain"], part) for part in ("total", "cpu")}
    for recorder, results in measured.items():
        each = {part: _median(results, part) / tasks * 1000 for part in results[0]}
        totals = sorted(result["total"] / tasks * 1000 for result in results)
        times = {part: _median(results, part) / plain[part] for part in plain}
        print(
            f"| {recorder} | {each['enqueue']:.3f} | {each['execute']:.3f} "
            f"| {each['total']:.3f} [{totals[0]:.3f} – {totals[-1]:.3f}] | {times['total']:.2f} "
            f"| {each['cpu']:.3f} | {times['cpu']:.2f} |",
            flush=True,
        )


def _median(results: list[dict[str, float]], part: str) -> float:
    return statistics.median(result[part] for result in results)


def main() -> None:
    with services.redis_server() as redis, services.postgres_server(is_safe=True) as postgres:
        for title, database in {"Redis + SQLite": {}, "Redis + PostgreSQL": {"DATABASE_URL": postgres}}.items():
            compare(title, 5_000, 0, RECORDERS, HUEY_URL=redis, **database)
            compare(title, 1_000, 2, RECORDERS[:3], HUEY_URL=redis, **database)
            if database:
                services.empty_postgres(postgres)
            print(f"\n### {title}: losses")
            losses = ("latency", "stops", "kills", "load=180")
            print(run("losses", *losses, BENCH_RECORDER="ours", HUEY_URL=redis, **database))


if __name__ == "__main__":
    main()
