"""The round: claims and judges what is due, updates incidents, writes down what is owed. Mails go out later."""

import gc
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from monitoring.alerting.outbox import log_undeliverable, try_again
from monitoring.alerting.owing import Announcement, owe
from monitoring.alerting.policy import Decision, decide, policy_of
from monitoring.alerting.recipients import superuser_addresses, told_of
from monitoring.checking.due import Due, claim_due, claim_named, look_at, note_checked, plan_again, plan_new, plan_next
from monitoring.checking.evaluation import evaluate
from monitoring.checking.incidents import (
    Tracked,
    close_unwatched,
    foresee,
    lasting,
    note_told,
    note_tracked,
    still_open,
    tell_again,
    track,
)
from monitoring.checking.outages import last_round, note_outage
from monitoring.models import Heartbeat, Monitor, database_alias
from monitoring.models.heartbeat import TICK
from monitoring.values.clock import as_time_passed, was_set_back
from monitoring.values.expectation import Expectation
from monitoring.values.facts import Facts, facts_of, facts_of_outage
from monitoring.values.incident import IncidentState
from monitoring.values.outage import Period, outage_between
from monitoring.values.outcome import Check, Outcome, Verdict

BATCH = 1_000  # monitors in one transaction: it holds SQLite's write lock for some tens of milliseconds


class Judged(NamedTuple):
    """A monitor, or a configuration's task, and what its check found; `announcement` is what is owed for it.

    `decision` is what was decided about the monitor's incident; None if it has none.
    """

    name: str
    outcome: Outcome
    announcement: Announcement | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found, and what it owes.

    It owes for its checks, for incidents that were open already (`reminders`), and for an outage of the monitor itself
    that it ended. `took` is in seconds.
    """

    judged: tuple[Judged, ...] = ()
    reminders: tuple[Announcement, ...] = ()
    outage: Announcement | None = None
    took: float = 0.0

    @property
    def failing(self) -> tuple[Judged, ...]:
        return tuple(judged for judged in self.judged if not judged.outcome.is_as_expected)

    @property
    def announcements(self) -> tuple[Announcement, ...]:
        outage = (self.outage,) if self.outage else ()
        return (*outage, *(judged.announcement for judged in self.judged if judged.announcement), *self.reminders)

    @property
    def undeliverable(self) -> tuple[Facts, ...]:
        return tuple(said.facts for said in self.announcements if not said.recipients)

    @property
    def nobody_to_tell(self) -> str:
        """A sentence for each task that nobody can be told about; empty if there is none."""
        return "; ".join(
            f"notify_to is empty but no superuser found for task {facts.task_name!r}" for facts in self.undeliverable
        )


@contextmanager
def uncollected() -> Iterator[None]:
    """Turns the garbage collector off: a round makes a hundred thousand objects, but no cycles for it to find."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@uncollected()
def tick(now: datetime, steps: Sequence[Period] = ()) -> Round:
    """Checks all due monitors, each due moment once however many workers tick, and reviews all open incidents.

    `steps` are the spans that the clock skipped when it was set forwards, as far as this process knows.
    """
    using, superusers, began = database_alias(), superuser_addresses(), time.monotonic()
    last = last_round(using)
    if was_set_back(last, now):
        live_on(now)
    plan_new(using)
    outage = own_up(last, now, superusers, steps)
    judged: list[Judged] = []
    while batch := check_due_batch(now, superusers, BATCH, steps).judged:
        judged += batch
    close_unwatched(now, using)
    reminded = remind(now, superusers)
    took = time.monotonic() - began
    Heartbeat.objects.using(using).update_or_create(name=TICK, defaults={"beat_at": now, "took": took})
    return Round(tuple(judged), reminded.reminders, outage.outage, took)


def live_on(now: datetime) -> None:
    """Called after the clock was set back, so that nothing waits for a time that is now far in the future."""
    using = database_alias()
    with transaction.atomic(using=using, durable=True):
        plan_again(now, using)
        tell_again(now, using)
        try_again(now, using)


def own_up(last: datetime | None, now: datetime, superusers: tuple[str, ...], steps: Sequence[Period]) -> Round:
    """Tells people once that the monitor itself was down, if monitors were due meanwhile.

    Comes before the checks, which must know when no run could have been recorded.
    """
    using = database_alias()
    if not (span := outage_between(last, now, steps)):
        return Round()
    with transaction.atomic(using=using, durable=True):
        down = note_outage(span, using)
        said = Announcement(facts_of_outage(down), superusers) if down and down.late else None
        found = Round(outage=said)
        owe(found.announcements, now, using)
    return _logged(found)


def check_due_batch(now: datetime, superusers: tuple[str, ...], size: int, steps: Sequence[Period]) -> Round:
    """Checks up to `size` due monitors in one transaction; returns an empty round if none was left to claim."""
    using = database_alias()
    with transaction.atomic(using=using, durable=True):
        claimed = claim_due(now, size, using)
        if steps:
            claimed = [due._replace(check=as_time_passed(due.check, steps)) for due in claimed]
        found = _check(claimed, superusers, now, using)
        plan_next(claimed, now, using)
    return _logged(found)


def check_monitors(monitors: Iterable[Monitor], now: datetime) -> Round:
    """Checks these monitors by hand, disabled and snoozed ones too: as of now, without changing their plan.

    They are checked in batches, in the order of their ids.
    """
    using, superusers = database_alias(), superuser_addresses()
    plan_new(using)
    named = sorted(monitors, key=lambda monitor: monitor.pk)
    judged: list[Judged] = []
    for start in range(0, len(named), BATCH):
        with transaction.atomic(using=using, durable=True):
            claimed = claim_named(named[start : start + BATCH], now, using)
            found = _check(claimed, superusers, now, using)
            note_checked(claimed, now, using)
        judged += _logged(found).judged
    return Round(tuple(judged))


