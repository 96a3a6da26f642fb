from datetime import datetime, timedelta

import pytest

from monitoring.values.facts import AlertKind, Facts, facts_of_outage
from monitoring.values.outage import DOWN_AFTER, Down, Life, Period, excused, outage_between, silent_part
from monitoring.values.outcome import Check, Outcome, RunFacts, Verdict
from tests.factories import NOW, ago, make_expectation

SECOND = timedelta(seconds=1)
NIGHT = Period(ago(hours=6), NOW)


@pytest.mark.parametrize(
    ("last_round", "outage"),
    [
        (None, None),
        (ago(minutes=1), None),
        (NOW - DOWN_AFTER, None),
        (NOW - DOWN_AFTER - SECOND, Period(NOW - DOWN_AFTER - SECOND, NOW)),
        (NOW + SECOND, None),  # another worker's round, or a clock that was put back
    ],
)
def test_an_outage_lies_between_two_rounds_that_are_far_apart(
    last_round: datetime | None, outage: Period | None
) -> None:
    assert outage_between(last_round, NOW) == outage


BEFORE = ago(days=1)
NEW = Life(since=ago(minutes=1), until=NOW)
UNTIL_NEW = Period(ago(hours=6), ago(minutes=1))


@pytest.mark.parametrize(
    ("lives", "recorded", "silent"),
    [
        # It came with the consumer, and nothing else is known.
        ([NEW], [], UNTIL_NEW),
        ([NEW, Life(since=ago(minutes=2), until=NOW)], [], Period(ago(hours=6), ago(minutes=2))),
        # The rounds were what failed: somebody recorded all the time.
        ([Life(since=BEFORE, until=NOW)], [], None),
        ([NEW, Life(since=BEFORE, until=NOW)], [], None),
        # Killed before, or in the middle.
        ([NEW, Life(since=BEFORE, until=ago(hours=7))], [], UNTIL_NEW),
        ([NEW, Life(since=BEFORE, until=ago(hours=4))], [], Period(ago(hours=4), ago(minutes=1))),
        ([NEW, Life(since=BEFORE, until=ago(seconds=16))], [], None),
        # A process that has left in good order leaves runs alone.
        ([NEW], [ago(hours=5), ago(hours=3)], Period(ago(hours=3), ago(minutes=1))),
        ([NEW], [ago(seconds=30)], UNTIL_NEW),
        # An older version does not say since when it lives.
        ([Life(since=None, until=NOW)], [], None),
        # Who records here is not known.
        ([], [], None),
        ([Life(since=BEFORE, until=ago(hours=6))], [], None),
    ],
)
def test_silent_is_what_lies_between_two_signs_of_life(
    lives: list[Life], recorded: list[datetime], silent: Period | None
) -> None:
    assert silent_part(NIGHT, lives, recorded) == silent


def not_executed(at: datetime, lookback_hours: float = 1, waiting: RunFacts | None = None) -> Outcome:
    check = Check(make_expectation(lookback_hours=lookback_hours), at)
    return Outcome(check=check, verdict=Verdict.NOT_EXECUTED, waiting=waiting)


RUN = RunFacts(id=1, task_id="run", status="Queued", submitted_at=ago(hours=2), started_at=None, finished_at=None)


@pytest.mark.parametrize(
    ("outcome", "is_excused"),
    [
        (not_executed(NOW), True),
        (not_executed(ago(hours=5)), True),
        (not_executed(NOW, lookback_hours=6), True),
        (not_executed(NOW + SECOND), False),
        (not_executed(ago(hours=5) - SECOND), False),
        (not_executed(NOW, lookback_hours=6.01), False),
        (not_executed(NOW, waiting=RUN), False),
        (Outcome(check=not_executed(NOW).check, verdict=Verdict.STATUS_MISMATCH, run=RUN), False),
        (Outcome(check=not_executed(NOW).check, verdict=Verdict.AS_EXPECTED, run=RUN), False),
        (Outcome(check=not_executed(NOW).check, verdict=Verdict.NOT_JUDGED, reason="no such model"), False),
    ],
)
def test_only_a_run_missing_from_a_window_that_is_silent_as_a_whole_is_not_judged(
    outcome: Outcome, is_excused: bool
) -> None:
    (found,) = excused([outcome], [Period(ago(days=3), ago(days=2)), NIGHT])
    assert (found != outcome) is is_excused
    if is_excused:
        assert found.verdict is Verdict.NOT_JUDGED
        assert found.reason == "no run could be recorded from 2026-11-22 02:35 UTC to 2026-11-22 08:35 UTC"


def test_two_silences_that_touch_a_window_from_both_sides_excuse_nothing() -> None:
    """Between them somebody recorded."""
    silences = [Period(ago(hours=6), ago(minutes=31)), Period(ago(minutes=30), NOW)]
    assert excused([not_executed(NOW)], silences) == [not_executed(NOW)]


@pytest.mark.parametrize(
    ("down", "reason"),
    [
        (Down(NIGHT, None, 1), "1 monitor was due and will be checked once now; runs were recorded all the while"),
        (
            Down(NIGHT, NIGHT, 2),
            "2 monitors were due and will each be checked once now; for 6 h of that time no run could be recorded",
        ),
    ],
)
def test_the_facts_of_an_outage_say_from_when_to_when_and_what_came_of_it(down: Down, reason: str) -> None:
    facts = facts_of_outage(down)
    assert (facts.kind, facts.started_at, facts.finished_at) == (AlertKind.MONITOR_DOWN, ago(hours=6), NOW)
    assert facts.reason == reason
    assert Facts.from_json(facts.to_json()) == facts
