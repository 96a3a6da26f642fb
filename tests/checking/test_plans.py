"""The plans of what checks, mails and the board ask, on 100,000 runs: steps down an index, no sort and no scan."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.checking import unusual
from monitoring.checking.board import board
from monitoring.checking.evaluation import evaluate
from monitoring.checking.evidence import gather
from monitoring.checking.history import seen_names
from monitoring.checking.runs import last_runs
from monitoring.checking.suggestions import habits, unmonitored
from monitoring.checking.timeline import Span, timeline
from monitoring.checking.unusual import Unusually, unusual_runs
from monitoring.models import Alert, BackgroundTask, Incident, Outage
from monitoring.recording.upsert import upsert
from monitoring.values.expectation import Expectation
from monitoring.values.outcome import Check
from monitoring.values.run_event import RunEvent, RunStatus
from project.demo.models import IngestorSession
from tests.factories import NOW, make_expectation, make_facts, make_monitor

NAMES = 20
RUNS = 100_000


@pytest.fixture(scope="module")
def history(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """Runs of few names, so that a window of 90 days holds thousands of each."""
    with django_db_blocker.unblock():
        IngestorSession.objects.bulk_create(IngestorSession(ingestor_type=f"type {n % 7}") for n in range(2_000))
        keys = list(IngestorSession.objects.values_list("pk", flat=True))
        upsert(
            [
                RunEvent(
                    task_id=f"plan-{n:06}",
                    task_name=f"task_{n % NAMES}",
                    status=RunStatus.COMPLETED if n % 10 else RunStatus.QUEUED,
                    seq=2,
                    submitted_at=NOW - timedelta(minutes=n),
                    started_at=NOW - timedelta(minutes=n) if n % 10 else None,
                    context_id=str(keys[n % len(keys)]) if n % NAMES < 2 else None,
                )
                for n in range(RUNS)
            ],
            using="default",
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        yield
        BackgroundTask.objects.all().delete()
        IngestorSession.objects.all().delete()


def explained(expectations: list[Expectation]) -> list[str]:
    with CaptureQueriesContext(connection) as asked:
        evaluate([Check(expectation, at=NOW) for expectation in expectations])
    return plans_of(asked)


def plans_of(asked: CaptureQueriesContext) -> list[str]:
    said = [query["sql"] for query in asked if "SELECT" in query["sql"]]
    statements = [each for each in said if Outage._meta.db_table not in each]  # a few rows
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
    plans = []
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(explain + statement)
            plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))
    return plans


def assert_no_scan_of_runs(plan: str) -> None:
    """The last runs among which the last success is looked for are scanned, and may be sorted again: these are few."""
    table = BackgroundTask._meta.db_table
    if connection.vendor == "sqlite":
        lines = [line for line in plan.splitlines() if line.startswith((f"SCAN {table}", "SCAN run"))]
        assert lines == ["SCAN run"] * plan.count("CO-ROUTINE run"), plan
        assert "INDEX" in plan, plan
    else:
        assert f"Seq Scan on {table}" not in plan, plan


def assert_no_sort_and_no_scan_of_runs(plan: str) -> None:
    table = BackgroundTask._meta.db_table
    lines = plan.splitlines()
    if connection.vendor == "sqlite":
        assert not any("TEMP B-TREE" in line or line.startswith("SCAN run") for line in lines), plan
        assert any("USING INDEX" in line or "USING COVERING INDEX" in line for line in lines), plan
    else:
        assert "Sort" not in plan, plan
        assert f"Seq Scan on {table}" not in plan, plan
        assert "Bitmap" not in plan, plan


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("checks", [1, 100])
@pytest.mark.parametrize("lookback_hours", [1, 24 * 90])
def test_started_and_unstarted_runs_are_found_by_index(checks: int, lookback_hours: float) -> None:
    expectations = [
        make_expectation(f"task_{n % (2 * NAMES)}", lookback_hours=lookback_hours) for n in range(NAMES, NAMES + checks)
    ]
    (plan,) = explained(expectations)
    assert_no_sort_and_no_scan_of_runs(plan)


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("checks", [1, 100])
@pytest.mark.parametrize("lookback_hours", [1, 24 * 90])
def test_the_last_submitted_run_is_found_by_index_among_few_runs(checks: int, lookback_hours: float) -> None:
    """Those that are looked at are read in the order of the index up to a bound; only these are sorted."""
    never_started = [
        make_expectation(f"task_{n % 2 * 10}", lookback_hours=lookback_hours, expected_statuses=(RunStatus.QUEUED,))
        for n in range(checks)
    ]
    newest, submitted = explained(never_started)
    assert_no_sort_and_no_scan_of_runs(newest)
    assert_no_scan_of_runs(submitted)
    assert submitted.count("monitoring_run_newest") == 2, submitted
    if connection.vendor == "postgresql":
        assert submitted.count("Sort Key") == 1, submitted
        assert "Bitmap" not in submitted, submitted


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("checks", [1, 100])
def test_what_waited_in_the_past_is_found_by_index_among_few_runs(checks: int) -> None:
    """A short window, so that no run started in it: those that started later are looked at, up to a bound."""
    instants = [NOW - timedelta(days=30, seconds=30, minutes=n) for n in range(checks)]
    with CaptureQueriesContext(connection) as asked:
        evaluate([Check(make_expectation("task_1", lookback_hours=0.001), at=at, until=at) for at in instants])
    started_or_not, waited = plans_of(asked)
    assert_no_sort_and_no_scan_of_runs(started_or_not)
    assert_no_scan_of_runs(waited)
    assert "monitoring_run_newest" in waited, waited


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("lookback_hours", [1, 24 * 90])
@pytest.mark.parametrize("context_type", [None, "type 3"])
def test_runs_of_a_context_are_found_by_index(context_type: str | None, lookback_hours: float) -> None:
    expectations = [
        make_expectation(
            f"task_{n}",
            lookback_hours=lookback_hours,
            context_model="gap.models.IngestorSession",
            context_type=context_type,
        )
        for n in range(NAMES)
    ]
    for plan in explained(expectations):
        assert_no_sort_and_no_scan_of_runs(plan)
        # That one knows contexts before starts: to find the newest run it reads a task's whole window.
        assert "monitoring_run_context" not in plan, plan


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("context", [{}, {"context_model": "gap.models.IngestorSession", "context_type": "type 3"}])
def test_the_last_runs_of_a_monitor_are_found_by_index(context: dict[str, str]) -> None:
    monitor = make_monitor(task_name="task_1", **context)
    with CaptureQueriesContext(connection) as asked:
        assert len(last_runs(monitor, 20).runs) == 20
    for plan in plans_of(asked):
        assert_no_sort_and_no_scan_of_runs(plan)


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
def test_the_names_of_all_tasks_and_how_they_usually_run_are_found_by_index() -> None:
    make_monitor(task_name="task_1")
    with CaptureQueriesContext(connection) as asked:
        names = unmonitored()
        assert {len(habit.starts) for habit in habits(names)} == {0, 200}, "task_0 and task_10 never started"
    of_names, _, *of_runs = plans_of(asked)
    assert f"Seq Scan on {BackgroundTask._meta.db_table}" not in of_names
    assert f"SCAN {BackgroundTask._meta.db_table}" not in of_names
    for plan in of_runs:
        assert_no_sort_and_no_scan_of_runs(plan)


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("context", [{}, {"context_model": "gap.models.IngestorSession", "context_type": "type 3"}])
@pytest.mark.parametrize("span", Span)
def test_a_span_of_a_monitors_time_is_found_by_index(context: dict[str, str], span: Span) -> None:
    monitor = make_monitor(task_name="task_1", **context)
    with CaptureQueriesContext(connection) as asked:
        assert timeline(monitor, NOW - span.length, NOW).bars
    for plan in plans_of(asked):
        assert f"Seq Scan on {BackgroundTask._meta.db_table}" not in plan, plan
        assert not any(line.startswith("SCAN run") for line in plan.splitlines()), plan


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("context", [{}, {"context_model": "gap.models.IngestorSession", "context_type": "type 3"}])
@pytest.mark.parametrize("alerts", [1, 30])
def test_evidence_is_found_by_index(context: dict[str, str], alerts: int) -> None:
    """Also where no run ever completed, so that the last success is looked for among many."""
    BackgroundTask.objects.filter(started_at__isnull=False).update(status=RunStatus.STOPPED)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    owed = [
        Alert(facts=make_facts(task_name=f"task_{n % 9 + 1}", dependent_tasks=("task_7",), **context).to_json())
        for n in range(alerts)
    ]
    with CaptureQueriesContext(connection) as asked:
        found = gather(owed, NOW)
    assert any(len(evidence.runs) == 10 for evidence in found)
    assert all(evidence.errors == "" for evidence in found)
    plans = plans_of(asked)
    assert len(plans) == 3 + 1 + 2
    for plan in plans:
        assert_no_scan_of_runs(plan)
    if connection.vendor == "postgresql":
        last, _, completed, *_ = plans
        for plan in (last, completed):  # in the order of the index, so that it stops at the first that pass
            assert "Sort" not in plan, plan
            assert "Join" not in plan, plan


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
def test_the_names_of_the_newest_runs_are_read_from_the_end_of_the_table() -> None:
    with CaptureQueriesContext(connection) as asked:
        assert len(seen_names()) == NAMES
    (plan,) = plans_of(asked)
    if connection.vendor == "sqlite":
        assert plan == f"SCAN {BackgroundTask._meta.db_table}", plan  # by its key, until there are enough
    else:
        assert "Index Scan Backward using monitoring_backgroundtask_pkey" in plan, plan


def fail_and_hang(tasks: int) -> None:
    """As many tasks fail as run and wait for long."""
    for n in range(tasks):
        facts = make_facts(task_name=f"task_{n % NAMES}", dependent_tasks=("task_7",)).to_json()
        monitor = make_monitor(f"monitor {n}", task_name=f"task_{n % NAMES}")
        Incident.objects.create(monitor=monitor, task_name="another", opened_at=NOW, last_failed_at=NOW, facts=facts)
    of = {"task_name": "task_1", "worker": "web:1"}
    hour = NOW - timedelta(hours=1)
    BackgroundTask.objects.bulk_create(
        BackgroundTask(task_id=f"{status}-{n}", status=status, submitted_at=hour, started_at=started_at, **of)
        for status, started_at in (("Running", hour), ("Queued", None))
        for n in range(tasks)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
def test_what_is_unusual_is_found_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusual, "QUEUED_AMONG", 5_000)
    fail_and_hang(30)
    with CaptureQueriesContext(connection) as asked:
        assert [found.kind for found in unusual_runs(NOW)] == [Unusually.WAITING], "this history's runs have no end"
    running, newest, waiting, last = plans_of(asked)
    assert "monitoring_run_running" in running, running
    sqlite = connection.vendor == "sqlite"
    assert ("INTEGER PRIMARY KEY" if sqlite else "monitoring_backgroundtask_pkey") in waiting, waiting
    for plan in (running, newest, waiting):
        assert ("TEMP B-TREE" if sqlite else "Sort") not in plan, plan
    assert_no_scan_of_runs(last)


@pytest.mark.django_db
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("tasks", [1, 60])
def test_what_the_board_says_of_failing_monitors_is_found_by_index(tasks: int) -> None:
    fail_and_hang(tasks)
    with CaptureQueriesContext(connection) as asked:
        assert len(board(NOW).failing) == min(tasks, 50)
    plans = plans_of(asked)
    of_evidence = [plan for plan in plans if "monitoring_run_newest" in plan]
    assert len(of_evidence) >= 4
    for plan in of_evidence:
        assert_no_scan_of_runs(plan)
    if connection.vendor != "sqlite":
        assert not any("Seq Scan on monitoring_backgroundtask" in plan for plan in plans), plans
