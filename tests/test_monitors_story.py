"""Monitors from their due moment to what people are told, as one tick after another goes by."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from freezegun import freeze_time

from monitoring.alerting.composing import compose
from monitoring.checking.byhand import switch
from monitoring.checking.incidents import still_open
from monitoring.checking.standing import Stands, standings
from monitoring.models import Alert, Delivery, Heartbeat, Incident, Message, Monitor, MonitorState, database_alias
from monitoring.tick import check_monitors, tick
from monitoring.values.facts import Facts
from tests.factories import make_monitor, make_run

pytestmark = pytest.mark.django_db

DAY = datetime(2026, 11, 22, tzinfo=UTC)
DUE = DAY + timedelta(hours=8, minutes=35)


@pytest.fixture(autouse=True)
def what_is_saved_while_time_is_frozen_is_saved_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else PostgreSQL's clock would go on."""
    monkeypatch.setattr("monitoring.models.monitor.database_now", timezone.now)


def at(hours: int, minutes: int = 0, days: int = 0) -> datetime:
    return DAY + timedelta(days=days, hours=hours, minutes=minutes)


def said() -> list[tuple[str, str]]:
    """Each alert's kind and address, in their order."""
    return list(Delivery.objects.order_by("id").values_list("alert__kind", "address"))


def state() -> MonitorState:
    return MonitorState.objects.get()


# When


def test_a_new_monitor_is_first_checked_at_its_first_due_moment_after_it_was_saved() -> None:
    with freeze_time(at(8, 34)):
        make_monitor()
    assert tick(at(8, 34) + timedelta(seconds=59)).judged == ()
    (judged,) = tick(at(8, 35)).judged
    assert judged.outcome.check.at == DUE
    assert state().next_check_at == at(8, 35, days=1)


def test_a_due_moment_between_saving_and_the_next_tick_is_not_missed() -> None:
    with freeze_time(at(8, 34) + timedelta(seconds=30)):
        make_monitor()
    (judged,) = tick(at(8, 35) + timedelta(seconds=10)).judged
    assert judged.outcome.check.at == DUE


def test_a_check_happens_once_a_due_moment() -> None:
    make_monitor(due_at=DUE)
    assert [len(tick(DUE + timedelta(minutes=minutes)).judged) for minutes in range(5)] == [1, 0, 0, 0, 0]


def test_missed_moments_are_made_up_for_by_one_check_of_the_latest_judged_as_of_then() -> None:
    make_monitor(due_at=at(8, 35, days=-3))
    make_run(started_at=at(8, 0), status="Completed")
    (judged,) = tick(at(12)).judged
    assert judged.outcome.check.at == DUE
    assert judged.outcome.is_as_expected, "the run of 08:00 is in the window of 08:35, not in that of noon"
    assert state().next_check_at == at(8, 35, days=1)
    assert tick(at(16)).judged == ()
    assert not Incident.objects.exists()


def test_a_caught_up_check_sees_what_started_since_it_was_due() -> None:
    make_monitor(due_at=DUE)
    make_run(started_at=at(11), status="Completed")
    (judged,) = tick(at(12)).judged
    assert judged.outcome.is_as_expected


@pytest.mark.parametrize(
    "change", [{"schedule": "0 10 * * *"}, {"time_zone": "Europe/Berlin", "schedule": "0 11 * * *"}]
)
def test_an_edited_schedule_is_planned_anew_at_once(change: dict[str, str]) -> None:
    monitor = make_monitor(due_at=at(8, 35, days=1))
    for field, value in change.items():
        setattr(monitor, field, value)
    with freeze_time(at(9, 30)):
        monitor.save()
    tick(at(9, 31))
    assert state().next_check_at == at(10)


def test_an_edit_of_anything_else_leaves_the_plan_alone() -> None:
    monitor = make_monitor(due_at=DUE)
    monitor.lookback_hours = 5
    monitor.save()
    assert state().next_check_at == DUE


