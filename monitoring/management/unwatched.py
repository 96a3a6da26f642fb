"""How list_status shows the tasks that run but that nobody watches."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from monitoring.alerting.words import MARKS, run_tone
from monitoring.checking.suggestions import how_many_said
from monitoring.management.plugin import as_csv, columns, run_as_json
from monitoring.management.terminal import Terminal, ago
from monitoring.values.evidence import RUNS_SHOWN
from monitoring.values.habit import Habit

HEADER = ("TASK", "LAST RUNS", "LAST RUN", "STATUS", "HOW OFTEN")
RUNS = 1  # the column
CSV_FIELDS = ("task_name", "how_often", "interval_seconds", "is_regular", "last_run_status", "last_run_started_at")
WAY_OUT = "suggest_monitors --unmonitored prints a configuration for them."


def unwatched_as_table(found: Sequence[Habit], now: datetime, terminal: Terminal) -> Iterator[str]:
    if not found:
        yield how_many_said(0)
        return
    yield how_many_said(len(found))
    yield ""
    rows = columns([HEADER, *(_row(each, now, terminal) for each in found)])
    yield "  ".join(rows[0])
    for each, cells in zip(found, rows[1:], strict=True):
        cells[RUNS] = terminal.strip(each.runs[:RUNS_SHOWN], len(cells[RUNS]))
        yield "  ".join(cells)
    yield ""
    yield WAY_OUT


def unwatched_as_json(habit: Habit) -> dict[str, Any]:
    """Spans are in seconds; None if there are too few runs to tell."""
    return {
        "task_name": habit.task_name,
        "how_often": habit.how_often,
        "interval_seconds": habit.interval and habit.interval.total_seconds(),
        "is_regular": None if habit.interval is None else habit.is_regular,
        "usual_seconds": habit.took and habit.took.total_seconds(),
        "last_run": run_as_json(habit.runs[0]) if habit.runs else None,
        "last_runs": [run_as_json(run) for run in habit.runs[:RUNS_SHOWN]],
    }


def unwatched_as_csv(tasks: Sequence[dict[str, Any]]) -> str:
    """A line per task, with what unwatched_as_json says."""
    return as_csv(CSV_FIELDS, map(_csv_row, tasks))


def _csv_row(task: dict[str, Any]) -> dict[str, Any]:
    run = task["last_run"] or {}
    return task | {"last_run_status": run.get("status"), "last_run_started_at": run.get("started_at")}


def _row(habit: Habit, now: datetime, terminal: Terminal) -> tuple[str, ...]:
    run = habit.runs[0] if habit.runs else None
    return (
        terminal.spelt(habit.task_name),
        "".join(MARKS[run_tone(run.status)] for run in habit.runs[:RUNS_SHOWN]),
        ago(run.started_at or run.submitted_at if run else None, now),
        terminal.spelt(run.status) if run else "-",
        habit.how_often,
    )
