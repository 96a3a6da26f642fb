from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.alerting.words import summary_of
from monitoring.checking.board import FAILING_SHOWN, Head, board, head
from monitoring.checking.due import look_at
from monitoring.checking.health import TICK_LATE_AFTER
from monitoring.checking.standing import Stands, standings
from monitoring.models import Incident, Monitor, MonitorState, database_alias
from monitoring.telling import preview
from monitoring.tick import judge, tick
from tests.factories import NOW, ago, make_monitor, make_run

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


def made(**over: object) -> Head:
    counts = dict.fromkeys(("failing", "fine", "not_checked", "disabled"), 0)
    return Head(**{"made_at": NOW, "ticked_at": NOW, "problems": (), **counts, **over})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({}, "There are no monitors yet."),
        ({"disabled": 3}, "All monitors are disabled."),
        ({"fine": 1}, "The monitor is as expected."),
        ({"fine": 42, "disabled": 3}, "All 42 monitors are as expected."),
        ({"fine": 1, "not_checked": 1}, "1 of 2 monitors is as expected, and none is failing."),
        ({"fine": 40, "not_checked": 2}, "40 of 42 monitors are as expected, and none is failing."),
        ({"not_checked": 1}, "1 monitor is yet to be checked."),
        ({"not_checked": 2}, "2 monitors are yet to be checked."),
        ({"failing": 1}, "The monitor is failing."),
        ({"failing": 3, "fine": 38, "not_checked": 1, "disabled": 9}, "3 of 42 monitors are failing."),
        ({"failing": 1_000, "fine": 9_000}, "1,000 of 10,000 monitors are failing."),
    ],
)
def test_one_sentence_says_where_the_monitors_stand(counts: dict[str, int], sentence: str) -> None:
    assert str(made(**counts)) == sentence


@pytest.mark.parametrize(
    ("ticked_at", "is_stale"), [(None, True), (NOW - TICK_LATE_AFTER, False), (NOW - TICK_LATE_AFTER - SECOND, True)]
)
def test_without_a_checker_nothing_else_matters(ticked_at: object, is_stale: bool) -> None:
    late = made(ticked_at=ticked_at, failing=1, fine=2)
    assert late.is_stale is is_stale
    assert str(late) == ("The monitors are not being checked." if is_stale else "1 of 3 monitors is failing.")
    assert late.standing == "1 of 3 monitors is failing."


def test_an_empty_site_needs_no_checker() -> None:
    assert str(made(ticked_at=None)) == "There are no monitors yet."


def test_it_counts_what_the_list_says_of_each() -> None:
    for number, status in enumerate(("Stopped", "Completed", "Completed")):
        make_run(f"task {number}", status)
        make_monitor(f"checked {number}", task_name=f"task {number}", due_at=NOW)
    gone = make_monitor("disabled while it failed", task_name="never", due_at=NOW)
    tick(NOW)
    Monitor.objects.filter(pk=gone.pk).update(enabled=False)
    make_monitor("new")
    make_monitor("off", enabled=False)
    Incident.objects.create(
        monitor=Monitor.objects.get(name="checked 1"),
        opened_at=ago(hours=9),
        closed_at=ago(hours=8),
        last_failed_at=ago(hours=9),
        facts={},
    )
    counted = head(NOW)
    found = [each.stands for each in standings(list(Monitor.objects.all()), NOW)]
    assert [getattr(counted, stands.name.lower()) for stands in Stands] == [found.count(stands) for stands in Stands]
    assert (counted.failing, counted.fine, counted.not_checked, counted.disabled) == (1, 2, 1, 2)
    assert counted.enabled == 4


def test_a_failing_monitor_stands_with_what_its_mail_says() -> None:
    make_run("export", started_at=ago(hours=5), finished_at=ago(hours=4))
    make_run("report", "Running")
    run = make_run("export", "Stopped", finished_at=NOW, errors="Traceback …\nOSError: gone", attempts=1)
    monitor = make_monitor("Export", task_name="export", dependent_tasks=["report", "dashboard"], due_at=NOW)
    tick(NOW)
    (failing,) = board(NOW).failing
    assert failing.facts
    assert (failing.monitor, failing.incident) == (monitor, Incident.objects.get())
    assert failing.evidence.run
    assert failing.evidence.run.id == run.pk
    assert failing.evidence.last_success
    assert [(name, run and run.status) for name, run in failing.evidence.dependents] == [
        ("report", "Running"),
        ("dashboard", None),
    ]
    (outcome,) = judge(look_at([monitor], NOW, database_alias()))
    mail = preview(monitor, outcome, NOW)
    assert summary_of(failing.facts, failing.evidence) == summary_of(mail.facts, mail.evidence)
    assert failing.facts == mail.facts


@pytest.mark.parametrize(("until", "is_snoozed"), [(SECOND, True), (timedelta(0), False), (-SECOND, False)])
def test_a_snooze_that_is_over_is_none(until: timedelta, is_snoozed: bool) -> None:
    make_monitor(due_at=NOW)
    tick(NOW)
    MonitorState.objects.update(snoozed_until=NOW + until)
    (failing,) = board(NOW).failing
    assert (failing.snoozed_until is not None) is is_snoozed


def test_the_newest_incidents_come_first_and_all_are_counted() -> None:
    many = FAILING_SHOWN + 3
    for number in range(many):
        make_monitor(f"monitor {number}", task_name=f"task {number}", due_at=ago(minutes=number))
    tick(NOW)
    for number in range(many):
        Incident.objects.filter(task_name=f"task {number}").update(opened_at=ago(minutes=number))
    shown = board(NOW)
    assert [each.monitor.name for each in shown.failing] == [f"monitor {number}" for number in range(FAILING_SHOWN)]
    assert shown.head.failing == many


def test_facts_that_cannot_be_read_hide_no_monitor() -> None:
    for name in ("a", "b"):
        make_monitor(name, due_at=NOW)
    tick(NOW)
    Incident.objects.filter(monitor_name="a").update(facts={"kind": "of another version"})
    assert {each.monitor.name: each.facts is None for each in board(NOW).failing} == {"a": True, "b": False}


def test_what_fails_is_not_told_again_as_unusual() -> None:
    for name in ("failing", "slow"):
        for number in range(30):
            make_run(name, started_at=ago(hours=number + 2), finished_at=ago(hours=number + 2, minutes=-4))
        make_run(name, "Running", started_at=ago(minutes=30))
    make_monitor(task_name="failing", due_at=NOW)
    tick(NOW)
    assert [each.task_name for each in board(NOW).unusual] == ["slow"]


def test_it_takes_as_many_statements_for_many() -> None:
    counts = []
    for monitors in (1, 60):
        for number in range(monitors):
            name = f"task {monitors} {number}"
            make_run(name, "Stopped")
            make_monitor(name, task_name=name, dependent_tasks=[f"{name} a", f"{name} b"], due_at=NOW)
        tick(NOW)
        with CaptureQueriesContext(connection) as asked:
            board(NOW)
        counts.append(len(asked))
    assert counts[0] == counts[1]
