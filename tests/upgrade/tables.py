"""Full tables, from the oldest schema to the newest and back: what is kept, how long it takes, who waits meanwhile."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from django.apps.registry import Apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.upgrade.past import RUN_TABLE, Table, fill_first, fill_second, incidents, look, look_again

FIRST, SECOND = "0001_initial", "0002_monitors"
AT_EACH = 0.002  # seconds between two looks, and between two runs
PATIENCE = 600  # seconds
LOCKS = ("AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock")  # nobody else writes meanwhile
HELD = "SELECT mode FROM pg_locks WHERE relation = to_regclass(%s) AND mode = ANY(%s) AND granted"
BEGIN = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN"}
WRITE = f"INSERT INTO {RUN_TABLE} (task_id, task_name, status) VALUES ('meanwhile', 'meanwhile', 'Queued')"


@dataclass
class Step:
    """A migration, one way, in seconds. `waited` is the longest that the record of a run had to wait meanwhile."""

    name: str
    took: float = 0.0
    waited: float = 0.0
    locked: dict[str, float] = field(default_factory=dict)
    """How long PostgreSQL held the run table in which mode, of those in which others cannot write, or not even read."""

    def __str__(self) -> str:
        modes = ", ".join(f"{mode} {seconds:.2f} s" for mode, seconds in self.locked.items())
        return f"{self.name:28} {self.took:7.2f} s   {self.waited:7.2f} s   {modes}".rstrip()


def there_and_back(runs: int) -> int:
    """Prints what was found; 1 if anything is not as it was."""
    ((_, newest),) = MigrationExecutor(connection).loader.graph.leaf_nodes("monitoring")
    call_command("migrate", "auth", verbosity=0)  # what each migration asks for permissions
    call_command("migrate", "monitoring", FIRST, verbosity=0)
    fill_first(runs, _apps(FIRST))
    first = look()
    forwards = _walk(SECOND)
    fill_second(runs, _apps(SECOND))
    second = look()
    forwards += _walk(newest)
    after = look_again(second)
    cited = _count("monitoring_incident WHERE run_id IS NOT NULL")
    back = _walk(SECOND)
    at_second = look_again(second)
    back += _walk(FIRST)
    at_first = look_again(first)
    _show("forwards", forwards)
    _show("back", back)
    print()
    ways = (
        (f"{SECOND} to {newest}", second, after),
        (f"and back to {SECOND}", second, at_second),
        (f"and back to {FIRST}", first, at_first),
    )
    changed = [_compare(way, before, then) for way, before, then in ways]
    print(f"{cited:,} of {incidents(runs):,} incidents were given the run that they are about")
    is_kept = not any(changed) and cited == incidents(runs)
    print(f"{connection.vendor}: {'all is kept' if is_kept else 'NOT all is kept'}\n", flush=True)
    return 0 if is_kept else 1


def _compare(way: str, before: list[Table], after: list[Table]) -> bool:
    """Says whether something changed."""
    changed = [(then, now) for then, now in zip(before, after, strict=True) if then != now]
    for then, now in changed:
        print(f"CHANGED {way}: {then.name} had {then.rows:,} rows ({then.checksum}), has {now.rows:,} ({now.checksum})")
    rows = sum(table.rows for table in before)
    print(f"{way}: {len(before) - len(changed)} of {len(before)} tables as before, {rows:,} rows")
    return bool(changed)


def _show(way: str, steps: list[Step]) -> None:
    print(f"\n{connection.vendor}, {way}")
    print(f"{'':28} {'took':>9}   {'waited':>9}   the run table was locked")
    for step in steps:
        print(step)
    print(f"{'together':28} {sum(step.took for step in steps):7.2f} s   {max(step.waited for step in steps):7.2f} s")


def _apps(name: str) -> Apps:
    """The models as of a migration."""
    loader = MigrationExecutor(connection).loader
    return loader.project_state(("monitoring", name)).apps


def _count(what: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {what}")
        (count,) = cursor.fetchone()
    return int(count)


def _walk(target: str) -> list[Step]:
    """Migrates to the target, whichever way that is, one migration at a time as an operator would."""
    steps = []
    for migration, is_back in MigrationExecutor(connection).migration_plan([("monitoring", target)]):
        (before,) = [name for app, name in migration.dependencies if app == "monitoring"] or [None]
        step = Step(migration.name)
        with _watched(step):
            began = time.monotonic()
            call_command("migrate", "monitoring", before if is_back else migration.name, verbosity=0)
            step.took = time.monotonic() - began
        steps.append(step)
    return steps


@contextmanager
def _watched(step: Step) -> Iterator[None]:
    """Runs are recorded meanwhile, and PostgreSQL is asked who holds what."""
    is_over = Event()
    watching = [_write_runs, *([_look_at_locks] if connection.vendor == "postgresql" else [])]
    threads = [Thread(target=each, args=[step, is_over], daemon=True) for each in watching]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _write_runs(step: Step, is_over: Event) -> None:
    """One after the other, as a worker's writer does, each taken back."""
    with closing(_connection()) as recorder:
        while not is_over.wait(AT_EACH):
            began = time.monotonic()
            recorder.execute(BEGIN[connection.vendor])
            recorder.execute(WRITE)
            recorder.execute("ROLLBACK")
            step.waited = max(step.waited, time.monotonic() - began)


def _look_at_locks(step: Step, is_over: Event) -> None:
    seen: dict[str, float] = {}
    with closing(_connection()) as observer:
        while not is_over.wait(AT_EACH):
            held = {mode for (mode,) in observer.execute(HELD, [RUN_TABLE, list(LOCKS)])}
            now = time.monotonic()
            for mode in [*seen]:
                if mode not in held:
                    del seen[mode]
            for mode in held:
                began = seen.setdefault(mode, now)
                step.locked[mode] = max(step.locked.get(mode, 0), now - began)


def _connection() -> Any:
    """Of another client."""
    if connection.vendor == "postgresql":
        import psycopg

        return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    path = connection.settings_dict["NAME"]
    return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
