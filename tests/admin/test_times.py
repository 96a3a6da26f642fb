"""How the admin writes times: in their zone, with what tells the two hours of an autumn night apart."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from monitoring.admin.times import as_of, at, by_weekday, exact, exactly, to_the_minute, when
from monitoring.templatetags.monitoring_text import whole_dates
from tests.factories import NOW

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_time_is_written_to_the_second_or_to_the_minute_with_its_zone() -> None:
    assert exact(NOW, BERLIN) == "2026-11-22 09:35:00 CET"
    assert to_the_minute(NOW, BERLIN) == "Sun 2026-11-22 09:35 CET"
    assert at(NOW, BERLIN) == '<time datetime="2026-11-22T08:35:00+00:00">2026-11-22 09:35:00 CET</time>'


@pytest.mark.parametrize("away", [timedelta(days=-5), timedelta(days=5)])
def test_a_weekday_stands_alone_as_long_as_it_names_one_day(away: timedelta) -> None:
    assert by_weekday(NOW, NOW + away, BERLIN) == "Sun 09:35 CET"
    assert by_weekday(NOW, NOW + 2 * away, BERLIN) == "Sun 2026-11-22 09:35 CET"


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(minutes=-3), "3 min ago"),
        (timedelta(minutes=3), "in 3 min"),
        (timedelta(seconds=-9), "just now"),
        (timedelta(seconds=9), "now"),
    ],
)
def test_how_far_a_time_is_away_is_said_as_of_the_page(away: timedelta, said: str) -> None:
    assert f">{said}</time>" in as_of(NOW + away, NOW)
    assert f", {by_weekday(NOW + away, NOW, BERLIN)}</span>" in as_of(NOW + away, NOW, BERLIN)


def test_dates_in_a_text_are_kept_together_and_the_rest_is_escaped() -> None:
    whole = '<span class="mon-date">2026-11-22</span>'
    assert whole_dates("<b> since 2026-11-22 09:35 CET") == f"&lt;b&gt; since {whole} 09:35 CET"
    assert whole_dates(at(NOW, BERLIN)) == at(NOW, BERLIN)
    assert whole in as_of(NOW, NOW + timedelta(days=9), BERLIN)


def test_what_has_not_happened_is_a_dash() -> None:
    assert (when(None), exactly(None)) == ("–", "–")
