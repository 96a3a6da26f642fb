"""Writes events to the run table, and never breaks the task that they are about."""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connections, transaction

from monitoring.models import database_alias
from monitoring.recording.upsert import upsert
from monitoring.values.run_event import RunEvent

logger = logging.getLogger("monitoring")


def observe(make_event: Callable[[], RunEvent], what: str) -> None:
    """Writes one event and never raises: a run that cannot be recorded must still run."""
    try:
        _write(make_event(), database_alias())
    except Exception:
        logger.exception("Not recorded: %s", what)


def _write(event: RunEvent, using: str) -> None:
    connection = connections[using]
    try:
        # A savepoint where the host is inside a transaction, so that an error here leaves the host's work whole.
        with transaction.atomic(using=using):
            upsert([event], using)
    except (InterfaceError, OperationalError):
        if connection.in_atomic_block:
            raise
        connection.close()  # it may have been cut since it was last used; a new one tells
        upsert([event], using)