@pytest.mark.parametrize("only", [{}, {"update_fields": ["enabled"]}], ids=str)
def test_what_was_due_while_a_monitor_was_disabled_is_not_checked_when_it_is_enabled(only: Any) -> None:
    with freeze_time(at(8)):
        monitor = make_monitor(due_at=DUE, enabled=False)
    assert tick(at(9)).judged == ()
    monitor.enabled = True
    with freeze_time(at(12)):
        monitor.save(**only)
    assert tick(at(12, 1)).judged == ()
    assert state().next_check_at == at(8, 35, days=1)


def definitions(path: Path) -> str:
    call_command("dumpdata", "monitoring.Monitor", "monitoring.DependentTask", output=str(path))
    return path.read_text()


def test_definitions_that_are_loaded_into_an_empty_database_are_first_checked_when_they_are_due_next(
    tmp_path: Path,
) -> None:
    with freeze_time(at(8, days=-30)):
        make_monitor(dependent_tasks=("report",))
    definitions(tmp_path / "monitors.json")
    Monitor.objects.all().delete()
    with freeze_time(at(12)):
        call_command("loaddata", str(tmp_path / "monitors.json"), verbosity=0)
    assert tick(at(12, 1)).judged == ()
    assert state().next_check_at == at(8, 35, days=1)


def test_definitions_that_are_loaded_over_others_are_planned_anew_where_they_differ(tmp_path: Path) -> None:
    with freeze_time(at(8, days=-30)):
        make_monitor("same", task_name="same", due_at=DUE)
        make_monitor("other", task_name="other", schedule="0 9 1 1 *", due_at=at(9, days=40))
    text = definitions(tmp_path / "monitors.json")
    (tmp_path / "monitors.json").write_text(text.replace("0 9 1 1 *", "0 15 * * *"))
    with freeze_time(at(12)):
        call_command("loaddata", str(tmp_path / "monitors.json"), verbosity=0)
    assert MonitorState.objects.get(monitor__name="same").next_check_at == DUE
    tick(at(12, 1))
    assert MonitorState.objects.get(monitor__name="other").next_check_at == at(15)


def test_a_monitor_that_was_made_behind_our_back_is_planned_too() -> None:
    monitor = make_monitor()
    MonitorState.objects.all().delete()
    Monitor.objects.filter(pk=monitor.pk).update(changed_at=at(8))
    tick(at(8, 1))
    assert state().next_check_at == DUE


def test_the_tick_says_that_it_is_alive() -> None:
    tick(at(9))
    assert Heartbeat.objects.get().beat_at == at(9)


def test_a_form_opened_before_the_checker_wrote_loses_nothing_of_either_side() -> None:
    monitor = make_monitor(due_at=DUE)
    opened = Monitor.objects.get(pk=monitor.pk)
    tick(DUE)
    opened.lookback_hours = 5
    opened.save()
    assert state().last_checked_at == DUE
    assert state().next_check_at == at(8, 35, days=1)
    assert Incident.objects.get().closed_at is None
    assert Monitor.objects.get().lookback_hours == 5


# What is said


def test_a_failing_check_opens_an_incident_and_owes_an_alert_with_its_facts() -> None:
    make_monitor(due_at=DUE, dependent_tasks=("send_report_emails", "update_dashboard"), time_zone="Europe/Berlin")
    make_run(status="Stopped", started_at=at(8))
    tick(at(8, 35))
    incident = Incident.objects.get()
    assert (incident.opened_at, incident.closed_at, incident.failing_checks) == (at(8, 35), None, 1)
    assert (incident.told_at, incident.monitor_name) == (at(8, 35), "daily report")
    alert = Alert.objects.get()
    facts = Facts.from_json(alert.facts)
    assert alert.incident == incident
    assert facts.dependent_tasks == ("send_report_emails", "update_dashboard")
    assert facts.time_zone == "Europe/Berlin"
    assert said() == [("mismatch", "ops@example.com")]


