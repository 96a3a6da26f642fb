"""Takes full tables from the oldest schema to the newest and back, on both databases; then lets two versions meet.

Prints what was found, and ends with 1 if it was not as expected.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.services import postgres_server, redis_server

RUNS = 1_000_000
PARTS = ("tables", "deploy")
DATABASES = ("sqlite", "postgres")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, help="one of them alone")
    parser.add_argument("--database", choices=DATABASES, help="one of them alone")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"in the full tables; default {RUNS:,}")
    parser.add_argument("--older", default="", metavar="COMMIT", help="else that before the newest migration")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        return _here(arguments)
    parts = [arguments.part] if arguments.part else PARTS
    databases = [arguments.database] if arguments.database else DATABASES
    # One after the other, since they are timed, and each in a process of its own, since that has one database.
    return max([_apart(part, database) for part in parts for database in databases])


def _apart(part: str, database: str) -> int:
    options = [argument for argument in sys.argv[1:] if argument not in PARTS]
    command = [sys.executable, "-m", "tests.upgrade", part, *options, "--here", "--database", database]
    return subprocess.run(command, check=False).returncode


def _here(arguments: argparse.Namespace) -> int:
    folder = tempfile.TemporaryDirectory(prefix="upgrade-", ignore_cleanup_errors=True)
    with folder as name, _servers(arguments.database, Path(name)) as (database_url, queue_url):
        os.environ.update(
            DJANGO_SETTINGS_MODULE="tests.faults.settings",
            DEBUG="1",
            SECRET_KEY="only-for-the-tests",
            SITE_URL="https://monitor.example.org",
            VAR_DIR=name,
            EMAIL_URL="memory:",
            LOG_LEVEL="CRITICAL",
            DATABASE_URL=database_url,
            HUEY_URL=queue_url,
        )
        import django
        from django.db import connections

        django.setup()
        from monitoring.recording.writer import close
        from tests.upgrade.deploy import side_by_side
        from tests.upgrade.tables import there_and_back

        try:
            if arguments.part == "tables":
                return there_and_back(arguments.runs)
            return side_by_side(Path(name), arguments.older)
        finally:
            close()
            connections.close_all()  # PostgreSQL would wait for these before it ends


@contextlib.contextmanager
def _servers(database: str, folder: Path) -> Iterator[tuple[str, str]]:
    """SQLite as the project has it, or a PostgreSQL that waits for the disk as in production, and Redis."""
    if database == "sqlite":
        yield f"sqlite:///{folder}/db.sqlite3", f"sqlite:{folder}/huey.sqlite3"
    else:
        with postgres_server(is_safe=True, kept_in=folder) as database_url, redis_server() as queue_url:
            yield database_url, queue_url


if __name__ == "__main__":
    sys.exit(main())
