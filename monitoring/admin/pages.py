"""Lists of millions of rows, paged by key, without counting them all or skipping over any."""

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest, QueryDict
from django.utils.html import format_html
from django.utils.safestring import SafeString

from monitoring.admin.times import exactly
from monitoring.checking.history import names_beginning
from monitoring.checking.runs import newest_of_names

OLDER, NEWER = "older_than", "newer_than"
COUNTED = 10_000  # rows counted at most; for more, the page only says "more than"
LOOKED_AT = 10_000  # keys that one filtered page searches at most, since no index covers the filters


class KeyedList(ChangeList):
    """A page holds the rows older, or newer, than a given row. `looked_until` says where a filtered page gave up."""

    older: str = ""
    newer: str = ""
    looked_until: SafeString | str = ""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """The page's place is not a filter, and a change of filter or search drops it."""
        if any("\0" in value for values in request.GET.lists() for value in (values[0], *values[1])):
            raise IncorrectLookupParameters  # PostgreSQL would refuse the statement
        for name in (OLDER, NEWER):
            self.filter_params.pop(name, None)
            self.params.pop(name, None)
        self.older_than, self.newer_than = key_in(request.GET, OLDER), key_in(request.GET, NEWER)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        rows, goes_on_at = self.candidates()
        found = list(rows[: size + 1])
        page = found[:size]
        beyond = page[-1].pk if len(found) > size else goes_on_at
        if self.newer_than:
            page.reverse()
        came_from = self.older_than or self.newer_than
        older_than = (page[-1].pk if page else came_from) if self.newer_than else beyond
        newer_than = beyond if self.newer_than else (page[0].pk if page else came_from) if came_from else None
        self.older = self._place(OLDER, older_than) if older_than else ""
        self.newer = self._place(NEWER, newer_than) if newer_than else ""
        self.newest = self.get_query_string() if came_from else ""
        if goes_on_at and beyond == goes_on_at:
            self.looked_until = _place_in_time(self._beyond(self.root_queryset, goes_on_at).first())
        self.result_list: Any = page
        self.result_count = self.full_result_count = len(page)
        self.show_full_result_count, self.show_admin_actions = False, True
        self.can_show_all, self.multi_page = False, False

    def candidates(self) -> tuple[QuerySet[Any], int | None]:
        """The rows that the page is taken from, nearest first, and the key from which the next page must go on."""
        rows, every = self._beyond(self.queryset), self._beyond(self.root_queryset)
        if not self.is_filtered:
            return rows, None
        ahead = self._looks_until(every)
        if ahead is None:
            return rows, None
        is_near = {"pk__lt": ahead} if self.newer_than else {"pk__gt": ahead}
        step = -1 if self.newer_than else 1
        # Keys are sparse where runs were pruned, so the next page begins at a row that exists. Only one bound is given:
        # of two, SQLite would seek to the nearer one and step over all rows up to the other.
        beyond = self._beyond(self.root_queryset, ahead + step).values_list("pk", flat=True).first()
        return rows.filter(**is_near), None if beyond is None else beyond + step

    def _looks_until(self, every: QuerySet[Any]) -> int | None:
        """The key past which this page does not look; None on an empty table."""
        if self.newer_than:
            return self.newer_than + LOOKED_AT + 1
        nearest = self.older_than or every.values_list("pk", flat=True).first()
        return None if nearest is None else nearest - LOOKED_AT - (0 if self.older_than is None else 1)

    @property
    def is_filtered(self) -> bool:
        return bool(self.has_active_filters or self.query)

    def how_many(self) -> str:
        """Of a filtered list never how many rows match: to count them, the whole table would have to be read."""
        if not self.is_filtered:
            return self.counted()
        if self.result_list or self.looked_until:
            return f"{len(self.result_list)} shown of {self.counted()} in all"
        return f"No {'more ' if self.newest else ''}{self.opts.verbose_name_plural} match."

    def counted(self) -> str:
        number = self.root_queryset.order_by()[: COUNTED + 1].count()
        noun = self.opts.verbose_name if number == 1 else self.opts.verbose_name_plural
        return f"more than {COUNTED:,} {noun}" if number > COUNTED else f"{number:,} {noun}"

    def _beyond(self, rows: QuerySet[Any], place: int | None = None) -> QuerySet[Any]:
        """The rows past the page's place, or past `place`, nearest first."""
        if place is None:
            place = self.newer_than or self.older_than or None
        if self.newer_than:
            return rows.filter(pk__gt=place).order_by("pk")
        return (rows if place is None else rows.filter(pk__lt=place)).order_by("-pk")

    def _place(self, name: str, key: int) -> str:
        return str(self.get_query_string({name: str(key)}))


class RunList(KeyedList):
    """Pages of a search are ordered by when runs started, as the index on names is."""

    def candidates(self) -> tuple[QuerySet[Any], int | None]:
        term = self.query.strip()
        if not term:
            return super().candidates()
        of_id = self.queryset.filter(task_id=term)
        if of_id.exists():
            return of_id, None
        before = self.root_queryset.filter(pk=self.older_than).first() if self.older_than else None
        newest = newest_of_names(names_beginning(term), before)
        rows = self.queryset.filter(pk__in=newest.keys).annotate(place=Coalesce("started_at", "submitted_at"))
        return rows.order_by("-place", "-pk"), newest.goes_on_at


def _place_in_time(row: Any) -> SafeString | str:
    instants = (getattr(row, name, None) for name in ("started_at", "submitted_at", "opened_at", "created_at"))
    instant = next(filter(None, instants), None)
    return format_html("back to {}", exactly(instant)) if instant else ""


def key_in(query: QueryDict, name: str) -> int | None:
    """None for what cannot be a row's key, as in a URL typed by hand."""
    given = query.get(name, "")
    return int(given) if given.isdecimal() and len(given) < 19 else None
