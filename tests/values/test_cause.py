from dataclasses import replace
from typing import Any

import pytest

from monitoring.values.cause import Cause, cause_of
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.facts import NO_EXECUTION, NOT_JUDGED, AlertKind, Facts
from monitoring.values.outcome import RunFacts
from tests.factories import NOW, ago, make_facts


def run(status: str = "Completed", **over: Any) -> RunFacts:
    times = {"submitted_at": ago(hours=26), "started_at": ago(hours=26), "finished_at": ago(hours=25)}
    return RunFacts(id=1, task_id="run-1", status=status, **(times | over))


def not_executed(**over: Any) -> Facts:
    return make_facts(
        kind=AlertKind.NOT_EXECUTED, current_status=NO_EXECUTION, started_at=None, finished_at=None, **over
    )


def found(*runs: RunFacts, **over: Any) -> Evidence:
    return Evidence(gathered_at=NOW, runs=runs, **over)


QUEUED = {"waiting_since": ago(minutes=50), "waiting_status": "Queued"}
QUEUED_RUN = run("Queued", submitted_at=ago(minutes=50), started_at=None, finished_at=None)
LOST = found(run("Stopped"), worker_lost=True)
STOPPED = QUEUED | {"waiting_status": "Stopped", "waiting_task_id": "run-1"}
STOPPED_RUN = replace(QUEUED_RUN, status="Stopped")

CASES = [
    (not_executed(), found(), Cause.NEVER_STARTED),
    (not_executed(), NOTHING, Cause.NEVER_STARTED),
    (not_executed(), found(run(started_at=NOW.replace(minute=36))), Cause.NEVER_STARTED),
    (not_executed(), found(run()), Cause.OUTSIDE_WINDOW),
    (not_executed(), found(run("Stopped"), worker_lost=True), Cause.OUTSIDE_WINDOW),
    (not_executed(), found(run("Running", finished_at=None)), Cause.STILL_RUNNING),
    (not_executed(**QUEUED), found(QUEUED_RUN, run()), Cause.WAITING),
    (not_executed(**QUEUED), NOTHING, Cause.WAITING),
    (not_executed(**(QUEUED | {"waiting_status": "Pending"})), found(), Cause.WAITING),
    (not_executed(**(QUEUED | {"waiting_status": "Cancelled"})), found(), Cause.CANCELLED),
    (not_executed(**STOPPED), found(STOPPED_RUN, run=STOPPED_RUN, not_enqueued=True), Cause.NOT_ENQUEUED),
    (not_executed(**STOPPED), found(STOPPED_RUN, run=STOPPED_RUN, worker_lost=True), Cause.WORKER_LOST),
    (not_executed(**STOPPED), found(STOPPED_RUN, run=STOPPED_RUN), Cause.NO_START),
    (not_executed(**STOPPED), NOTHING, Cause.NO_START),
    (not_executed(**(STOPPED | {"waiting_task_id": "2"})), found(run=run("Stopped"), worker_lost=True), Cause.NO_START),
    (not_executed(**(QUEUED | {"waiting_status": "Running"})), found(), Cause.NO_START),
    (not_executed(**(QUEUED | {"waiting_status": "Completed"})), found(), Cause.NO_START),
    (not_executed(**(QUEUED | {"waiting_status": "Invalidated"})), found(), Cause.NO_START),
    # It was submitted before a run that started since, and has not kept it from starting.
    (not_executed(**(QUEUED | {"waiting_since": ago(days=3)})), found(run()), Cause.OUTSIDE_WINDOW),
    (make_facts(current_status="Stopped"), found(run("Stopped")), Cause.ENDED),
    (make_facts(current_status="Stopped"), NOTHING, Cause.ENDED),
    (make_facts(current_status="Completed"), NOTHING, Cause.ENDED),
    (make_facts(current_status="a status of strangers"), NOTHING, Cause.ENDED),
    (make_facts(current_status="Stopped"), LOST, Cause.WORKER_LOST),
    (make_facts(current_status="Stopped", started_at=None), found(not_enqueued=True), Cause.NOT_ENQUEUED),
    (make_facts(current_status="Stopped"), found(not_enqueued=True), Cause.ENDED),  # only a retry was not enqueued
    (make_facts(current_status="Running"), LOST, Cause.STILL_RUNNING),
    (make_facts(current_status="Invalidated"), NOTHING, Cause.FAILING),
    (make_facts(current_status="Cancelled"), NOTHING, Cause.CANCELLED),
    (make_facts(current_status="Queued"), NOTHING, Cause.WAITING),
    (make_facts(current_status="Pending"), NOTHING, Cause.WAITING),
    (make_facts(kind=AlertKind.NOT_JUDGED, current_status=NOT_JUDGED), LOST, Cause.NOT_JUDGED),
    (make_facts(kind=AlertKind.RESOLVED, current_status="Completed"), LOST, Cause.RECOVERED),
    (make_facts(kind=AlertKind.MONITOR_DOWN), NOTHING, Cause.MONITOR_DOWN),
]


@pytest.mark.parametrize(("facts", "evidence", "cause"), CASES)
def test_facts_and_evidence_name_one_cause(facts: Facts, evidence: Evidence, cause: Cause) -> None:
    assert cause_of(facts, evidence) is cause


def test_each_cause_has_its_case() -> None:
    assert {cause for _, _, cause in CASES} == set(Cause)


def test_the_cause_is_of_the_check_whatever_ran_since() -> None:
    later = replace(run("Running"), started_at=NOW.replace(minute=40), finished_at=None)
    assert cause_of(not_executed(), found(later, run())) is Cause.OUTSIDE_WINDOW
