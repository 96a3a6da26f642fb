from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitoring.alerting.words import (
    ERROR_LINE_MAX,
    TRACEBACK_LINE_MAX,
    TRACEBACK_LINES,
    error_of,
    evidence_rows,
    since_of,
    summary_of,
)
from monitoring.values.evidence import NOTHING, RUNS_SHOWN, Evidence
from monitoring.values.facts import NO_EXECUTION, AlertKind, Facts
from monitoring.values.outcome import RunFacts
from monitoring.values.run_event import NOT_ENQUEUED, WORKER_LOST
from tests.factories import NOW, ago, make_facts


def run(status: str = "Completed", **over: Any) -> RunFacts:
    usual = {
        "task_id": "run-1",
        "submitted_at": ago(hours=26),
        "started_at": ago(hours=26),
        "finished_at": ago(hours=25, minutes=50),
    }
    return RunFacts(id=1, status=status, **(usual | over))


def not_executed(**over: Any) -> Facts:
    return make_facts(
        kind=AlertKind.NOT_EXECUTED, current_status=NO_EXECUTION, started_at=None, finished_at=None, **over
    )


def found(*runs: RunFacts, **over: Any) -> Evidence:
    return Evidence(gathered_at=NOW, runs=runs, **over)


QUEUED = {"waiting_since": ago(minutes=50), "waiting_status": "Queued"}
STOPPED = QUEUED | {"waiting_status": "Stopped", "waiting_task_id": "run-1"}
FOUR_MINUTES = timedelta(minutes=4)


@pytest.mark.parametrize(
    ("facts", "evidence", "sentence"),
    [
        (not_executed(), NOTHING, "has not executed: no run was found in the last 1 hour(s)."),
        (
            not_executed(),
            found(),
            "has not executed: no run was found in the last 1 hour(s), and none was ever recorded.",
        ),
        (
            not_executed(),
            found(run()),
            "has not executed: its last run started 1 d 2 h before the check and ended as Completed.",
        ),
        (
            not_executed(),
            found(run("Running", finished_at=None), usual=FOUR_MINUTES),
            "is still running after 1 d 2 h; it usually takes 4 min.",
        ),
        (not_executed(**QUEUED), NOTHING, "has waited in the queue for 50 min: no worker has taken it."),
        (
            not_executed(**(QUEUED | {"waiting_status": "Pending"})),
            NOTHING,
            "was submitted 50 min before the check, for later, and has not started.",
        ),
        (not_executed(**(QUEUED | {"waiting_status": "Cancelled"})), NOTHING, "was cancelled before it started."),
        (
            not_executed(**STOPPED),
            found(run=run("Stopped"), not_enqueued=True),
            "could not be enqueued 50 min before the check.",
        ),
        (
            not_executed(**STOPPED),
            found(run=run("Stopped"), worker_lost=True),
            "broke off: the worker that ran it was lost.",
        ),
        (
            not_executed(**(QUEUED | {"waiting_status": "Completed"})),
            NOTHING,
            "has not executed: a run submitted 50 min before the check is Completed without a recorded start.",
        ),
        (make_facts(), NOTHING, "ended as Stopped after 1 min."),
        (make_facts(finished_at=None), NOTHING, "ended as Stopped."),
        (
            make_facts(current_status="Completed", expected_statuses=("Stopped", "Running")),
            NOTHING,
            "ended as Completed after 1 min; expected was Stopped or Running.",
        ),
        (make_facts(current_status="Running", finished_at=None), NOTHING, "is still running after 5 min."),
        (
            make_facts(current_status="Running", finished_at=None),
            found(usual=FOUR_MINUTES),
            "is still running after 5 min; it usually takes 4 min.",
        ),
        (
            make_facts(),
            found(worker_lost=True),
            "broke off: the worker that ran it was lost within 1 min of its start.",
        ),
        (make_facts(current_status="Invalidated"), NOTHING, "failed and is to be tried again."),
        (
            make_facts(current_status="Invalidated"),
            found(run=run("Invalidated", attempts=2)),
            "failed at attempt 2 and is to be tried again.",
        ),
        (make_facts(current_status="Cancelled"), NOTHING, "was cancelled after 1 min."),
        (make_facts(kind=AlertKind.NOT_JUDGED), NOTHING, "could not be checked."),
        (
            make_facts(kind=AlertKind.RESOLVED, current_status="Completed"),
            NOTHING,
            "is as expected again: Completed.",
        ),
        (
            make_facts(kind=AlertKind.RESOLVED, current_status="Completed"),
            Evidence(opened_at=ago(minutes=72), closed_at=NOW),
            "is as expected again: it failed for 1 h 12 min.",
        ),
    ],
)
def test_the_first_sentence_says_what_happened_with_the_figure_that_matters(
    facts: Facts, evidence: Evidence, sentence: str
) -> None:
    assert summary_of(facts, evidence) == f"daily_report {sentence}"


