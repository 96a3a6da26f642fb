"""The runs that a monitor looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.checking.context import Context, by_context
from monitoring.checking.probe import EVER_SINCE, Filter, Probe, newest_runs, place_in_time
from monitoring.models import BackgroundTask, Monitor, database_alias
from monitoring.values.facts import Facts
from monitoring.values.outcome import END_OF_TIME, RunFacts
from monitoring.values.text import storable_name

# For several names together. With a limit near what an average task has, PostgreSQL would read and sort all runs.
LOOKED_AT = 200
LOOKED_AT_OF_EACH = 20


@dataclass(frozen=True, slots=True)
class LastRuns:
    """Runs, newest first; `problem` says why they could not be queried."""

    runs: tuple[RunFacts, ...] = ()
    problem: str = ""


def last_runs(monitor: Monitor, limit: int) -> LastRuns:
    """The newest runs that this monitor looks at, started or not, of any age: those of its context if it has one."""
    (found,) = last_runs_of([monitor], limit)
    return found


def last_runs_of(monitors: Sequence[Monitor], limit: int) -> list[LastRuns]:
    """The same for each monitor, in their order.

    Takes two SQL statements for each context model, counted twice if asked for both with and without a type.
    """
    using = database_alias()
    return by_context(
        monitors, context_of, lambda group, only: _last_runs(group, limit, using, only), _not_queried, using
    )


def context_of(watched: Monitor | Facts) -> Context:
    """What its runs are looked for in."""
    return Context(watched.context_model, bool(watched.context_type))


def _not_queried(monitor: Monitor, problem: str) -> LastRuns:
    return LastRuns(problem=problem)


def _last_runs(monitors: Sequence[Monitor], limit: int, using: str, only: Filter) -> list[LastRuns]:
    probes = [Probe(each.task_name, context_type=each.context_type) for each in monitors]
    return [LastRuns(tuple(runs[:limit])) for runs in newest_runs(probes, using, only, started=limit, unstarted=limit)]


@dataclass(frozen=True, slots=True)
class Newest:
    """Keys of runs; `goes_on_at` is the last of them if there may be older ones, else None."""

    keys: tuple[int, ...]
    goes_on_at: int | None


def newest_of_names(names: Sequence[str], before: BackgroundTask | None = None) -> Newest:
    """The newest runs of all these names together, up to some hundreds; if `before` is given, only older ones."""
    until = before and (before.started_at or before.submitted_at)
    limit = max(LOOKED_AT // len(names), LOOKED_AT_OF_EACH)
    probes = [Probe(name, until=until or END_OF_TIME) for name in names]
    of_each = [runs[:limit] for runs in newest_runs(probes, database_alias(), started=limit, unstarted=limit)]
    # If a name has more runs than were read, the combined list would have gaps after the last one that was read.
    known_until = max((place_in_time(runs[-1]) for runs in of_each if len(runs) == limit), default=None)
    found = [(place_in_time(run), run.id) for runs in of_each for run in runs]
    keys = tuple(
        key
        for place, key in sorted(found, reverse=True)
        if not (known_until and place < known_until) and not (until and before and place >= (until, before.pk))
    )
    return Newest(keys, keys[-1] if keys and known_until else None)


def start_of(task_name: str, number: int, until: datetime, using: str) -> datetime:
    """When the last of the `number` newest runs up to `until` started; EVER_SINCE if there are fewer.

    Asked by the name itself, this is answered by the index alone. With a probe PostgreSQL would expect as many runs as
    an average task has, and would read and sort all runs of a frequent one.
    """
    runs = BackgroundTask.objects.using(using).filter(task_name=storable_name(task_name), started_at__lte=until)
    starts = runs.order_by("-started_at", "-id").values_list("started_at", flat=True)
    return starts[number - 1 : number].first() or EVER_SINCE
