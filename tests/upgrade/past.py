"""Tables as older versions left them, filled, and what tells whether all of it is still there.

What looks random is arithmetic on a row's number. Runs are made in SQL, since there are many; all else by the models of
its time.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.apps.registry import Apps
from django.db import connection, transaction

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
EACH = timedelta(seconds=10)  # between two runs
TASKS = 1_000
ALERTS = MONITORS = 1_000
INCIDENTS_MAX = 10_000
AT_ONCE = 10_000  # rows
RUN_TABLE = "monitoring_backgroundtask"

_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})",
    "postgresql": "WITH numbers(n) AS (SELECT generate_series(0, {last}))",
}
_TIME = {"sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%S', {0}, 'unixepoch')", "postgresql": "to_timestamp({0})"}


class Table(NamedTuple):
    """What a table held, in the columns that it had then."""

    name: str
    columns: tuple[str, ...]
    rows: int
    checksum: str


def started_at(n: int) -> datetime:
    return BEGAN + n * EACH


def fill_first(runs: int, apps: Apps) -> None:
    """Migration 0001: runs, and alerts of configurations with a mail each."""
    at = f"{BEGAN.timestamp():.0f} + n * {EACH.seconds}"
    start, end = (_TIME[connection.vendor].format(f"{at} + {seconds}") for seconds in (0, 7))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {RUN_TABLE} (task_id, task_name, status, submitted_at, started_at, finished_at, attempts,
              errors, parameters, context_id, seq)
            {_NUMBERS[connection.vendor].format(last=runs - 1)}
            SELECT 'run-' || n, 'task_' || (n %% {TASKS}),
              CASE WHEN n %% 50 = 7 THEN 'Stopped' WHEN n %% 1000 = 8 THEN 'Running' ELSE 'Completed' END,
              {start}, {start}, {end}, 1, CASE WHEN n %% 50 = 7 THEN %s ELSE '' END, '{{"args": [' || n || ']}}',
              CASE WHEN n %% 20 = 3 THEN CAST(n AS text) END, 4
            FROM numbers
            """,
            ["Traceback (most recent call last):\n" + 20 * "  a line of it\n"],
        )
    _fill_mails(apps)


def _fill_mails(apps: Apps) -> None:
    alert, message, delivery = (apps.get_model("monitoring", name) for name in ("Alert", "Message", "Delivery"))
    alerts = alert.objects.bulk_create(
        alert(kind="mismatch", task_name=f"task_{n}", facts={"n": n}, created_at=started_at(n)) for n in range(ALERTS)
    )
    messages = message.objects.bulk_create(
        message(
            address=f"{n}@example.com",
            subject=f"[ALERT] {n}",
            text="t" * 500,
            html="h" * 5_000,
            created_at=started_at(n),
            next_attempt_at=started_at(n),
            sent_at=started_at(n) if n % 10 else None,
        )
        for n in range(ALERTS)
    )
    delivery.objects.bulk_create(
        delivery(alert=each, address=mail.address, message=mail) for each, mail in zip(alerts, messages, strict=True)
    )


def fill_second(runs: int, apps: Apps) -> None:
    """Migration 0002: monitors, and their incidents, whose facts name a run in either of the ways that they did."""
    monitor, state, dependent, incident = (
        apps.get_model("monitoring", name) for name in ("Monitor", "MonitorState", "DependentTask", "Incident")
    )
    monitors = monitor.objects.bulk_create(
        monitor(
            name=f"monitor {n}",
            task_name=f"task_{n % TASKS}",
            expected_statuses=["Completed"],
            schedule="35 8 * * *",
            time_zone="UTC",
            changed_at=BEGAN,
        )
        for n in range(MONITORS)
    )
    state.objects.bulk_create(state(monitor=each, next_check_at=started_at(runs)) for each in monitors)
    dependent.objects.bulk_create(dependent(monitor=each, task_name="after_it") for each in monitors)
    incident.objects.bulk_create(
        incident(
            monitor=monitors[n % MONITORS],
            monitor_name=f"monitor {n % MONITORS}",
            task_name=f"task_{_cited(n, runs) % TASKS}",
            opened_at=started_at(n),
            last_failed_at=started_at(n),
            closed_at=None if n < MONITORS else started_at(n + 1),
            facts=_facts(n, _cited(n, runs)),
        )
        for n in range(incidents(runs))
    )


def incidents(runs: int) -> int:
    return min(runs // 2, INCIDENTS_MAX)


def _cited(incident: int, runs: int) -> int:
    """The number of the run that an incident is about."""
    return incident * 7919 % runs


def _facts(incident: int, run: int) -> dict[str, Any]:
    return {"task_id": f"run-{run}"} if incident % 2 else {"started_at": started_at(run).isoformat()}


def look() -> list[Table]:
    """All tables of the app as they are."""
    with connection.cursor() as cursor:
        names = [name for name in connection.introspection.table_names(cursor) if name.startswith("monitoring_")]
        columns = {
            name: tuple(column.name for column in connection.introspection.get_table_description(cursor, name))
            for name in sorted(names)
        }
    return [_read(name, columns[name]) for name in columns]


def look_again(tables: Sequence[Table]) -> list[Table]:
    """These tables, in the columns that they had."""
    return [_read(table.name, table.columns) for table in tables]


def _read(name: str, columns: tuple[str, ...]) -> Table:
    quoted = ", ".join(map(connection.ops.quote_name, columns))
    checksum, rows = hashlib.sha256(), 0
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(f"SELECT {quoted} FROM {name} ORDER BY 1")
        while read := cursor.fetchmany(AT_ONCE):
            checksum.update(repr(read).encode())
            rows += len(read)
    return Table(name, columns, rows, checksum.hexdigest()[:16])
