"""Facts of each kind that did not happen, to try templates on."""

from dataclasses import replace
from datetime import datetime, timedelta

from monitoring.values.expectation import Expectation
from monitoring.values.facts import NO_EXECUTION, NOT_JUDGED, AlertKind, Facts, facts_of
from monitoring.values.outcome import Outcome
from monitoring.values.run_event import RunStatus

SAMPLE = Expectation(
    task_name="data_collection",
    expected_statuses=(RunStatus.COMPLETED,),
    dependent_tasks=("data_processing", "data_export"),
)
IN_CONTEXT = replace(SAMPLE, context_model="gap.models.IngestorSession", context_type="Hourly Tomorrow.io")

# The most likely to be met first.
_UNWANTED = (RunStatus.STOPPED, RunStatus.INVALIDATED, RunStatus.RUNNING, RunStatus.COMPLETED, RunStatus.CANCELLED)


def sample_facts(kind: AlertKind, now: datetime, of: Expectation = SAMPLE, time_zone: str = "") -> Facts:
    """Facts of that kind which a check of this expectation could find."""
    before = min(timedelta(minutes=25), of.lookback / 2)
    unwanted = next((status for status in _UNWANTED if status not in of.expected_statuses), RunStatus.STOPPED)
    seen = unwanted
    if kind is AlertKind.RESOLVED:
        seen = of.expected_statuses[0] if of.expected_statuses else RunStatus.COMPLETED
    sample = Facts(
        kind=kind,
        task_name=of.task_name,
        current_status=seen,
        expected_statuses=tuple(status.value for status in of.expected_statuses),
        lookback_hours=of.lookback_hours,
        check_time=now,
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
                started_at=None,
                finished_at=None,
                context_type=asked.context_type or "",
                reason=_reason(asked.context_model),
            )
    return sample


def facts_to_preview(outcome: Outcome, time_zone: str = "", kind: AlertKind | None = None) -> Facts:
    """What a mail about this outcome would say; for one that is as expected, or another kind, what it might say."""
    facts = facts_of(outcome, time_zone)
    if kind in (None, facts.kind) and not outcome.is_as_expected:
        return facts
    return sample_facts(kind or AlertKind.STATUS_MISMATCH, outcome.check.at, outcome.check.expectation, time_zone)


def _reason(context_model: str | None) -> str:
    if not context_model:
        return "the monitor cannot be read: its settings were spoilt since it was saved"
    app = context_model.partition(".")[0]
    return f"context model {context_model!r}: no installed app has the label or module {app!r}"
