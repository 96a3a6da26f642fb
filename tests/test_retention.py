"""What goes and what stays, on each database; the worker and the command do the same."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring import retention
from monitoring.alerting.owing import Announcement, owe
from monitoring.models import Alert, BackgroundTask, Delivery, Incident, Message, Monitor, Outage, database_alias
from monitoring.retention import count, politely, prune
from monitoring.tasks import prune_history
from monitoring.tick import judge_monitors, tick
from monitoring.values.outcome import Verdict
from tests.app.models import Shipment
from tests.factories import NOW, ago, make_facts, make_monitor, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few rows are several transactions and several looks."""
    monkeypatch.setattr(retention, "RUNS_AT_ONCE", dict.fromkeys(retention.RUNS_AT_ONCE, 3))
    monkeypatch.setattr(retention, "RUNS_LOOKED_AT", 7)
    monkeypatch.setattr(retention, "RECORDS_AT_ONCE", 2)


def runs_of(task_name: str, *endings: tuple[str, int]) -> None:
    """Runs of these statuses, so many days ago, recorded in this order."""
    for status, days in endings:
        started_at = ago(days=days)
        make_run(task_name, status, submitted_at=started_at, started_at=started_at, finished_at=started_at)


def left() -> list[tuple[str, str, int]]:
    rows = BackgroundTask.objects.order_by("id").values_list("task_name", "status", "submitted_at")
    return [(name, status, (NOW - submitted_at).days) for name, status, submitted_at in rows]


def prune_all(**options: Any) -> int:
    return sum(step.removed for step in prune(NOW, **options))


# Runs


def test_old_runs_go_but_the_newest_old_success_and_failure_of_each_task_stay() -> None:
    old = [("Completed", 200 - day) if day % 10 else ("Stopped", 200 - day) for day in range(40)]
    runs_of("often", *old)
    runs_of("seldom", ("Completed", 150), ("Stopped", 149), ("Cancelled", 148))
    runs_of("often", ("Completed", 10))
    assert prune_all() == 39
    assert left() == [
        ("often", "Stopped", 170),
        ("often", "Completed", 161),
        ("seldom", "Completed", 150),
        ("seldom", "Stopped", 149),
        ("often", "Completed", 10),
    ]


def test_pruning_again_removes_nothing_and_what_has_become_old_takes_the_place_of_what_was_kept() -> None:
    runs_of("often", ("Completed", 100), ("Completed", 99), ("Completed", 80))
    assert prune_all() == 1
    assert prune_all() == 0
    assert left() == [("often", "Completed", 99), ("often", "Completed", 80)]
    assert prune_all(keep_runs_days=70) == 1
    assert left() == [("often", "Completed", 80)]


def test_a_run_is_as_old_as_its_last_sign_of_life_and_one_that_is_running_is_never_old() -> None:
    old = {"submitted_at": ago(days=100), "started_at": ago(days=100)}
    make_run("retried", "Cancelled", **old | {"started_at": ago(days=1)})
    make_run("long", "Cancelled", **old, finished_at=ago(days=89))
    make_run("still running", "Running", **old)
    make_run("never ended", "Invalidated", **old)
    make_run("never started", "Queued", submitted_at=ago(days=100), started_at=None)
    make_run("undated", "Queued", started_at=None)
    runs_of("next", ("Cancelled", 95), ("Completed", 1))
    prune_all()
    assert [name for name, *_ in BackgroundTask.objects.order_by("id").values_list("task_name")] == [
        "retried",
        "long",
        "still running",
        "next",
    ]


def test_a_run_that_an_incident_cites_stays_until_the_incident_goes() -> None:
    runs_of("daily_report", ("Invalidated", 100), ("Cancelled", 99))
    make_monitor(lookback_hours=2, due_at=ago(days=99))
    tick(ago(days=99) + timedelta(seconds=1))
    runs_of("daily_report", ("Cancelled", 98), ("Completed", 1))
    incident = Incident.objects.get()
    assert incident.run_id == BackgroundTask.objects.get(started_at=ago(days=99)).pk
    assert prune_all() == 2
    assert left() == [("daily_report", "Cancelled", 99), ("daily_report", "Completed", 1)]
    Incident.objects.all().delete()
    assert prune_all() == 1


