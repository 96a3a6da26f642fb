from datetime import timedelta

import pytest

from monitoring.values.clock import KEPT, SET_BY, Clocks, as_time_passed, was_set_back
from monitoring.values.outage import DOWN_AFTER, Period, outage_between
from monitoring.values.outcome import Check
from tests.factories import NOW, ago, make_expectation

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
STEP = Period(ago(hours=1), NOW)


@pytest.fixture
def clocks() -> Clocks:
    """They were read together a minute ago."""
    clocks = Clocks()
    clocks.read(NOW - timedelta(seconds=60), 100.0)
    return clocks


@pytest.mark.parametrize(
    ("now", "steady", "steps"),
    [
        (NOW, 160.0, ()),
        (NOW + HOUR, 160.0, (Period(ago(minutes=1), ago(minutes=1) + HOUR),)),
        (NOW + HOUR, 3760.0, ()),  # an hour in which nobody read them
        (NOW - HOUR, 160.0, ()),  # set back: then no time was skipped
        (NOW + SET_BY - SECOND, 160.0, ()),
        (NOW + SET_BY, 160.0, (Period(ago(minutes=1), ago(minutes=1) + SET_BY),)),
    ],
)
def test_a_step_is_what_the_wall_clock_says_more_than_the_steady_one(
    clocks: Clocks, now: object, steady: float, steps: object
) -> None:
    assert clocks.steps(now, steady) == steps  # type: ignore[arg-type]


def test_nothing_is_known_before_the_clocks_were_read() -> None:
    assert Clocks().steps(NOW, 0.0) == ()


def test_steps_are_remembered_and_the_oldest_forgotten(clocks: Clocks) -> None:
    for number in range(1, KEPT + 3):
        clocks.read(NOW + number * HOUR, 100.0)
    steps = clocks.steps(NOW + (KEPT + 2) * HOUR + SECOND, 101.0)
    assert len(steps) == KEPT
    assert steps[-1].ended_at == NOW + (KEPT + 2) * HOUR


@pytest.mark.parametrize(
    ("at", "threshold"),
    [
        (ago(hours=1), ago(hours=1.5)),
        (ago(minutes=20), ago(hours=1.5)),  # due in the step: looks back from before it
        (NOW, ago(hours=1.5)),
        (NOW + timedelta(minutes=10), ago(hours=1) - timedelta(minutes=20)),
        (NOW + timedelta(minutes=30), NOW),  # the step lies before the window
        (NOW + HOUR, NOW + timedelta(minutes=30)),
    ],
)
def test_as_much_time_has_passed_in_a_window_as_the_lookback_says(at: object, threshold: object) -> None:
    check = Check(make_expectation(lookback_hours=0.5), at)  # type: ignore[arg-type]
    assert as_time_passed(check, [STEP]).threshold == threshold


def test_a_window_that_was_made_longer_may_reach_an_earlier_step() -> None:
    earlier = Period(ago(hours=3), ago(hours=1.25))
    check = as_time_passed(Check(make_expectation(lookback_hours=0.5), NOW), [earlier, STEP])
    assert check.threshold == ago(hours=3.25)


@pytest.mark.parametrize(
    ("last_round", "is_outage"),
    [
        (ago(hours=1), False),
        (ago(hours=1) - DOWN_AFTER, False),
        (ago(hours=1) - DOWN_AFTER - SECOND, True),
        (ago(minutes=30), False),
    ],
)
def test_that_the_clock_was_set_forwards_is_no_outage(last_round: object, is_outage: bool) -> None:
    assert (outage_between(last_round, NOW, [STEP]) is not None) is is_outage  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last_round", "is_so"), [(None, False), (NOW, False), (NOW + SET_BY - SECOND, False), (NOW + SET_BY, True)]
)
def test_a_round_in_a_time_that_has_not_come_tells_that_the_clock_was_set_back(last_round: object, is_so: bool) -> None:
    assert was_set_back(last_round, NOW) is is_so  # type: ignore[arg-type]
