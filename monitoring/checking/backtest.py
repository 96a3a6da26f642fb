"""What checks would have found at many past instants, and how far back the history can tell."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise

from monitoring.checking.evaluation import evaluate
from monitoring.conf import conf
from monitoring.models import BackgroundTask, database_alias
from monitoring.values.outage import is_excused
from monitoring.values.outcome import Check, Outcome, Verdict
from monitoring.values.text import storable_name

PIECE = 10_000  # checks in memory, each with its outcome

Span = tuple[int, int]


def replay(checks: Iterable[Check]) -> Iterator[Outcome]:
    """The outcome that `evaluate` would give for each of these checks, though it is asked about only some.

    Each check's `until` must equal its `at`. Checks of one expectation must follow each other in the order of time. If
    two of them found the same, so did all between them; otherwise the one in the middle is evaluated next.
    """
    checks = iter(checks)
    while piece := list(islice(checks, PIECE)):
        yield from _replay(piece)


def known_since(task_name: str, now: datetime) -> datetime | None:
    """Since when a task's history is complete: its oldest run that is too young to be pruned; None without one."""
    runs = BackgroundTask.objects.using(database_alias()).filter(task_name=storable_name(task_name))
    days = conf().KEEP_RUNS_DAYS
    kept_since = now - timedelta(days=days) if days else datetime.min.replace(tzinfo=now.tzinfo)
    started = runs.filter(started_at__gte=kept_since).order_by("started_at", "id").values_list("started_at", flat=True)
    waiting = runs.filter(started_at=None, submitted_at__gte=kept_since).order_by("started_at", "id")
    signs = [started.first(), waiting.values_list("submitted_at", flat=True).first()]
    return min((sign for sign in signs if sign and sign <= now), default=None)


def _replay(checks: Sequence[Check]) -> list[Outcome]:
    spans = _spans(checks)
    asked = sorted({place for span in spans for place in span})
    found: dict[int, Outcome] = {}
    while asked:
        found.update(zip(asked, evaluate([checks[place] for place in asked]), strict=True))
        halved: list[tuple[int, int, int]] = []
        for first, last in spans:
            if last - first > 1 and not _is_same_between(found[first], found[last]):
                halved.append((first, (first + last) // 2, last))
            else:
                found.update((place, found[first]._replace(check=checks[place])) for place in range(first + 1, last))
        asked = [middle for _, middle, _ in halved]
        spans = [half for span in halved for half in pairwise(span)]
    return [found[place] for place in range(len(checks))]


def _spans(checks: Sequence[Check]) -> list[Span]:
    """The places of each expectation's first and last check."""
    begins = [0]
    begins += [
        place
        for place, (one, other) in enumerate(pairwise(checks), 1)
        if one.expectation is not other.expectation or one.at > other.at
    ]
    return [(begin, end - 1) for begin, end in pairwise([*begins, len(checks)])]


def _is_same_between(one: Outcome, other: Outcome) -> bool:
    """Whether each check between these two, all of one expectation, finds what both of them found.

    A run that started between the two and was found by a check there would also be found by the later one, unless that
    one's window begins after it. And no run returns to an earlier state.
    """
    if (one.verdict, one.run, one.waiting, one.reason) != (other.verdict, other.run, other.waiting, other.reason):
        return False
    is_always_so = one.verdict is Verdict.NOT_JUDGED and not is_excused(one)
    if is_always_so or (one.run and one.run.started_at):
        return True
    return other.check.threshold <= one.check.at
