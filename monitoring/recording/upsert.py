"""Events into rows, in one statement for many. A newer state never yields to an older one, in whatever order they come.

`merge` and the SQL say the same twice: once for events that wait together, once for an event that meets its row.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from monitoring.models import BackgroundTask
from monitoring.values.run_event import WORKER_LOST, RunEvent, RunStatus
from monitoring.values.text import head, one_line

EARLIER_ERRORS_MAX = 4_000  # characters of a run's earlier errors, after which no line is added
LINE_MAX = 200  # characters of such a line's error
BATCH = 500  # rows a statement: 6,500 parameters, far below SQLite's 32,766

_VALUES = (
    "task_id", "task_name", "status", "seq", "attempts", "errors", "earlier_errors", "parameters", "context_id",
)  # fmt: skip
_TIMES = ("submitted_at", "started_at", "finished_at")
_COLUMNS = (*_VALUES, "worker", *_TIMES)
_values, _times = attrgetter(*_VALUES), attrgetter(*_TIMES)
_TABLE = BackgroundTask._meta.db_table
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"
_TYPES = (
    dict.fromkeys((*_VALUES, "worker"), "text")
    | {"seq": "bigint", "attempts": "integer"}
    | dict.fromkeys(_TIMES, "timestamptz")
)
# PostgreSQL takes all rows as one parameter: its client takes thousands apart in Python, at three times the cost.
_ROWS_OF_JSON = f"""
SELECT {", ".join(_COLUMNS)}
FROM json_to_recordset(%s::json) AS given ({", ".join(f"{name} {_TYPES[name]}" for name in _COLUMNS)})"""

# There is no WHERE: an old event changes no state, but it still fills in what the newer one did not know.
_UPSERT = f"""
INSERT INTO {_TABLE} AS run ({", ".join(_COLUMNS)}) {{rows}}
ON CONFLICT (task_id) DO UPDATE SET
  status = CASE WHEN excluded.seq > run.seq THEN excluded.status ELSE run.status END,
  finished_at = CASE WHEN excluded.seq > run.seq THEN excluded.finished_at ELSE run.finished_at END,
  started_at = CASE WHEN excluded.seq > run.seq THEN COALESCE(excluded.started_at, run.started_at)
                    ELSE COALESCE(run.started_at, excluded.started_at) END,
  errors = CASE WHEN excluded.seq > run.seq AND (excluded.errors <> '' OR run.errors = '{WORKER_LOST}')
                  OR run.errors = '' THEN excluded.errors ELSE run.errors END,
  earlier_errors = CASE WHEN excluded.seq > run.seq AND length(run.earlier_errors) < {EARLIER_ERRORS_MAX}
                          THEN run.earlier_errors || excluded.earlier_errors
                        WHEN run.earlier_errors = '' THEN excluded.earlier_errors ELSE run.earlier_errors END,
  attempts = CASE WHEN excluded.seq > run.seq THEN run.attempts + excluded.attempts
                  WHEN excluded.attempts > run.attempts THEN excluded.attempts ELSE run.attempts END,
  submitted_at = COALESCE(run.submitted_at, excluded.submitted_at),
  parameters = CASE WHEN run.parameters = '' THEN excluded.parameters ELSE run.parameters END,
  context_id = COALESCE(run.context_id, excluded.context_id),
  worker = CASE WHEN excluded.seq > run.seq AND (excluded.worker <> '' OR excluded.attempts > 0)
                  OR run.worker = '' AND run.attempts = 0 THEN excluded.worker ELSE run.worker END,
  seq = CASE WHEN excluded.seq > run.seq THEN excluded.seq ELSE run.seq END
