"""Generated data, the same on both databases: what looks random is computed from a run's number.

The runs are of `NAMES` tasks in 90 days, the k-th name with a share of 1/k; a hundredth never started, a fiftieth was
stopped. A twentieth are runs of `CONTEXT_NAMES` tasks in which each run has its own context instance, as sessions have;
another twentieth share a thousand instances. All of it ends at `NOW`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.db import connection, transaction
from tqdm import tqdm

NOW = datetime(2026, 11, 22, 8, 35, tzinfo=UTC)
DAYS = 90
NAMES = 10_000
CONTEXT_NAMES = 100
TYPES = 10
SHARED_INSTANCES = 1_000
CHUNK = 250_000
LOOKBACKS = (1, 6, 24, 168)
FAILS, FINE = ["Invalidated"], ["Completed", "Stopped", "Queued"]  # what monitors expect
INGESTOR, COLLECTOR = "gap.models.IngestorSession", "gap.models.CollectorSession"


def _random(n: str, multiplier: int) -> str:
    """An SQL expression whose values, from 0 to below 1, are spread evenly over the numbers n."""
    return f"((({n}) * {multiplier} % 4294967291) / 4294967291.0)"


_DIALECT = {
    "sqlite": {
        "numbers": "WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})",
        "from": "numbers",
        "time": "strftime('%Y-%m-%d %H:%M:%f', {epoch}, 'unixepoch') || '000'",
        "floor": "CAST({0} AS integer)",
        "hex": "printf('%08x', {0})",
    },
    "postgresql": {
        "numbers": "",
        "from": "generate_series({first}::bigint, {last}) AS numbers(n)",
        "time": "to_timestamp({epoch})",
        "floor": "floor({0})::bigint",
        "hex": "lpad(to_hex({0}), 8, '0')",
    },
}


def fill(runs: int) -> None:
    """Creates the runs; a database that already has them is left as it is."""
    from monitoring.models import BackgroundTask
    from project.demo.models import CollectorSession, IngestorSession

    if BackgroundTask.objects.order_by("-pk").values_list("pk", flat=True).first() == runs:
        return
    for model in (BackgroundTask, IngestorSession, CollectorSession):
        model.objects.all()._raw_delete("default")
    with connection.schema_editor() as editor:
        for index in _indexes():
            editor.remove_index(BackgroundTask, index)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA cache_size = -2000000")
    for first in tqdm(range(1, runs + 1, CHUNK), desc="runs", unit_scale=CHUNK, disable=None):
        _insert(first, min(first + CHUNK - 1, runs), runs)
    CollectorSession.objects.bulk_create(
        CollectorSession(pk=key, ingestor_type=f"type {key % TYPES}") for key in range(1, SHARED_INSTANCES + 1)
    )
    with connection.schema_editor() as editor:
        for index in tqdm(BackgroundTask._meta.indexes, desc="indexes", disable=None):
            editor.add_index(BackgroundTask, index)
    _number_on()
    analyze()


def _number_on() -> None:
    """Resets the sequences that PostgreSQL takes ids from, since rows were written with explicit ids."""
    from django.core.management.color import no_style

    from monitoring.models import BackgroundTask
    from project.demo.models import CollectorSession, IngestorSession

    models = [BackgroundTask, CollectorSession, IngestorSession]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


def _indexes() -> list[Any]:
    """The indexes that the run table has now: an interrupted `fill` may have left it without some."""
    from monitoring.models import BackgroundTask

    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, BackgroundTask._meta.db_table)
    return [index for index in BackgroundTask._meta.indexes if index.name in there]


def analyze(*models: Any) -> None:
    """Analyzes all tables, or only those of these models: the run table takes a minute."""
    command = "ANALYZE" if connection.vendor == "sqlite" else "VACUUM (ANALYZE)"
    with connection.cursor() as cursor:
        for table in [model._meta.db_table for model in models] or [""]:
            cursor.execute(f"{command} {table}")
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert(first: int, last: int, runs: int) -> None:
    from monitoring.models import BackgroundTask
    from project.demo.models import IngestorSession

    said = _DIALECT[connection.vendor]
    begin = (NOW - timedelta(days=DAYS)).timestamp()
    number = {"first": first, "last": last}
    numbers, source = said["numbers"].format(**number), said["from"].format(**number)
    started = said["time"].format(epoch=f"{begin} + n * {DAYS * 86_400.0} / {runs}")
    finished = said["time"].format(epoch=f"{begin} + n * {DAYS * 86_400.0} / {runs} + 20 * {_random('n', 40503)}")
    rank = said["floor"].format(f"exp({_random('n', 2654435761)} * ln({NAMES + 1})) - 1")
    name_of_context = said["floor"].format(f"{CONTEXT_NAMES} * {_random('n', 97531)}")
    shared = said["floor"].format(f"1 + {SHARED_INSTANCES} * {_random('n', 1103515245)}")
    status = f"CASE WHEN n % 100 = 7 THEN 'Queued' WHEN {_random('n', 1597334677)} < 0.02 THEN 'Stopped' ELSE 'Completed' END"
    identity = (
        f"{said['hex'].format('n * 2654435761 % 4294967291')} || '-0000-4000-8000-0000' || {said['hex'].format('n')}"
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {BackgroundTask._meta.db_table} (id, task_id, task_name, status, submitted_at, started_at,
              finished_at, attempts, errors, parameters, context_id, seq)
            {numbers}
            SELECT n, {identity},
              CASE n % 20 WHEN 3 THEN 'session_' || {name_of_context} WHEN 13 THEN 'shared_' || {name_of_context}
                ELSE 'task_' || {rank} END,
              {status}, {started}, CASE WHEN n % 100 = 7 THEN NULL ELSE {started} END,
              CASE WHEN n % 100 = 7 THEN NULL ELSE {finished} END, 1,
              CASE WHEN {status} = 'Stopped' THEN 'Traceback (most recent call last):' || chr_300 ELSE '' END,
              '{{"args": [' || n || '], "kwargs": {{"region": "north-west", "until": "2026-11-22", "dry_run": false}}}}',
              CASE n % 20 WHEN 3 THEN CAST(n AS text) WHEN 13 THEN CAST({shared} AS text) END, 4
            FROM {source}
            """.replace("chr_300", "'" + " x" * 150 + "'")
        )
        kind = said["floor"].format(f"{TYPES - 1} * {_random('n', 22695477)}")
        cursor.execute(
            f"""
            INSERT INTO {IngestorSession._meta.db_table} (id, ingestor_type, run_at)
            {numbers}
            SELECT n, 'type ' || {kind}, {started} FROM {source} WHERE n % 20 = 3
            """
        )


