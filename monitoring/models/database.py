"""The database that all of the app's tables are in, and its clock."""

from datetime import datetime

from django.db import connections, router
from django.utils import timezone

from monitoring.models.background_task import BackgroundTask


def database_alias() -> str:
    """The database that holds all of this app's tables."""
    return router.db_for_write(BackgroundTask)


def database_now() -> datetime:
    """The current time by the database's clock, which all hosts share. With SQLite it is the host's clock."""
    connection = connections[database_alias()]
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now
