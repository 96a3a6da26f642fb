"""Plain functions that make rows and values for tests; whatever a test does not say has a harmless default."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from monitoring.models import BackgroundTask, DependentTask, Monitor, MonitorState
from monitoring.values.expectation import Expectation
from monitoring.values.facts import AlertKind, Facts
from monitoring.values.run_event import RunStatus

NOW = datetime(2026, 11, 22, 8, 35, tzinfo=UTC)

_ids = count(1)


class Wordless(Exception):
    """An error of others' code that fails to say what it is about."""

    def __str__(self) -> str:
        raise AttributeError("response")

    __repr__ = __str__


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def make_run(task_name: str = "daily_report", status: str = "Completed", **over: Any) -> BackgroundTask:
    """A run that started a minute before NOW; `started_at=None` makes one that never started."""
    started_at = over.pop("started_at", ago(minutes=1))
    return BackgroundTask.objects.create(
        task_id=over.pop("task_id", f"run-{next(_ids)}"),
        task_name=task_name,
        status=status,
        started_at=started_at,
        **over,
    )


def make_expectation(task_name: str = "daily_report", **over: Any) -> Expectation:
    return Expectation(
        task_name=task_name, expected_statuses=over.pop("expected_statuses", (RunStatus.COMPLETED,)), **over
    )


def make_facts(**over: Any) -> Facts:
    return Facts(
        **{
            "kind": AlertKind.STATUS_MISMATCH,
            "task_name": "daily_report",
            "current_status": "Stopped",
            "expected_statuses": ("Completed",),
            "lookback_hours": 1.0,
            "check_time": NOW,
            "started_at": ago(minutes=5),
            "finished_at": ago(minutes=4),
        }
        | over
    )


def make_monitor(name: str = "daily report", **over: Any) -> Monitor:
    """A saved monitor of daily_report, due at 08:35 UTC each day; `due_at` plans it at once."""
    due_at = over.pop("due_at", None)
    dependent_tasks = over.pop("dependent_tasks", ())
    monitor = Monitor(
        **{
            "name": name,
            "task_name": "daily_report",
            "expected_statuses": ["Completed"],
            "lookback_hours": 2,
            "notify_to": ["ops@example.com"],
            "schedule": "35 8 * * *",
            "time_zone": "UTC",
        }
        | over
    )
    monitor.full_clean()
    monitor.save()
    for position, task_name in enumerate(dependent_tasks):
        DependentTask.objects.create(monitor=monitor, task_name=task_name, position=position)
    if due_at:
        MonitorState.objects.filter(monitor=monitor).update(next_check_at=due_at)
    return monitor