def watch(monitors: int, failing: float, contexts: int = 0, crons: int = 24) -> None:
    """Replaces all monitors by ones that are due now, of which a share fails. `crons` is the number of schedules."""
    from monitoring.models import Alert, Delivery, Incident, Message, Monitor, MonitorState

    replaced = (Delivery, Message, Alert, Incident, MonitorState, Monitor)
    for model in replaced:
        model.objects.all()._raw_delete("default")
    zones = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
    made = []
    for n in range(monitors):
        fails = n < monitors * failing
        made.append(
            Monitor(
                name=f"monitor {n:05}",
                expected_statuses=FAILS if fails else FINE,
                lookback_hours=24 * DAYS,
                notify_to=[f"team-{n % 20}@example.com"],
                schedule=f"{n % 60} {n // 60 % 24} {1 + n // 1_440} * *" if crons > 24 else f"{n % crons} * * * *",
                time_zone=zones[n % 4],
                changed_at=NOW,
                **_context(n) if n < contexts else {"task_name": f"task_{n}"},
            )
        )
    Monitor.objects.bulk_create(made, batch_size=1_000)
    plan_all()
    analyze(*replaced)


def let_fail(monitors: int) -> None:
    """Lets a round find that the first `monitors`, by name, fail and that the others are fine."""
    from django.db.models import Case, JSONField, Value, When

    from monitoring.models import Alert, Delivery, Incident, Monitor, MonitorState
    from monitoring.tick import tick

    fails, fine = (Value(statuses, JSONField()) for statuses in (FAILS, FINE))
    those = When(name__lt=f"monitor {monitors:05}", then=fails)
    Monitor.objects.update(expected_statuses=Case(those, default=fine))
    plan_all()
    tick(NOW)
    analyze(Delivery, Alert, Incident, Monitor, MonitorState)


