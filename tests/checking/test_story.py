"""The run that an incident speaks of, the good one before it, and what differs."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.checking.evidence import gather_of
from monitoring.checking.story import Difference, Runs, runs_of_story
from monitoring.models import BackgroundTask, Incident
from monitoring.values.cause import Cause, cause_of
from monitoring.values.facts import AlertKind
from project.demo.models import IngestorSession
from tests.factories import NOW, ago, make_facts, make_monitor, make_run

pytestmark = pytest.mark.django_db


def unsaved(**over: Any) -> BackgroundTask:
    values = {"task_name": "daily_report", "status": "Completed", "attempts": 1, "worker": "one", "context_id": None}
    times = {"submitted_at": ago(minutes=10), "started_at": ago(minutes=10), "finished_at": ago(minutes=9)}
    return BackgroundTask(**{**values, **times, **over})


def differences(failed: dict[str, Any], good: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = Runs(unsaved(**failed), unsaved(**good)).differences
    return [(each.what, each.failed, each.good) for each in found]


def test_the_good_run_is_the_newest_that_completed_before() -> None:
    make_run(task_id="older", started_at=ago(hours=3))
    good = make_run(task_id="good", started_at=ago(hours=2))
    make_run(task_id="stopped", status="Stopped", started_at=ago(minutes=90))
    failed = make_run(task_id="failed", status="Stopped", started_at=ago(hours=1))
    make_run(task_id="later", started_at=ago(minutes=1))
    assert runs_of_story(make_facts(), "failed") == Runs(failed, good)


def test_runs_of_another_context_are_not_compared_with() -> None:
    hourly, other = (IngestorSession.objects.create(ingestor_type=each) for each in ("Hourly", "Other"))
    good = make_run(context_id=str(hourly.pk), started_at=ago(hours=3))
    make_run(context_id=str(other.pk), started_at=ago(hours=2))
    make_run(task_id="failed", status="Stopped", context_id=str(hourly.pk), started_at=ago(hours=1))
    context = {"context_model": "gap.models.IngestorSession", "context_type": "Hourly"}
    assert runs_of_story(make_facts(**context), "failed").good == good
    assert runs_of_story(make_facts(context_model="gap.models.Gone"), "failed").good is None


def test_a_run_that_is_pruned_or_never_started_has_none_before() -> None:
    make_run(started_at=ago(hours=2))
    waits = make_run(task_id="waits", status="Queued", started_at=None)
    assert runs_of_story(make_facts(), "gone") == Runs()
    assert runs_of_story(make_facts(), "waits") == Runs(waits)
    assert runs_of_story(make_facts(), "") == Runs()


def test_alike_runs_do_not_differ() -> None:
    assert differences({"status": "Stopped"}, {}) == []


def test_all_that_differs_is_named() -> None:
    failed = {
        "submitted_at": ago(minutes=17),
        "finished_at": ago(minutes=5),
        "attempts": 3,
        "worker": "two",
        "context_id": "9",
    }
    assert differences(failed, {}) == [
        ("took", "5 min", "1 min"),
        ("waited in the queue", "7 min", "less than 0.1 s"),
        ("attempts", "3", "1"),
        ("worker", "two", "one"),
        ("context id", "9", ""),
    ]


@pytest.mark.parametrize(
    ("failed", "good", "differs"),
    [(60, 89, False), (60, 90, True), (90, 60, True), (0.2, 1.1, False), (0.2, 1.2, True), (-1, 0.5, False)],
)
def test_spans_differ_when_one_is_clearly_longer(failed: float, good: float, differs: bool) -> None:
    ended = [{"finished_at": ago(minutes=10) + timedelta(seconds=each)} for each in (failed, good)]
    assert bool(differences(*ended)) is differs


def test_parameters_are_compared_by_name() -> None:
    failed = {"parameters": json.dumps({"same": 1, "size": 12, "new": [1], "text": "ä"})}
    good = {"parameters": json.dumps({"same": 1, "size": 8, "old": None, "text": "b"})}
    assert differences(failed, good) == [
        ("parameter size", "12", "8"),
        ("parameter old", "", "null"),
        ("parameter text", "ä", "b"),
        ("parameter new", "[1]", ""),
    ]


@pytest.mark.parametrize("cut", ['{"a": "xx', '["a"]'])
def test_parameters_that_cannot_be_read_are_compared_as_a_whole(cut: str) -> None:
    assert differences({"parameters": cut}, {"parameters": "{}"}) == [("parameters", cut, "{}")]
    assert differences({"parameters": cut}, {"parameters": cut}) == []


def test_a_difference_is_cut_where_it_is_long() -> None:
    (found,) = Runs(unsaved(parameters='{"a": "%s"}' % ("x" * 999)), unsaved()).differences
    assert found == Difference("parameter a", "x" * 199 + "…", "")


# The evidence of an incident that is over


def test_an_incident_that_is_over_is_told_as_its_runs_stood_then() -> None:
    """Else the twenty newest runs of today would say that no run was known before."""
    make_run(started_at=ago(days=3), finished_at=ago(days=3))
    for hour in range(30):
        make_run(started_at=ago(hours=hour), finished_at=ago(hours=hour))
    facts = make_facts(kind=AlertKind.NOT_EXECUTED, check_time=ago(days=2), started_at=None, finished_at=None)
    incident = Incident.objects.create(
        monitor=make_monitor(), monitor_name="m", task_name="daily_report", facts=facts.to_json(),
        opened_at=ago(days=2), last_failed_at=ago(days=2), closed_at=ago(days=1.9),
    )  # fmt: skip
    evidence = gather_of(incident, facts, NOW)
    assert [run.started_at for run in evidence.runs] == [ago(days=3)]
    assert cause_of(facts, evidence) is Cause.OUTSIDE_WINDOW


def test_it_takes_as_many_statements_with_many_runs() -> None:
    counts = []
    for number in (3, 60):
        for each in range(number):
            make_run(status="Stopped", task_id=f"{number}-{each}", started_at=ago(hours=1, minutes=each))
        make_run(started_at=ago(days=number))
        with CaptureQueriesContext(connection) as asked:
            assert runs_of_story(make_facts(), f"{number}-0").good
        counts.append(len(asked))
    assert counts[0] == counts[1]
