"""The time zone in which times are shown."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone


def zone_named(name: str) -> ZoneInfo:
    """The site's time zone for an empty name, and for one that cannot be read."""
    try:
        return ZoneInfo(name) if name else timezone.get_default_timezone()
    # The row is corrupt, or this host knows fewer zones than the one where the zone was chosen.
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return timezone.get_default_timezone()
