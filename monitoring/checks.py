"""System checks: what would go wrong at night is reported at startup."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import OperationalError, connections, transaction
from django.db.migrations.executor import MigrationExecutor

from monitoring.alerting.outbox import mail_backend
from monitoring.alerting.recipients import superuser_addresses
from monitoring.checking.health import last_tick
from monitoring.conf import conf
from monitoring.models import Monitor, database_alias
from monitoring.recording.huey import is_immediate_by_default, queue_problem, registered_names
from monitoring.values.context_model import find_context_model, find_model
from monitoring.values.text import one_line

NAMED_MAX = 5  # monitors in one warning


@checks.register
def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    try:
        conf()
    except ImproperlyConfigured as error:
        return [
            checks.Error(problem, hint="Correct it in the setting MONITORING.", id="monitoring.E001")
            for problem in str(error).splitlines()
        ]
    return []


@checks.register
def check_context_fields(**kwargs: Any) -> list[checks.CheckMessage]:
    """Models of apps that are not installed are no error: the setting's default names some."""
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
            f"The database {alias!r} is {vendor}; only SQLite and PostgreSQL are supported.",
            hint="Route the app 'monitoring' to one of these with DATABASE_ROUTERS.",
            id="monitoring.E002",
        )
    ]


@checks.register
def check_time_zone_support(**kwargs: Any) -> list[checks.CheckMessage]:
    if settings.USE_TZ:
        return []
    return [
        checks.Error(
            "USE_TZ is off; times need a time zone to be compared.", hint="Set USE_TZ = True.", id="monitoring.E004"
        )
    ]


