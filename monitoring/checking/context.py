"""Runs of one business context: their context id is the key of a model's instance, optionally one of a given type."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.db import OperationalError, connections, models, router, transaction
from django.db.models import F

from monitoring.checking.probe import Filter
from monitoring.values.context_model import ContextModel

# Converts the context id, which is text, to the type of the model's key: NULL, never an error, if it cannot be one.
# Casting the model's key to text instead would read its whole table, since no index covers that cast.
_AS_INTEGER = {
    "postgresql": "CASE WHEN run.context_id ~ '^(0|-?[1-9][0-9]{0,18})$' THEN"
    " CASE WHEN run.context_id::numeric BETWEEN -9223372036854775808 AND 9223372036854775807"
    " THEN run.context_id::bigint END END",
    "sqlite": "CASE WHEN run.context_id = CAST(CAST(run.context_id AS integer) AS text)"
    " THEN CAST(run.context_id AS integer) END",
}
_AS_UUID = {
    "postgresql": "CASE WHEN run.context_id ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'"
    " THEN run.context_id::uuid END",
    "sqlite": "lower(replace(run.context_id, '-', ''))",
}


def runs_of(context: ContextModel, with_type: bool, using: str) -> Filter:
    """The filter for runs of this context; if `with_type`, only those of the probe's context type.

    Raises LookupError if the model has no types, or is in another database than the runs: no statement reaches two.
    """
    model = context.model
    home = router.db_for_write(model)  # for write: reads may go to a replica
    if home != using:
        raise LookupError(f"{model._meta.label} is in the database {home!r}, the runs are in {using!r}")
    columns = {"monitoring_key": F("pk")}
    if with_type:
        if not context.type_field:
            raise LookupError(f"{model._meta.label} has no validation field; name one in MONITORING['CONTEXT_FIELDS']")
        columns["monitoring_type"] = F(context.type_field)
    instances = model._base_manager.using(using).order_by().annotate(**columns)
    sql, parameters = instances.values_list(*columns).query.get_compiler(using).as_sql()
    # Not EXISTS: PostgreSQL may turn that into a join and sort it. This it evaluates run by run, newest first.
    instance_of_run = f"SELECT TRUE FROM ({sql}) AS instance WHERE {_is_key(model, using)}"
    if with_type:
        instance_of_run += " AND CAST(instance.monitoring_type AS text) = probe.context_type"
    # No condition that the context id is not null either: PostgreSQL would then use the partial index on contexts, read
    # a task's whole window and sort it (measured over ten million runs: ten times slower).
    return Filter(f"({instance_of_run} LIMIT 1)", tuple(parameters))


def reading(using: str) -> AbstractContextManager[None]:
    """Wrap queries for runs of a context in this, since the context model's table may be missing.

    That must not break the caller's transaction: inside one, this is a savepoint. Outside of one, reading needs no
    transaction: on SQLite it would wait for the current writer and block all others.
    """
    return transaction.atomic(using=using) if connections[using].in_atomic_block else nullcontext()


def problem_of(model: str, error: Exception) -> str:
    """Why runs of a context model could not be queried; re-raises errors of the database itself."""
    if isinstance(error, OperationalError) and "no such" not in str(error):
        raise error  # SQLite says "no such" if a table is missing; any other error is the database's own
    said = str(error).partition("\n")[0]  # PostgreSQL adds the statement and a marker under it
    return f"context model {model!r}: {said}"


def _is_key(model: type[models.Model], using: str) -> str:
    key: Any = model._meta.pk
    while key.remote_field:
        key = key.target_field
    vendor = connections[using].vendor
    if isinstance(key, models.IntegerField):
        return f"instance.monitoring_key = {_AS_INTEGER[vendor]}"
    if isinstance(key, models.UUIDField):
        return f"instance.monitoring_key = {_AS_UUID[vendor]}"
    if isinstance(key, models.CharField | models.TextField):
        return "instance.monitoring_key = run.context_id"
    return "CAST(instance.monitoring_key AS text) = run.context_id"
