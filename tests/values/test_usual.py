from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.values.usual import KNOWN_FROM, Usual, usual_limit


def seconds(*numbers: float) -> list[timedelta]:
    return [timedelta(seconds=number) for number in numbers]


def test_of_a_hundred_the_five_longest_are_beyond() -> None:
    assert usual_limit(seconds(*range(1, 101))) == Usual(timedelta(seconds=95), 95, 100)


def test_equal_spans_are_all_within() -> None:
    assert usual_limit(seconds(*[4] * 30)) == Usual(timedelta(seconds=4), 30, 30)


@pytest.mark.parametrize(("spans", "is_known"), [(KNOWN_FROM - 1, False), (KNOWN_FROM, True)])
def test_few_spans_say_nothing(spans: int, is_known: bool) -> None:
    assert (usual_limit(seconds(*range(spans))) is not None) is is_known


def test_of_the_fewest_the_longest_alone_is_beyond() -> None:
    usual = usual_limit(seconds(*[1] * (KNOWN_FROM - 1), 1_000))
    assert usual
    assert usual.limit == timedelta(seconds=1)


@given(st.lists(st.timedeltas(timedelta(0), timedelta(days=9)), min_size=KNOWN_FROM, max_size=200))
def test_it_is_the_least_of_the_spans_that_95_in_100_do_not_exceed(spans: list[timedelta]) -> None:
    usual = usual_limit(spans)
    assert usual
    assert usual.limit in spans
    assert usual.of == len(spans)
    assert usual.within == sum(span <= usual.limit for span in spans)
    assert usual.within * 100 >= 95 * usual.of
    assert sum(span < usual.limit for span in spans) * 100 < 95 * usual.of
