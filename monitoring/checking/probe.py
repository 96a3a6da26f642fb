"""Finds the newest run of a name, for any number of names in one SQL statement.

A probe is one descent of an index, however long the history is. All probes are sent as one JSON parameter, so that
neither the statement nor its number of parameters grows with them. PostgreSQL assumes that any JSON holds thousands of
probes. A LIMIT tells it when there are fewer: it would otherwise spend more time compiling the statement than on a
probe.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache, partial
from time import monotonic
from typing import Any, NamedTuple

from django.db import connections

from monitoring.checking.remembered import Remembered
from monitoring.models import BackgroundTask
from monitoring.values.outcome import END_OF_TIME, RunFacts
from monitoring.values.run_event import RunStatus
from monitoring.values.text import storable_name

_TABLE = BackgroundTask._meta.db_table
_EPOCH = EVER_SINCE = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ZONE_FROM = len("2026-11-22 08:35:00")  # a hyphen before it belongs to the date, not to a zone
# Times are read as text: parsed here, once for each run, they cost a fraction of the drivers' own conversions.
_COLUMNS = "run.id, run.task_id, run.status, {}, {}, {}, run.attempts".format(
    *(f"CAST(run.{name} AS text)" for name in ("submitted_at", "started_at", "finished_at"))
)

# Probes are grouped by window, since most share theirs: each window comes with the names to look for in it, and `first`
# is the place of its first name. Both databases must materialize windows, or they read all names again for each name.
_STATEMENT = {
    "postgresql": """
WITH windows AS MATERIALIZED (
  SELECT (item->>0)::integer AS first, item->>3 AS context_type, item->4 AS names,
    to_timestamp(0) + (item->>1)::bigint * interval '1 microsecond' AS since,
    to_timestamp(0) + (item->>2)::bigint * interval '1 microsecond' AS until
  FROM json_array_elements(%s::json) AS items(item))
SELECT probe.place, {columns}
FROM (SELECT windows.first + nth::integer - 1 AS place, name, since, until, context_type
      FROM windows CROSS JOIN LATERAL json_array_elements_text(windows.names) WITH ORDINALITY AS named(name, nth)
      LIMIT {probes}) AS probe
CROSS JOIN LATERAL ({search}) AS run
""",
    "sqlite": """
WITH windows(first, since, until, context_type, names) AS MATERIALIZED (
  SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]')
  FROM json_each(%s)),
probe(place, name, since, until, context_type) AS MATERIALIZED (
  SELECT windows.first + named.key, named.value, since, until, context_type
  FROM windows, json_each(windows.names) AS named)
