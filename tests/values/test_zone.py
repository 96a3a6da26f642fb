from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitoring.values import zone
from monitoring.values.zone import zone_named


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