def test_what_a_monitor_looks_back_on_stays_as_long_as_any_of_its_task_does() -> None:
    for task_name in ("watched", "watched too", "others"):
        runs_of(task_name, *[("Cancelled", days) for days in (400, 103, 99, 94)])
    make_monitor("long", task_name="watched", lookback_hours=24 * 100)
    make_monitor("short", task_name="watched", lookback_hours=2)
    make_monitor("another", task_name="watched too", lookback_hours=24 * 95, enabled=False)
    spoilt = make_monitor("spoilt", task_name="others")
    Monitor.objects.filter(pk=spoilt.pk).update(lookback_hours=1e300)
    runs_of("next", ("Completed", 1))
    assert prune_all(remove=count) == prune_all() == 9
    assert left() == [
        ("watched", "Cancelled", 99),
        ("watched", "Cancelled", 94),
        ("watched too", "Cancelled", 94),
        ("next", "Completed", 1),
    ]
    assert prune_all(keep_runs_days=10) == 0, "nor with another number of days"


def test_pruning_changes_no_verdict(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"shop.Shipment": "carrier"})
    sea, air = Shipment.objects.create(carrier="sea"), Shipment.objects.create(carrier="air")
    for context, days in ((sea, 95), (air, 93), (air, 1)):
        make_run("ship", context_id=str(context.pk), started_at=ago(days=days), finished_at=ago(days=days))
    runs_of("report", ("Completed", 95), ("Cancelled", 94))
    over = {"lookback_hours": 24 * 100, "context_model": "shop.Shipment", "context_type": "sea"}
    monitors = [
        make_monitor("by sea", task_name="ship", **over),
        make_monitor("report", task_name="report", lookback_hours=24 * 100),
    ]
    before = [judged.outcome.verdict for judged in judge_monitors(monitors, NOW).judged]
    assert before == [Verdict.AS_EXPECTED, Verdict.STATUS_MISMATCH]
    assert prune_all() == 0
    assert [judged.outcome.verdict for judged in judge_monitors(monitors, NOW).judged] == before


@pytest.mark.parametrize("keep", [0, None])
def test_nothing_goes_where_all_is_to_be_kept(monitoring_settings: Any, keep: int | None) -> None:
    monitoring_settings(KEEP_RUNS_DAYS=keep, KEEP_INCIDENTS_DAYS=keep)
    runs_of("often", ("Cancelled", 3_000), ("Completed", 1))
    assert list(prune(NOW)) == []
    assert len(left()) == 2


def test_a_dry_run_counts_what_would_go_and_leaves_all() -> None:
    runs_of("often", *[("Completed", 200 - day) for day in range(20)], ("Completed", 1))
    old_story(days=400)
    with CaptureQueriesContext(connection) as asked:
        would = prune_all(remove=count)
    assert not any(query["sql"].startswith(("DELETE", "UPDATE")) for query in asked)
    deliveries = Delivery.objects.count()
    assert prune_all() == would + deliveries


def test_no_statement_passes_over_rows_by_their_number_or_deletes_them_one_by_one() -> None:
    runs_of("often", *[("Completed", 200 - day) for day in range(30)], ("Completed", 1))
    with CaptureQueriesContext(connection) as asked:
        prune_all()
    statements = [query["sql"] for query in asked]
    assert not any("OFFSET" in statement for statement in statements)
    deletes = [statement for statement in statements if statement.startswith("DELETE")]
    assert len(deletes) < 20
    assert all("BETWEEN" in each or " > " in each or "IN (SELECT" in each for each in deletes)


def test_young_runs_alone_and_no_runs_at_all_are_nothing_to_do() -> None:
    assert prune_all() == 0
    runs_of("often", ("Completed", 2), ("Completed", 1))
    assert prune_all() == 0


# Incidents, alerts and messages


def old_story(days: int, *, closed: bool = True, sent: bool = True) -> Incident:
    """An incident so many days ago, its alert, delivery and message."""
    then = ago(days=days)
    incident = Incident.objects.create(
        monitor=make_monitor(f"monitor {Incident.objects.count()}"),
        monitor_name="monitor",
        task_name="daily_report",
        opened_at=then,
        last_failed_at=then,
        closed_at=then if closed else None,
        facts=make_facts().to_json(),
    )
    (alert,) = owe([Announcement(make_facts(), ("ops@example.com",), incident)], then, database_alias())
    message = Message.objects.create(
        address="ops@example.com",
        subject="s",
        text="t",
        html="h",
        created_at=then,
        next_attempt_at=then,
        sent_at=then if sent else None,
    )
    alert.deliveries.update(message=message)
    return incident


