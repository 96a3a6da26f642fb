"""How the admin shows what other modules found: statuses and links. All HTML here is escaped."""

from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from monitoring.alerting.words import MARKS, run_tone


def badge(text: str, tone: str) -> SafeString:
    """A word with a mark and a colour; `tone` is one of MARKS."""
    return format_html('<span class="mon-badge mon-{}">{} {}</span>', tone, MARKS[tone], text)


def run_badge(status: str) -> SafeString:
    return badge(status, run_tone(status))


def link(row: Model | None, text: str = "", site: str = "admin") -> SafeString | str:
    """A link to a row's page in the admin; its text alone if that admin does not show it."""
    if row is None:
        return "–"
    url = url_of(row, site)
    return format_html('<a href="{}">{}</a>', url, text or str(row)) if url else text or str(row)


def url_of(row: Model, site: str = "admin") -> str:
    """The URL of a row's page; empty if that admin does not show it."""
    try:
        return reverse(f"{site}:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    except NoReverseMatch:
        return ""