def look_back(incidents: int) -> None:
    """Gives the monitors a past: closed incidents, each with an alert, a delivery and a mail of 8 kB; then ticks."""
    from monitoring.models import Alert, Delivery, Incident, Message, Monitor
    from monitoring.tick import tick
    from monitoring.values.facts import AlertKind, Facts

    monitors = list(Monitor.objects.values_list("pk", "name", "task_name"))
    html = "<p>" + "x " * 4_000 + "</p>"
    for first in tqdm(range(0, incidents, 5_000), desc="incidents", disable=None):
        past = [NOW - timedelta(days=DAYS) * (1 - n / incidents) for n in range(first, first + 5_000)]
        about = [monitors[(first + n) * 7919 % len(monitors)] for n in range(5_000)]
        facts = [
            Facts(
                kind=AlertKind.STATUS_MISMATCH,
                task_name=task_name,
                current_status="Stopped",
                expected_statuses=("Completed",),
                lookback_hours=1.0,
                check_time=then,
                started_at=then,
            ).to_json()
            for then, (_, _, task_name) in zip(past, about, strict=True)
        ]
        made = Incident.objects.bulk_create(
            Incident(
                monitor_id=key,
                monitor_name=name,
                task_name=task_name,
                opened_at=then,
                last_failed_at=then,
                told_at=then,
                closed_at=then + timedelta(minutes=30),
                facts=found,
            )
            for (key, name, task_name), then, found in zip(about, past, facts, strict=True)
        )
        messages = Message.objects.bulk_create(
            Message(
                address="ops@example.com",
                subject=f"[ALERT] {incident.task_name} Status Check Failed",
                text="x " * 300,
                html=html,
                created_at=incident.opened_at,
                next_attempt_at=incident.opened_at,
                sent_at=incident.opened_at,
            )
            for incident in made
        )
        alerts = Alert.objects.bulk_create(
            Alert(
                kind=AlertKind.STATUS_MISMATCH,
                task_name=incident.task_name,
                facts=incident.facts,
                created_at=incident.opened_at,
                incident_id=incident.pk,
            )
            for incident in made
        )
        Delivery.objects.bulk_create(
            Delivery(alert_id=alert.pk, address="ops@example.com", message_id=message.pk)
            for alert, message in zip(alerts, messages, strict=True)
        )
    tick(NOW)
    analyze(Delivery, Message, Alert, Incident, Monitor)


def plan_all() -> None:
    """Makes each monitor due at its schedule's latest moment, whatever its state was before."""
    from monitoring.models import Monitor, MonitorState
    from monitoring.values.schedule import parse_schedule

    @cache
    def latest(schedule: str, zone: str) -> datetime:
        return parse_schedule(schedule, zone).latest_until(NOW) or NOW

    MonitorState.objects.all()._raw_delete("default")
    MonitorState.objects.bulk_create(
        [
            MonitorState(monitor_id=key, next_check_at=latest(schedule, zone))
            for key, schedule, zone in Monitor.objects.values_list("pk", "schedule", "time_zone")
        ]
    )


def _context(n: int) -> dict[str, Any]:
    own = n % 2 == 0
    return {
        "task_name": f"{'session' if own else 'shared'}_{n // 2 % CONTEXT_NAMES}",
        "context_model": INGESTOR if own else COLLECTOR,
        "context_type": f"type {n // 2 // CONTEXT_NAMES % TYPES}",
    }


def checks(monitors: int, context: str = "", lookbacks: Sequence[float] = LOOKBACKS) -> list[Any]:
    """Checks for `evaluate`, each with one of these lookbacks, and with a context model if one is named."""
    from monitoring.values.expectation import Expectation
    from monitoring.values.outcome import Check
    from monitoring.values.run_event import RunStatus

    kind = {INGESTOR: "session", COLLECTOR: "shared", "": "task"}[context]
    return [
        Check(
            Expectation(
                task_name=f"{kind}_{n % CONTEXT_NAMES if context else n}",
                expected_statuses=(RunStatus.COMPLETED,),
                lookback_hours=lookbacks[n % len(lookbacks)],
                context_model=context or None,
                context_type=f"type {n // CONTEXT_NAMES % TYPES}" if context else None,
            ),
            at=NOW,
        )
        for n in range(monitors)
    ]
