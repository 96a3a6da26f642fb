import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.values.facts import AlertKind, Facts, facts_of
from monitoring.values.outcome import Check, Outcome, RunFacts, Verdict
from monitoring.values.run_event import RunStatus
from tests.factories import NOW, ago, make_expectation, make_facts

RUN = RunFacts(
    id=7,
    task_id="run-7",
    status="Stopped",
    submitted_at=ago(minutes=6),
    started_at=ago(minutes=5),
    finished_at=ago(minutes=4),
)
WAITING = RunFacts(id=8, task_id="run-8", status="Queued", submitted_at=ago(hours=3), started_at=None, finished_at=None)

LISTS = ("expected_statuses", "dependent_tasks")
TIMES = ("started_at", "finished_at", "check_time", "waiting_since")
TEXTS = sorted({field.name for field in fields(Facts)} - {"kind", "lookback_hours", *LISTS, *TIMES})

_times = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-9))])
)
_names = st.text(max_size=20)
_facts = st.builds(
    Facts,
    kind=st.sampled_from(AlertKind),
    task_name=_names,
    current_status=_names,
    expected_statuses=st.lists(st.sampled_from(RunStatus.values)).map(tuple),
    lookback_hours=st.floats(0, 87_600, exclude_min=True),
    check_time=_times,
    started_at=st.none() | _times,
    finished_at=st.none() | _times,
    task_id=_names,
    dependent_tasks=st.lists(_names, max_size=3).map(tuple),
    context_model=_names,
    context_type=_names,
    waiting_since=st.none() | _times,
    waiting_status=_names,
    reason=_names,
    time_zone=st.sampled_from(["", "Europe/Berlin"]),
)


@given(_facts)
def test_facts_come_back_from_json_as_they_were(facts: Facts) -> None:
    restored = Facts.from_json(json.loads(json.dumps(facts.to_json())))
    assert restored == facts
    assert [type(getattr(restored, field.name)) for field in fields(Facts)] == [
        type(getattr(facts, field.name)) for field in fields(Facts)
    ]


def test_facts_without_times_stay_without_them() -> None:
    facts = make_facts(started_at=None, finished_at=None, waiting_since=None)
    restored = Facts.from_json(facts.to_json())
    assert (restored.started_at, restored.finished_at, restored.waiting_since) == (None, None, None)


def test_what_a_newer_version_stored_is_passed_over() -> None:
    facts = make_facts()
    assert Facts.from_json(facts.to_json() | {"weather": "rain"}) == facts


def test_what_an_older_version_did_not_store_has_its_default() -> None:
    stored = make_facts(dependent_tasks=("export",), reason="why", time_zone="UTC", task_id="x").to_json()
    for name in ("dependent_tasks", "reason", "time_zone", "task_id"):
        del stored[name]
    assert Facts.from_json(stored) == make_facts()


@pytest.mark.parametrize(
    "spoilt",
    [
        *({name: wrong} for name in TEXTS for wrong in (1, None, ["text"])),
        *({name: wrong} for name in LISTS for wrong in ("text", None, {"text": 1}, [1], [None], [["text"]])),
        *({name: wrong} for name in TIMES for wrong in (0, "", "soon", "2026-11-22", "2026-11-22T08:35:00", [])),
        *({"lookback_hours": wrong} for wrong in ("2", None, True, [2])),
        *({"kind": wrong} for wrong in ("unheard of", None, 1, [])),
        {"check_time": None},
    ],
    ids=str,
)
def test_stored_values_of_other_types_cannot_be_read(spoilt: dict[str, Any]) -> None:
    stored = make_facts(waiting_since=NOW).to_json()
    assert Facts.read(stored) is not None
    assert Facts.read(stored | spoilt) is None


@pytest.mark.parametrize("stored", [None, 1, "kind", [], ["kind"], {}, {"kind": "mismatch"}], ids=str)
def test_what_is_stored_without_facts_cannot_be_read(stored: Any) -> None:
    assert Facts.read(stored) is None


def test_the_facts_of_a_status_mismatch_are_those_of_the_run_that_decided() -> None:
    expectation = make_expectation(
        expected_statuses=(RunStatus.RUNNING, RunStatus.COMPLETED),
        dependent_tasks=("export", "mail"),
        lookback_hours=1.5,
        context_model="gap.models.IngestorSession",
        context_type="Hourly",
    )
    outcome = Outcome(check=Check(expectation, NOW), verdict=Verdict.STATUS_MISMATCH, run=RUN)
    assert facts_of(outcome) == Facts(
        kind=AlertKind.STATUS_MISMATCH,
        task_name="daily_report",
        current_status="Stopped",
        expected_statuses=("Running", "Completed"),
        lookback_hours=1.5,
        check_time=NOW,
        started_at=ago(minutes=5),
        finished_at=ago(minutes=4),
        task_id="run-7",
        dependent_tasks=("export", "mail"),
        context_model="gap.models.IngestorSession",
        context_type="Hourly",
    )


def test_the_facts_of_a_task_that_was_not_executed_name_what_waits() -> None:
    outcome = Outcome(check=Check(make_expectation(), NOW), verdict=Verdict.NOT_EXECUTED, waiting=WAITING)
    facts = facts_of(outcome)
    assert (facts.kind, facts.current_status) == (AlertKind.NOT_EXECUTED, "No execution found")
    assert (facts.started_at, facts.finished_at) == (None, None)
    assert (facts.waiting_since, facts.waiting_status) == (ago(hours=3), "Queued")


def test_the_facts_of_a_check_that_was_not_possible_give_the_reason() -> None:
    outcome = Outcome(check=Check(make_expectation(), NOW), verdict=Verdict.NOT_JUDGED, reason="the table is gone")
    facts = facts_of(outcome)
    assert (facts.kind, facts.current_status) == (AlertKind.NOT_JUDGED, "Could not be checked")
    assert facts.reason == "the table is gone"


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.AS_EXPECTED])
def test_every_verdict_that_is_not_as_expected_has_its_kind_of_alert(verdict: Verdict) -> None:
    assert facts_of(Outcome(check=Check(make_expectation(), NOW), verdict=verdict)).kind in AlertKind


def test_the_times_are_of_the_check_and_not_of_the_reading() -> None:
    late = Check(make_expectation(), at=datetime(2020, 1, 1, tzinfo=UTC))
    assert facts_of(Outcome(check=late, verdict=Verdict.NOT_EXECUTED)).check_time == late.at
    assert replace(make_facts(), check_time=late.at).check_time == late.at
