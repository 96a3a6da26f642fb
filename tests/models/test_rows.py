"""The raw statements against the ORM, over values that nobody chose."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.models import Incident, MonitorState, database_alias
from monitoring.models.rows import insert, update
from tests.factories import NOW, ago, make_monitor

pytestmark = pytest.mark.django_db

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_instants = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_json = st.dictionaries(
    _text, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _text | st.lists(_text, max_size=3), max_size=4
)
_incidents = st.fixed_dictionaries(
    {
        "monitor_id": st.none(),
        "monitor_name": _text,
        "task_name": _text,
        "opened_at": _instants,
        "closed_at": st.none() | _instants,
        "last_failed_at": _instants,
        "facts": _json,
        "run_id": st.none() | st.integers(-(2**63), 2**63 - 1),
    }
)


def values_of(row: dict[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
    """As they are given: what a JSON column is to hold as text."""
    return tuple(json.dumps(row[name]) if name == "facts" else row[name] for name in columns)


def insert_incidents(rows: list[dict[str, Any]]) -> list[int]:
    columns = list(rows[0]) if rows else []
    return insert(Incident, columns, [values_of(row, columns) for row in rows], database_alias())


def stored(key: int, *names: str) -> dict[str, Any]:
    return Incident.objects.values(*names).get(pk=key)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_incidents, max_size=5))
def test_inserted_rows_are_read_by_the_orm_as_they_were_given(rows: list[dict[str, Any]]) -> None:
    keys = insert_incidents(rows)
    assert [stored(key, *row) for key, row in zip(keys, rows, strict=True)] == rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_incidents, min_size=1, max_size=5), data=st.data())
def test_an_update_is_what_saving_each_row_would_be(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    keys = insert_incidents(rows)
    changes = [
        {"last_failed_at": data.draw(_instants), "facts": data.draw(_json), "failing_checks": number + 2, "id": key}
        for number, key in enumerate(keys)
    ]
    columns = list(changes[0])
    update(Incident, columns, [values_of(change, columns) for change in changes], database_alias())
    for row, change in zip(rows, changes, strict=True):
        expected = row | change
        assert stored(change["id"], *expected) == expected


def test_columns_that_are_not_named_take_their_defaults_or_stay() -> None:
    row = {"monitor_name": "m", "task_name": "t", "opened_at": NOW, "last_failed_at": NOW, "facts": {}}
    (key,) = insert_incidents([row])
    incident = Incident.objects.get(pk=key)
    assert (incident.failing_checks, incident.acknowledged_by, incident.closed_at) == (1, "", None)
    monitor = make_monitor(due_at=ago(days=1))
    MonitorState.objects.update(snoozed_until=NOW)
    update(MonitorState, ("next_check_at", "monitor_id"), [(NOW, monitor.pk)], database_alias())
    state = MonitorState.objects.get()
    assert (state.next_check_at, state.snoozed_until) == (NOW, NOW)


def test_what_all_rows_share_is_written_to_each_of_them() -> None:
    shared = {"task_name": "t", "opened_at": NOW, "last_failed_at": ago(hours=1), "facts": {"kind": "mismatch"}}
    keys = insert(Incident, ("monitor_name",), [("a",), ("b",)], database_alias(), **shared)
    assert [stored(key, "monitor_name", *shared) for key in keys] == [{"monitor_name": name, **shared} for name in "ab"]
    update(Incident, ("failing_checks", "id"), [(2, key) for key in keys], database_alias(), closed_at=NOW, facts={})
    changed = {"failing_checks": 2, "closed_at": NOW, "facts": {}}
    assert [stored(key, *changed) for key in keys] == [changed, changed]


def test_no_rows_are_no_statement_and_many_are_sent_as_one_and_sqlite_is_asked_for_their_keys() -> None:
    row = {"monitor_name": "m", "task_name": "t", "opened_at": NOW, "last_failed_at": NOW, "facts": {}}
    for rows, statements in (([], 0), ([row] * 3_000, 2 if connection.vendor == "sqlite" else 1)):
        with CaptureQueriesContext(connection) as asked:
            insert_incidents(rows)
        assert len(asked) == statements
    assert Incident.objects.count() == 3_000


def test_text_that_is_too_long_is_refused_where_the_database_refuses_it() -> None:
    row = {"monitor_name": "m", "task_name": "t" * 1_000, "opened_at": NOW, "last_failed_at": NOW, "facts": {}}
    refused = pytest.raises(DataError) if connection.vendor == "postgresql" else nullcontext()
    with refused, transaction.atomic():
        insert_incidents([row])