def test_each_failing_check_is_told_and_then_the_recovery_to_those_who_were_told() -> None:
    monitor = make_monitor(due_at=DUE, notify_to=["first@example.com"])
    tick(DUE)
    monitor.notify_to = ["second@example.com"]
    monitor.save()
    tick(at(8, 35, days=1))
    make_run(started_at=at(8, 0, days=2))
    tick(at(8, 35, days=2))
    assert said() == [
        ("not-executed", "first@example.com"),
        ("not-executed", "second@example.com"),
        ("resolved", "first@example.com"),
        ("resolved", "second@example.com"),
    ]
    incident = Incident.objects.get()
    assert (incident.failing_checks, incident.closed_at) == (2, at(8, 35, days=2))
    assert set(Alert.objects.values_list("incident", flat=True)) == {incident.pk}


def test_a_monitor_that_fails_again_opens_another_incident() -> None:
    make_monitor(due_at=DUE)
    tick(DUE)
    make_run(started_at=at(8, 0, days=1))
    tick(at(8, 35, days=1))
    tick(at(8, 35, days=2))
    assert [incident.closed_at for incident in Incident.objects.order_by("id")] == [at(8, 35, days=1), None]


def test_a_mail_is_owed_once_the_snooze_has_passed_without_waiting_for_the_next_check() -> None:
    make_monitor(due_at=DUE)
    MonitorState.objects.update(snoozed_until=at(10))
    tick(DUE)
    tick(at(9, 59))
    assert said() == []
    tick(at(10))
    assert said() == [("not-executed", "ops@example.com")]


def test_reminders_come_every_so_many_hours_though_the_monitor_is_checked_once_a_day() -> None:
    make_monitor(due_at=DUE, repeat="hours", repeat_hours=4)
    for hour in range(9):
        tick(DUE + timedelta(hours=hour))
    assert len(said()) == 3


def test_nobody_hears_of_a_monitor_that_is_told_after_three_failing_checks_before_the_third() -> None:
    make_monitor(due_at=DUE, alert_after=3)
    for day in range(3):
        assert len(said()) == 0
        tick(at(8, 35, days=day))
    assert len(said()) == 1


@pytest.mark.parametrize("leave", ["disable", "delete"])
def test_disabling_or_deleting_a_monitor_ends_its_incident_without_a_word(leave: str) -> None:
    monitor = make_monitor(due_at=DUE)
    tick(DUE)
    if leave == "disable":
        Monitor.objects.update(enabled=False)
    else:
        monitor.delete()
    make_run(started_at=at(8, 30, days=1))
    tick(at(9))
    incident = Incident.objects.get()
    assert (incident.closed_at, incident.monitor_name) == (at(9), "daily report")
    assert said() == [("not-executed", "ops@example.com")]
    assert len(compose(at(9), database_alias())) == 1, "what is owed already still goes out"


@pytest.mark.parametrize(
    "change", [{"task_name": "another_task"}, {"context_model": "gap.models.IngestorSession"}], ids=str
)
def test_an_incident_ends_without_a_word_when_its_monitor_watches_something_else(change: dict[str, str]) -> None:
    monitor = make_monitor(schedule="@hourly", due_at=DUE)
    tick(DUE)
    make_run("another_task", started_at=at(8, 30))
    for field, value in change.items():
        setattr(monitor, field, value)
    with freeze_time(at(8, 40)):
        monitor.save()
    incident = Incident.objects.get()
    assert incident.closed_at
    assert incident.task_name == "daily_report"
    (standing,) = standings([monitor], at(8, 41))
    assert standing.stands is Stands.NOT_CHECKED
    tick(at(9))
    assert ("resolved", "ops@example.com") not in said()


def test_an_edit_of_anything_else_leaves_the_incident_open_whatever_the_monitor_was_when_it_was_read() -> None:
    make_monitor(due_at=DUE)
    stale = Monitor.objects.get()
    Monitor.objects.update(task_name="renamed_meanwhile")
    tick(DUE)
    stale.notify_to = ["boss@example.com"]
    stale.save(update_fields=["notify_to"])
    assert Incident.objects.get().closed_at is None


