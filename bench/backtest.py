"""Back-tests of 30 days: one monitor that is checked each minute, and a configuration of a hundred, hourly."""

import gc
import resource
from datetime import timedelta
from typing import Any

from tqdm import tqdm

from bench import report
from bench.site import arguments, site

DAYS = 30


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--times", type=int, default=5, help="that each thing is measured, after one that is not counted"
    )
    options = parser.parse_args()
    with site(options):
        from bench import data

        data.fill(options.runs)
        text, figures = measure(options.times)
        report.keep(options, "backtest", text, figures)


def measure(times: int) -> tuple[str, dict[str, Any]]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from bench import data
    from monitoring.backtest import back_test

    rows, figures = [], []
    for title, trials in tqdm(cases(), desc="back-tests", disable=None):

        def once(trials: Any = trials) -> Any:
            return list(back_test(trials, data.NOW - timedelta(days=DAYS), data.NOW))

        with CaptureQueriesContext(connection) as asked:
            found = once()
        checks, alerts = (sum(getattr(each, name) for each in found) for name in ("checks", "alerts"))
        gc.collect()
        spread = report.spread(report.timed(once, times))
        rows.append([title, checks, alerts, len(asked), spread["median"], spread["min"], spread["max"]])
        figures.append({"what": title, "checks": checks, "alerts": alerts, "statements": len(asked), **spread})
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    headings = [f"ms, {DAYS} days", "checks", "alerts", "statements", "median", "least", "most"]
    return f"{report.table(headings, rows)}\n\nGreatest memory of the process: {memory} MB.", {"back_tests": figures}


def cases() -> list[tuple[str, Any]]:
    """Tasks from the most frequent, whose newest run differs at each check, to one that seldom runs."""
    from monitoring.backtest import trials_of
    from monitoring.values.expectation import Expectation
    from monitoring.values.run_event import RunStatus
    from monitoring.values.schedule import parse_schedule

    def of(names: int | str, schedule: str, lookback_hours: float) -> Any:
        wanted = [f"task_{n}" for n in range(names)] if isinstance(names, int) else [names]
        expectations = [
            Expectation(task_name=name, expected_statuses=(RunStatus.COMPLETED,), lookback_hours=lookback_hours)
            for name in wanted
        ]
        return trials_of(expectations, parse_schedule(schedule, "Europe/Berlin"))

    minutely = [
        (f"{schedule}, {name}, looks back {hours} h", of(name, schedule, hours))
        for schedule in ("* * * * *", "every minute")
        for name, hours in (("task_0", 1), ("task_100", 1), ("task_1000", 24), ("task_9000", 1))
    ]
    return [*minutely, ("0 * * * *, 100 tasks, looks back 24 h", of(100, "0 * * * *", 24))]


if __name__ == "__main__":
    main()
