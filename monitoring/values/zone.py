"""The time zone in which times are shown."""

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone


def zone_named(name: str) -> ZoneInfo:
    """The site's time zone for an empty name, and for one that cannot be read."""
    try:
        return ZoneInfo(name) if name else timezone.get_default_timezone()
    # The row is corrupt, or this host knows fewer zones than the one where the zone was chosen.
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return timezone.get_default_timezone()


def local_time(time: datetime, zone: tzinfo | None = None) -> datetime:
    """In this zone, else the site's; unchanged at the ends of the calendar, if the zone's time would lie beyond."""
    try:
        return timezone.localtime(time, zone)
    except OverflowError:
        return time
