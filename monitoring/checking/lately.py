"""What is known of monitors besides their standing: their last runs and, if they fail, what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.checking.due import among
from monitoring.checking.evidence import Case, gather_cases
from monitoring.checking.runs import last_runs_of
from monitoring.checking.standing import Standing
from monitoring.models import DependentTask, Monitor, database_alias
from monitoring.values.evidence import RUNS_SHOWN, Evidence
from monitoring.values.facts import NO_EXECUTION, AlertKind, Facts


@dataclass(frozen=True, slots=True)
class Lately:
    """`facts` are what the last failing check of its open incident found or, without one, how its newest run stands.

    If not `in_full`, only the last runs were queried, and the evidence is these alone.
    """

    standing: Standing
    facts: Facts
    evidence: Evidence
    in_full: bool

    @property
    def failed(self) -> bool:
        """Whether the facts are those of a failing check, to be worded as in its mail."""
        return self.standing.found is not None


def lately(standings: Sequence[Standing], now: datetime, *, in_full: bool = False) -> list[Lately]:
    """The last runs of each, in their order, and all evidence for those that fail or, if `in_full`, for all.

    The number of SQL statements does not grow with them.
    """
    asked = [each for each in standings if in_full or each.found]
    others = [each for each in standings if not (in_full or each.found)]
    found = {each.standing.monitor.pk: each for each in [*_with_evidence(asked, now), *_with_runs(others, now)]}
    return [found[each.monitor.pk] for each in standings]


def _with_evidence(standings: Sequence[Standing], now: datetime) -> list[Lately]:
    dependents = _dependent_tasks([each.monitor for each in standings])
    facts = [each.found or _as_it_is(each, dependents.get(each.monitor.pk, ()), now) for each in standings]
    cases = [Case(found, each.incident, _with_state(each)) for found, each in zip(facts, standings, strict=True)]
    gathered = gather_cases(cases, now)
    return [Lately(*each, in_full=True) for each in zip(standings, facts, gathered, strict=True)]


def _with_runs(standings: Sequence[Standing], now: datetime) -> list[Lately]:
    listed = []
    found = last_runs_of([each.monitor for each in standings], RUNS_SHOWN)
    for each, last in zip(standings, found, strict=True):
        evidence = Evidence(gathered_at=None if last.problem else now, problem=last.problem, runs=last.runs)
        listed.append(Lately(each, _as_it_is(each, (), now), evidence, in_full=False))
    return listed


def _as_it_is(standing: Standing, dependent_tasks: tuple[str, ...], now: datetime) -> Facts:
    """For a monitor that does not fail: its task as the newest run left it."""
    monitor, run = standing.monitor, standing.last_run
    return Facts(
        kind=AlertKind.RESOLVED,
        task_name=monitor.task_name,
        current_status=run.status if run else NO_EXECUTION,
        expected_statuses=monitor.statuses,
        lookback_hours=monitor.lookback_hours,
        check_time=now,
        started_at=run.started_at if run else None,
        finished_at=run.finished_at if run else None,
        task_id=run.task_id if run else "",
        dependent_tasks=dependent_tasks,
        context_model=monitor.context_model,
        context_type=monitor.context_type,
        time_zone=monitor.time_zone,
    )


def _with_state(standing: Standing) -> Monitor:
    standing.monitor.state = standing.state
    return standing.monitor


def _dependent_tasks(monitors: Sequence[Monitor]) -> dict[int, tuple[str, ...]]:
    using = database_alias()
    tasks = DependentTask.objects.using(using).filter(monitor__in=among([each.pk for each in monitors], using))
    found: dict[int, tuple[str, ...]] = {}
    for key, name in tasks.values_list("monitor_id", "task_name"):
        found[key] = (*found.get(key, ()), name)
    return found