def judge_monitors(monitors: Iterable[Monitor], now: datetime) -> Round:
    """The same without writing, logging or telling: what a dry run shows."""
    using, superusers = database_alias(), superuser_addresses()
    looked_at = look_at(list(monitors), now, using)
    outcomes = judge(looked_at)
    return _round(looked_at, outcomes, foresee(looked_at, outcomes, now, using), superusers, now, using)


def check_config(expectations: Sequence[Expectation], now: datetime) -> Round:
    """Judges a configuration as of `now` and owes an alert for each task not as expected. Keeps no incidents."""
    found = judge_config(expectations, now)
    using = database_alias()
    with transaction.atomic(using=using, durable=True):
        owe(found.announcements, now, using)
    return _logged(found)


def judge_config(expectations: Sequence[Expectation], now: datetime) -> Round:
    """The same without writing, logging or telling: what a dry run shows."""
    outcomes = evaluate([Check(expectation, at=now) for expectation in expectations])
    superusers = superuser_addresses() if any(not outcome.is_as_expected for outcome in outcomes) else ()
    return Round(tuple(_judged_alone(outcome, superusers) for outcome in outcomes))


def remind(now: datetime, superusers: tuple[str, ...]) -> Round:
    """Decides for each open incident whether to tell people now, even if its monitor is not due.

    Those that were checked in this round were decided on then, and are left out. Where there is something to tell, it
    is decided again under a lock.
    """
    using = database_alias()
    asked = lasting(now, using)
    speaking = [each.pk for each, wishes in asked if each.pk and decide(each, policy_of(wishes), now).speaks]
    said: list[Announcement] = []
    for start in range(0, len(speaking), BATCH):
        with transaction.atomic(using=using, durable=True):
            locked = still_open(speaking[start : start + BATCH], using)
            decided = [_announced(tracked, _decision(tracked, now), {}, superusers) for tracked in locked]
            reachable = [each for each in decided if each and each.recipients]
            owe(reachable, now, using)
            note_told(_spoken_of(reachable), now, using)
        said += reachable
    return Round(reminders=tuple(said))


def judge(claimed: Sequence[Due]) -> list[Outcome]:
    """The outcome of each; a monitor whose row is corrupted is not judged, and does not affect the others."""
    judged = iter(evaluate([due.check for due in claimed if not due.problem]))
    return [
        Outcome(check=due.check, verdict=Verdict.NOT_JUDGED, reason=due.problem) if due.problem else next(judged)
        for due in claimed
    ]


def _check(claimed: Sequence[Due], superusers: tuple[str, ...], now: datetime, using: str) -> Round:
    """Evaluate, track, decide, owe: inside the transaction that claimed these monitors."""
    outcomes = judge(claimed)
    tracked = track(claimed, outcomes, now, using)
    found = _round(claimed, outcomes, tracked, superusers, now, using)
    for incident in _spoken_of(found.announcements):
        incident.told_at = now
    note_tracked(claimed, outcomes, tracked, now, using)
    owe(found.announcements, now, using)
    return found


def _round(
    looked_at: Sequence[Due],
    outcomes: Sequence[Outcome],
    tracked: Sequence[Tracked | None],
    superusers: tuple[str, ...],
    now: datetime,
    using: str,
) -> Round:
    told = told_of([each.incident for each in tracked if each and each.incident.closed_at], using)
    decisions = [_decision(each, now) if each else None for each in tracked]
    said = [
        _announced(each, decision, told, superusers) if each and decision else None
        for each, decision in zip(tracked, decisions, strict=True)
    ]
    names = [due.row.name for due in looked_at]
    return Round(tuple(map(Judged, names, outcomes, said, decisions)))


def _decision(tracked: Tracked, now: datetime) -> Decision:
    return decide(tracked.incident, policy_of(tracked.wishes), now)


def _announced(
    tracked: Tracked, decision: Decision, told: dict[int, tuple[str, ...]], superusers: tuple[str, ...]
) -> Announcement | None:
    """What to tell about this incident now, if anything; a recovery is told to those who were told of the incident."""
    if not decision.speaks:
        return None
    if decision is Decision.RECOVERED:
        recipients = told.get(tracked.incident.pk or 0, ())
        return Announcement(tracked.facts, recipients, tracked.incident) if recipients else None
    return Announcement(tracked.facts, tracked.notify_to or superusers, tracked.incident, is_noted=True)


def _spoken_of(announcements: Sequence[Announcement]) -> list[IncidentState]:
    """The open incidents that somebody is told of. The others stay untold, until there is somebody to tell."""
    told = [said.incident for said in announcements if said.recipients and said.incident]
    return [incident for incident in told if not incident.closed_at]


def _judged_alone(outcome: Outcome, superusers: tuple[str, ...]) -> Judged:
    expectation = outcome.check.expectation
    if outcome.is_as_expected:
        return Judged(expectation.task_name, outcome)
    announcement = Announcement(facts_of(outcome), expectation.notify_to or superusers)
    return Judged(expectation.task_name, outcome, announcement)


def _logged(found: Round) -> Round:
    """Logs as errors the alerts that reach nobody. Called after the transaction, since it renders mails."""
    for facts in found.undeliverable:
        log_undeliverable(facts)
    return found
