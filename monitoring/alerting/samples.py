"""Made-up facts of each kind, with evidence, to try templates on."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from monitoring.values.evidence import NOTHING, RUNS_SHOWN, Evidence
from monitoring.values.expectation import Expectation
from monitoring.values.facts import NO_EXECUTION, NOT_JUDGED, AlertKind, Facts, facts_of_outage
from monitoring.values.outage import Down, Period
from monitoring.values.outcome import RunFacts
from monitoring.values.run_event import RunStatus

SAMPLE = Expectation(
    task_name="data_collection",
    expected_statuses=(RunStatus.COMPLETED,),
    dependent_tasks=("data_processing", "data_export"),
)
IN_CONTEXT = replace(SAMPLE, context_model="gap.models.IngestorSession", context_type="Hourly Tomorrow.io")

NO_ROW = 0  # an id that no row has: nothing links to it
_TRACEBACK = """\
Traceback (most recent call last):
  File "/app/reports/tasks.py", line 41, in collect
    rows = fetch(source, timeout=30)
  File "/app/reports/source.py", line 17, in fetch
    raise ConnectionError(f"{source.host}:{source.port} refused the connection")
ConnectionError: source.example.com:443 refused the connection"""

# What a digest calls the samples beside the one that keeps its name: one task is not in several states at once.
_NAMES = {
    AlertKind.STATUS_MISMATCH: "data_collection",
    AlertKind.NOT_EXECUTED: "hourly_data_sync",
    AlertKind.NOT_JUDGED: "ingestor_session",
    AlertKind.RESOLVED: "daily_report_generation",
}

# The most likely ones first.
_UNWANTED = (RunStatus.STOPPED, RunStatus.INVALIDATED, RunStatus.RUNNING, RunStatus.COMPLETED, RunStatus.CANCELLED)


def sample_facts(kind: AlertKind, now: datetime, of: Expectation = SAMPLE, time_zone: str = "") -> Facts:
    """Facts of that kind, as a check of this expectation could find them."""
    before = min(timedelta(minutes=25), of.lookback / 2)
    seen = _unwanted(of.expected_statuses)
    if kind is AlertKind.RESOLVED:
        seen = of.expected_statuses[0] if of.expected_statuses else RunStatus.COMPLETED
    sample = Facts(
        kind=kind,
        task_name=of.task_name,
        current_status=seen,
        expected_statuses=tuple(status.value for status in of.expected_statuses),
        lookback_hours=of.lookback_hours,
        check_time=now,
        task_id="sample-0",
        started_at=now - before,
        finished_at=None if seen in (RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.PENDING) else now - before * 5 / 6,
        dependent_tasks=of.dependent_tasks,
        context_type=of.context_type or "",
        time_zone=time_zone,
    )
    match kind:
        case AlertKind.NOT_EXECUTED:
            return replace(
                sample,
                current_status=NO_EXECUTION,
                task_id="",
                started_at=None,
                finished_at=None,
                waiting_since=now - 2 * before,
                waiting_status="Queued",
            )
        case AlertKind.NOT_JUDGED:
            asked = IN_CONTEXT if of is SAMPLE else of
            return replace(
                sample,
                current_status=NOT_JUDGED,
                task_id="",
                started_at=None,
                finished_at=None,
                context_type=asked.context_type or "",
                reason=_reason(asked.context_model),
            )
        case AlertKind.MONITOR_DOWN:
            outage = Period(now - timedelta(hours=6), now)
            return replace(facts_of_outage(Down(outage, silent=outage, late=12)), time_zone=time_zone)
    return sample


def sample_evidence(facts: Facts, monitor_id: int = NO_ROW) -> Evidence:
    """Evidence that fits sample facts: a task that ran every hour until this happened."""
    if facts.kind is AlertKind.MONITOR_DOWN:
        return NOTHING
    # The check an hour before failed too, so what did not run has not run for an hour more than the window.
    hour = timedelta(hours=1)
    latest = facts.started_at or facts.check_time - timedelta(hours=facts.lookback_hours) - 1.5 * hour
    runs = [_sample_run(f"sample-{nth}", latest - nth * hour) for nth in range(RUNS_SHOWN)]
    if facts.task_id:
        runs[0] = replace(runs[0], status=facts.current_status, finished_at=facts.finished_at)
        runs[1] = replace(runs[1], status=_unwanted(facts.expected_statuses).value)
    incident = Evidence(
        incident_id=NO_ROW,
        monitor_id=monitor_id,
        dependents=tuple((name, _sample_run(name, latest - hour / 2)) for name in facts.dependent_tasks[:5]),
        opened_at=facts.check_time - hour,
        closed_at=facts.check_time if facts.kind is AlertKind.RESOLVED else None,
        failing_checks=1 if facts.kind is AlertKind.RESOLVED else 2,
        next_check_at=facts.check_time + hour,
    )
    if facts.kind is AlertKind.NOT_JUDGED:
        return incident
    return replace(
        incident,
        gathered_at=facts.check_time,
        runs=tuple(runs),
        run=runs[0],
        errors=_TRACEBACK if runs[0].status in (RunStatus.STOPPED, RunStatus.INVALIDATED) else "",
        last_success=next((run for run in runs if run.status == RunStatus.COMPLETED), None),
        usual=timedelta(minutes=4),
    )


def renamed(facts: Facts, kept: str) -> Facts:
    """For a digest: the sample of another task than `kept`."""
    name = _NAMES.get(facts.kind, facts.task_name)
    return replace(facts, task_name=f"another_{name}" if name == kept else name)


def _unwanted(expected: Collection[str]) -> RunStatus:
    return next((status for status in _UNWANTED if status not in expected), RunStatus.STOPPED)


def _sample_run(task_id: str, started_at: datetime) -> RunFacts:
    return RunFacts(
        id=NO_ROW,
        task_id=task_id,
        status=RunStatus.COMPLETED.value,
        submitted_at=started_at,
        started_at=started_at,
        finished_at=started_at + timedelta(minutes=4),
        attempts=1,
    )


def _reason(context_model: str | None) -> str:
    if not context_model:
        return "the monitor cannot be read: its settings were corrupted after it was saved"
    app = context_model.partition(".")[0]
    return f"context model {context_model!r}: no installed app has the label or module {app!r}"
