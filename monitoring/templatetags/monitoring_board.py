"""The head of the board, for the admin's front page or one of the project's own pages."""

from typing import Any

from django import template
from django.db import DatabaseError
from django.urls import NoReverseMatch, reverse

from monitoring.admin.board import head_context, may_see
from monitoring.checking.board import head
from monitoring.checking.context import reading
from monitoring.models import database_alias, database_now

register = template.Library()


@register.inclusion_tag("admin/monitoring/board_tag.html", takes_context=True)
def monitoring_board(context: Any) -> dict[str, Any]:
    """Nothing for users who may not see monitors, nor in an admin that has no board.

    The rest of the page is not ours: if the monitor's tables cannot be queried, only this part says so.
    """
    request = getattr(context, "request", None)  # a variable of that name needs a context processor
    site = getattr(request, "current_app", None) or "admin"
    try:
        url = reverse(f"{site}:monitoring_board")
    except NoReverseMatch:
        return {}
    if not request or not may_see(request):
        return {}
    try:
        with reading(database_alias()):
            return {"url": url, **head_context(head(database_now()))}
    except DatabaseError as error:
        return {"problem": str(error).partition("\n")[0]}
