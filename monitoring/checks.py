"""System checks: what would go wrong at night is said at start."""

from collections import Counter
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from monitoring.conf import conf
from monitoring.models import database_alias
from monitoring.recording.huey import registered_names
from monitoring.values.context_model import find_context_model, find_model


@checks.register
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    try:
        conf()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), hint="See the MONITORING setting in the README.", id="monitoring.E001")]
    return []


@checks.register
def check_context_fields(**kwargs: Any) -> list[checks.CheckMessage]:
    """Models of apps that are not installed are no fault: the setting's default names some."""
    found: list[checks.CheckMessage] = []
    for path in conf().CONTEXT_FIELDS if not check_settings() else ():
        try:
            find_model(path)
        except LookupError:
            continue
        try:
            find_context_model(path)
        except LookupError as error:
            found.append(checks.Error(str(error), hint="Name a field of the model itself.", id="monitoring.E003"))
    return found


@checks.register
def check_database(**kwargs: Any) -> list[checks.CheckMessage]:
    alias = database_alias()
    vendor = connections[alias].vendor
    if vendor in ("sqlite", "postgresql"):
        return []
    return [
        checks.Error(
            f"The database {alias!r} is {vendor}; runs are judged on SQLite and PostgreSQL only.",
            hint="Route the app 'monitoring' to one of these with DATABASE_ROUTERS.",
            id="monitoring.E002",
        )
    ]


@checks.register
def check_task_names(**kwargs: Any) -> list[checks.CheckMessage]:
    return [
        checks.Warning(
            f"{count} Huey tasks are registered under the name {name!r}; their runs cannot be told apart.",
            hint="Give one of them another name: @task(name='...').",
            id="monitoring.W001",
        )
        for name, count in Counter(registered_names()).items()
        if count > 1
    ]
