from datetime import timedelta
from typing import Any

import pytest

from monitoring.alerting.owing import Announcement, owe
from monitoring.checking.figures import figures
from monitoring.checking.standing import Stands, standings
from monitoring.models import Heartbeat, Incident, Message, Monitor, MonitorState, database_alias
from monitoring.models.heartbeat import TICK
from monitoring.tick import tick
from tests.factories import NOW, ago, make_facts, make_monitor, make_run

pytestmark = pytest.mark.django_db


def make_message(**over: Any) -> None:
    times = {"created_at": NOW, "next_attempt_at": NOW}
    Message.objects.create(address="ops@example.com", subject="s", text="t", html="h", **{**times, **over})


def test_an_empty_site_has_all_its_figures() -> None:
    found = figures(NOW)
    assert found.monitors == dict.fromkeys(Stands, 0)
    assert set(found.runs.values()) == {0}
    assert (found.overdue, found.open_incidents, found.unsent, found.unsent_for, found.given_up) == (0, 0, 0, 0.0, 0)
    assert (found.since_tick, found.round_took) == (None, None)
    assert (found.recorders, found.dropped, found.set_aside) == (0, 0, 0)


def test_monitors_are_counted_as_lists_show_them() -> None:
    make_run("fine")
    for number in range(3):
        make_monitor(f"fine {number}", task_name="fine", due_at=NOW)
    make_monitor("failing", due_at=NOW)
    make_monitor("off", due_at=NOW)
    tick(NOW)
    Monitor.objects.filter(name="off").update(enabled=False)  # its incident is closed by the next round
    make_monitor("stateless")
    MonitorState.objects.filter(monitor__name="stateless").delete()
    make_monitor("new")
    found = figures(NOW)
    stands = [each.stands for each in standings(list(Monitor.objects.all()), NOW)]
    assert found.monitors == {each: stands.count(each) for each in Stands}
    assert found.monitors == {Stands.FAILING: 1, Stands.FINE: 3, Stands.NOT_CHECKED: 2, Stands.DISABLED: 1}
    assert found.open_incidents == Incident.objects.count() == 2


def test_runs_of_the_last_hour_are_counted_by_their_status() -> None:
    for minutes in (600, 90, 61):
        make_run(status="Stopped", submitted_at=ago(minutes=minutes), started_at=ago(minutes=minutes))
    make_run(status="Queued", submitted_at=ago(minutes=60), started_at=None)
    make_run(status="Running", submitted_at=None, started_at=ago(minutes=30))
    make_run(status="Completed", submitted_at=ago(minutes=1))
    counted = {status.value: count for status, count in figures(NOW).runs.items() if count}
    assert counted == {"Queued": 1, "Running": 1, "Completed": 1}


def test_the_oldest_that_is_owed_says_how_far_behind_the_mails_are() -> None:
    make_message(created_at=ago(hours=9), sent_at=ago(hours=9))
    make_message(created_at=ago(hours=8), gave_up_at=ago(hours=7))
    make_message(created_at=ago(days=8), gave_up_at=ago(days=7))
    make_message(created_at=ago(minutes=5))
    found = figures(NOW)
    assert (found.unsent, found.unsent_for, found.given_up) == (1, 300.0, 1)
    owe([Announcement(make_facts(), ("ops@example.com",))], ago(minutes=7), database_alias())
    found = figures(NOW)
    assert (found.unsent, found.unsent_for) == (2, 420.0), "an alert of which no mail was made yet waits too"


def test_the_last_round_says_when_it_was_and_how_long_it_took() -> None:
    tick(ago(minutes=2))
    found = figures(NOW)
    assert found.since_tick == 120.0
    assert found.round_took is not None
    assert 0 < found.round_took < 60


def test_processes_that_record_are_counted_while_they_live_and_what_they_lost_for_longer() -> None:
    Heartbeat.objects.create(name=TICK, beat_at=NOW)
    Heartbeat.objects.create(name="web:1:a", beat_at=ago(seconds=15), dropped=2)
    Heartbeat.objects.create(name="web:2:b", beat_at=ago(seconds=16), dropped=1, set_aside=4)
    found = figures(NOW)
    assert (found.recorders, found.dropped, found.set_aside) == (1, 3, 4)


def test_overdue_monitors_are_counted() -> None:
    make_monitor(due_at=ago(minutes=6))
    assert figures(NOW).overdue == 1


def test_figures_take_as_many_statements_for_many_monitors(
    django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    for number in range(64):
        make_run(submitted_at=ago(minutes=number))
    with django_assert_max_num_queries(19) as few:
        figures(NOW)
    for number in range(20):
        make_monitor(f"monitor {number}", due_at=NOW - timedelta(days=1))
        make_message()
    with django_assert_num_queries(len(few)):
        figures(NOW)
