"""What a span of a monitor's time holds, and that its cost does not grow with what happened."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.checking import timeline as module
from monitoring.checking.story import runs_of_story
from monitoring.checking.timeline import Span, Timeline, Window, durations_of, suiting, timeline
from monitoring.models import Alert, BackgroundTask, Incident, Monitor
from monitoring.values.outcome import RunFacts
from project.demo.models import IngestorSession
from tests.factories import NOW, ago, make_facts, make_monitor, make_run

pytestmark = pytest.mark.django_db


def day(monitor: Monitor) -> Timeline:
    return timeline(monitor, ago(hours=24), NOW)


def ids(found: Timeline) -> list[str]:
    return [run.task_id for bar in found.bars for run in bar.runs]


def make_incident(monitor: Monitor, opened_at: Any, closed_at: Any = None) -> Incident:
    return Incident.objects.create(
        monitor=monitor, monitor_name="m", task_name="t", opened_at=opened_at, closed_at=closed_at,
        last_failed_at=opened_at, facts=make_facts().to_json(),
    )  # fmt: skip


def test_the_runs_of_the_span_from_the_oldest_on_with_those_that_reach_into_it() -> None:
    make_run(task_id="before", started_at=ago(hours=30), finished_at=ago(hours=25))
    make_run(task_id="reaches in", started_at=ago(hours=26), finished_at=ago(hours=23))
    make_run(task_id="goes on", status="Running", started_at=ago(hours=25))
    make_run(task_id="inside", started_at=ago(hours=3), finished_at=ago(hours=2))
    make_run(task_id="waits", status="Queued", started_at=None, submitted_at=ago(hours=1))
    make_run("another", task_id="another's")
    found = day(make_monitor())
    assert ids(found) == ["reaches in", "goes on", "inside", "waits"]
    assert [bar.ended for bar in found.bars] == [ago(hours=23), None, ago(hours=2), None]
    assert found.known_since is None


def test_only_runs_of_its_context_are_shown_and_a_model_that_is_gone_is_said() -> None:
    hourly = IngestorSession.objects.create(ingestor_type="Hourly")
    other = IngestorSession.objects.create(ingestor_type="Other")
    make_run(task_id="ours", context_id=str(hourly.pk))
    make_run(task_id="other", context_id=str(other.pk))
    monitor = make_monitor(context_model="gap.models.IngestorSession", context_type="Hourly")
    assert ids(day(monitor)) == ["ours"]
    Monitor.objects.update(context_model="gap.models.Gone")
    monitor.refresh_from_db()
    found = day(monitor)
    assert found.bars == ()
    assert "Gone" in found.problem


def test_many_runs_are_told_by_slices_each_status_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNS_APART", 3)
    for second in range(3):
        make_run(task_id=f"good {second}", started_at=ago(hours=6, seconds=-second))
    make_run(task_id="bad", status="Stopped", started_at=ago(hours=6, seconds=-1))
    bars = day(make_monitor()).bars
    assert {(bar.status, len(bar.runs)) for bar in bars} == {("Completed", 3), ("Stopped", 1)}
    assert next(bar for bar in bars if bar.status == "Stopped").alone


def test_of_too_many_runs_the_older_slices_show_their_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNS_KNOWN", 5)
    monkeypatch.setattr(module, "SLICES", 24)
    for quarter in range(24 * 4):
        started_at = ago(minutes=15 * quarter + 1)
        make_run(task_id=f"{quarter}", started_at=started_at, finished_at=started_at + timedelta(minutes=90))
    found = day(make_monitor())
    assert found.known_since == ago(minutes=61)
    known = [bar.runs[0].task_id for bar in found.bars if not bar.stands_for_others]
    assert known == ["4", "3", "2", "1", "0"]
    sampled = [bar.runs[0] for bar in found.bars if bar.stands_for_others]
    assert [run.task_id for run in sampled] == [f"{4 * hour}" for hour in range(23, 1, -1)] + ["5"]
    assert {run.status for run in sampled} == {"Completed"}  # also those that ended after their slice


def test_windows_are_those_of_the_schedule_in_the_span() -> None:
    monitor = make_monitor(schedule="35 8,20 * * *", lookback_hours=2)
    assert day(monitor).windows == (
        Window(ago(hours=14), ago(hours=12)),
        Window(ago(hours=2), NOW),
    )
    often = make_monitor("often", schedule="every minute")
    assert day(often).windows is None
    Monitor.objects.filter(pk=often.pk).update(schedule="spoilt")
    often.refresh_from_db()
    assert day(often).windows == ()


@pytest.mark.parametrize(
    ("schedule", "span"),
    [
        ("every minute", Span.DAY),
        ("0 * * * *", Span.DAY),
        ("35 8 * * *", Span.WEEK),
        ("@weekly", Span.MONTH),
        ("@yearly", Span.MONTH),
    ],
)
def test_a_span_suits_the_schedule(schedule: str, span: Span) -> None:
    assert suiting(make_monitor(schedule=schedule), NOW) is span


def test_incidents_that_reach_into_the_span_with_their_alerts() -> None:
    monitor = make_monitor()
    make_incident(monitor, ago(hours=60), ago(hours=50))
    reaches_in = make_incident(monitor, ago(hours=40), ago(hours=20))
    still_open = make_incident(monitor, ago(hours=2))
    make_incident(make_monitor("another"), ago(hours=2))
    alerts = {"kind": "mismatch", "task_name": "t", "facts": {}}
    Alert.objects.create(incident=reaches_in, created_at=ago(hours=40), **alerts)
    told = Alert.objects.create(incident=still_open, created_at=ago(hours=2), **alerts)
    found = day(monitor)
    assert found.incidents == (reaches_in, still_open)
    assert found.alerts == (told,)


def test_durations_are_of_those_that_completed() -> None:
    def took(minutes: float, status: str = "Completed") -> RunFacts:
        times = {"submitted_at": None, "started_at": NOW, "finished_at": NOW + timedelta(minutes=minutes)}
        return RunFacts(id=1, task_id="t", status=status, **times)

    found = durations_of([*(took(minutes) for minutes in range(1, 101)), took(900, "Stopped")])
    assert found
    assert [found.count, found.median, found.p95, found.longest] == [
        100,
        timedelta(minutes=50.5),
        timedelta(minutes=95),
        timedelta(minutes=100),
    ]
    assert durations_of([took(1, "Stopped")]) is None


def test_it_takes_as_many_statements_however_much_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNS_KNOWN", 10)
    monitor = make_monitor()
    counts = []
    for number in (1, 60):
        BackgroundTask.objects.bulk_create(
            BackgroundTask(task_id=f"{number}-{n}", task_name="daily_report", started_at=ago(minutes=20 * n))
            for n in range(15, 15 + 10 * number)
        )  # fmt: skip
        incidents = [make_incident(monitor, ago(hours=n + 2), ago(hours=n + 1)) for n in range(number)]
        for incident in incidents:
            Alert.objects.create(incident=incident, kind="mismatch", task_name="t", facts={}, created_at=ago(hours=1))
        with CaptureQueriesContext(connection) as asked:
            day(monitor)
        counts.append(len(asked))
    assert counts[0] == counts[1]


@pytest.mark.django_db(transaction=True)
def test_pages_read_without_a_transaction_for_which_sqlite_would_lock_out_who_writes() -> None:
    monitor = make_monitor()
    run = make_run(status="Stopped", started_at=ago(minutes=1))
    with CaptureQueriesContext(connection) as asked:
        assert ids(day(monitor)) == [run.task_id]
        assert runs_of_story(make_facts(), run.task_id).run == run
    assert not [each["sql"] for each in asked if each["sql"].startswith("BEGIN")]