def test_a_monitor_that_is_disabled_and_enabled_between_two_ticks_begins_a_new_incident() -> None:
    monitor = make_monitor(schedule="* * * * *", repeat="once", due_at=DUE)
    tick(DUE)
    with freeze_time(DUE + timedelta(seconds=10)):
        switch([monitor], enabled=False)
        switch([monitor], enabled=True)
    tick(at(8, 36))
    assert [incident.closed_at is None for incident in Incident.objects.order_by("id")] == [False, True]
    assert said() == [("not-executed", "ops@example.com")] * 2


@pytest.mark.parametrize("since", [{"closed_at": DUE}, {"monitor": None}, {"enabled": False}], ids=str)
def test_nobody_is_reminded_of_what_was_over_by_the_time_it_was_locked(since: dict[str, Any]) -> None:
    make_monitor(due_at=DUE)
    tick(DUE)
    incident, using = Incident.objects.get(), database_alias()
    assert [each.incident.pk for each in still_open([incident.pk], using)] == [incident.pk]
    (Monitor if "enabled" in since else Incident).objects.update(**since)
    assert still_open([incident.pk], using) == []


def test_an_address_that_was_told_in_another_case_hears_of_the_recovery_once() -> None:
    monitor = make_monitor(schedule="* * * * *", notify_to=["Ops@example.com"], due_at=DUE)
    tick(DUE)
    monitor.notify_to = ["ops@example.com"]
    monitor.save()
    tick(at(8, 36))
    make_run(started_at=at(8, 36), status="Completed")
    tick(at(8, 37))
    assert [address for kind, address in said() if kind == "resolved"] == ["Ops@example.com"]


def test_what_nobody_could_be_told_is_told_once_there_is_somebody(caplog: pytest.LogCaptureFixture) -> None:
    make_monitor(due_at=DUE, notify_to=[], repeat="once")
    found = tick(DUE)
    assert "notify_to is empty but no superuser found for task 'daily_report'" in found.nobody_to_tell
    assert "Subject: [ALERT] daily_report Has Not Executed" in caplog.text
    caplog.clear()
    tick(at(8, 36))
    assert "Subject" not in caplog.text, "the log is not filled each minute"
    assert Alert.objects.count() == 1, "nor is the table"
    User.objects.create_superuser("root", "root@example.com", "x")
    tick(at(8, 37))
    assert said() == [("not-executed", "root@example.com")]


# One broken thing stays one


@pytest.mark.parametrize(
    "spoil",
    [
        {"expected_statuses": ["Complete"]},
        {"expected_statuses": []},
        {"expected_statuses": 5},
        {"notify_to": ["a" * 400 + "@example.com", "ops@example.com"]},
        {"notify_to": ["ops@example.com\n", "ops@example.com"]},
        {"schedule": "never"},
        {"time_zone": "Mars/Olympus"},
        {"context_model": "gone.models.Thing"},
    ],
)
def test_a_monitor_that_cannot_be_judged_opens_an_incident_that_says_so_and_stops_no_other(
    spoil: dict[str, Any],
) -> None:
    make_monitor(due_at=DUE)
    make_monitor("other", due_at=DUE, task_name="other_task")
    Monitor.objects.filter(name="daily report").update(**spoil)
    tick(DUE)
    assert {incident.monitor_name: incident.facts["kind"] for incident in Incident.objects.all()} == {
        "daily report": "not-judged",
        "other": "not-executed",
    }
    assert ("not-judged", "ops@example.com") in said()
    assert Incident.objects.get(monitor_name="daily report").facts["reason"]
    assert all(planned > DUE for planned in MonitorState.objects.values_list("next_check_at", flat=True))


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"notify_to": 7}, ["root@example.com"]),
        ({"notify_to": "ops@example.com"}, ["root@example.com"]),
        ({"notify_to": [7, "ops@example.com"]}, ["ops@example.com"]),
        ({"notify_to": ["ops@example.com", "OPS@example.com", "ops@example.com"]}, ["ops@example.com"]),
        ({"lookback_hours": 1e300}, ["ops@example.com"]),
        ({"repeat": "never"}, ["ops@example.com"]),
    ],
    ids=str,
)
def test_a_row_that_was_spoilt_stops_no_round_and_somebody_is_told_of_it(spoilt: Any, told: list[str]) -> None:
    User.objects.create_superuser("root", "root@example.com")
    bad = make_monitor("bad", due_at=DUE, repeat="hours", repeat_hours=1, task_name="bad")
    make_monitor("good", due_at=DUE, task_name="good")
    Monitor.objects.filter(pk=bad.pk).update(**spoilt)
    tick(DUE)
    tick(DUE + timedelta(hours=1))  # its reminder is a round's work too
    owed = Delivery.objects.order_by("address").values_list("address", flat=True)
    assert {*owed.filter(alert__task_name="bad")} == {*told}
    assert [*owed.filter(alert__task_name="good")] == ["ops@example.com"]


