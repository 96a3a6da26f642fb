"""The only place that judges: a list of checks becomes a list of outcomes, whoever asks."""

from collections.abc import Sequence

from monitoring.checking.context import Context, by_context
from monitoring.checking.outages import excuse
from monitoring.checking.probe import Filter, Probe, newest, newest_submitted, place_in_time
from monitoring.models import database_alias
from monitoring.values.outcome import Check, Outcome, RunFacts, Verdict
from monitoring.values.run_event import BEFORE_START


def evaluate(checks: Sequence[Check]) -> list[Outcome]:
    """The outcome of each check, in their order.

    The number of SQL statements does not grow with checks and runs. Checks without a context take one; so do those of
    each context model, counted twice if it is asked for both with and without a type. Each of these groups takes one
    more for checks of the past, and one more for checks that a run which never started may answer. One more is needed
    if something was not executed.

    A check that cannot be asked, or in whose window no run could be recorded, gets the verdict NOT_JUDGED and does not
    affect the others.
    """
    using = database_alias()
    outcomes = by_context(checks, _context, lambda group, only: _judge(group, using, only), _not_judged, using)
    return excuse(outcomes, using)


def _context(check: Check) -> Context:
    expectation = check.expectation
    return Context(expectation.context_model or "", expectation.context_type is not None)


def _not_judged(check: Check, reason: str) -> Outcome:
    return Outcome(check=check, verdict=Verdict.NOT_JUDGED, reason=reason)


def _judge(checks: Sequence[Check], using: str, only: Filter) -> list[Outcome]:
    probes = [_probe(check) for check in checks]
    found = newest(probes, using, only)
    unstarted = [place for place, run in found.items() if not run.started_at and _may_be_unstarted(checks[place])]
    for nth, run in newest_submitted([probes[place] for place in unstarted], using, only).items():
        place = unstarted[nth]
        found[place] = max(found[place], run, key=place_in_time)
    return [_outcome(check, found.get(place)) for place, check in enumerate(checks)]


def _probe(check: Check) -> Probe:
    expectation = check.expectation
    return Probe(expectation.task_name, check.threshold, check.until, expectation.context_type or "")


def _outcome(check: Check, run: RunFacts | None) -> Outcome:
    waiting = None if run is None or run.started_at else run
    if run is None or (waiting and not _answers_before_start(check, waiting)):
        return Outcome(check, Verdict.NOT_EXECUTED, waiting=waiting)
    is_expected = run.status in check.expectation.expected_statuses
    return Outcome(check, Verdict.AS_EXPECTED if is_expected else Verdict.STATUS_MISMATCH, run, waiting)


def _answers_before_start(check: Check, waiting: RunFacts) -> bool:
    """Whether a run that never started decides: if such a status is expected and it was submitted in the window."""
    is_in_window = waiting.submitted_at is not None and waiting.submitted_at >= check.threshold
    return is_in_window and _may_be_unstarted(check)


def _may_be_unstarted(check: Check) -> bool:
    return not BEFORE_START.isdisjoint(check.expectation.expected_statuses)
