"""The evidence beside an alert's facts, queried when the alert is rendered: outside any transaction, by index."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models.functions import Left, Right

from monitoring.checking.context import by_context
from monitoring.checking.probe import ALL, Filter, Probe, newest_completed, newest_runs
from monitoring.checking.runs import context_of
from monitoring.models import Alert, BackgroundTask, Incident, Monitor, database_alias
from monitoring.values.cause import is_about_unstarted
from monitoring.values.evidence import RUNS_SHOWN, Evidence, usual_duration
from monitoring.values.facts import Facts
from monitoring.values.outcome import END_OF_TIME, RunFacts
from monitoring.values.run_event import NOT_ENQUEUED, WORKER_LOST, RunStatus
from monitoring.values.text import tail

USUAL_AMONG = 20  # last runs that tell how long one usually takes
LOOKED_BACK = 1_000  # last runs of a task that are searched for its last success, and for those of a context
WAITING_SHOWN = 3  # waiting runs: a stuck queue must not push out what ran before
DEPENDENTS_SHOWN = 5
ERRORS_MAX = 3_000  # characters, the last ones


@dataclass(frozen=True, slots=True)
class Case:
    """An alert's facts and, if it has them, its incident and its monitor. Only runs up to `until` are queried."""

    facts: Facts
    incident: Incident | None = None
    monitor: Monitor | None = None
    until: datetime = END_OF_TIME

    @property
    def probe(self) -> Probe:
        return Probe(self.facts.task_name, until=self.until, context_type=self.facts.context_type)


@dataclass(frozen=True, slots=True)
class Runs:
    """The last runs of one case, newest first, and the newest that completed; or why they could not be queried."""

    last: tuple[RunFacts, ...] = ()
    success: RunFacts | None = None
    problem: str = ""


def gather(alerts: Sequence[Alert], now: datetime) -> list[Evidence]:
    """The evidence of each alert, in their order.

    The number of SQL statements does not grow with alerts and runs. If the runs of one cannot be queried, since its
    context model is gone, its `problem` says so, and the others are not affected. If the database is away, its error is
    raised.
    """
    using = database_alias()
    keys = {alert.incident_id for alert in alerts if alert.incident_id}
    found = Incident.objects.using(using).filter(pk__in=keys).select_related("monitor__state")
    incidents = {incident.pk: incident for incident in found} if keys else {}
    cases = []
    for alert in alerts:
        incident = incidents.get(alert.incident_id or 0)
        cases.append(Case(Facts.from_json(alert.facts), incident, incident.monitor if incident else None))
    return gather_cases(cases, now)


def gather_about(monitor: Monitor, facts: Facts, now: datetime) -> Evidence:
    """The evidence for facts that nobody is owed yet, such as those of a preview."""
    using = database_alias()
    incident = Incident.objects.using(using).filter(monitor=monitor, closed_at=None).first()
    watched = Monitor.objects.using(using).select_related("state").filter(pk=monitor.pk).first()
    (evidence,) = gather_cases([Case(facts, incident, watched)], now)
    return evidence


def gather_of(incident: Incident, facts: Facts, now: datetime) -> Evidence:
    """The evidence for an incident; for one that is over, as its runs stood when it ended."""
    using = database_alias()
    watched = Monitor.objects.using(using).select_related("state").filter(pk=incident.monitor_id or 0).first()
    (evidence,) = gather_cases([Case(facts, incident, watched, incident.closed_at or END_OF_TIME)], now)
    return evidence


def gather_cases(cases: Sequence[Case], now: datetime) -> list[Evidence]:
    """Like `gather`, for cases whose facts, and monitors with their states, have already been read."""
    using = database_alias()
    runs = by_context(
        cases, lambda case: context_of(case.facts), lambda group, only: _runs(group, using, only), _not_queried, using
    )
    deciding = [_deciding(case.facts, found.last) for case, found in zip(cases, runs, strict=True)]
    rows = _rows({run for run in deciding if run}, using)
    dependents = _newest_by_name(
        {name for case in cases for name in case.facts.dependent_tasks[:DEPENDENTS_SHOWN]}, using
    )
    return [
        _evidence(case, found, rows.get(run), dependents, now)
        for case, found, run in zip(cases, runs, deciding, strict=True)
    ]


