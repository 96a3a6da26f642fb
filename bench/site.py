"""A site to measure on: the project on SQLite (WAL) or on a PostgreSQL that waits for the disk. Its data is kept."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.services import postgres_server

BACKGROUND_TASKS = 10_000_000
MONITORS = 10_000
# Usual for a machine with some gigabytes; everything else is PostgreSQL's and Django's default.
POSTGRES_OPTIONS = ("shared_buffers=1GB", "max_wal_size=4GB", "maintenance_work_mem=512MB", "checkpoint_timeout=15min")


def arguments(description: str, **defaults: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--runs", type=int, default=defaults.get("runs", BACKGROUND_TASKS))
    parser.add_argument("--monitors", type=int, default=defaults.get("monitors", MONITORS))
    parser.add_argument("--data", type=Path, default=Path("var/bench"), help="where databases are made, and kept")
    parser.add_argument("--results", type=Path, default=Path("bench/results"), help="where JSON and Markdown go")
    return parser


@contextlib.contextmanager
def site(options: argparse.Namespace) -> Iterator[str]:
    """Sets Django up on the database that these options name, with its tables. Yields the database's URL."""
    folder = options.data.resolve() / f"{options.database}-{options.runs}"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if options.database == "postgres":
            url = stack.enter_context(postgres_server(*POSTGRES_OPTIONS, is_safe=True, kept_in=folder))
        else:
            url = f"sqlite:///{folder}/db.sqlite3"
        os.environ.update(
            DJANGO_SETTINGS_MODULE="tests.deployed",
            DATABASE_URL=url,
            DEBUG="0",
            HTTPS="0",
            SECRET_KEY="only-for-measuring",
            SITE_URL="http://localhost",
            DEFAULT_FROM_EMAIL="monitor@example.com",
            ALLOWED_HOSTS="testserver,localhost",
            VAR_DIR=str(folder),
            HUEY_URL=f"sqlite:{folder}/huey.sqlite3",
        )
        os.environ.setdefault("EMAIL_URL", "memory:")
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        yield url
        from django.db import connections

        connections.close_all()
