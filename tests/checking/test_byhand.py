"""What people do while others do the same, each in a transaction of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from django.db import connection, transaction

from monitoring.checking.incidents import acknowledge
from monitoring.models import Incident, database_alias
from tests.factories import NOW, make_facts, make_monitor

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_two_who_acknowledge_the_same_incidents_one_waits_and_takes_none() -> None:
    first, second = (make_incident(name) for name in ("first", "second"))
    Incident.objects.filter(pk=first).update(failing_checks=2)  # PostgreSQL now finds it after the second
    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            acknowledge([first], "ada", NOW, database_alias())
            bobs = pool.submit(in_thread, lambda: acknowledge([first, second], "bob", NOW, database_alias()))
            wait([bobs], 1)  # in vain, as it must be
            acknowledge([second], "ada", NOW, database_alias())
        assert bobs.result() == []
    assert set(Incident.objects.values_list("acknowledged_by", flat=True)) == {"ada"}


def make_incident(name: str) -> int:
    return Incident.objects.create(
        monitor=make_monitor(name),
        monitor_name=name,
        task_name="daily_report",
        opened_at=NOW,
        last_failed_at=NOW,
        facts=make_facts().to_json(),
    ).pk


def in_thread(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connection.close()
