"""Text in the HTML of mails and pages."""

import re
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)")


@register.filter
def whole_dates(text: Any) -> SafeString:
    """The text with its dates marked, so that none breaks at a hyphen; HTML stays as it is."""
    if isinstance(text, SafeString):
        return text
    parts = (
        format_html('<span class="mon-date">{}</span>', part) if place % 2 else part
        for place, part in enumerate(_DATE.split(str(text)))
    )
    return format_html_join("", "{}", ((part,) for part in parts))
