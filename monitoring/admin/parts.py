"""Parts that several pages are made of: spans, tables, facts, framed mails. All HTML here is escaped."""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Any

from django.http import HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitoring.admin.display import badge
from monitoring.alerting.states import MessageState
from monitoring.alerting.words import fact_rows
from monitoring.models import Incident, Monitor
from monitoring.templatetags.monitoring_text import whole_dates
from monitoring.values.facts import AlertKind, Facts
from monitoring.values.text import written_span
from monitoring.values.zone import zone_named

MESSAGE_TONES = {
    MessageState.PENDING: "idle",
    MessageState.FAILED: "bad",
    MessageState.GIVEN_UP: "bad",
    MessageState.SENT: "good",
    MessageState.DEFERRED: "busy",
    MessageState.DELIVERED: "good",
    MessageState.REJECTED: "bad",
    MessageState.BOUNCED: "bad",
    MessageState.COMPLAINED: "bad",
}
# A mail may hold anything that a task or a project's template put into it, so its frame runs and submits nothing.
FRAME_HEADERS = {
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; sandbox",
}


def message_badge(state: MessageState) -> SafeString:
    return badge(state.value, MESSAGE_TONES[state])


def kind_badge(kind: str) -> SafeString:
    """The badge of an alert's kind."""
    label = AlertKind(kind).label if kind in AlertKind.values else kind
    return badge(str(label), "good" if kind == AlertKind.RESOLVED else "bad")


def incident_badge(incident: Incident) -> SafeString:
    return badge("closed", "good") if incident.closed_at else badge("open", "bad")


def lasted(started_at: datetime | None, finished_at: datetime | None) -> str:
    """How long it took; a dash for what has not ended."""
    if started_at is None or finished_at is None or finished_at < started_at:
        return "–"
    return written_span(finished_at - started_at)


def zone_of(monitor: Monitor) -> tzinfo:
    return zone_named(monitor.time_zone)


def overview_link(monitor: Monitor | None, text: str, site: str) -> SafeString | str:
    """A link to the monitor's overview; the text alone if it is gone, or that admin has no such page."""
    url = overview_url(monitor, site)
    return format_html('<a href="{}">{}</a>', url, text) if url else text


def overview_url(monitor: Monitor | None, site: str) -> str:
    """Empty if the monitor is gone, or that admin has no such page."""
    try:
        return reverse(f"{site}:monitoring_monitor_overview", args=[monitor.pk]) if monitor else ""
    except NoReverseMatch:
        return ""


def breakable(text: str) -> SafeString:
    """In a narrow column it breaks after `_` and `.` and before a capital, an address only up to its @."""
    before, at, domain = text.partition("@")
    parts = re.split(r"(?<=[_.])(?=.)|(?<=[a-z])(?=[A-Z])", before + at)
    return format_html_join(SafeString("<wbr>"), "{}", ((part,) for part in (*parts, domain) if part))


def shared_zone(zones: Iterable[tzinfo]) -> tzinfo:
    """The zone that they all have, for a page's times; the site's if they differ or there is none."""
    different = set(zones)
    return different.pop() if len(different) == 1 else timezone.get_default_timezone()


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "None.") -> SafeString:
    cells = [format_html_join("", "<td>{}</td>", ((cell,) for cell in row)) for row in rows]
    if not cells:
        return format_html('<p class="mon-quiet">{}</p>', empty)
    return format_html(
        '<div class="mon-scroll" tabindex="0"><table class="mon-table">'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>",
        format_html_join("", '<th scope="col">{}</th>', ((heading,) for heading in headings)),
        format_html_join("", "<tr>{}</tr>", ((row,) for row in cells)),
    )


def listed(lines: Sequence[Any]) -> SafeString:
    """A single line as it is, several as a list."""
    if len(lines) == 1:
        return format_html("{}", lines[0])
    return format_html('<ul class="mon-said">{}</ul>', format_html_join("", "<li>{}</li>", ((line,) for line in lines)))


def pairs(rows: Iterable[tuple[str, Any]]) -> SafeString:
    """Labels and their values, one under the other."""
    written = ((label, whole_dates(value)) for label, value in rows)
    return format_html('<dl class="mon-pairs">{}</dl>', format_html_join("", "<dt>{}</dt><dd>{}</dd>", written))


def facts_found(stored: dict[str, Any]) -> SafeString | str:
    """Stored facts as a mail shows them; as they were stored if another version wrote what we cannot read."""
    facts = Facts.read(stored)
    return pairs(fact_rows(facts)) if facts else pre(json.dumps(stored, indent=2))


def pre(text: str) -> SafeString | str:
    return format_html('<pre class="mon-pre" tabindex="0">{}</pre>', text) if text else "–"


def frame(url: str, title: str) -> SafeString:
    return format_html('<iframe class="mon-mail" sandbox loading="lazy" src="{}" title="{}"></iframe>', url, title)


def framed(html: str) -> HttpResponse:
    """A mail's HTML part, for a frame on a page of this site."""
    return HttpResponse(html, headers=FRAME_HEADERS)
