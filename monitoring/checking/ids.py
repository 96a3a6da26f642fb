"""Ids instead of times: rows are made in the order of their ids, or nearly so, and no index covers when that was."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

RECORDED_AT = Coalesce("submitted_at", "started_at", "finished_at")  # when a run was first recorded


def ids_before(rows: QuerySet[Any], born: Combinable, instant: datetime) -> tuple[int, int]:
    """The first id of all, and the first of those born at `instant` or later, by bisection over the primary key.

    The second is one more than the last id if none was; both are 0 without rows.
    """
    dated = rows.annotate(born=born).exclude(born=None).values_list("pk", "born").order_by("pk")
    first, last = dated.first(), dated.last()
    if not (first and last):
        return 0, 0
    low, high = first[0], last[0] + 1
    while low < high:
        middle = (low + high) // 2
        found = dated.filter(pk__gte=middle).first()
        low, high = (found[0] + 1, high) if found and found[1] < instant else (low, middle)
    return first[0], low
