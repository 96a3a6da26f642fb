from datetime import UTC, datetime, timedelta

import pytest

from monitoring.values.outcome import END_OF_TIME, Check, Outcome, Verdict
from tests.factories import NOW, make_expectation


@pytest.mark.parametrize(
    ("hours", "threshold"),
    [
        (1, datetime(2026, 11, 22, 7, 35, tzinfo=UTC)),
        (1.5, datetime(2026, 11, 22, 7, 5, tzinfo=UTC)),
        (0.0001, datetime(2026, 11, 22, 8, 34, 59, 640_000, tzinfo=UTC)),
        (87_600, NOW - timedelta(days=3650)),
    ],
)
def test_the_window_starts_the_lookback_before_the_instant(hours: float, threshold: datetime) -> None:
    assert Check(make_expectation(lookback_hours=hours), at=NOW).threshold == threshold


def test_a_check_sees_all_there_is_unless_it_says_until_when() -> None:
    check = Check(make_expectation(), at=NOW)
    assert check.until == END_OF_TIME
    assert check._replace(until=NOW).threshold == check.threshold


@pytest.mark.parametrize("verdict", Verdict)
def test_only_one_verdict_is_as_expected(verdict: Verdict) -> None:
    outcome = Outcome(check=Check(make_expectation(), NOW), verdict=verdict)
    assert outcome.is_as_expected is (verdict is Verdict.AS_EXPECTED)
