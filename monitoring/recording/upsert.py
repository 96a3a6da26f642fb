"""Writes events to rows, many in one statement. An older state never replaces a newer one, whatever order they come in.

`merge` and the SQL state the same rules: one for events that wait together, the other for an event that meets its row.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from monitoring.models import BackgroundTask, database_alias
from monitoring.values.run_event import WORKER_LOST, RunEvent, RunStatus
from monitoring.values.text import head, one_line

EARLIER_ERRORS_MAX = 4_000  # characters of a run's earlier errors, after which no line is added
LINE_MAX = 200  # characters of such a line's error
BATCH = 500  # rows per statement

_COLUMNS = RunEvent._fields[:-1]  # all but `attempts_at_least`
_TYPES = {"seq": "bigint", "attempts": "integer"} | dict.fromkeys(
    ("submitted_at", "started_at", "finished_at"), "timestamptz"
)
_TABLE = BackgroundTask._meta.db_table
# All rows are one parameter, a JSON list of lists: Django and PostgreSQL's client would process thousands of parameters
# one by one in Python. SQLite needs a WHERE, or it would read ON CONFLICT as a join's ON.
_ROWS = {
    "postgresql": f"""
SELECT {", ".join(f"(run->>{place})::{_TYPES.get(name, 'text')}" for place, name in enumerate(_COLUMNS))}
FROM jsonb_array_elements(%s::jsonb) AS run""",
    "sqlite": f"""
SELECT {", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(_COLUMNS)))}
FROM json_each(%s) WHERE true""",
}

# The update has no WHERE: an old event changes no state, but it still fills in what the newer one did not know.
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
    """What is known of a run after one more event, which may be older than what is known."""
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
        # An old event may have been counted already: it never adds, it only says that there was an attempt.
        attempts=old.attempts + event.attempts if is_newer else old.attempts,
        attempts_at_least=max(
            old.attempts_at_least + event.attempts if is_newer else max(old.attempts_at_least, event.attempts),
            event.attempts_at_least,
        ),
        errors=event.errors if is_newer and old.errors == WORKER_LOST else newer.errors or older.errors,
        earlier_errors=_earlier_errors(old, event, is_newer),
        parameters=old.parameters or event.parameters,
        context_id=event.context_id if old.context_id is None else old.context_id,
        worker=_worker(old, event, is_newer),
    )


def _earlier_errors(old: RunEvent, event: RunEvent, is_newer: bool) -> str:
    """Only a newer event adds its line: an old one may have been written already."""
    if is_newer and len(old.earlier_errors) < EARLIER_ERRORS_MAX:
        return old.earlier_errors + event.earlier_errors
    return old.earlier_errors or event.earlier_errors


def _worker(old: RunEvent, event: RunEvent, is_newer: bool) -> str:
    """The worker that starts a run has it, named or not; until then its queue may be named."""
    if is_newer:
        return event.worker or ("" if event.attempts else old.worker)
    return old.worker or ("" if old.attempts or old.attempts_at_least else event.worker)


def fold(events: Iterable[RunEvent]) -> Iterator[list[RunEvent]]:
    """One event per run, in the order of their task ids, so that two writers never deadlock.

    What follows a gap in a run's attempts is a second list, to be written after the first: another process ran the
    attempt between, and if that is written already, the attempts before it are counted.
    """
    runs: dict[str, RunEvent] = {}
    for event in map(_with_its_line, events):
        known = runs.get(event.task_id)
        if known and _is_gap(known, event):
            yield [runs[task_id] for task_id in sorted(runs)]
            runs, known = {}, None
        runs[event.task_id] = merge(known, event) if known else event
    yield [runs[task_id] for task_id in sorted(runs)]


def _is_gap(old: RunEvent, event: RunEvent) -> bool:
    known = max(old.attempts, old.attempts_at_least) + event.attempts
    return event.seq > old.seq and event.attempts_at_least > known


def _with_its_line(event: RunEvent) -> RunEvent:
    """A failed attempt that is followed by another also gets one line in `earlier_errors`, which outlasts its error."""
    if event.status is not RunStatus.INVALIDATED or not event.errors or event.earlier_errors:
        return event
    line = head(one_line(event.errors.rpartition("\n")[2]), LINE_MAX)
    when = f"{event.finished_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC " if event.finished_at else ""
    return event._replace(earlier_errors=f"{when}{line}\n")


def upsert(events: Sequence[RunEvent], using: str, worker: str = "") -> None:
    """Writes the events to the run table, a statement for every 500 runs. Raises what the database raises.

    `worker` is the worker of the runs that begin here, unless the event names one itself.

    Events that may have been written already must be written again unchanged, and never together with newer ones of
    their run: otherwise their attempts would count twice.
    """
    connection = connections[using]
    sql = _UPSERT.format(rows=_ROWS[connection.vendor])
    as_json = json.JSONEncoder(default=_writes_times(connection)).encode
    for folded in fold(events):
        # Few: most starts are reported before their end. Nobody sees such a run's end before all its attempts.
        raised = [event for event in folded if event.attempts_at_least > event.attempts]
        with transaction.atomic(using) if raised else nullcontext(), connection.cursor() as cursor:
            for start in range(0, len(folded), BATCH):
                cursor.execute(sql, [as_json([_row(event, worker) for event in folded[start : start + BATCH]])])
            for event in raised:
                cursor.execute(_RAISE_ATTEMPTS, [event.attempts_at_least, event.task_id, event.attempts_at_least])


def write_at_once(event: RunEvent) -> None:
    """Writes one event on the caller's connection. Raises what the database raises."""
    using = database_alias()
    connection = connections[using]
    try:
        # A savepoint if the host is inside a transaction, so that an error here leaves the host's work intact.
        with transaction.atomic(using=using):
            upsert([event], using)
    except (InterfaceError, OperationalError):
        if connection.in_atomic_block:
            raise
        connection.close()  # it may have been cut since its last use: try a new one
        upsert([event], using)


def _row(event: RunEvent, worker: str) -> list[Any]:
    *row, its_worker, _ = event
    begins = event.attempts or event.status is RunStatus.RUNNING
    return [*row, its_worker or (worker if begins else "")]


def _writes_times(connection: BaseDatabaseWrapper) -> Callable[[datetime], str]:
    """Writes times as Django does, since SQLite compares them as text, but does not convert those already in UTC."""
    if connection.vendor == "postgresql":
        return str
    adapt, is_utc = connection.ops.adapt_datetimefield_value, connection.timezone is UTC

    def written(time: datetime) -> str:
        return str(time)[: -len("+00:00")] if is_utc and time.tzinfo is UTC else str(adapt(time))

    return written