# The most that the column holds: with SQLite more than a calendar has.
@pytest.mark.parametrize("hours", [99_999_999, 10**12] if connection.vendor == "sqlite" else [32_767])
def test_a_number_of_hours_beyond_all_sense_stops_no_round(hours: int) -> None:
    bad = make_monitor("bad", due_at=DUE, task_name="bad", repeat="hours", repeat_hours=1)
    make_monitor("good", due_at=DUE, task_name="good")
    Monitor.objects.filter(pk=bad.pk).update(repeat_hours=hours)
    tick(DUE)
    tick(at(8, 35, days=1))
    assert list(Delivery.objects.order_by("id").values_list("alert__task_name", flat=True)) == ["bad", "good", "good"]


# By hand


def test_a_check_by_hand_judges_now_and_leaves_the_plan_alone() -> None:
    monitor = make_monitor(due_at=at(8, 35, days=1))
    make_run(started_at=at(15))
    (judged,) = check_monitors([monitor], at(16)).judged
    assert (judged.name, judged.outcome.check.at) == ("daily report", at(16))
    assert judged.outcome.is_as_expected
    assert (state().next_check_at, state().last_checked_at) == (at(8, 35, days=1), at(16))


def test_a_check_by_hand_tells_people_as_a_scheduled_one_would_disabled_monitors_too() -> None:
    monitor = make_monitor(enabled=False)
    check_monitors([monitor], at(16))
    assert said() == [("not-executed", "ops@example.com")]
    assert Incident.objects.get().opened_at == at(16)


def test_batches_are_taken_until_nothing_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    from monitoring import tick as story

    for number in range(7):
        make_monitor(f"monitor {number}", due_at=DUE)
    sizes = []
    whole = story._check
    monkeypatch.setattr(story, "BATCH", 3)
    monkeypatch.setattr(story, "_check", lambda due, *rest: sizes.append(len(due)) or whole(due, *rest))
    assert len(tick(DUE).judged) == 7
    assert sizes == [3, 3, 1, 0]
    sizes.clear()
    by_hand = check_monitors(Monitor.objects.order_by("-name"), DUE + timedelta(hours=1))
    assert [judged.name for judged in by_hand.judged] == [f"monitor {number}" for number in range(7)]
    assert len(by_hand.announcements) == 7
    assert sizes == [3, 3, 1]


def test_a_round_takes_as_many_statements_for_one_monitor_as_for_fifty(django_assert_max_num_queries: Any) -> None:
    from django.test.utils import CaptureQueriesContext

    counts = []
    for number, size in enumerate((1, 50)):
        for each in range(size):
            make_monitor(f"monitor {number} {each}", due_at=at(8, 35, days=number))
        with CaptureQueriesContext(connection) as asked:
            tick(at(8, 35, days=number))
        counts.append(len(asked))
    assert Message.objects.count() == 0
    assert counts[1] <= counts[0] + 9, "the second carries on an open incident, and notes that a day has passed"
