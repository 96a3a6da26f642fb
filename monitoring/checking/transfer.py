"""Imports and exports monitors as a configuration: six keys per task. Schedules and the rest go by dumpdata."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import prefetch_related_objects

from monitoring.models import DependentTask, Monitor, database_alias
from monitoring.models.monitor import DEPENDENTS_MAX
from monitoring.values.expectation import KEYS, ConfigError, Expectation, Problem
from monitoring.values.schedule import Schedule

# What an import sets. How often to tell, whether the monitor is enabled and the like stay as they are.
_IMPORTED = (
    "task_name",
    "expected_statuses",
    "notify_to",
    "lookback_hours",
    "context_model",
    "context_type",
    "schedule",
    "time_zone",
)


class Verb(StrEnum):
    NEW = "new"
    """There is no monitor of that name yet."""

    CHANGED = "changed"
    """There is one, and it differs."""

    SAME = "same"
    """There is one, and it is the same already."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an import does to one monitor. `monitor` has the new values set and is not saved yet.

    `before` holds the settings that it has so far, None if it is new. `watched_by` then names the monitors that ask the
    same of its task's runs already.
    """

    name: str
    monitor: Monitor
    dependent_tasks: tuple[str, ...]
    before: Mapping[str, Any] | None
    watched_by: tuple[str, ...]

    @property
    def verb(self) -> Verb:
        if self.before is None:
            return Verb.NEW
        return Verb.SAME if self.before == self._after else Verb.CHANGED

    @property
    def task(self) -> str:
        """With the context, if it has one; `old → new`, like the others, if it changes."""
        return self.written("task", lambda parts: " ".join(filter(None, parts)))

    @property
    def schedule(self) -> str:
        """With its time zone only if that changes."""
        zone = self.written("time_zone")
        return self.written("schedule") + ("" if zone == self.monitor.time_zone else f" ({zone})")

    def written(self, key: str, write: Callable[[Any], str] = str) -> str:
        """`Running`, or `Completed → Running` if the import changes that setting; `write` puts a value into words."""
        after = self._after[key]
        if self.before is None or self.before[key] == after:
            return write(after)
        return f"{write(self.before[key]) or '–'} → {write(after) or '–'}"

    @property
    def _after(self) -> dict[str, Any]:
        return _settings(self.monitor, self.dependent_tasks)


def plan_import(expectations: Sequence[Expectation], schedule: Schedule) -> list[Change]:
    """What importing these would do, in their order; writes nothing.

    Raises ConfigError if two would share a name, or one would have more dependent tasks than its form can show.
    """
    names = [monitor_name(expectation) for expectation in expectations]
    if problems := [*_shared_names(names, expectations), *_too_many_dependents(expectations)]:
        raise ConfigError(problems)
    using = database_alias()
    known = Monitor.objects.using(using).filter(name__in=names).prefetch_related("dependent_tasks")
    known_as = {monitor.name: monitor for monitor in known}
    watching = _watching({expectation.task_name for expectation in expectations}, using)
    return [
        _change(name, expectation, schedule, known_as.get(name), watching)
        for name, expectation in zip(names, expectations, strict=True)
    ]


def _shared_names(names: Sequence[str], expectations: Sequence[Expectation]) -> Iterator[Problem]:
    times = Counter(names)
    for name, expectation in zip(names, expectations, strict=True):
        if times[name] > 1:
            said = f"two monitors would be named {name!r}; import them one at a time"
            yield Problem(said, task=expectation.task_name)


def _too_many_dependents(expectations: Sequence[Expectation]) -> Iterator[Problem]:
    for expectation in expectations:
        if (number := len(expectation.dependent_tasks)) > DEPENDENTS_MAX:
            said = f"names {number} tasks; a monitor can have at most {DEPENDENTS_MAX}"
            yield Problem(said, expectation.task_name, "dependent_tasks")


def apply_import(changes: Sequence[Change]) -> None:
    """Saves what is new or changed: all of it or, if the database refuses one, nothing."""
    using = database_alias()
    with transaction.atomic(using=using):
        # In the order of a check by hand: in another each would wait for the other. New ones wait for nobody.
        for change in sorted(changes, key=lambda change: change.monitor.pk or 0):
            if change.verb is Verb.SAME:
                continue
            # Only what an import sets, so that edits of other fields since it was planned are kept.
            fields = None if change.verb is Verb.NEW else [*_IMPORTED, "changed_at"]
            change.monitor.save(using=using, update_fields=fields)
            _set_dependent_tasks(change.monitor, change.dependent_tasks, using)


def export_config(monitors: Sequence[Monitor]) -> dict[str, dict[str, Any]]:
    """The configuration that would import as these monitors, without empty keys.

    Raises ConfigError, which names them, if several are of one task: a dictionary has one entry per task.
    """
    named: dict[str, list[str]] = {}
    for monitor in monitors:
        named.setdefault(monitor.task_name, []).append(monitor.name)
    if problems := [
        Problem(f"{_listed(names)} are all of this task, and a configuration has one entry a task", task=task_name)
        for task_name, names in named.items()
        if len(names) > 1
    ]:
        raise ConfigError(problems)
    prefetch_related_objects(monitors, "dependent_tasks")
    return {monitor.task_name: _exported(monitor) for monitor in monitors}


def monitor_name(expectation: Expectation) -> str:
    """The name of an imported monitor: its task's, with its context type if it has one."""
    return expectation.task_name + (f" [{expectation.context_type}]" if expectation.context_type else "")


