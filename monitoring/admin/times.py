"""How the admin writes times: to the second, to the minute, and how long ago. All HTML here is escaped."""

from datetime import datetime, timedelta, tzinfo

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from monitoring.templatetags.monitoring_text import whole_dates
from monitoring.values.text import written_span
from monitoring.values.zone import local_time

AN_INSTANT = timedelta(seconds=10)  # anything closer is "now", not a number of seconds
WEEKDAY_WITHIN = timedelta(days=6)  # any further, and a weekday could mean two days


def exact(instant: datetime, zone: tzinfo | None = None) -> str:
    """`2026-11-22 09:35:00 CET`; without a zone, in the site's."""
    return f"{local_time(instant, zone):%Y-%m-%d %H:%M:%S %Z}"


def to_the_minute(instant: datetime, zone: tzinfo) -> str:
    """`Sun 2026-11-22 09:35 CET`."""
    return f"{local_time(instant, zone):%a %Y-%m-%d %H:%M %Z}"


def by_weekday(instant: datetime, now: datetime, zone: tzinfo) -> str:
    """`Sun 09:35 CET` if the day is near, else with its date."""
    if abs(now - instant) < WEEKDAY_WITHIN:
        return f"{local_time(instant, zone):%a %H:%M %Z}"
    return to_the_minute(instant, zone)


def marked(instant: datetime, said: str) -> SafeString:
    """Text about an instant, with the instant itself for programs."""
    return format_html('<time datetime="{}">{}</time>', instant.isoformat(), said)


def at(instant: datetime, zone: tzinfo | None = None) -> SafeString:
    """The exact time, for a table."""
    return marked(instant, exact(instant, zone))


def when(instant: datetime | None, zone: tzinfo | None = None) -> SafeString | str:
    """`3 minutes ago`, for a list: the exact time is the tooltip."""
    if instant is None:
        return "–"
    exactly_then, ago = exact(instant, zone), naturaltime(instant)
    return format_html('<time datetime="{}" title="{}">{}</time>', instant.isoformat(), exactly_then, ago)


def exactly(instant: datetime | None, zone: tzinfo | None = None) -> SafeString | str:
    """`2026-11-22 09:35:00 CET, 3 minutes ago`, for a page."""
    if instant is None:
        return "–"
    return format_html('{}<span class="mon-quiet">, {}</span>', at(instant, zone), naturaltime(instant))


def as_of(instant: datetime, now: datetime, zone: tzinfo | None = None) -> SafeString:
    """`3 min ago` or `in 3 min` as seen from `now` and, given a zone, the time: `3 min ago, Sun 09:35 CET`."""
    span = written_span(abs(now - instant))
    said = f"{span} ago" if instant <= now else f"in {span}"
    if abs(now - instant) < AN_INSTANT:
        said = "just now" if instant <= now else "now"
    then = (
        format_html('<span class="mon-quiet">, {}</span>', whole_dates(by_weekday(instant, now, zone))) if zone else ""
    )
    return format_html("{}{}", marked(instant, said), then)
