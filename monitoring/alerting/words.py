"""How facts and evidence are put into words: sentences, labels with values, times, marks."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from monitoring.values.cause import Cause, cause_of, last_before
from monitoring.values.evidence import NOTHING, RUNS_SHOWN, Evidence
from monitoring.values.facts import NO_EXECUTION, AlertKind, Facts
from monitoring.values.outcome import RunFacts
from monitoring.values.run_event import NOT_ENQUEUED, WORKER_LOST, RunStatus
from monitoring.values.text import error_line, head, one_line, written_span
from monitoring.values.zone import local_time, zone_named

REASON_MAX = 500  # characters
ERROR_LINE_MAX = 300  # characters
TRACEBACK_LINES = 25
TRACEBACK_LINE_MAX = 200  # characters

# The mark that goes with each tone's colour, so that nobody has to tell colours apart.
MARKS = {"good": "✓", "bad": "✗", "busy": "●", "idle": "–"}
_RUN_TONES: dict[str, str] = {
    RunStatus.COMPLETED: "good",
    RunStatus.STOPPED: "bad",
    RunStatus.RUNNING: "busy",
    RunStatus.INVALIDATED: "busy",
}

# How errors begin where the summary says that already.
_SAID = {Cause.WORKER_LOST: WORKER_LOST, Cause.NOT_ENQUEUED: NOT_ENQUEUED}

# Runs that ended so may have left a traceback or a reason.
_WITH_ERRORS = frozenset({RunStatus.STOPPED, RunStatus.INVALIDATED, RunStatus.CANCELLED})


def run_tone(status: str) -> str:
    """One of MARKS."""
    return _RUN_TONES.get(status, "idle")


def written_time(time: datetime, zone: ZoneInfo) -> str:
    """`2026-11-22 08:35:00 CET (Europe/Berlin)`: the abbreviation tells apart the hour repeated in autumn."""
    local = local_time(time, zone)
    name = str(local.tzinfo)
    abbreviation = local.tzname()
    return f"{local:%Y-%m-%d %H:%M:%S} {name if abbreviation == name else f'{abbreviation} ({name})'}"


def short_time(time: datetime, zone: ZoneInfo) -> str:
    """`2026-11-22 08:35 CET`: for lists, to the minute."""
    return f"{local_time(time, zone):%Y-%m-%d %H:%M %Z}"


def written_hours(hours: float) -> str:
    """Plain decimals: 1, 1.5, 87600."""
    return format(Decimal(repr(hours)).normalize(), "f")


def zone_of(facts: Facts) -> ZoneInfo:
    return zone_named(facts.time_zone)


def summary_of(facts: Facts, evidence: Evidence = NOTHING) -> str:
    """What happened, in one sentence, with the one figure that matters."""
    name, span = one_line(facts.task_name), span_of(facts, evidence)
    match cause := cause_of(facts, evidence):
        case Cause.NEVER_STARTED:
            ever = ", and none was ever recorded" if evidence.gathered_at and not evidence.runs else ""
            return f"{name} has not executed: no run was found in the {_window(facts).lower()}{ever}."
        case Cause.OUTSIDE_WINDOW:
            last = last_before(facts, evidence)
            status = f" and ended as {one_line(last.status)}" if last else ""
            return f"{name} has not executed: its last run started {span} before the check{status}."
        case Cause.WAITING if (facts.waiting_status or facts.current_status) == RunStatus.PENDING:
            before = f" {span} before the check, for later," if span else " for later"
            return f"{name} was submitted{before} and has not started."
        case Cause.WAITING:
            return f"{name} has waited in the queue{f' for {span}' if span else ''}: no worker has taken it."
        case Cause.NOT_ENQUEUED:
            return f"{name} could not be enqueued{f' {span} before the check' if span else ''}."
        case Cause.NO_START:
            submitted = f"a run submitted {span} before the check" if span else "its newest run"
            return f"{name} has not executed: {submitted} is {one_line(facts.waiting_status)} without a recorded start."
        case Cause.STILL_RUNNING:
            usual = f"; it usually takes {written_span(evidence.usual)}" if evidence.usual is not None else ""
            return f"{name} is still running{f' after {span}' if span else ''}{usual}."
        case Cause.NOT_JUDGED:
            return f"{name} could not be checked."
        case Cause.RECOVERED:
            return f"{name} is as expected again: {f'it failed for {span}' if span else _status(facts)}."
        case Cause.MONITOR_DOWN:
            return f"Monitoring was down for {span}: no task was checked."
    return f"{name} {_ended(cause, facts, evidence)}."


def span_of(facts: Facts, evidence: Evidence) -> str:
    """The one figure that matters: how long it waits, runs, ran, has not run, or failed; empty if unknown."""
    match cause_of(facts, evidence):
        case Cause.WAITING | Cause.NOT_ENQUEUED | Cause.NO_START:
            return _between(facts.waiting_since, facts.check_time)
        case Cause.STILL_RUNNING | Cause.OUTSIDE_WINDOW:
            last = last_before(facts, evidence)
            return _between(facts.started_at or (last.started_at if last else None), facts.check_time)
        case Cause.RECOVERED:
            return _between(evidence.opened_at, evidence.closed_at)
    return _between(facts.started_at, facts.finished_at)


def since_of(facts: Facts, evidence: Evidence) -> str:
    """Since when, and what depends on it; empty if neither is known."""
    said = []
    if evidence.opened_at:
        said.append(_checks_failed(facts, evidence, written_time(evidence.opened_at, zone_of(facts))))
    if (count := len(facts.dependent_tasks)) and facts.kind is not AlertKind.RESOLVED:
        said.append("1 task depends on it." if count == 1 else f"{count} tasks depend on it.")
    return " ".join(said)


def _checks_failed(facts: Facts, evidence: Evidence, since: str) -> str:
    several, recovered = evidence.failing_checks > 1, facts.kind is AlertKind.RESOLVED
    count = f"{evidence.failing_checks} checks in a row"
    if not (recovered or evidence.closed_at):
        return f"It has failed {count}, since {since}." if several else "This is the first failing check."
    if not several:
        return f"One check failed, at {since}."
    if recovered:  # these facts are those of the check that found it as expected
        return f"{count} failed, the first at {since}."
    return f"It failed {count}, from {since} to {written_time(facts.check_time, zone_of(facts))}."


def fact_rows(facts: Facts) -> list[tuple[str, str]]:
    """The facts as labels and values, in the order in which each part of a mail shows them."""
    zone = zone_of(facts)
    started, finished = (time and written_time(time, zone) for time in (facts.started_at, facts.finished_at))
    if facts.kind is AlertKind.MONITOR_DOWN:
        return [("Down from", started or ""), ("To", finished or ""), ("Meanwhile", one_line(facts.reason))]
    status = one_line(facts.waiting_status)
    unstarted = facts.waiting_since and f"{status}, submitted {written_time(facts.waiting_since, zone)}"
    rows = [
        ("Task", one_line(facts.task_name)),
        ("Context type", one_line(facts.context_type)),
        ("Current status", _status(facts)),
        ("Expected status", ", ".join(facts.expected_statuses)),
        ("Lookback window", _window(facts)),
        ("Run", one_line(facts.task_id)),
        ("Started", started),
        ("Finished", finished),
        ("Unstarted run", unstarted if facts.current_status == NO_EXECUTION else ""),
        ("Reason", head(one_line(facts.reason), REASON_MAX)),
        ("Checked", written_time(facts.check_time, zone)),
    ]
    return [(label, value) for label, value in rows if value]


def evidence_rows(facts: Facts, evidence: Evidence) -> list[tuple[str, str]]:
    """What else is known, as labels and values."""
    zone = zone_of(facts)
    usual = evidence.usual if cause_of(facts, evidence) is not Cause.STILL_RUNNING else None  # the summary says it
    rows = [
        ("Last success", _last_success(facts, evidence)),
        ("Usually takes", "" if usual is None else written_span(usual)),
        ("Since the check", _since_the_check(facts, evidence)),
        ("Next check", evidence.next_check_at and written_time(evidence.next_check_at, zone)),
    ]
    return [(label, value) for label, value in rows if value]


def error_of(facts: Facts, evidence: Evidence) -> tuple[str, str]:
    """The line that says what went wrong, and the end of the traceback before it; empty if there is none.

    It comes from the run that decided or, in a mail about another one, from that one.
    """
    run, cause = evidence.run, cause_of(facts, evidence)
    speaks_of_it = facts.kind is AlertKind.STATUS_MISMATCH or cause is Cause.OUTSIDE_WINDOW
    speaks_of_it |= facts.kind is AlertKind.NOT_EXECUTED and run is not None and run.task_id == facts.waiting_task_id
    if run is None or run.status not in _WITH_ERRORS or not speaks_of_it:
        return "", ""
    said = error_line(evidence.errors)
    lines = evidence.errors.rstrip().splitlines()
    if lines and lines[-1] == said:
        lines.pop()
    if cause in _SAID:
        said = said.removeprefix(_SAID[cause]).lstrip(" .:;,")
    traceback = [head(one_line(line.expandtabs()).rstrip(), TRACEBACK_LINE_MAX) for line in lines[-TRACEBACK_LINES:]]
    return head(one_line(said).strip(), ERROR_LINE_MAX), "\n".join(traceback)


def stands_of(run: RunFacts | None, zone: ZoneInfo) -> str:
    """Where another task stands, by its newest run."""
    if run is None:
        return "no run recorded"
    status = one_line(run.status)
    if run.started_at:
        return f"{status}, started {short_time(run.started_at, zone)}"
    return f"{status}, submitted {short_time(run.submitted_at, zone)}" if run.submitted_at else status


def took_of(run: RunFacts, evidence: Evidence) -> str:
    """How long a run took, or has taken so far."""
    if run.took is not None:
        return written_span(run.took)
    so_far = _between(run.started_at, evidence.gathered_at) if run.status == RunStatus.RUNNING else ""
    return f"{so_far} so far" if so_far else ""


def _ended(cause: Cause, facts: Facts, evidence: Evidence) -> str:
    took = span_of(facts, evidence)
    match cause:
        case Cause.WORKER_LOST:
            return "broke off: the worker that ran it was lost" + (f" within {took} of its start" if took else "")
        case Cause.FAILING:
            attempts = evidence.run.attempts if evidence.run else 0
            return f"failed{f' at attempt {attempts}' if attempts > 1 else ''} and is to be tried again"
        case Cause.CANCELLED:
            started = facts.started_at or facts.waiting_since is None
            return f"was cancelled{f' after {took}' if took else '' if started else ' before it started'}"
    expected = f"; expected was {' or '.join(facts.expected_statuses)}"
    # That an error was not expected goes without saying.
    surprising = "" if facts.current_status == RunStatus.STOPPED else expected
    return f"ended as {_status(facts)}{f' after {took}' if took else ''}{surprising}"


def _last_success(facts: Facts, evidence: Evidence) -> str:
    if not evidence.gathered_at:
        return ""
    run = evidence.last_success
    if run is None:
        if len(evidence.runs) == RUNS_SHOWN:
            return f"none is known; at most its last {evidence.looked_back:,} runs were looked at"
        return "none is known" if evidence.runs else ""
    ended = run.finished_at or run.started_at or facts.check_time
    said = written_time(ended, zone_of(facts))
    if facts.kind is AlertKind.RESOLVED:
        return f"{said}: the data is fresh again" if evidence.opened_at and ended >= evidence.opened_at else said
    age = _between(ended, facts.check_time)
    return f"{said}: the data was {age} old at the check" if age else said


def _since_the_check(facts: Facts, evidence: Evidence) -> str:
    """What has happened since the check, until the mail was written."""
    zone = zone_of(facts)
    newest = next((run for run in evidence.runs if run.started_at and run.started_at > facts.check_time), None)
    said = [f"a run is {stands_of(newest, zone)}"] if newest else []
    run = evidence.run
    if run and run.task_id == facts.task_id and run.status != facts.current_status:
        said.append(f"this run is {one_line(run.status)}")
    if evidence.closed_at and facts.kind is not AlertKind.RESOLVED:
        said.append(f"the incident was closed {written_time(evidence.closed_at, zone)}")
    return "; ".join(said)


def _status(facts: Facts) -> str:
    return one_line(facts.current_status)


def _window(facts: Facts) -> str:
    return f"Last {written_hours(facts.lookback_hours)} hour(s)"


def _between(began: datetime | None, ended: datetime | None) -> str:
    return written_span(ended - began) if began and ended and ended - began >= timedelta(0) else ""
