"""What a project's template may do to itself."""

from django import template
from django.db import connection

register = template.Library()


@register.simple_tag
def explode() -> str:
    raise RuntimeError("the template exploded")


@register.simple_tag
def count_what_is_missing() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM table_that_was_dropped")
        return cursor.fetchone()[0]
