from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitoring.values import zone
from monitoring.values.outcome import END_OF_TIME
from monitoring.values.zone import local_time, zone_named

YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)


def test_a_zone_is_found_by_its_name() -> None:
    assert zone_named("Asia/Kolkata") == ZoneInfo("Asia/Kolkata")


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "Europe", "../etc/passwd", "tzdata.zi", "\0", "\n"])
def test_a_name_that_cannot_be_read_stands_for_the_zone_of_the_site(name: str, settings: Any) -> None:
    settings.TIME_ZONE = "America/New_York"
    assert zone_named(name) == ZoneInfo("America/New_York")


def test_so_does_the_name_of_a_directory_where_zones_come_from_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def directory(name: str) -> None:
        raise IsADirectoryError(name)

    monkeypatch.setattr(zone, "ZoneInfo", directory)
    assert str(zone_named("Europe")) == "UTC"


@pytest.mark.parametrize(
    ("time", "name"), [(YEAR_ONE, "America/New_York"), (END_OF_TIME, "Pacific/Kiritimati"), (END_OF_TIME, "")]
)
def test_at_the_ends_of_the_calendar_a_time_stays_as_it_is(time: datetime, name: str, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    assert local_time(time, ZoneInfo(name) if name else None) == time


def test_without_a_zone_a_time_is_in_that_of_the_site(settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    assert local_time(datetime(2026, 11, 22, tzinfo=UTC)).hour == 9
