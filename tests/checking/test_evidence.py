"""What `gather` finds, on real rows."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.alerting.owing import Announcement, owe
from monitoring.checking.evidence import DEPENDENTS_SHOWN, ERRORS_MAX, LOOKED_BACK, gather, gather_about
from monitoring.models import Alert, BackgroundTask, Incident, Monitor, MonitorState, database_alias
from monitoring.tick import check_config, check_monitors
from monitoring.values.evidence import RUNS_SHOWN, Evidence
from monitoring.values.expectation import Expectation
from monitoring.values.run_event import NOT_ENQUEUED, WORKER_LOST
from project.demo.models import IngestorSession
from tests.factories import NOW, ago, make_expectation, make_facts, make_monitor, make_run

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(seconds=20)


def evidence_of(*expectations: Expectation) -> list[Evidence]:
    """Of the alerts that a check of these owes."""
    check_config([*expectations], NOW)
    return gather(list(Alert.objects.order_by("id")), LATER)


def of_daily_report(**over: Any) -> Evidence:
    (evidence,) = evidence_of(make_expectation(notify_to=("ops@example.com",), **over))
    return evidence


def shown(evidence: Evidence) -> list[tuple[str, str]]:
    return [(run.task_id, run.status) for run in evidence.runs]


# Runs


def test_the_last_runs_stand_as_they_are_now_the_newest_first() -> None:
    make_run(task_id="old", started_at=ago(hours=26), finished_at=ago(hours=25))
    run = make_run(task_id="new", status="Running", started_at=ago(minutes=5), attempts=2)
    make_run(task_id="waits", status="Queued", started_at=None, submitted_at=ago(minutes=2))
    check_config([make_expectation(notify_to=("ops@example.com",))], NOW)
    BackgroundTask.objects.filter(pk=run.pk).update(status="Stopped", finished_at=LATER)
    (evidence,) = gather(list(Alert.objects.all()), LATER)
    assert shown(evidence) == [("waits", "Queued"), ("new", "Stopped"), ("old", "Completed")]
    assert evidence.runs[1].attempts == 2
    assert evidence.gathered_at == LATER


def test_a_queue_that_stands_still_does_not_push_out_what_ran() -> None:
    for number in range(30):
        make_run(status="Queued", started_at=None, submitted_at=ago(minutes=number))
        make_run(started_at=ago(hours=2 + number), finished_at=ago(hours=1 + number))
    evidence = of_daily_report()
    assert len(evidence.runs) == RUNS_SHOWN
    assert [run.status for run in evidence.runs] == ["Queued"] * 3 + ["Completed"] * 7


def test_the_usual_duration_is_that_of_the_runs_before() -> None:
    make_run(status="Running")
    for number in range(1, 6):
        make_run(started_at=ago(hours=number), finished_at=ago(hours=number) + timedelta(minutes=4))
    assert of_daily_report().usual == timedelta(minutes=4)


def test_a_task_that_never_ran_has_no_runs() -> None:
    make_run("another_task")
    evidence = of_daily_report()
    assert (evidence.runs, evidence.run, evidence.errors, evidence.last_success) == ((), None, "", None)
    assert evidence.gathered_at


# The run that decided


def test_the_error_is_of_the_run_that_decided_though_another_came_since() -> None:
    make_run(task_id="bad", status="Stopped", started_at=ago(minutes=5), errors="OSError: gone")
    check_config([make_expectation(notify_to=("ops@example.com",))], NOW)
    make_run(task_id="good", started_at=NOW + timedelta(seconds=5))
    (evidence,) = gather(list(Alert.objects.all()), LATER)
    assert (evidence.errors, evidence.run and evidence.run.task_id) == ("OSError: gone", "bad")
    assert evidence.runs[0].task_id == "good"


def test_where_none_decided_it_is_of_the_last_run_before_the_check() -> None:
    make_run(task_id="bad", status="Stopped", started_at=ago(hours=26), errors="OSError: gone")
    assert of_daily_report().errors == "OSError: gone"


@pytest.mark.parametrize(
    ("status", "errors", "said"),
    [
        ("Stopped", f"{NOT_ENQUEUED}: no route to the queue", (False, True)),
        ("Stopped", WORKER_LOST, (True, False)),
        ("Cancelled", "Revoked", (False, False)),
    ],
)
def test_where_one_ended_without_a_start_it_is_of_that_one(status: str, errors: str, said: tuple[bool, bool]) -> None:
    make_run(task_id="before", status="Stopped", started_at=ago(hours=26), errors="OSError: gone")
    make_run(task_id="ended", status=status, started_at=None, submitted_at=ago(minutes=5), errors=errors)
    check_config([make_expectation(notify_to=("ops@example.com",))], NOW)
    for seconds in range(4):
        make_run(status="Queued", started_at=None, submitted_at=NOW + timedelta(seconds=seconds))
    (evidence,) = gather(list(Alert.objects.all()), LATER)
    assert (evidence.run and evidence.run.task_id, evidence.errors) == ("ended", errors)
    assert (evidence.worker_lost, evidence.not_enqueued) == said


def test_but_it_is_of_the_last_run_if_that_one_waits_or_another_started_since() -> None:
    make_run(task_id="waits", status="Queued", started_at=None, submitted_at=ago(hours=30))
    make_run(task_id="bad", status="Stopped", started_at=ago(hours=31), errors="OSError: gone")
    (evidence,) = evidence_of(make_expectation(notify_to=("ops@example.com",)))
    assert evidence.errors == "OSError: gone"
    BackgroundTask.objects.filter(task_id="waits").update(status="Stopped", errors=NOT_ENQUEUED)
    BackgroundTask.objects.filter(task_id="bad").update(started_at=ago(hours=29))
    Alert.objects.all().delete()
    (evidence,) = evidence_of(make_expectation(notify_to=("ops@example.com",)))
    assert (evidence.errors, evidence.not_enqueued) == ("OSError: gone", False)


def test_facts_of_an_older_version_lead_to_the_run_by_its_start() -> None:
    make_run(task_id="newer", status="Stopped", started_at=ago(minutes=2), errors="KeyError: 2")
    make_run(task_id="older", status="Stopped", started_at=ago(minutes=5), errors="KeyError: 1")
    (alert,) = owe([Announcement(make_facts(), ("ops@example.com",))], NOW, database_alias())
    assert "task_id" not in alert.facts
    assert gather([alert], LATER)[0].errors == "KeyError: 1"


def test_long_errors_are_cut_from_the_top() -> None:
    make_run(status="Stopped", errors=f"{'x' * 100_000}\nOSError: gone")
    errors = of_daily_report().errors
    assert errors.startswith("[… cut]\n")
    assert errors.endswith("\nOSError: gone")
    assert len(errors) == ERRORS_MAX


@pytest.mark.parametrize(
    ("errors", "lost"),
    [(WORKER_LOST, True), (f"{WORKER_LOST}: {'x' * 10_000}", True), (f"See: {WORKER_LOST}", False), ("", False)],
)
def test_a_lost_worker_is_known_by_how_the_errors_begin(errors: str, lost: bool) -> None:
    make_run(status="Stopped", errors=errors)
    assert of_daily_report().worker_lost is lost


# The last success


def test_the_last_success_is_found_behind_many_failures() -> None:
    make_run(task_id="good", started_at=ago(days=1))
    for number in range(60):
        make_run(status="Stopped", started_at=ago(minutes=number))
    success = of_daily_report().last_success
    assert success
    assert success.task_id == "good"


def test_but_not_behind_all_that_ever_ran() -> None:
    make_run(task_id="good", started_at=ago(days=1))
    BackgroundTask.objects.bulk_create(
        BackgroundTask(task_id=str(n), task_name="daily_report", status="Stopped", started_at=ago(seconds=n))
        for n in range(LOOKED_BACK)
    )
    evidence = of_daily_report()
    assert (evidence.last_success, evidence.looked_back) == (None, LOOKED_BACK)


# Contexts


def in_context(**over: Any) -> Expectation:
    return make_expectation(
        notify_to=("ops@example.com",),
        **{"context_model": "gap.models.IngestorSession", "context_type": "Hourly"} | over,
    )


def test_only_runs_of_the_context_are_evidence() -> None:
    hourly, daily = (IngestorSession.objects.create(ingestor_type=name) for name in ("Hourly", "Daily"))
    make_run(task_id="hourly", status="Stopped", context_id=str(hourly.pk), errors="OSError: gone")
    make_run(task_id="daily", context_id=str(daily.pk))
    make_run(task_id="none")
    (evidence,) = evidence_of(in_context())
    assert shown(evidence) == [("hourly", "Stopped")]
    assert (evidence.errors, evidence.last_success) == ("OSError: gone", None)


def test_a_context_that_is_rare_is_not_looked_for_in_all_that_ever_ran() -> None:
    hourly, daily = (IngestorSession.objects.create(ingestor_type=name) for name in ("Hourly", "Daily"))
    make_run(task_id="hourly", context_id=str(hourly.pk), started_at=ago(days=1))
    BackgroundTask.objects.bulk_create(
        BackgroundTask(
            task_id=str(n),
            task_name="daily_report",
            status="Stopped",
            started_at=ago(seconds=n),
            context_id=str(daily.pk),
        )
        for n in range(LOOKED_BACK - 1)
    )
    (evidence,) = evidence_of(in_context())
    assert shown(evidence) == [("hourly", "Completed")]
    make_run(context_id=str(daily.pk))
    (again,) = gather(list(Alert.objects.all()), LATER)
    assert again.runs == ()


def test_a_context_model_that_is_gone_since_is_said_and_stops_no_other() -> None:
    make_run(status="Stopped")
    owed = owe(
        [
            Announcement(make_facts(context_model="gone.models.Session", context_type="x"), ()),
            Announcement(make_facts(context_model="gap.models.IngestorSession", context_type="x"), ()),
            Announcement(make_facts(), ()),
        ],
        NOW,
        database_alias(),
    )
    gone, empty, plain = gather(list(owed), LATER)
    assert "no installed app has the label or module 'gone'" in gone.problem
    assert (gone.gathered_at, gone.runs) == (None, ())
    assert (empty.problem, empty.runs) == ("", ())
    assert len(plain.runs) == 1


def test_a_table_that_is_missing_spoils_no_transaction() -> None:
    make_run(status="Stopped")
    owed = owe(
        [
            Announcement(make_facts(context_model="gap.models.IngestorSession", context_type="x"), ()),
            Announcement(make_facts(), ()),
        ],
        NOW,
        database_alias(),
    )
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gap_ingestorsession RENAME TO gap_renamed")
    missing, plain = gather(list(owed), LATER)
    assert missing.problem.startswith("context model 'gap.models.IngestorSession': ")
    assert "\n" not in missing.problem
    assert len(plain.runs) == 1


# Incident, monitor, dependents


def test_incident_and_monitor_are_evidence() -> None:
    monitor = make_monitor(dependent_tasks=["dashboard", "never_ran", "waiting"])
    make_run("dashboard", task_id="d", started_at=ago(hours=3))
    make_run("waiting", task_id="w", status="Queued", started_at=None, submitted_at=ago(minutes=1))
    check_monitors([monitor], ago(hours=1))
    check_monitors([monitor], NOW)
    MonitorState.objects.update(next_check_at=NOW + timedelta(days=1))
    incident = Incident.objects.get()
    evidence = gather(list(Alert.objects.order_by("id")), LATER)[-1]
    assert (evidence.incident_id, evidence.monitor_id) == (incident.pk, monitor.pk)
    assert (evidence.opened_at, evidence.closed_at, evidence.failing_checks) == (ago(hours=1), None, 2)
    assert evidence.next_check_at == NOW + timedelta(days=1)
    newest = [(name, run and run.task_id) for name, run in evidence.dependents]
    assert newest == [("dashboard", "d"), ("never_ran", None), ("waiting", "w")]


def test_a_disabled_monitor_has_no_next_check() -> None:
    monitor = make_monitor(enabled=False)
    check_monitors([monitor], NOW)
    MonitorState.objects.update(next_check_at=NOW + timedelta(days=1))
    assert gather(list(Alert.objects.all()), LATER)[0].next_check_at is None


def test_a_monitor_that_was_deleted_leaves_its_incident() -> None:
    monitor = make_monitor()
    check_monitors([monitor], NOW)
    Monitor.objects.all().delete()
    (evidence,) = gather(list(Alert.objects.all()), LATER)
    assert (bool(evidence.incident_id), evidence.monitor_id, evidence.next_check_at) == (True, None, None)


def test_of_many_dependents_the_first_are_looked_up() -> None:
    evidence = of_daily_report(dependent_tasks=tuple(f"task_{number}" for number in range(60)))
    assert [name for name, _ in evidence.dependents] == [f"task_{number}" for number in range(DEPENDENTS_SHOWN)]


def test_a_preview_is_given_the_open_incident_and_the_monitor() -> None:
    monitor = make_monitor()
    assert gather_about(monitor, make_facts(), NOW).incident_id is None
    check_monitors([monitor], NOW)
    evidence = gather_about(monitor, make_facts(), NOW)
    assert (evidence.incident_id, evidence.monitor_id) == (Incident.objects.get().pk, monitor.pk)


# Statements


def statements(alerts: Sequence[Alert]) -> int:
    with CaptureQueriesContext(connection) as asked:
        gather(alerts, LATER)
    return len(asked)


def test_the_number_of_statements_does_not_grow_with_alerts_and_runs() -> None:
    session = IngestorSession.objects.create(ingestor_type="Hourly")
    context = {"context_model": "gap.models.IngestorSession", "context_type": "Hourly"}
    monitors = [
        make_monitor(f"monitor {n}", task_name=f"task_{n}", dependent_tasks=[f"next_{n}"], **(context if n % 2 else {}))
        for n in range(30)
    ]
    for n in range(30):
        for minutes in range(25):
            make_run(f"task_{n}", "Stopped", started_at=ago(minutes=minutes), context_id=str(session.pk))
    check_monitors(monitors, NOW)
    alerts = list(Alert.objects.order_by("id"))
    few, many = statements(alerts[:2]), statements(alerts)
    assert len(alerts) == 30
    # The context costs a savepoint and its release here, since a test runs in a transaction.
    assert few == many == 1 + 3 + (3 + 2) + 1 + 2
