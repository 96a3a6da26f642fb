"""The story: runs are judged, what is owed is written down, and people are told afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from monitoring.alerting.outbox import log_undeliverable
from monitoring.alerting.owing import Announcement, owe
from monitoring.alerting.recipients import superuser_addresses
from monitoring.checking.evaluation import evaluate
from monitoring.models import database_alias
from monitoring.values.expectation import Expectation
from monitoring.values.facts import Facts, facts_of
from monitoring.values.outcome import Check, Outcome


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of checks found and what it owes; `announcements` are in the order of the failing outcomes."""

    outcomes: tuple[Outcome, ...]
    announcements: tuple[Announcement, ...]

    @property
    def undeliverable(self) -> tuple[Facts, ...]:
        return tuple(said.facts for said in self.announcements if not said.recipients)

    @property
    def nobody_to_tell(self) -> str:
        """The sentences for the tasks that nobody is told about; empty when somebody is told about each."""
        return "; ".join(
            f"notify_to is empty but no superuser found for task {facts.task_name!r}" for facts in self.undeliverable
        )


def check_config(expectations: Sequence[Expectation], now: datetime) -> Round:
    """Judges a configuration at `now` and owes an alert for each task that is not as expected. It keeps no memory."""
    found = judge_config(expectations, now)
    using = database_alias()
    with transaction.atomic(using=using, durable=True):
        owe(found.announcements, now, using)
    for facts in found.undeliverable:
        log_undeliverable(facts)
    return found


def judge_config(expectations: Sequence[Expectation], now: datetime) -> Round:
    """The same without writing, logging or telling: what a dry run shows."""
    outcomes = evaluate([Check(expectation, at=now) for expectation in expectations])
    failing = [outcome for outcome in outcomes if not outcome.is_as_expected]
    superusers = superuser_addresses() if failing else ()
    return Round(
        outcomes=tuple(outcomes),
        announcements=tuple(
            Announcement(facts_of(outcome), outcome.check.expectation.notify_to or superusers) for outcome in failing
        ),
    )
