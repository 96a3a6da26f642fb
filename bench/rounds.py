"""Checks and rounds: against the seed's way (a query of the ORM for each monitor) and the bare statement."""

import gc
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tqdm import tqdm

from bench import report
from bench.site import arguments, site


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=7, help="that each thing is measured")
    options = parser.parse_args()
    with site(options):
        from bench import data
        from monitoring.tasks import spare_what_stays

        data.fill(options.runs)
        spare_what_stays()  # as a worker does when it starts
        checks, of_checks = measure_checks(options)
        rounds, of_rounds = measure_rounds(options)
        report.keep(options, "rounds", f"{checks}\n\n{rounds}", {"checks": of_checks, "rounds": of_rounds})


def measure_checks(options: Any) -> tuple[str, list[dict[str, Any]]]:
    """The ways take turns, so that a slow minute of the machine affects all of them."""
    from bench import data
    from monitoring.checking.evaluation import evaluate

    rows, figures = [], []
    numbers = sorted({min(number, options.monitors) for number in (100, 1_000, options.monitors)})
    for number in tqdm(numbers, desc="checks", disable=None):
        asked = data.checks(number)
        ways: dict[str, Callable[[], Any]] = {
            "evaluate": lambda asked=asked: evaluate(asked),
            "bare statement": bare(asked),
            "a query each": lambda asked=asked: seeds_way(asked),
        }
        taken = take_turns(ways, options.times, {"a query each": 2 if number > 1_000 else options.times})
        _compared(f"{number:,} checks", taken, rows, figures)
    others = {
        f"{numbers[-1]:,} checks that look back {data.DAYS} days": data.checks(numbers[-1], lookbacks=[24 * data.DAYS]),
        "1,000 checks of a context, an instance each": data.checks(1_000, data.INGESTOR),
        "1,000 checks of a context, shared instances": data.checks(1_000, data.COLLECTOR),
    }
    for title, asked in others.items():
        taken = take_turns({"evaluate": lambda asked=asked: evaluate(asked)}, options.times, {})
        _compared(title, taken, rows, figures)
    return report.table(["ms", "way", "median", "least", "most", "times evaluate"], rows), figures


def _compared(title: str, taken: dict[str, list[float]], rows: list[Any], figures: list[Any]) -> None:
    ours = report.spread(taken["evaluate"])["median"]
    for way, seconds in taken.items():
        spread = report.spread(seconds)
        rows.append([title, way, spread["median"], spread["min"], spread["max"], spread["median"] / ours])
        figures.append({"what": title, "way": way, **spread, "times_evaluate": spread["median"] / ours})


def take_turns(ways: dict[str, Callable[[], Any]], times: int, but: dict[str, int]) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(times):
        for way, do in ways.items():
            if turn < but.get(way, times):
                gc.collect()
                taken[way] += report.timed(do, 1)
    return taken


def seeds_way(asked: list[Any]) -> list[Any]:
    """What the description that this project was built from does, with the same index."""
    from monitoring.models import BackgroundTask

    return [
        BackgroundTask.objects.filter(task_name=check.expectation.task_name, started_at__gte=check.threshold)
        .order_by("-started_at")
        .first()
        for check in asked
    ]


def bare(asked: list[Any]) -> Callable[[], Any]:
    """Only the statement: its parameter is prepared beforehand, its rows are fetched as the driver returns them."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from monitoring.checking import probe
    from monitoring.checking.evaluation import _probe

    sent: list[Any] = []

    def remember(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        sent.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(remember), CaptureQueriesContext(connection):
        probe.newest([_probe(check) for check in asked], "default")
    ((sql, parameters),) = sent

    def run() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    return run


def measure_rounds(options: Any) -> tuple[str, list[dict[str, Any]]]:
    """Whole ticks without sending; the first of a storm opens its incidents, the next continues them."""
    from bench import data
    from monitoring.models import Heartbeat
    from monitoring.tick import tick

    rows, figures = [], []
    cases = [
        ("2 % fail", {"failing": 0.02}),
        ("2 % fail, a tenth has a context", {"failing": 0.02, "contexts": options.monitors // 10}),
        ("2 % fail, all schedules differ", {"failing": 0.02, "crons": options.monitors}),
        ("all fail", {"failing": 1.0}),
    ]
    for title, case in tqdm(cases, desc="rounds", disable=None):
        taken: dict[str, list[float]] = {}
        longest: dict[str, list[float]] = {}
        for turn in range(max(2, options.times // 2)):
            data.watch(options.monitors, **case)
            Heartbeat.objects.all().delete()  # so that the hour between turns is no outage
            for which, passed in (("first", 0), ("the next", 60)):
                if passed:
                    data.plan_all()
                gc.collect()
                with transactions() as seconds:
                    began = report.time.perf_counter()
                    tick(data.NOW + timedelta(hours=turn, seconds=passed))
                    taken.setdefault(which, []).append(report.time.perf_counter() - began)
                longest.setdefault(which, []).append(max(seconds))
        for which, seconds in taken.items():
            spread, most = report.spread(seconds), max(longest[which]) * 1_000
            rows.append([title, which, spread["median"], spread["min"], spread["max"], most])
            figures.append({"what": title, "which": which, **spread, "longest_transaction": most})
    headings = [f"ms, {options.monitors:,} due", "round", "median", "least", "most", "longest transaction"]
    table = report.table(headings, rows)
    return f"{table}\n\nGreatest memory of a process in which all fail twice: {_memory(options)} MB.", figures


WORKER = """
import sys
import django
django.setup()
from bench.data import NOW
from monitoring.tasks import spare_what_stays
from monitoring.tick import tick
spare_what_stays()
for _ in range(2):
    assert tick(NOW).judged, "nothing was due"
    # Not what getrusage says: that begins with the memory of the process which started this one.
    (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(int(peak.split()[1]) // 1024, flush=True)
    sys.stdin.readline()
"""


def _memory(options: Any) -> int:
    """In MB, of a process that does nothing but the two rounds of a storm."""
    from bench import data
    from monitoring.models import Heartbeat

    data.watch(options.monitors, failing=1.0)
    Heartbeat.objects.all().delete()
    command, pipe = [sys.executable, "-c", WORKER], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as worker:
        assert worker.stdin
        assert worker.stdout
        worker.stdout.readline()
        data.plan_all()
        print(file=worker.stdin, flush=True)
        return int(worker.stdout.readline())


class transactions:
    """The time that each outermost transaction took."""

    def __enter__(self) -> list[float]:
        from django.db import transaction

        self.atomic, self.seconds = transaction.Atomic, []
        self.enter, self.exit = self.atomic.__enter__, self.atomic.__exit__
        began: list[float] = []
        seconds, enter, leave = self.seconds, self.enter, self.exit

        def timed_enter(atomic: Any) -> None:
            enter(atomic)
            began.append(report.time.perf_counter())

        def timed_exit(atomic: Any, *error: Any) -> None:
            leave(atomic, *error)
            took = report.time.perf_counter() - began.pop()
            if not began:
                seconds.append(took)

        self.atomic.__enter__, self.atomic.__exit__ = timed_enter, timed_exit
        return self.seconds

    def __exit__(self, *error: Any) -> None:
        self.atomic.__enter__, self.atomic.__exit__ = self.enter, self.exit


if __name__ == "__main__":
    main()