def _change(
    name: str,
    expectation: Expectation,
    schedule: Schedule,
    known: Monitor | None,
    watching: Mapping[tuple[str, ...], Sequence[str]],
) -> Change:
    monitor = known or Monitor(name=name)
    before = _settings(known, tuple(task.task_name for task in known.dependent_tasks.all())) if known else None
    monitor.task_name = expectation.task_name
    monitor.expected_statuses = [status.value for status in expectation.expected_statuses]
    monitor.notify_to = list(expectation.notify_to)
    monitor.lookback_hours = expectation.lookback_hours
    monitor.context_model = expectation.context_model or ""
    monitor.context_type = expectation.context_type or ""
    monitor.schedule, monitor.time_zone = schedule.text, schedule.zone
    watched_by = () if known else tuple(watching.get(_task(monitor), ()))
    return Change(name, monitor, expectation.dependent_tasks, before, watched_by)


def _settings(monitor: Monitor, dependent_tasks: tuple[str, ...]) -> dict[str, Any]:
    """What an import sets, by name."""
    imported = {field: getattr(monitor, field) for field in _IMPORTED}
    return imported | {"task": _task(monitor), "dependent_tasks": dependent_tasks}


def _task(monitor: Monitor) -> tuple[str, ...]:
    return monitor.task_name, monitor.context_model, monitor.context_type


def _watching(task_names: Collection[str], using: str) -> dict[tuple[str, ...], list[str]]:
    """The names of all monitors of these tasks, by task and context."""
    found: dict[tuple[str, ...], list[str]] = {}
    for monitor in Monitor.objects.using(using).filter(task_name__in=task_names).order_by("name"):
        found.setdefault(_task(monitor), []).append(monitor.name)
    return found


def _set_dependent_tasks(monitor: Monitor, names: tuple[str, ...], using: str) -> None:
    rows = list(DependentTask.objects.using(using).filter(monitor=monitor))
    if tuple(row.task_name for row in rows) == names:
        return
    for row in rows[len(names) :]:
        row.delete(using=using)
    rows += [DependentTask(monitor=monitor) for _ in names[len(rows) :]]
    for position, (row, name) in enumerate(zip(rows, names, strict=False)):
        if (row.position, row.task_name) != (position, name):
            row.position, row.task_name = position, name
            row.save(using=using)


def _exported(monitor: Monitor) -> dict[str, Any]:
    settings = monitor.settings()
    hours = float(settings["lookback_hours"])
    settings["lookback_hours"] = int(hours) if hours.is_integer() else hours
    settings["dependent_tasks"] = [task.task_name for task in monitor.dependent_tasks.all()]
    return {key: settings[key] for key in KEYS if settings.get(key)}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:-1])) + f" and {names[-1]!r}"