"""
_RAISE_ATTEMPTS = f"UPDATE {_TABLE} SET attempts = %s WHERE task_id = %s AND attempts < %s"


def merge(old: RunEvent, event: RunEvent) -> RunEvent:
    """What is known of a run after an event, which may be older than what is known."""
    is_newer = event.seq > old.seq
    newer, older = (event, old) if is_newer else (old, event)
    return RunEvent(
        task_id=newer.task_id,
        task_name=old.task_name,
        status=newer.status,
        seq=newer.seq,
        submitted_at=old.submitted_at or event.submitted_at,
        started_at=newer.started_at or older.started_at,
        finished_at=newer.finished_at,
        # An old event may be one that was counted already: it never adds, it only says that there was an attempt.
        attempts=old.attempts + event.attempts if is_newer else old.attempts,
        attempts_at_least=max(
            old.attempts_at_least + event.attempts if is_newer else max(old.attempts_at_least, event.attempts),
            event.attempts_at_least,
        ),
        errors=event.errors if is_newer and old.errors == WORKER_LOST else newer.errors or older.errors,
        earlier_errors=_earlier_errors(old, event, is_newer),
        parameters=old.parameters or event.parameters,
        context_id=event.context_id if old.context_id is None else old.context_id,
        worker=event.worker if _tells_the_worker(old, event, is_newer) else old.worker,
    )


def _tells_the_worker(old: RunEvent, event: RunEvent, is_newer: bool) -> bool:
    """Whoever starts a run has it, named or not; until then its queue may be named."""
    if is_newer and (event.worker or event.attempts):
        return True
    return not (old.worker or old.attempts or old.attempts_at_least)


def _earlier_errors(old: RunEvent, event: RunEvent, is_newer: bool) -> str:
    """Only a newer event adds its line: an old one may be one that was written already."""
    if is_newer and len(old.earlier_errors) < EARLIER_ERRORS_MAX:
        return old.earlier_errors + event.earlier_errors
    return old.earlier_errors or event.earlier_errors


def fold(events: Iterable[RunEvent]) -> list[RunEvent]:
    """One event a run, in the order of their task ids, so that two writers never wait for each other in a circle."""
    runs: dict[str, RunEvent] = {}
    for event in map(_with_its_line, events):
        known = runs.get(event.task_id)
        runs[event.task_id] = merge(known, event) if known else event
    return [runs[task_id] for task_id in sorted(runs)]


def _with_its_line(event: RunEvent) -> RunEvent:
    """An attempt that failed and is followed by another also says so in one line, which outlasts its error."""
    if event.status is not RunStatus.INVALIDATED or not event.errors or event.earlier_errors:
        return event
    line = head(one_line(event.errors.rpartition("\n")[2]), LINE_MAX)
    when = f"{event.finished_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC " if event.finished_at else ""
    return replace(event, earlier_errors=f"{when}{line}\n")


def upsert(events: Sequence[RunEvent], using: str, worker: str = "") -> None:
    """Writes the events to the run table, one statement for every 500 runs. Raises what the database raises.

    `worker` is who runs what begins among them, where the event does not say it itself.

    Events that may have been written already are written again as they were, never together with newer ones of their
    run: their attempts would count twice.
    """
    folded = fold(events)
    connection = connections[using]
    rows = _rows_as_json if connection.vendor == "postgresql" else _rows_as_values
    with connection.cursor() as cursor:
        for start in range(0, len(folded), BATCH):
            sql, parameters = rows(folded[start : start + BATCH], worker, connection)
            cursor.execute(_UPSERT.format(rows=sql), parameters)
        for event in folded:  # few: most starts are told before their end
            if event.attempts_at_least > event.attempts:
                cursor.execute(_RAISE_ATTEMPTS, [event.attempts_at_least, event.task_id, event.attempts_at_least])


def _rows_as_json(events: Sequence[RunEvent], worker: str, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
    rows = [
        dict(zip(_COLUMNS, (*_values(event), _worker_of(event, worker), *_times(event)), strict=True))
        for event in events
    ]
    return _ROWS_OF_JSON, [json.dumps(rows, default=datetime.isoformat)]


def _rows_as_values(events: Sequence[RunEvent], worker: str, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
    parameters: list[Any] = []
    for event in events:
        parameters += _values(event)
        parameters.append(_worker_of(event, worker))
        parameters += (_written(time, connection) for time in _times(event))
    return f"VALUES {', '.join([_ROW] * len(events))}", parameters


def _worker_of(event: RunEvent, worker: str) -> str:
    return event.worker or (worker if event.attempts or event.status is RunStatus.RUNNING else "")


def _written(time: datetime | None, connection: BaseDatabaseWrapper) -> Any:
    """As Django writes it, since SQLite compares times as text; but what is in UTC already needs not be converted."""
    if time is not None and time.tzinfo is UTC and connection.timezone is UTC:
        return str(time.replace(tzinfo=None))
    return connection.ops.adapt_datetimefield_value(time)