def counts() -> list[int]:
    return [model.objects.count() for model in (Incident, Alert, Delivery, Message)]


def test_closed_incidents_go_with_all_that_was_said_of_them() -> None:
    for days in (500, 450, 400, 366, 364, 1):
        old_story(days)
    prune_all()
    assert counts() == [2, 2, 2, 2]


@pytest.mark.parametrize("kept", [{"closed": False}, {"sent": False}])
def test_what_is_open_or_unsent_is_never_old(kept: dict[str, bool]) -> None:
    old_story(400, **kept)
    prune_all()
    assert counts() == [1, 1, 1, 1]


def test_a_given_up_message_is_as_settled_as_a_sent_one() -> None:
    old_story(400, sent=False)
    Message.objects.update(gave_up_at=ago(days=399))
    prune_all()
    assert counts() == [0, 0, 0, 0]


def test_a_message_that_carries_a_young_alert_too_stays_with_all_it_carries() -> None:
    old_story(400)
    (young,) = owe([Announcement(make_facts(), ("ops@example.com",))], ago(days=1), database_alias())
    young.deliveries.update(message=Message.objects.get())
    prune_all()
    assert Message.objects.count() == 1
    assert list(Alert.objects.all()) == [young]


def test_an_outage_of_the_monitor_goes_too() -> None:
    for days in (400, 380, 300):
        Outage.objects.create(began_at=ago(days=days), ended_at=ago(days=days, hours=-1))
    prune_all()
    assert Outage.objects.get().began_at == ago(days=300)


def test_an_alert_that_reached_nobody_goes_too() -> None:
    owe([Announcement(make_facts(), ())], ago(days=400), database_alias())
    prune_all()
    assert Alert.objects.count() == 0


# The worker and the command


def test_a_slice_ends_in_time_and_the_next_goes_on() -> None:
    runs_of("often", *[("Cancelled", 200 - day) for day in range(20)], ("Completed", 1))
    first = list(politely(prune(NOW), within=timedelta(microseconds=1)))
    assert len(first) <= 1
    list(politely(prune(NOW)))
    assert left() == [("often", "Completed", 1)]


def test_the_worker_prunes() -> None:
    long_ago = timezone.now() - timedelta(days=120)
    make_run("often", "Cancelled", started_at=long_ago)
    make_run("often")
    prune_history.call_local()
    assert BackgroundTask.objects.get().status == "Completed"


def pruned(*arguments: str) -> list[str]:
    said = io.StringIO()
    call_command("prune_history", *arguments, stdout=said)
    return said.getvalue().splitlines()


def test_the_command_says_what_it_did_in_plain_lines() -> None:
    now = timezone.now()
    for days in (120, 119, 100, 20):
        make_run("often", "Cancelled", submitted_at=now - timedelta(days=days), started_at=now - timedelta(days=days))
    make_run("often", submitted_at=now, started_at=now)
    assert pruned("--dry-run") == ["Would delete 3 runs"]
    assert pruned() == ["Deleted 3 runs"]
    assert pruned() == ["No run older than 90 days is to be deleted"]
    assert pruned("--older-than", "10") == ["Deleted 1 runs"]
    assert BackgroundTask.objects.count() == 1


def test_the_command_shows_how_far_it_is_in_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now = timezone.now()
    for days in range(120, 100, -1):
        make_run("often", "Cancelled", submitted_at=now - timedelta(days=days), started_at=now - timedelta(days=days))
    make_run("often", submitted_at=now, started_at=now)
    said = Terminal()
    call_command("prune_history", stdout=said)
    assert "█" in said.getvalue()
    assert "100% of old runs, 20\x1b[K" in said.getvalue()
    assert said.getvalue().endswith("\r\x1b[KDeleted 20 runs\n")


@pytest.mark.parametrize("days", ["0", "-3", "many", "36501", "9999999"])
def test_a_number_of_days_that_is_none_is_refused(days: str) -> None:
    with pytest.raises(CommandError, match="must be a whole number of days from 1 to 36500"):
        pruned(f"--older-than={days}")