@pytest.mark.parametrize(
    ("facts", "evidence", "since"),
    [
        (make_facts(), NOTHING, ""),
        (make_facts(dependent_tasks=("a",)), NOTHING, "1 task depends on it."),
        (make_facts(), Evidence(opened_at=NOW, failing_checks=1), "This is the first failing check."),
        (
            make_facts(dependent_tasks=("a", "b")),
            Evidence(opened_at=ago(hours=2), failing_checks=3),
            "It has failed 3 checks in a row, since 2026-11-22 06:35:00 UTC. 2 tasks depend on it.",
        ),
        (
            make_facts(kind=AlertKind.RESOLVED, dependent_tasks=("a",)),
            Evidence(opened_at=ago(hours=2), failing_checks=3),
            "3 checks in a row failed, the first at 2026-11-22 06:35:00 UTC.",
        ),
        (
            make_facts(kind=AlertKind.RESOLVED),
            Evidence(opened_at=ago(hours=2), failing_checks=1),
            "One check failed, at 2026-11-22 06:35:00 UTC.",
        ),
        (
            make_facts(),
            Evidence(opened_at=ago(hours=2), closed_at=NOW, failing_checks=3),
            "It failed 3 checks in a row, from 2026-11-22 06:35:00 UTC to 2026-11-22 08:35:00 UTC.",
        ),
        (
            make_facts(),
            Evidence(opened_at=ago(hours=2), closed_at=NOW, failing_checks=1),
            "One check failed, at 2026-11-22 06:35:00 UTC.",
        ),
    ],
)
def test_then_since_when_and_what_depends_on_it(facts: Facts, evidence: Evidence, since: str) -> None:
    assert since_of(facts, evidence) == since


def test_the_last_success_says_how_old_the_data_was() -> None:
    rows = dict(evidence_rows(make_facts(), found(run(), last_success=run())))
    assert rows["Last success"] == "2026-11-21 06:45:00 UTC: the data was 1 d 1 h old at the check"


def test_after_a_recovery_the_data_is_fresh_again() -> None:
    good = run(started_at=ago(minutes=5), finished_at=ago(minutes=1))
    facts = make_facts(kind=AlertKind.RESOLVED, current_status="Completed")
    rows = dict(evidence_rows(facts, found(good, last_success=good, opened_at=ago(hours=1), closed_at=NOW)))
    assert rows["Last success"] == "2026-11-22 08:34:00 UTC: the data is fresh again"


def test_a_success_that_is_not_found_is_told_with_how_far_it_was_looked_for() -> None:
    assert dict(evidence_rows(make_facts(), found(run("Stopped"))))["Last success"] == "none is known"
    rows = dict(evidence_rows(make_facts(), found(*[run("Stopped")] * RUNS_SHOWN, looked_back=1000)))
    assert rows["Last success"] == "none is known; at most its last 1,000 runs were looked at"
    assert "Last success" not in dict(evidence_rows(make_facts(), NOTHING))


def test_what_happened_between_the_check_and_the_mail_is_told() -> None:
    facts = make_facts(task_id="run-1")
    later = run("Running", task_id="run-2", started_at=NOW + timedelta(minutes=3), finished_at=None)
    closed = NOW + timedelta(minutes=9)
    rows = dict(evidence_rows(facts, found(later, run=run("Completed"), closed_at=closed)))
    assert rows["Since the check"] == (
        "a run is Running, started 2026-11-22 08:38 UTC; this run is Completed; "
        "the incident was closed 2026-11-22 08:44:00 UTC"
    )


def errors(text: str, status: str = "Stopped", **over: Any) -> tuple[str, str]:
    return error_of(make_facts(), found(run=run(status), errors=text, **over))


def test_the_error_and_the_traceback_before_it_say_each_line_once() -> None:
    text = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n\tg()\nOSError: gone\n'
    assert errors(text) == (
        "OSError: gone",
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n        g()',
    )


def test_a_long_error_is_cut_from_the_top_and_each_line_is_bounded() -> None:
    line, traceback = errors("\n".join(f"{number}: {'x' * 1_000}" for number in range(100)))
    assert len(line) == ERROR_LINE_MAX
    lines = traceback.split("\n")
    assert (len(lines), lines[-1][:4]) == (TRACEBACK_LINES, "98: ")
    assert {len(each) for each in lines} == {TRACEBACK_LINE_MAX}


def test_a_lost_worker_is_not_told_twice() -> None:
    assert errors(WORKER_LOST, worker_lost=True) == ("", "")
    assert errors(f"{WORKER_LOST}: no beat since 08:31", worker_lost=True) == ("no beat since 08:31", "")


@pytest.mark.parametrize(
    ("status", "errors", "over", "line"),
    [
        ("Stopped", f"{NOT_ENQUEUED}: no route to the queue", {"not_enqueued": True}, "no route to the queue"),
        ("Stopped", "OSError: gone", {}, "OSError: gone"),
        ("Cancelled", "Expired before a worker took it", {}, "Expired before a worker took it"),
    ],
)
def test_the_error_of_a_run_that_ended_before_it_started_is_quoted(
    status: str, errors: str, over: dict[str, bool], line: str
) -> None:
    facts = not_executed(**(STOPPED | {"waiting_status": status}))
    assert error_of(facts, found(run=run(status), errors=errors, **over))[0] == line


@pytest.mark.parametrize("status", ["Completed", "Running", "Queued"])
def test_what_an_earlier_attempt_left_is_no_error_of_a_run_that_goes_on(status: str) -> None:
    assert errors("OSError: gone", status) == ("", "")


@pytest.mark.parametrize(
    "facts",
    [
        replace(make_facts(), kind=AlertKind.RESOLVED),
        replace(make_facts(), kind=AlertKind.NOT_JUDGED),
        not_executed(**QUEUED),
        not_executed(),
    ],
)
def test_the_error_of_a_run_that_the_mail_does_not_speak_of_is_not_quoted(facts: Facts) -> None:
    assert error_of(facts, found(run=run("Stopped"), errors="OSError: gone")) == ("", "")


def test_the_error_of_the_last_run_is_quoted_where_no_other_started() -> None:
    last = run("Stopped")
    assert error_of(not_executed(), found(last, run=last, errors="OSError: gone"))[0] == "OSError: gone"
    lost = found(last, run=last, errors=WORKER_LOST, worker_lost=True)
    assert error_of(not_executed(), lost)[0] == WORKER_LOST
