"""Facts of each kind that did not happen, to try templates on."""

from dataclasses import replace
from datetime import datetime, timedelta

from monitoring.values.facts import NO_EXECUTION, NOT_JUDGED, AlertKind, Facts


def sample_facts(kind: AlertKind, now: datetime) -> Facts:
    started_at = now - timedelta(minutes=25)
    sample = Facts(
        kind=kind,
        task_name="data_collection",
        current_status="Stopped",
        expected_statuses=("Completed",),
        lookback_hours=1.0,
        check_time=now,
        started_at=started_at,
        finished_at=started_at + timedelta(minutes=4, seconds=12),
        dependent_tasks=("data_processing", "data_export"),
    )
    match kind:
        case AlertKind.NOT_EXECUTED:
            return replace(
                sample,
                current_status=NO_EXECUTION,
                started_at=None,
                finished_at=None,
                waiting_since=now - timedelta(minutes=50),
                waiting_status="Queued",
            )
        case AlertKind.NOT_JUDGED:
            return replace(
                sample,
                current_status=NOT_JUDGED,
                started_at=None,
                finished_at=None,
                context_type="Hourly Tomorrow.io",
                reason="context model 'gap.models.IngestorSession': no installed app has the label or module 'gap'",
            )
        case AlertKind.RESOLVED:
            return replace(sample, current_status="Completed")
    return sample
