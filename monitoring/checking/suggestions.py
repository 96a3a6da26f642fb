"""What a task's history suggests for a monitor of it, and the tasks that nobody watches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.checking.probe import Probe, newest_runs, task_names
from monitoring.checking.runs import last_runs
from monitoring.models import Monitor, database_alias
from monitoring.models.monitor import default_time_zone
from monitoring.values.habit import STARTS_NEEDED, Habit, habit_of
from monitoring.values.proposal import Proposal, propose
from monitoring.values.schedule import InvalidSchedule, parse_schedule
from monitoring.values.text import storable_name

RUNS_READ = 200  # the last ones of a task
# With many tasks, fewer are read of each: some are enough to tell how often it runs.
RUNS_READ_IN_ALL = 50_000
RUNS_READ_AT_LEAST = 10
NAMES_COUNTED = 1_000
BEYOND_THE_CALENDAR = "no suggestion: some of its runs were recorded with times at the end of the calendar"
NONE_RECORDED = "No run is recorded yet: keep a worker running, and let it run a task"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """`proposal` is None if the task's history does not tell enough; `problem` says why."""

    habit: Habit
    proposal: Proposal | None
    problem: str = ""


def suggest(names: Sequence[str], zone: str) -> Iterator[Suggestion]:
    """What the last runs of each task suggest, in the order of the names; schedules are in that time zone."""
    at_once = RUNS_READ_IN_ALL // RUNS_READ
    for start in range(0, len(names), at_once):
        for habit in habits(names[start : start + at_once]):
            yield suggestion_of(habit, zone)


def suggest_for(monitor: Monitor) -> Suggestion:
    """The same for a monitor, saved or not: from the runs of its context if it has one, in its own time zone."""
    found = last_runs(monitor, RUNS_READ)
    habit = habit_of(monitor.task_name, found.runs)
    if found.problem:
        return Suggestion(habit=habit, proposal=None, problem=found.problem)
    return suggestion_of(habit, monitor.time_zone)


def habits(names: Sequence[str]) -> list[Habit]:
    """How each task usually runs, in the order of the names; two SQL statements, however many names there are."""
    limit = min(max(RUNS_READ_IN_ALL // max(len(names), 1), RUNS_READ_AT_LEAST), RUNS_READ)
    found = newest_runs([Probe(name) for name in names], database_alias(), started=limit, unstarted=1)
    return [habit_of(name, runs) for name, runs in zip(names, found, strict=True)]


def unmonitored() -> list[str]:
    """The names of all tasks that ever ran and have no monitor, not even a disabled one; sorted."""
    return sorted(_without_monitor(known_names()))


def count_unmonitored() -> int | None:
    """How many these are; None if there are so many tasks that a list should not wait for the count."""
    names = task_names(database_alias(), NAMES_COUNTED + 1)
    return None if len(names) > NAMES_COUNTED else len(_without_monitor(names))


def known_names() -> list[str]:
    """The names of all tasks that ever ran, however long ago."""
    return task_names(database_alias())


def as_config(suggestions: Sequence[Suggestion]) -> dict[str, dict[str, Any]]:
    """A configuration of the tasks about which enough is known; it holds no schedules."""
    return {
        each.habit.task_name: {
            "expected_statuses": [status.value for status in each.proposal.expected_statuses],
            "lookback_hours": int(hours) if (hours := each.proposal.lookback_hours).is_integer() else hours,
        }
        for each in suggestions
        if each.proposal
    }


def how_many_said(number: int) -> str:
    """`12 tasks have no monitor`; if it is none, one SQL statement tells whether any task ran."""
    if not number:
        return "Every task that ever ran has a monitor" if task_names(database_alias(), 1) else NONE_RECORDED
    return f"{number:,} tasks have no monitor" if number > 1 else "1 task has no monitor"


def suggestion_of(habit: Habit, zone: str) -> Suggestion:
    try:
        proposal = propose(habit, _zone(zone))
    except OverflowError:
        return Suggestion(habit=habit, proposal=None, problem=BEYOND_THE_CALENDAR)
    too_few = f"too few runs for a suggestion: {len(habit.starts)}; {STARTS_NEEDED} are needed"
    return Suggestion(habit=habit, proposal=proposal, problem="" if proposal else too_few)


def _without_monitor(names: Sequence[str]) -> set[str]:
    watched = Monitor.objects.using(database_alias()).order_by().values_list("task_name", flat=True)
    return set(names) - set(map(storable_name, watched))


def _zone(name: str) -> str:
    try:
        return parse_schedule("@daily", name).zone
    except InvalidSchedule:
        return default_time_zone()
