"""The runs that a monitor looks at, and the one that an incident speaks of."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import DatabaseError, transaction

from monitoring.checking.context import runs_of
from monitoring.checking.probe import ALL, Filter, Probe, newest_runs
from monitoring.models import BackgroundTask, Incident, Monitor, database_alias
from monitoring.values.context_model import find_context_model
from monitoring.values.outcome import END_OF_TIME, RunFacts
from monitoring.values.text import storable_name

EVER_SINCE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LastRuns:
    """Runs from the newest on; `problem` says why they could not be asked for."""

    runs: tuple[RunFacts, ...] = ()
    problem: str = ""


def last_runs(monitor: Monitor, limit: int) -> LastRuns:
    """The newest runs that this monitor looks at: of its context if it has one, started or not, of any age."""
    using = database_alias()
    probe = Probe(monitor.task_name, EVER_SINCE, END_OF_TIME, monitor.context_type)
    try:
        with transaction.atomic(using=using):  # the context model's table may be missing
            (runs,) = newest_runs([probe], using, _only(monitor, using), started=limit, unstarted=limit)
            return LastRuns(tuple(runs[:limit]))
    except (LookupError, DatabaseError) as error:
        return LastRuns(problem=str(error).partition("\n")[0])


def run_that_decided(incident: Incident) -> BackgroundTask | None:
    """The run that its last failing check found, if it started, and is still there and as it was then."""
    started_at = incident.facts.get("started_at")
    if not started_at:
        return None
    runs = BackgroundTask.objects.using(database_alias()).filter(task_name=storable_name(incident.task_name))
    return runs.filter(started_at=datetime.fromisoformat(started_at)).order_by("-id").first()


def _only(monitor: Monitor, using: str) -> Filter:
    if not monitor.context_model:
        return ALL
    return runs_of(find_context_model(monitor.context_model), bool(monitor.context_type), using)
