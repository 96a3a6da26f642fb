"""Runs of one business context: their context id is the key of a model's instance, optionally one of a given type."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, TypeVar

from django.db import DatabaseError, Error, ProgrammingError, connections, models, router, transaction
from django.db.models import F

from monitoring.checking.probe import ALL, Filter
from monitoring.values.context_model import ContextModel, find_context_model
from monitoring.values.text import one_line, said

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

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


class Context(NamedTuple):
    """The path of a context model, empty if runs of any context count; `with_type` if only those of a probe's type."""

    model: str
    with_type: bool


class NotQueried(Exception):
    """Runs of a context cannot be queried; says why, in one line."""


def by_context(
    asked: Sequence[Asked],
    context_of: Callable[[Asked], Context],
    answers: Callable[[Sequence[Asked], Filter], Sequence[Answer]],
    problem: Callable[[Asked, str], Answer],
    using: str,
) -> list[Answer]:
    """An answer for each, in their order: those of one context are answered together, given the filter for its runs.

    For those whose context cannot be queried the answer is their `problem`; the others are not affected.
    """
    groups: dict[Context, list[int]] = {}
    for place, each in enumerate(asked):
        groups.setdefault(context_of(each), []).append(place)
    found: dict[int, Answer] = {}
    for context, places in groups.items():
        group = [asked[place] for place in places]
        try:
            with runs_of(context, using) as only:
                answered = answers(group, only)
        except NotQueried as error:
            answered = [problem(each, str(error)) for each in group]
        found |= zip(places, answered, strict=True)
    return [found[place] for place in range(len(asked))]


@contextmanager
def runs_of(context: Context, using: str) -> Iterator[Filter]:
    """The filter for runs of this context, for queries within.

    Raises NotQueried if its model is gone or a query fails, and leaves the caller's transaction usable. If the database
    itself has failed, its error is raised.
    """
    if not context.model:
        yield ALL
        return
    try:
        with reading(using):
            yield _filter(context, using)
    except DatabaseError as error:
        if _is_the_database_s(error, using):
            raise
        said = str(error).partition("\n")[0]  # PostgreSQL adds the statement and a marker under it
        raise NotQueried(f"context model {context.model!r}: {said}") from error


def reading(using: str) -> AbstractContextManager[None]:
    """A failed query must not break the caller's transaction: inside one, this is a savepoint.

    Outside of one, reading needs no transaction: on SQLite it would wait for the current writer and block all others.
    """
    return transaction.atomic(using=using) if connections[using].in_atomic_block else nullcontext()


def _filter(context: Context, using: str) -> Filter:
    try:
        return _built(find_context_model(context.model), context.with_type, using)
    except LookupError as error:
        raise NotQueried(f"context model {context.model!r}: {error}") from error


def _built(context: ContextModel, with_type: bool, using: str) -> Filter:
    """Raises LookupError if the model has no types, or no query for its rows can be built.

    Also if it is in another database than the runs: no statement reaches two.
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
    try:
        instances = model._base_manager.using(using).order_by().annotate(**columns)
        sql, parameters = instances.values_list(*columns).query.get_compiler(using).as_sql()
    except Error:
        raise
    except Exception as error:  # a base manager is the host's code
        why = one_line(f"{type(error).__name__}: {said(error)}")
        raise LookupError(f"no query for rows of {model._meta.label} can be built: {why}") from error
    # Not EXISTS: PostgreSQL may turn that into a join and sort it. This it evaluates run by run, newest first.
    instance_of_run = f"SELECT TRUE FROM ({sql}) AS instance WHERE {_is_key(model, using)}"
    if with_type:
        instance_of_run += " AND CAST(instance.monitoring_type AS text) = probe.context_type"
    # No condition that the context id is not null either: PostgreSQL would then use the partial index on contexts, read
    # a task's whole window and sort it (measured over ten million runs: ten times slower).
    return Filter(f"({instance_of_run} LIMIT 1)", tuple(parameters))


def _is_the_database_s(error: DatabaseError, using: str) -> bool:
    """Whether the database itself has failed, rather than a query: asked after the savepoint was rolled back."""
    connection = connections[using]
    if connection.vendor == "sqlite":  # it says "no such" if a table or column is missing
        return not isinstance(error, ProgrammingError) and "no such" not in str(error)
    return not connection.is_usable()


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