SELECT probe.place, {columns}
FROM probe JOIN {table} run ON run.id {among} ({search})
""",
}
_SEARCH = """
  SELECT run.{wanted} FROM {runs} run WHERE run.task_name = probe.name AND {condition} ORDER BY {order} LIMIT {limit}"""
_WANTED = {"postgresql": "*", "sqlite": "id"}
# The second search runs only if the first finds nothing: PostgreSQL goes through the branches in order.
_EITHER = {"postgresql": "({}) UNION ALL ({}) LIMIT 1", "sqlite": "COALESCE(({}), ({}))"}

STARTED = "run.started_at >= probe.since AND run.started_at <= probe.until"
STARTED_EVER = "run.started_at <= probe.until"
COMPLETED = f"run.status = '{RunStatus.COMPLETED.value}'"
# The last runs of a probe's name, to be searched for some of them: however long the history is, no more are read. The
# index alone tells which they are. They are read in its order, until enough of them pass the conditions.
_LAST_RUNS = {
    # If the inner query selected whole rows, PostgreSQL would read and sort all runs of a frequent task. LATERAL makes
    # it go row by row: with a plain join it might apply a filter to all runs of the name, or read a small table whole.
    "postgresql": f"""(SELECT run.*, last.started_at AS began, last.id AS number
                      FROM (SELECT run.id, run.started_at FROM {_TABLE} run
                            WHERE run.task_name = probe.name AND {STARTED_EVER}
                            ORDER BY run.started_at DESC, run.id DESC LIMIT {{among}}) last
                      CROSS JOIN LATERAL (SELECT run.* FROM {_TABLE} run WHERE run.id = last.id LIMIT 1) run)""",
    # With a join SQLite would read and sort them all. Runs that started together with the last one are included too.
    "sqlite": f"""(SELECT run.*, run.started_at AS began, run.id AS number FROM {_TABLE} run
                  WHERE run.started_at >= coalesce((
                    SELECT run.started_at FROM {_TABLE} run WHERE run.task_name = probe.name AND {STARTED_EVER}
                    ORDER BY run.started_at DESC, run.id DESC LIMIT 1 OFFSET {{among}} - 1), '')
                  AND {STARTED_EVER})""",
}
UNSTARTED = "run.started_at IS NULL AND run.submitted_at <= probe.until"
WAITED = "run.submitted_at <= probe.until"
# A run that waited at a past instant and has started since is searched for among the next runs to start, since a queue
# has an order. One that a hundred others overtook is not found: searching all runs that started since would mean
# reading half the history each time.
_NEXT_RUNS = f"""(SELECT run.* FROM {_TABLE} run WHERE run.task_name = probe.name AND run.started_at > probe.until
                 ORDER BY run.started_at, run.id LIMIT 100)"""
# Runs are recorded in batches, each in the order of its task ids: the one submitted last is among the last recorded.
_SUBMITTED = "run.submitted_at >= probe.since AND run.submitted_at <= probe.until"
_LAST_UNSTARTED = {
    # Row by row, since PostgreSQL might else read and sort all runs of a frequent task that never started.
    "postgresql": f"""(SELECT run.*
                      FROM (SELECT run.id FROM {_TABLE} run WHERE run.task_name = probe.name AND run.started_at IS NULL
                            ORDER BY run.started_at DESC, run.id DESC LIMIT 100) last
                      CROSS JOIN LATERAL (SELECT run.* FROM {_TABLE} run WHERE run.id = last.id LIMIT 1) run)""",
    "sqlite": f"""(SELECT run.* FROM {_TABLE} run WHERE run.task_name = probe.name AND run.started_at IS NULL
                  ORDER BY run.started_at DESC, run.id DESC LIMIT 100)""",
}
_LAST_SUBMITTED = f"(SELECT * FROM {{unstarted}} unstarted UNION ALL SELECT * FROM {_NEXT_RUNS} started)"
_BY_START, _BY_RECORD = "run.started_at DESC, run.id DESC", "run.id DESC"
_BY_SUBMISSION = "run.submitted_at DESC, run.id DESC"
_AS_LAST_RUNS = "run.began DESC, run.number DESC"

ALL_NAMES = 1_000_000
# One descent of the index for each name, however many runs it has: neither database skips over them by itself.
_NAMES = """
WITH RECURSIVE names(name) AS (
  SELECT min(task_name) FROM {table}
  UNION ALL
  SELECT (SELECT min(task_name) FROM {table} WHERE task_name > names.name) FROM names WHERE names.name IS NOT NULL)