def _not_queried(case: Case, problem: str) -> Runs:
    return Runs(problem=problem)


def _runs(cases: Sequence[Case], using: str, only: Filter) -> list[Runs]:
    probes = [case.probe for case in cases]
    among = None if only is ALL else LOOKED_BACK
    last = newest_runs(probes, using, only, started=USUAL_AMONG, unstarted=WAITING_SHOWN, among=among)
    success = {place: _newest_completed(runs) for place, runs in enumerate(last)}
    # If there are fewer, all of them have been seen.
    unknown = [place for place, runs in enumerate(last) if not success[place] and len(runs) >= USUAL_AMONG]
    older = newest_completed([probes[place] for place in unknown], LOOKED_BACK, using, only)
    success |= {unknown[nth]: run for nth, run in older.items()}
    return [Runs(tuple(runs), success[place]) for place, runs in enumerate(last)]


def _newest_completed(runs: Sequence[RunFacts]) -> RunFacts | None:
    return next((run for run in runs if run.status == RunStatus.COMPLETED and run.started_at), None)


def _deciding(facts: Facts, last: Sequence[RunFacts]) -> str:
    """The task id of the run to quote; empty without one.

    It is the one that decided, else the one that ended without a start if the alert is about it, else the newest that
    had started. Facts that an older version stored have that run's start instead of its task id.
    """
    if facts.task_id:
        return facts.task_id
    waits = facts.waiting_status in (RunStatus.PENDING, RunStatus.QUEUED)
    if facts.waiting_task_id and not waits and is_about_unstarted(facts, last):
        return facts.waiting_task_id
    started = [run for run in last if run.started_at and run.started_at <= facts.check_time]
    same = (run for run in started if run.started_at == facts.started_at)
    return next(same, started[0]).task_id if started else ""


def _rows(task_ids: set[str], using: str) -> dict[str, dict[str, Any]]:
    """By task id. The database cuts their errors, which may be long, since many are read at once."""
    if not task_ids:
        return {}
    rows = BackgroundTask.objects.using(using).filter(task_id__in=task_ids)
    rows = rows.annotate(begins=Left("errors", len(WORKER_LOST)), ends=Right("errors", ERRORS_MAX + 1))
    return {row["task_id"]: row for row in rows.values(*RunFacts.__dataclass_fields__, "begins", "ends")}


def _newest_by_name(names: set[str], using: str) -> dict[str, RunFacts]:
    runs = newest_runs([Probe(name) for name in names], using, started=1, unstarted=1)
    return {name: found[0] for name, found in zip(names, runs, strict=True) if found}


def _evidence(
    case: Case, runs: Runs, row: dict[str, Any] | None, dependents: dict[str, RunFacts], now: datetime
) -> Evidence:
    facts, incident, monitor = case.facts, case.incident, case.monitor
    state = getattr(monitor, "state", None)
    return Evidence(
        gathered_at=None if runs.problem else now,
        problem=runs.problem,
        runs=runs.last[:RUNS_SHOWN],
        run=RunFacts(**{name: row[name] for name in RunFacts.__dataclass_fields__}) if row else None,
        errors=tail(row["ends"], ERRORS_MAX) if row else "",
        worker_lost=row is not None and row["begins"] == WORKER_LOST,
        not_enqueued=row is not None and row["begins"].startswith(NOT_ENQUEUED),
        last_success=runs.success,
        looked_back=LOOKED_BACK,
        usual=usual_duration(runs.last),
        dependents=tuple((name, dependents.get(name)) for name in facts.dependent_tasks[:DEPENDENTS_SHOWN]),
        incident_id=incident.pk if incident else None,
        opened_at=incident.opened_at if incident else None,
        closed_at=incident.closed_at if incident else None,
        failing_checks=incident.failing_checks if incident else 0,
        monitor_id=monitor.pk if monitor else None,
        next_check_at=state.next_check_at if monitor and monitor.enabled and state else None,
    )
