"""The head of the board, for the admin's front page or a page of the project's own."""

from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse

from monitoring.admin.board import head_context, may_see
from monitoring.checking.board import head
from monitoring.models import database_now

register = template.Library()


@register.inclusion_tag("admin/monitoring/board_tag.html", takes_context=True)
def monitoring_board(context: Any) -> dict[str, Any]:
    """Nothing for those who may see no monitors, nor in an admin that has no board."""
    request = context["request"]
    site = getattr(request, "current_app", None) or "admin"
    try:
        url = reverse(f"{site}:monitoring_board")
    except NoReverseMatch:
        return {}
    return {"url": url, **head_context(head(database_now()))} if may_see(request) else {}
