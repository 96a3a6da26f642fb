from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.checking.standing import Standing, Stands, standings
from monitoring.models import Incident, Monitor, MonitorState
from monitoring.tick import check_monitors, tick
from monitoring.values.expectation import MAX_LOOKBACK_HOURS
from tests.app.models import Shipment
from tests.factories import NOW, ago, make_monitor, make_run

pytestmark = pytest.mark.django_db

TOMORROW = NOW + timedelta(days=1)


def standing_of(monitor: Monitor) -> Standing:
    (standing,) = standings([Monitor.objects.get(pk=monitor.pk)], NOW)
    return standing


def stands(monitor: Monitor) -> tuple[Stands, Any]:
    standing = standing_of(monitor)
    return standing.stands, standing.since


def test_a_new_monitor_was_not_checked_yet() -> None:
    assert stands(make_monitor()) == (Stands.NOT_CHECKED, None)


def test_a_checked_one_without_an_incident_is_fine_and_nobody_knows_since_when() -> None:
    make_run()
    monitor = make_monitor(due_at=NOW)
    tick(NOW)
    assert stands(monitor) == (Stands.FINE, None)


def test_it_is_failing_since_its_incident_opened_however_often_it_failed_since() -> None:
    monitor = make_monitor(due_at=ago(days=1))
    tick(ago(days=1))
    tick(NOW)
    assert stands(monitor) == (Stands.FAILING, ago(days=1))
    standing = standing_of(monitor)
    assert standing.incident
    assert standing.incident.failing_checks == 2
    assert standing.found
    assert standing.found.check_time == NOW


def test_it_is_fine_since_its_last_incident_closed() -> None:
    monitor = make_monitor(due_at=ago(days=3))
    for days, status in ((3, "Stopped"), (2, "Completed"), (1, "Stopped"), (0, "Completed")):
        make_run(status=status, started_at=ago(days=days, minutes=1))
        tick(ago(days=days))
    assert Incident.objects.count() == 2
    assert stands(monitor) == (Stands.FINE, NOW)
    assert standing_of(monitor).found is None


def test_a_window_at_another_moment_changes_nothing_of_where_it_stands() -> None:
    """Checked at 08:35 it was fine; by the evening its run is out of the window, and it stands as it did."""
    make_run()
    monitor = make_monitor(due_at=NOW)
    tick(NOW)
    (standing,) = standings([monitor], NOW + timedelta(hours=9))
    assert standing.stands is Stands.FINE


def test_a_check_by_hand_counts() -> None:
    monitor = make_monitor()
    check_monitors([monitor], NOW)
    assert stands(monitor) == (Stands.FAILING, NOW)


@pytest.mark.parametrize("closed", [False, True], ids=["before the next tick", "after it"])
def test_a_disabled_one_stands_so_whatever_was_found_before(closed: bool) -> None:
    monitor = make_monitor(due_at=NOW)
    tick(NOW)
    monitor.enabled = False
    monitor.save()
    if closed:
        tick(NOW)
    assert stands(monitor) == (Stands.DISABLED, None)
    assert standing_of(monitor).next_check_at is None


# The next check


def test_the_next_check_is_the_planned_one() -> None:
    assert standing_of(make_monitor(due_at=ago(minutes=-3))).next_check_at == ago(minutes=-3)


@pytest.mark.parametrize("has_state", [True, False])
def test_before_it_is_planned_it_is_foretold_from_the_last_change(has_state: bool) -> None:
    monitor = make_monitor()
    if not has_state:  # as loaddata leaves it
        MonitorState.objects.all().delete()
    Monitor.objects.update(changed_at=NOW)
    assert standing_of(monitor).next_check_at == TOMORROW


def test_a_schedule_that_cannot_be_read_has_none() -> None:
    monitor = make_monitor()
    Monitor.objects.update(schedule="spoilt")
    assert standing_of(monitor).next_check_at is None


# The last run


def test_the_last_run_is_the_newest_that_started_in_ten_years() -> None:
    monitor = make_monitor()
    make_run(started_at=ago(hours=MAX_LOOKBACK_HOURS + 1))
    make_run(status="Queued", started_at=None, submitted_at=NOW)
    assert standing_of(monitor).last_run is None
    make_run(started_at=ago(days=400))
    newest = make_run(status="Stopped", started_at=ago(days=300))
    make_run("another task")
    run = standing_of(monitor).last_run
    assert run
    assert (run.task_id, run.status) == (newest.task_id, "Stopped")


def test_the_last_run_of_a_context_is_of_that_context(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"tests.app.models.Shipment": "carrier"})
    ours, other = Shipment.objects.create(carrier="ours"), Shipment.objects.create(carrier="other")
    monitor = make_monitor(context_model="tests.app.models.Shipment", context_type="ours")
    wanted = make_run(context_id=str(ours.pk), started_at=ago(hours=2))
    make_run(context_id=str(other.pk))
    run = standing_of(monitor).last_run
    assert run
    assert run.task_id == wanted.task_id


def test_without_a_run_there_is_none() -> None:
    assert standing_of(make_monitor()).last_run is None


def test_a_context_model_that_is_gone_hides_only_the_last_run_of_its_own() -> None:
    spoilt, sound = make_monitor("spoilt"), make_monitor("sound")
    Monitor.objects.filter(pk=spoilt.pk).update(context_model="gone.models.Model")
    make_run()
    found = standings(list(Monitor.objects.order_by("name")), NOW)
    assert [(each.monitor.pk, bool(each.last_run)) for each in found] == [(sound.pk, True), (spoilt.pk, False)]


# Many


def test_they_come_in_the_order_they_are_given_in() -> None:
    monitors = [make_monitor(name) for name in ("b", "c", "a")]
    assert [each.monitor.name for each in standings(monitors, NOW)] == ["b", "c", "a"]


def test_the_number_of_statements_does_not_grow_with_the_monitors() -> None:
    def statements(count: int) -> int:
        Monitor.objects.all().delete()
        monitors = [make_monitor(f"monitor {number}", task_name=f"task {number % 7}") for number in range(count)]
        make_run("task 1")
        check_monitors(monitors[::2], NOW)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            standings(monitors, NOW)
        return len(asked)

    assert statements(2) == statements(30)


def test_no_monitors_stand_nowhere() -> None:
    assert standings([], NOW) == []
