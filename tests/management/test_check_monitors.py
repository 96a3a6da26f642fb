"""check_task_status of monitors, and of the monitor itself."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from monitoring.checking.byhand import acknowledge
from monitoring.models import Alert, BackgroundTask, Delivery, Heartbeat, Incident, Message, Monitor, MonitorState
from monitoring.tick import tick
from tests.factories import make_facts, make_monitor, make_run
from tests.management.calling import Called, call

pytestmark = pytest.mark.django_db


def check(*args: str, **options: Any) -> Called:
    return call("check_task_status", *args, **options)


def names_in(called: Called) -> list[str]:
    """The monitors of the table, which is followed by an empty line or nothing."""
    table = called.out.split("\n\n")[1].splitlines()
    return [line.partition("  ")[0] for line in table[1:]]


def run_now(task_name: str = "daily_report", status: str = "Completed") -> BackgroundTask:
    return make_run(task_name, status, started_at=timezone.now())


# Which monitors


def test_all_enabled_monitors_are_checked_when_none_is_named() -> None:
    run_now()
    for name in ("b", "a"):
        make_monitor(name)
    make_monitor("off", enabled=False)
    called = check()
    assert (called.code, sorted(names_in(called))) == (0, ["a", "b"])
    assert called.out.startswith("TASKS OK - 2 as expected\n")


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (["nightly"], ["nightly"]),
        (["report"], ["nightly", "weekly"]),  # no monitor of that name: all of the task
        (["sync"], ["sync"]),  # a monitor of that name: only it, though another is of a task of that name
        (["nightly", "report", "nightly"], ["nightly", "weekly"]),
    ],
)
def test_a_name_means_the_monitor_that_has_it_else_all_of_the_task_that_has_it(
    named: list[str], found: list[str]
) -> None:
    make_monitor("nightly", task_name="report")
    make_monitor("weekly", task_name="report")
    make_monitor("sync", task_name="hourly")
    make_monitor("other", task_name="sync")
    called = check("--dry-run", *[f"--monitor={name}" for name in named])
    assert sorted(names_in(called)) == found


def test_an_unknown_name_ends_with_3_shows_near_ones_and_checks_nothing() -> None:
    make_monitor("daily report")
    called = check("--monitor=daily report", "--monitor=dialy_report", "--monitor=???")
    assert (called.code, called.out) == (3, "")
    assert called.said.splitlines() == [
        "No monitor is named 'dialy_report', and none watches a task of that name; did you mean 'daily_report' or "
        "'daily report'?",
        "No monitor is named '???', and none watches a task of that name; list_status shows those that there are",
    ]
    assert (Incident.objects.count(), Alert.objects.count()) == (0, 0)


def test_a_name_that_is_no_text_is_unknown_like_another() -> None:
    called = check("--monitor=\udcff")
    assert called.code == 3
    assert "No monitor is named '?', and none watches a task of that name; list_status shows" in called.said


def test_without_any_monitor_it_ends_with_3_and_says_the_way_out() -> None:
    called = check()
    assert called.code == 3
    for way in ("add one in the admin", "import_monitors FILE --schedule", "--config FILE"):
        assert way in called.said


def test_with_disabled_monitors_alone_it_says_so() -> None:
    make_monitor(enabled=False)
    called = check()
    assert (called.code, called.said) == (
        3,
        "No monitor is enabled (1 disabled); enable some, or name one with --monitor",
    )


@pytest.mark.parametrize(
    "options", [{"monitor": ["x"], "config": "-"}, {"itself": True, "config": "-"}, {"itself": True, "monitor": ["x"]}]
)
def test_what_is_checked_is_one_of_three(options: dict[str, Any]) -> None:
    called = check(**options)
    assert (called.code, called.said) == (3, "--monitor, --config and --self exclude each other")


def test_call_command_takes_one_name_as_it_stands() -> None:
    make_monitor("x")
    assert names_in(check(monitor="x", dry_run=True)) == ["x"]


# What follows from a check


def test_a_failing_monitor_opens_an_incident_tells_its_people_and_keeps_its_schedule() -> None:
    run_now(status="Stopped")
    due_at = timezone.now() + timedelta(hours=3)
    make_monitor(due_at=due_at)
    called = check()
    assert (called.code, called.said) == (2, "1 status mismatch")
    assert "Sent to ops@example.com: [ALERT] daily_report Status Check Failed" in called.out
    assert [message.to for message in mail.outbox] == [["ops@example.com"]]
    incident = Incident.objects.get()
    assert (incident.monitor_name, incident.closed_at) == ("daily report", None)
    state = MonitorState.objects.get()
    assert state.next_check_at == due_at
    assert state.last_checked_at == incident.opened_at


def test_a_recovery_is_told_by_the_check_that_finds_it() -> None:
    make_monitor()
    check()
    run_now()
    called = check()
    assert called.code == 0
    assert "Sent to ops@example.com: [RESOLVED] daily_report Is As Expected Again" in called.out


def test_a_disabled_one_that_is_named_is_checked_and_it_says_so() -> None:
    make_monitor("off", enabled=False)
    called = check("--monitor=off")
    assert (called.code, names_in(called)) == (2, ["off"])
    assert called.out.endswith("\noff is disabled: it is checked only by hand\n")


def test_a_snoozed_one_that_is_named_is_checked_and_it_says_so_and_tells_nobody() -> None:
    monitor = make_monitor("quiet")
    until = timezone.now() + timedelta(hours=1)
    MonitorState.objects.update(snoozed_until=until)
    called = check("--monitor", monitor.name)
    assert called.code == 2
    assert (
        f"quiet is snoozed until {until:%Y-%m-%d %H:%M:%S} UTC: until then nobody is told that it fails\n" in called.out
    )
    assert (Incident.objects.count(), Delivery.objects.count()) == (1, 0)


def test_nobody_to_tell_ends_with_3_after_the_others_were_told() -> None:
    make_monitor("orphan", task_name="orphan", notify_to=[])
    make_monitor("other", task_name="other")
    called = check()
    assert (called.code, called.said) == (3, "notify_to is empty but no superuser found for task 'orphan'")
    assert [message.to for message in mail.outbox] == [["ops@example.com"]]


def test_one_that_cannot_be_read_stops_no_other() -> None:
    run_now()
    make_monitor("spoilt")
    make_monitor("sound")
    Monitor.objects.filter(name="spoilt").update(expected_statuses=["Nonsense"])
    called = check()
    assert (called.code, called.said) == (2, "1 could not be checked, 1 as expected")


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"alert_after": 9}, "too few failing checks"), ({"repeat": "once"}, "told"), ({}, "acknowledged")],
)
def test_why_nobody_is_told_of_a_failing_monitor_is_said(settings: dict[str, Any], why: str) -> None:
    monitor = make_monitor(**settings)
    check()
    if why == "acknowledged":
        acknowledge([monitor], "anna", timezone.now())
    called = check()
    assert called.out.splitlines()[3].endswith(f"  - ({why})")
    (found,) = json.loads(check("--format=json").out)["checks"]
    assert (found["tells"], found["decision"]) == ([], why)


# A dry run


def everything() -> list[Any]:
    models = (Alert, BackgroundTask, Delivery, Heartbeat, Incident, Message, Monitor, MonitorState)
    return [list(model.objects.order_by("pk").values()) for model in models]


def test_a_dry_run_says_whom_it_would_tell_and_writes_and_sends_nothing() -> None:
    make_monitor("new failure", task_name="absent")
    recovered = make_monitor("recovered", notify_to=["people@example.com"])
    told_once = make_monitor("told once", task_name="absent", repeat="once")
    call("check_task_status", monitor=[recovered.name, told_once.name])
    run_now()
    mail.outbox.clear()
    before = everything()
    called = check("--dry-run")
    assert everything() == before
    assert mail.outbox == []
    assert called.code == 2
    rows = {line.partition("  ")[0]: line for line in called.out.splitlines()}
    assert rows["NAME"].endswith("WOULD NOTIFY")
    assert rows["new failure"].endswith("ops@example.com")
    assert rows["recovered"].endswith("people@example.com")
    assert rows["told once"].endswith("  - (told)")


def test_a_dry_run_does_not_send_what_others_owe() -> None:
    make_monitor(due_at=timezone.now())
    tick(timezone.now())
    before = everything()
    assert check("--dry-run").code == 2
    assert Delivery.objects.count() == 1
    assert everything() == before
    assert mail.outbox == []


def test_a_dry_run_finds_what_the_check_then_finds() -> None:
    run_now(status="Stopped")
    make_monitor("one")
    make_monitor("two", task_name="absent", notify_to=["a@example.com", "b@example.com"])
    foreseen, found = (json.loads(check("--format=json", dry_run=dry).out) for dry in (True, False))
    for said in (foreseen, found):
        for each in said["checks"]:
            del each["checked_at"]
    assert foreseen["checks"] == found["checks"]
    assert (foreseen["mails"], len(found["mails"])) == ([], 3)


def test_a_dry_run_sees_monitors_that_no_tick_has_planned_yet() -> None:
    make_monitor()
    MonitorState.objects.all().delete()  # as loaddata leaves them
    assert names_in(check("--dry-run")) == ["daily report"]
    assert MonitorState.objects.count() == 0
    assert check().code == 2


def test_a_dry_run_asks_the_same_number_of_statements_for_any_number(django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        make_monitor(f"monitor {number}", dependent_tasks=["x"])
    with django_assert_max_num_queries(20):
        check("--dry-run")


# Itself


def test_itself_is_well_when_it_ticks_and_nothing_is_late() -> None:
    Heartbeat.objects.create(name="tick", beat_at=timezone.now())
    make_monitor(due_at=timezone.now() + timedelta(hours=1))
    called = check("--self")
    assert (called.code, called.out) == (
        0,
        "MONITORING OK - the worker is running, no monitor is overdue, no mail is stuck\n",
    )


def late_tick() -> str:
    Heartbeat.objects.update(beat_at=timezone.now() - timedelta(hours=1))
    return "No worker has run checks since"


def no_tick() -> str:
    Heartbeat.objects.all().delete()
    return "No worker has run checks yet"


def overdue_monitor() -> str:
    make_monitor("late one", due_at=timezone.now() - timedelta(hours=1))
    return "late one"


def stuck_message() -> str:
    long_ago = timezone.now() - timedelta(hours=5)
    Message.objects.create(address="a@example.com", subject="s", created_at=long_ago, next_attempt_at=long_ago)
    return "1 mail is still not sent"


@pytest.mark.parametrize("cause", [late_tick, no_tick, overdue_monitor, stuck_message])
def test_itself_is_red_and_says_why(cause: Any) -> None:
    Heartbeat.objects.create(name="tick", beat_at=timezone.now())
    why = cause()
    called = check("--self")
    assert called.code == 2
    assert called.out.startswith("MONITORING CRITICAL - 1 problem\n")
    assert why in called.out
    assert why in called.said
    said = json.loads(check("--self", "--format=json").out)
    assert (said["schema"], said["as_expected"], len(said["problems"])) == (2, False, 1)
    assert said["problems"][0]["names"] == (["late one"] if cause is overdue_monitor else [])


def test_checking_itself_checks_no_task_and_sends_nothing() -> None:
    make_monitor(due_at=timezone.now() - timedelta(hours=1))
    Alert.objects.create(kind="mismatch", task_name="x", facts=make_facts().to_json(), created_at=timezone.now())
    before = everything()
    check("--self")
    assert everything() == before
    assert mail.outbox == []
