"""What is claimed, against the ORM; what the claim costs, in statements and by its plan."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import serializers
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

from monitoring.checking.due import among, claim_due, claim_named, look_at, plan_new
from monitoring.checking.incidents import lasting, wishes_of
from monitoring.models import Incident, Monitor, MonitorState, database_alias, database_now
from monitoring.tick import remind, tick
from tests.factories import NOW, ago, make_monitor

pytestmark = pytest.mark.django_db

SCHEDULES = ["35 8 * * *", "@hourly", "every 7 minutes", "0 */2 * * 1-5"]


def make_monitors(number: int) -> list[Monitor]:
    """Of many kinds, some due, some not, some disabled."""
    return [
        make_monitor(
            f"monitor {n}",
            task_name=f"task “{n % 5}”",
            enabled=n % 7 != 3,
            expected_statuses=["Completed", "Running"][: 1 + n % 2],
            notify_to=[] if n % 3 else ["ops@example.com", "boss@example.com"],
            schedule=SCHEDULES[n % 4],
            time_zone=["UTC", "Asia/Kolkata"][n % 2],
            lookback_hours=[0.5, 24][n % 2],
            tell_recovery=bool(n % 2),
            dependent_tasks=("b", "a")[: n % 3],
            due_at=ago(minutes=n % 4) if n % 4 else NOW + timedelta(minutes=1),
        )
        for n in range(number)
    ]


def test_what_is_claimed_is_what_the_orm_would_find_in_its_order_and_with_all_that_is_told_of_it() -> None:
    make_monitors(30)
    MonitorState.objects.filter(monitor__name__endswith="5").update(snoozed_until=ago(days=-1))
    due = MonitorState.objects.filter(next_check_at__lte=NOW, monitor__enabled=True)
    expected = [state.monitor for state in due.order_by("next_check_at", "monitor_id").select_related("monitor")]
    with transaction.atomic():
        claimed = claim_due(NOW, 1_000, database_alias())
    assert [each.row.id for each in claimed] == [monitor.pk for monitor in expected]
    for each, monitor in zip(claimed, expected, strict=True):
        tasks = tuple(monitor.dependent_tasks.values_list("task_name", flat=True))
        assert each.check.expectation == monitor.expectation(tasks)
        assert each.check.at == monitor.parsed_schedule().latest_until(NOW)
        assert each.problem == ""
        state = MonitorState.objects.get(monitor=monitor)
        assert (each.row.name, each.row.time_zone) == (monitor.name, monitor.time_zone)
        assert (each.notify_to, each.wishes) == (tuple(monitor.notify_to), wishes_of(monitor, state))


def test_a_look_sees_what_naming_claims_also_of_a_monitor_that_has_no_state() -> None:
    monitors = make_monitors(6)
    MonitorState.objects.filter(monitor=monitors[0]).delete()
    looked_at = look_at(monitors, NOW, database_alias())
    assert [each.row.id for each in looked_at] == [monitor.pk for monitor in monitors]
    plan_new(database_alias())
    with transaction.atomic():
        claimed = claim_named(monitors, NOW, database_alias())
    assert [each.check for each in claimed] == [each.check for each in looked_at]


def test_a_monitor_is_judged_as_it_is_now_not_as_it_was_a_minute_ago() -> None:
    monitor = make_monitor(due_at=NOW)
    look_at([monitor], NOW, database_alias())
    monitor.dependent_tasks.create(task_name="report")
    Monitor.objects.update(expected_statuses=["Stopped"])
    (due,) = look_at([monitor], NOW, database_alias())
    assert due.check.expectation.dependent_tasks == ("report",)
    assert due.check.expectation.expected_statuses == ("Stopped",)


@pytest.mark.parametrize("spoilt", [{"expected_statuses": ["Finished"]}, {"time_zone": "Mars/Olympus"}])
def test_a_spoilt_row_says_so_and_its_tasks_and_stops_no_other(spoilt: dict[str, Any]) -> None:
    make_monitor("fine", due_at=NOW)
    bad = make_monitor("bad", due_at=NOW, dependent_tasks=("report",))
    Monitor.objects.filter(pk=bad.pk).update(**spoilt)
    with transaction.atomic():
        problems = {each.row.name: each.problem for each in claim_due(NOW, 1_000, database_alias())}
    assert problems["fine"] == ""
    assert problems["bad"].startswith("the monitor 'bad' cannot be read: ")


def test_monitors_are_claimed_in_one_statement_by_the_index_on_what_is_due() -> None:
    make_monitors(12)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        claim_due(NOW, 5, database_alias())
    assert len(asked) == 1, "the monitors, with their dependent tasks"
    if connection.vendor == "sqlite":  # PostgreSQL reads a table of one page whole
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {asked[0]['sql']}")
            plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
        assert "USING INDEX monitoring_state_due" in plan or "USING COVERING INDEX monitoring_state_due" in plan
        of_monitors, _, _ = plan.partition("CORRELATED SCALAR SUBQUERY")  # it sorts a monitor's few dependent tasks
        assert "TEMP B-TREE" not in of_monitors


def test_many_new_monitors_are_planned_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.checking.due.PLANNED_AT_ONCE", 4)
    monitors = make_monitors(10)
    MonitorState.objects.update(next_check_at=None)
    plan_new(database_alias())
    for monitor in monitors:
        planned = MonitorState.objects.get(monitor=monitor).next_check_at
        assert planned == (monitor.parsed_schedule().next_after(monitor.changed_at) if monitor.enabled else None)


@pytest.mark.on_servers
def test_a_monitor_is_planned_from_when_the_database_says_that_it_was_saved_whatever_the_host_s_clock_says() -> None:
    began = database_now()
    with freeze_time(began + timedelta(days=400)):
        made = make_monitor("made", schedule="@hourly")
        edited = make_monitor("edited", schedule="@daily")
        edited.schedule = "@hourly"
        edited.save(update_fields=["schedule"])
        loaded = make_monitor("loaded", schedule="@hourly")
        (row,) = serializers.deserialize("json", serializers.serialize("json", [loaded]))
        row.save()
    plan_new(database_alias())
    for monitor in Monitor.objects.select_related("state"):
        assert began < monitor.changed_at < database_now()
        assert monitor.state.next_check_at == monitor.parsed_schedule().next_after(monitor.changed_at)
    assert made.changed_at == Monitor.objects.get(name="made").changed_at


def test_keys_as_one_parameter_find_the_same_rows() -> None:
    monitors = make_monitors(5)
    keys = [monitor.pk for monitor in monitors[1:4]]
    assert list(Monitor.objects.filter(pk__in=among(keys, database_alias())).order_by("pk")) == monitors[1:4]
    assert not Monitor.objects.filter(pk__in=among([], database_alias())).exists()
    assert json.dumps(keys) in str(among(keys, database_alias()).params)


# Who has something to say though it is not due


def test_what_was_checked_in_this_round_is_not_asked_about_again_and_the_others_are() -> None:
    make_monitor("now", due_at=NOW)
    make_monitor("before", task_name="other", due_at=ago(hours=1))
    tick(ago(hours=1))
    assert {incident.pk for incident, *_ in lasting(NOW, database_alias())} == {Incident.objects.get().pk}
    tick(NOW)
    assert list(lasting(NOW, database_alias())) == [
        each for each in lasting(NOW + timedelta(minutes=1), database_alias()) if each[0].last_failed_at != NOW
    ]


def test_asking_incidents_that_stay_quiet_locks_and_writes_nothing_however_many_there_are() -> None:
    for n in range(20):
        make_monitor(f"monitor {n}", task_name=f"task {n}", repeat="once", due_at=NOW)
    tick(NOW)
    with CaptureQueriesContext(connection) as asked:
        assert remind(NOW + timedelta(hours=3), ()).reminders == ()
    statements = [each["sql"] for each in asked]
    assert not any(each.startswith(("UPDATE", "INSERT")) or "FOR UPDATE" in each for each in statements)
    assert len([each for each in statements if each.startswith("SELECT")]) == 1, "the incidents"
