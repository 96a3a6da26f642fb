"""What people do while others do the same, each in a transaction of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from monitoring.checking.byhand import lift_snooze, snooze, snooze_until_morning, switch
from monitoring.checking.incidents import acknowledge, close_unwatched, tell_again
from monitoring.checking.transfer import apply_import, plan_import
from monitoring.models import Incident, Monitor, MonitorState, database_alias
from monitoring.values.expectation import Expectation
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import parse_schedule
from tests.consumer import wait_for
from tests.factories import NOW, make_facts, make_monitor
from tests.locks import is_waited_for

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_two_who_acknowledge_the_same_incidents_one_waits_and_takes_none() -> None:
    first, second = (make_incident(name) for name in ("first", "second"))
    Incident.objects.filter(pk=first).update(failing_checks=2)  # PostgreSQL now finds it after the second
    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            acknowledge([first], "ada", NOW, database_alias())
            bobs = pool.submit(in_thread, lambda: acknowledge([first, second], "bob", NOW, database_alias()))
            wait_for(is_waited_for)
            acknowledge([second], "ada", NOW, database_alias())
        assert bobs.result() == []
    assert set(Incident.objects.values_list("acknowledged_by", flat=True)) == {"ada"}


@pytest.mark.parametrize("change", [close_unwatched, tell_again])
def test_a_round_that_changes_several_incidents_waits_for_those_who_acknowledge_them(
    change: Callable[[datetime, str], None],
) -> None:
    first, second = (make_incident(name) for name in ("first", "second"))
    Monitor.objects.update(enabled=False)
    for pk in (second, first):  # PostgreSQL now finds the first after the second
        Incident.objects.filter(pk=pk).update(told_at=NOW + timedelta(days=1))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            acknowledge([first], "ada", NOW, database_alias())
            changed = pool.submit(in_thread, lambda: in_transaction(lambda: change(NOW, database_alias())))
            wait_for(is_waited_for)
            assert acknowledge([second], "ada", NOW, database_alias())
        changed.result()
    assert not Incident.objects.filter(closed_at=None, told_at__gt=NOW).exists()


def test_whoever_has_too_long_a_name_acknowledges_under_its_beginning() -> None:
    acknowledge([make_incident("first")], "x" * 300, NOW, database_alias())
    assert Incident.objects.get().acknowledged_by == "x" * 255


def import_again(monitors: Sequence[Monitor]) -> list[Monitor]:
    expectations = [Expectation(task_name=each.name, expected_statuses=(RunStatus.COMPLETED,)) for each in monitors]
    apply_import(plan_import(expectations, parse_schedule("@yearly", "UTC")))
    return list(monitors)


@pytest.mark.parametrize(
    "act",
    [
        partial(switch, enabled=False),
        partial(snooze, until=NOW + timedelta(hours=2)),
        partial(snooze_until_morning, now=NOW),
        partial(lift_snooze, now=NOW),
        import_again,
    ],
)
def test_what_is_done_to_several_monitors_waits_for_their_checks_instead_of_both_for_each_other(
    act: Callable[[Sequence[Monitor]], list[Monitor]],
) -> None:
    first, second = make_monitor("first"), make_monitor("second", time_zone="Asia/Tokyo")
    MonitorState.objects.update(snoozed_until=NOW + timedelta(hours=1))
    MonitorState.objects.filter(monitor=first).update(last_checked_at=NOW)  # PostgreSQL now finds it after the second
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # it reads so small a table from its beginning, once it knows
    states = MonitorState.objects.select_for_update()
    with ThreadPoolExecutor() as pool:
        with transaction.atomic():  # as a check by hand locks them
            states.get(monitor=first)
            done = pool.submit(in_thread, lambda: act([second, first]))
            wait_for(is_waited_for)
            states.get(monitor=second)
        assert done.result() == [second, first]


def make_incident(name: str) -> int:
    return Incident.objects.create(
        monitor=make_monitor(name),
        monitor_name=name,
        task_name="daily_report",
        opened_at=NOW,
        last_failed_at=NOW,
        facts=make_facts().to_json(),
    ).pk


def in_transaction(work: Callable[[], Any]) -> Any:
    with transaction.atomic():
        return work()


def in_thread(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connection.close()
