"""Who waits for whom in the database."""

from django.db import connection


def is_waited_for() -> bool:
    """Whether another connection waits for a lock of this one. Not known of SQLite, whose one lock leaves no choice."""
    if connection.vendor == "sqlite":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        return cursor.fetchone() is not None
