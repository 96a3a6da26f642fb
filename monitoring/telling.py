"""What follows a round: what is owed is sent, with its evidence, which only `checking` knows how to find."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.alerting.outbox import Dispatched, dispatch
from monitoring.alerting.samples import sample_evidence, sample_facts
from monitoring.checking.evidence import gather, gather_about
from monitoring.models import Monitor
from monitoring.values.evidence import Evidence
from monitoring.values.facts import AlertKind, Facts, facts_of
from monitoring.values.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Preview:
    """What a mail says, or might say."""

    facts: Facts
    evidence: Evidence
    is_sample: bool = True


def tell(now: datetime, within: timedelta | None = None) -> Dispatched:
    """Sends what is owed, as `dispatch` does."""
    return dispatch(now, gather=gather, within=within)


def preview(monitor: Monitor, outcome: Outcome, now: datetime, kind: AlertKind | None = None) -> Preview:
    """What a mail about this outcome would say; a sample, if it is as expected or `kind` is another kind."""
    facts = facts_of(outcome, monitor.time_zone)
    if kind in (None, facts.kind) and not outcome.is_as_expected:
        return Preview(facts, gather_about(monitor, facts, now), is_sample=False)
    wanted = kind or AlertKind.STATUS_MISMATCH
    sample = sample_facts(wanted, outcome.check.at, outcome.check.expectation, monitor.time_zone)
    return Preview(sample, sample_evidence(sample, monitor.pk))