SELECT name FROM names WHERE name IS NOT NULL LIMIT %s
"""


class Probe(NamedTuple):
    """Asks for the newest run of `name` from `since` to `until`, both included."""

    name: str
    since: datetime = EVER_SINCE
    until: datetime = END_OF_TIME
    context_type: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """An SQL condition on `run` and `probe`, with its parameters."""

    condition: str
    parameters: tuple[Any, ...] = ()


ALL = Filter("TRUE")


# Cached: the same names are asked for each minute.
@lru_cache(maxsize=50_000)
def _said(text: str) -> str:
    """The text as JSON."""
    return json.dumps(storable_name(text))


def newest(probes: Sequence[Probe], using: str, only: Filter = ALL) -> dict[int, RunFacts]:
    """By each probe's place, its newest run by start (ties: the newest id), else what `newest_unstarted` finds.

    Probes that find neither are left out. A run that ended after its probe's `until` is returned as it stood then:
    Running.
    """
    found = _newest(probes, using, STARTED, only, otherwise=UNSTARTED)
    return _with_those_that_waited(dict(found), probes, using, only)


def started_in(probes: Sequence[Probe], using: str, only: Filter = ALL, *, limit: int) -> list[list[RunFacts]]:
    """For each probe the newest runs in its window, newest first, as they stand now.

    With a `limit` above 1 the window should hold no more than a few thousand runs, since PostgreSQL sorts them.
    """
    found: list[list[RunFacts]] = [[] for _ in probes]
    for place, run in _newest(probes, using, STARTED, only, limit):
        found[place].append(run)
    return [sorted(runs, key=place_in_time, reverse=True) for runs in found]


def newest_unstarted(probes: Sequence[Probe], using: str, only: Filter = ALL) -> dict[int, RunFacts]:
    """Like `newest`, among the runs that had not started and were submitted by `until`, however long ago.

    The newest is the one recorded last. `since` is ignored: with a lower bound PostgreSQL would expect so few runs that
    it sorts them. A run that started or ended after a past `until` is returned as it stood then: as Queued, since
    nothing tells whether it was Pending.
    """
    return _with_those_that_waited(dict(_newest(probes, using, UNSTARTED, only)), probes, using, only)


def newest_submitted(probes: Sequence[Probe], using: str, only: Filter = ALL) -> dict[int, RunFacts]:
    """Like `newest_unstarted`, but the newest is the one submitted last, from `since` on.

    It is searched for among the last hundred of its name to be recorded, and the next hundred to start.
    """
    runs = _LAST_SUBMITTED.format(unstarted=_LAST_UNSTARTED[connections[using].vendor])
    found = _newest(probes, using, _SUBMITTED, only, runs=runs, order=_BY_SUBMISSION)
    return {place: _as_of(run, probes[place].until) for place, run in found}


def _with_those_that_waited(
    found: dict[int, RunFacts], probes: Sequence[Probe], using: str, only: Filter
) -> dict[int, RunFacts]:
    """Each run as it stood at `until`.

    If a probe found no started run, those that have started since are searched too: one may have been recorded later
    than the run that was found.
    """
    past = [place for place, probe in enumerate(probes) if probe.until != END_OF_TIME]
    if not past:
        return found
    waiting = [place for place in past if not (place in found and found[place].started_at)]
    waited = _newest([probes[place] for place in waiting], using, WAITED, only, runs=_NEXT_RUNS, order=_BY_RECORD)
    for nth, run in waited:
        known = found.get(waiting[nth])
        found[waiting[nth]] = known if known and known.id > run.id else run
    return {place: _as_of(run, probes[place].until) for place, run in found.items()}


def newest_runs(
    probes: Sequence[Probe], using: str, only: Filter = ALL, *, started: int, unstarted: int, among: int | None = None
) -> list[list[RunFacts]]:
    """For each probe its newest runs, newest first: up to `started` that started, up to `unstarted` that never did.

    They may be of any age. `since` is ignored: with a lower bound PostgreSQL would expect so few here too that it reads
    and sorts them all. Runs that never started are placed by when they were submitted. `among` limits how many runs of
    the name are searched for those that pass the filter, which may be rare.
    """
    found: list[list[RunFacts]] = [[] for _ in probes]
    last_runs, order = (_last_runs(among, using), _AS_LAST_RUNS) if among else (_TABLE, _BY_START)
    for place, run in _newest(probes, using, STARTED_EVER, only, started, last_runs, order):
        found[place].append(_as_of(run, probes[place].until))
    for place, run in _newest(probes, using, UNSTARTED, only, unstarted):
        found[place].append(run)
    return [sorted(runs, key=place_in_time, reverse=True) for runs in found]


def newest_completed(probes: Sequence[Probe], among: int, using: str, only: Filter = ALL) -> dict[int, RunFacts]:
    """By each probe's place, the newest completed run among the last `among` runs of its name."""
    found = _newest(probes, using, COMPLETED, only, runs=_last_runs(among, using), order=_AS_LAST_RUNS)
    return dict(found)


def task_names(using: str, limit: int = ALL_NAMES) -> list[str]:
    """The name of each task that has a run, started or not, in the database's order; `limit` at most."""
    with connections[using].cursor() as cursor:
        cursor.execute(_NAMES.format(table=_TABLE), [limit])
        return [name for (name,) in cursor.fetchall()]