@checks.register
def check_stored_times(**kwargs: Any) -> list[checks.CheckMessage]:
    alias = database_alias()
    connection = connections[alias]
    zone = connection.settings_dict.get("TIME_ZONE")
    if connection.vendor != "sqlite" or zone in (None, "UTC", "Etc/UTC"):
        return []
    return [
        checks.Error(
            f"The SQLite database {alias!r} stores the local times of {zone}, which cannot be compared.",
            hint=f"Remove DATABASES[{alias!r}]['TIME_ZONE']; the setting TIME_ZONE says in which zone times are shown.",
            id="monitoring.E006",
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


@checks.register
def check_worker_command(**kwargs: Any) -> list[checks.CheckMessage]:
    if apps.is_installed("huey.contrib.djhuey"):
        return []
    return [
        checks.Warning(
            "There is no `manage.py run_huey`, the worker that runs checks.",
            hint="Add 'huey.contrib.djhuey' to INSTALLED_APPS.",
            id="monitoring.W007",
        )
    ]


@checks.register
def check_immediate(**kwargs: Any) -> list[checks.CheckMessage]:
    """Whoever sets `immediate` means it, for tests for example."""
    if not is_immediate_by_default():
        return []
    return [
        checks.Warning(
            "Huey is immediate, as DEBUG is: tasks run inside their caller, and no worker can run checks.",
            hint="Set HUEY['immediate'] = False; or True, if you want it so.",
            id="monitoring.W008",
        )
    ]


@checks.register
def check_transaction_mode(**kwargs: Any) -> list[checks.CheckMessage]:
    alias = database_alias()
    connection = connections[alias]
    options = connection.settings_dict.get("OPTIONS") or {}
    if connection.vendor != "sqlite" or str(options.get("transaction_mode", "")).upper() in ("IMMEDIATE", "EXCLUSIVE"):
        return []
    return [
        checks.Warning(
            f"The SQLite database {alias!r} takes its write lock in the middle of a transaction: if two workers check "
            "at once, one of them fails with 'database is locked' instead of waiting.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE', 'timeout': 20}}.",
            id="monitoring.W004",
        )
    ]


@checks.register
def check_isolation(**kwargs: Any) -> list[checks.CheckMessage]:
    alias = database_alias()
    connection = connections[alias]
    level = (connection.settings_dict.get("OPTIONS") or {}).get("isolation_level")
    if connection.vendor != "postgresql" or level is None:
        return []
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    if level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        return []
    return [
        checks.Warning(
            f"The transactions of the database {alias!r} are isolated so strictly that an edit of a monitor or a mail "
            "fails with 'could not serialize access' where it meets a check, instead of waiting.",
            hint=f"Remove DATABASES[{alias!r}]['OPTIONS']['isolation_level'], or route the app 'monitoring' elsewhere.",
            id="monitoring.W011",
        )
    ]


@checks.register
def check_mail_timeout(**kwargs: Any) -> list[checks.CheckMessage]:
    try:
        timeout = getattr(mail_backend(), "timeout", 0)
    except Exception:  # the backend cannot be created: Django or the backend says why when it is used
        return []
    if timeout is not None:
        return []
    return [
        checks.Warning(
            "Mails are sent without a time-out: a mail server that hangs would hold up a worker for ever.",
            hint="Set EMAIL_TIMEOUT = 10, or with MAILERS the option 'timeout'.",
            id="monitoring.W005",
        )
    ]


@checks.register
def check_metrics(**kwargs: Any) -> list[checks.CheckMessage]:
    if check_settings() or not conf().METRICS_TOKEN or find_spec("prometheus_client"):
        return []
    return [
        checks.Warning(
            "There is a METRICS_TOKEN, but prometheus-client is not installed: /metrics answers 404.",
            hint="Install it, or this app's extra 'metrics'.",
            id="monitoring.W006",
        )
    ]


@checks.register(checks.Tags.database)
def check_database_answers(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    alias = database_alias()
    if alias not in (databases or ()):
        return []
    try:
        with transaction.atomic(using=alias):
            return _unapplied(alias)
    except OperationalError as error:
        return [
            checks.Error(
                f"The database {alias!r} does not answer: {one_line(str(error))}",
                hint=f"Start it, or correct DATABASES[{alias!r}].",
                id="monitoring.E005",
            )
        ]


def _unapplied(alias: str) -> list[checks.CheckMessage]:
    if sys.argv[1:2] == ["migrate"]:  # which checks, too, before it does just that
        return []
    executor = MigrationExecutor(connections[alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes("monitoring"))
    if not plan:
        return []
    return [
        # No error: `migrate`, the way out, would refuse to start.
        checks.Warning(
            f"The database {alias!r} lacks migrations: {', '.join(migration.name for migration, _ in plan)}.",
            hint=f"Run `manage.py migrate{'' if alias == 'default' else f' --database {alias}'}`.",
            id="monitoring.W009",
        )
    ]


@checks.register(checks.Tags.database)
def check_queue_answers(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Asked where the database is asked: a plain check connects to nothing."""
    if database_alias() not in (databases or ()):
        return []
    problem = queue_problem()
    if not problem:
        return []
    return [
        checks.Warning(
            f"Huey's queue does not answer: {problem}",
            hint="Start the server of the queue, or correct the setting HUEY.",
            id="monitoring.W010",
        )
    ]


@checks.register(checks.Tags.database)
def check_somebody_is_told(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warns before the first failure, not at it."""
    return _where_the_database_answers(databases, _nobody_to_tell)


@checks.register(checks.Tags.database)
def check_consumer_was_seen(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    return _where_the_database_answers(databases, _consumer_never_seen)


def _where_the_database_answers(
    databases: Sequence[str] | None, ask: Callable[[], list[checks.CheckMessage]]
) -> list[checks.CheckMessage]:
    """Returns nothing if the tables do not exist yet or the database is away: others report that."""
    if database_alias() not in (databases or ()):
        return []
    try:
        with transaction.atomic(using=database_alias()):  # a failing statement must not break an outer transaction
            return ask()
    except DatabaseError:
        return []


def _nobody_to_tell() -> list[checks.CheckMessage]:
    enabled = Monitor.objects.using(database_alias()).filter(enabled=True, notify_to=[])
    names = list(enabled.values_list("name", flat=True))
    if not names or superuser_addresses():
        return []
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return [
        checks.Warning(
            f"Nobody would be told about {', '.join(map(repr, names[:NAMED_MAX]))}{more}: "
            "no recipients, and no active superuser has a valid e-mail address.",
            hint="Give these monitors recipients, or a superuser an address.",
            id="monitoring.W002",
        )
    ]


def _consumer_never_seen() -> list[checks.CheckMessage]:
    if last_tick() or not Monitor.objects.using(database_alias()).filter(enabled=True).exists():
        return []
    return [
        checks.Warning(
            "There are monitors, but no worker has run checks yet.",
            hint="Start one with `manage.py run_huey`, and keep it running.",
            id="monitoring.W003",
        )
    ]
