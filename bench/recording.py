"""What recording costs a task, against plain Huey and two other recorders, and what is lost when things break.

`make bench-recording` measures all of it; `python -m bench.recording cost idle` only these sections. Each prints its
table, and keeps it and its figures in var/bench/recording.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.report import table
from tests import services

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "var" / "bench" / "recording"
RECORDERS = ("plain", "ours", "huey.contrib.djhuey.stats", "django-huey-monitor")
DATABASES = {"sqlite": "Redis + SQLite", "postgres": "Redis + PostgreSQL"}

Measured = dict[str, list[dict[str, float]]]


def run(module: str, *arguments: str, **environment: str) -> str:
    """Runs a module of this folder in a separate process and folder, and returns what it prints."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{module}", *arguments],
            cwd=ROOT,
            env=os.environ
            | {"DJANGO_SETTINGS_MODULE": "bench.settings", "SECRET_KEY": "bench", "HTTPS": "0", "VAR_DIR": folder}
            | {"SITE_URL": "http://127.0.0.1", "EMAIL_URL": "memory:", "DEFAULT_FROM_EMAIL": "bench@example.org"}
            | {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", "BENCH_RECORDER": "ours"}
            | environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return done.stdout


class Bench:
    """The sections, measured on one database."""

    def __init__(self, database: str, rounds: int, environment: dict[str, str]) -> None:
        self._database, self._rounds, self._environment = database, rounds, environment

    def cost(self) -> None:
        self._compare("cost", 5_000, 0, RECORDERS)

    def work(self) -> None:
        self._compare("work", 1_000, 2, RECORDERS[:3])

    def idle(self) -> None:
        self._lose("idle", "latency")

    def losses(self) -> None:
        self._lose("losses", "stops", "kills")

    def outage(self) -> None:
        self._keep("outage", run("outage", self._database, HUEY_URL=self._environment["HUEY_URL"]), {})

    def load(self) -> None:
        self._lose("load", "load=180")

    def _compare(self, section: str, tasks: int, milliseconds: float, recorders: tuple[str, ...]) -> None:
        """Measures all variants in turn, so that other load on the machine affects all of them."""
        measured: Measured = {recorder: [] for recorder in recorders}
        for _ in range(self._rounds):
            for recorder, results in measured.items():
                self._empty()
                out = run("load", str(tasks), str(milliseconds), BENCH_RECORDER=recorder, **self._environment)
                results.append(json.loads(out.splitlines()[-1]))
        title = f"{tasks:,} tasks of {milliseconds:g} ms, milliseconds a task, medians of {self._rounds}"
        self._keep(section, f"{title}\n\n{compared(measured, tasks)}", {"tasks": tasks, "seconds": measured})

    def _lose(self, section: str, *losses: str) -> None:
        self._empty()
        self._keep(section, run("losses", *losses, **self._environment), {})

    def _empty(self) -> None:
        if "DATABASE_URL" in self._environment:
            services.empty_postgres(self._environment["DATABASE_URL"])

    def _keep(self, section: str, text: str, figures: dict[str, Any]) -> None:
        about = {
            "date": datetime.now(tz=UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "load at the end": round(os.getloadavg()[0], 1),
            "Python": platform.python_version(),
            **{name: version(name) for name in ("Django", "huey")},
        }
        said = f"### {DATABASES[self._database]}: {section}\n\n{', '.join(f'{key} {value}' for key, value in about.items())}"
        print(f"\n{said}\n\n{text.strip()}", flush=True)
        RESULTS.mkdir(parents=True, exist_ok=True)
        stem = RESULTS / f"recording-{section}-{self._database}"
        stem.with_suffix(".md").write_text(f"{said}\n\n{text.strip()}\n")
        if figures:
            stem.with_suffix(".json").write_text(json.dumps(about | figures, indent=1) + "\n")


def compared(measured: Measured, tasks: int) -> str:
    """Medians and their ratio to plain Huey; `× plain by round` is the median of the ratios within each round."""
    plain = measured["plain"]
    rows = []
    for recorder, results in measured.items():
        each = {part: _median(results, part) / tasks * 1_000 for part in results[0]}
        totals = sorted(result["total"] / tasks * 1_000 for result in results)
        times = {part: _median(results, part) / _median(plain, part) for part in ("total", "cpu")}
        rounds = [result["total"] / beside["total"] for result, beside in zip(results, plain, strict=True)]
        rows.append(
            [
                recorder,
                *(f"{each[part]:.3f}" for part in ("enqueue", "execute", "total")),
                f"{totals[0]:.3f} – {totals[-1]:.3f}",
                times["total"],
                statistics.median(rounds),
                f"{each['cpu']:.3f}",
                times["cpu"],
            ]
        )
    headings = ["", "enqueue", "execute", "total", "min – max", "× plain", "× plain by round", "CPU", "CPU, × plain"]
    return table(headings, rows)


def _median(results: list[dict[str, float]], part: str) -> float:
    return statistics.median(result[part] for result in results)


SECTIONS = ("cost", "work", "idle", "losses", "outage", "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; none: all")
    parser.add_argument("--database", choices=DATABASES, action="append", help="only this one")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    with ExitStack() as servers:
        environment = {"HUEY_URL": servers.enter_context(services.redis_server())}
        for database in options.database or DATABASES:
            if database == "postgres":
                environment["DATABASE_URL"] = servers.enter_context(services.postgres_server(is_safe=True))
            bench = Bench(database, options.rounds, environment)
            for section in options.sections or SECTIONS:
                getattr(bench, section)()


if __name__ == "__main__":
    main()