def place_in_time(run: RunFacts) -> tuple[datetime, int]:
    return run.started_at or run.submitted_at or _EPOCH, run.id


def _last_runs(among: int, using: str) -> str:
    return _LAST_RUNS[connections[using].vendor].format(among=among)


def _newest(
    probes: Sequence[Probe],
    using: str,
    condition: str,
    only: Filter,
    limit: int = 1,
    runs: str = _TABLE,
    order: str = _BY_START,
    otherwise: str = "",
) -> list[tuple[int, RunFacts]]:
    """Pairs of a probe's place and a run, up to `limit` for each probe.

    If no run meets the condition, the one that meets `otherwise`, if that is given.
    """
    if not probes or not limit:
        return []
    connection = connections[using]
    vendor = connection.vendor
    searches = [
        _SEARCH.format(
            wanted=_WANTED[vendor], runs=runs, condition=f"{each} AND {only.condition}", order=order, limit=limit
        )
        for each in (condition, otherwise)
        if each
    ]
    statement = _STATEMENT[vendor].format(
        table=_TABLE,
        columns=_COLUMNS,
        search=_EITHER[vendor].format(*searches) if otherwise else searches[0],
        among="=" if limit == 1 else "IN",
        probes=len(probes),
    )
    windows, places = _by_window(probes, connection)
    with connection.cursor() as cursor:
        cursor.execute(statement, [windows, *only.parameters * len(searches)])
        rows = cursor.fetchall()
    _runs.turn(monotonic())
    return [(places[row[0]], _runs.of(row[1:])) for row in rows]


def _by_window(probes: Sequence[Probe], connection: Any) -> tuple[str, list[int]]:
    """The probes' windows as JSON, each with its names, and the probes' places in the order of these names."""
    grouped: dict[tuple[datetime, datetime, str], list[int]] = {}
    for place, probe in enumerate(probes):
        grouped.setdefault(probe[1:], []).append(place)
    time = cache(partial(_written, connection))
    windows: list[str] = []
    places: list[int] = []
    for (since, until, kind), group in grouped.items():
        names = ",".join([_said(probes[place].name) for place in group])
        windows.append(f"[{len(places)},{time(since)},{time(until)},{_said(kind)},[{names}]]")
        places += group
    return f"[{','.join(windows)}]", places


def _run(
    id: int,
    task_id: str,
    status: str,
    submitted_at: str | None,
    started_at: str | None,
    finished_at: str | None,
    attempts: int,
) -> RunFacts:
    return RunFacts(
        id=id,
        task_id=task_id,
        status=status,
        submitted_at=instant(submitted_at),
        started_at=instant(started_at),
        finished_at=instant(finished_at),
        attempts=attempts,
    )


# The same runs are found each minute, and many times over by a caller that asks about many instants.
_runs = Remembered(_run)


def _as_of(run: RunFacts, until: datetime) -> RunFacts:
    if run.started_at and run.started_at > until:
        return replace(run, status=RunStatus.QUEUED.value, started_at=None, finished_at=None, attempts=0)
    if run.finished_at and run.finished_at > until:
        status = RunStatus.RUNNING if run.started_at else RunStatus.QUEUED
        return replace(run, status=status.value, finished_at=None)
    return run


def _written(connection: Any, time: datetime) -> str:
    """A time as JSON; neither form needs escaping."""
    if connection.vendor == "postgresql":
        return str((time - _EPOCH) // _MICROSECOND)
    return f'"{str(time.astimezone(UTC))[:-6]}"'  # as Django writes it, in a fraction of the time


def instant(stored: str | None) -> datetime | None:
    """A time that was cast to text; None if there is none."""
    return None if stored is None else parsed(stored)


@lru_cache(maxsize=10_000)  # thousands of incidents are opened, and told, at one instant
def parsed(stored: str) -> datetime:
    """A time from text: PostgreSQL writes its session's zone, SQLite holds UTC without saying so."""
    if "+" in stored or "-" in stored[_ZONE_FROM:]:
        return datetime.fromisoformat(stored).astimezone(UTC)
    return datetime.fromisoformat(f"{stored}+00:00")  # adding the zone afterwards takes six times as long
