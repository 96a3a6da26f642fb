"""Finds monitors by the names that people type."""

from collections.abc import Collection

from django.db.models import Q

from monitoring.checking.history import near_names
from monitoring.models import Monitor, database_alias
from monitoring.values.text import storable


class UnknownMonitors(LookupError):
    """Names that are neither a monitor's nor its task's; says which, and which known names are near."""


def all_monitors() -> list[Monitor]:
    return list(Monitor.objects.using(database_alias()))


def enabled_monitors() -> list[Monitor]:
    return list(Monitor.objects.using(database_alias()).filter(enabled=True))


def monitors_named(names: Collection[str]) -> list[Monitor]:
    """For each name the monitor of that name, else all monitors of the task of that name; each monitor once.

    Raises UnknownMonitors.
    """
    names = [storable(name) for name in names]  # a terminal may give bytes that are no text
    candidates = Monitor.objects.using(database_alias()).filter(Q(name__in=names) | Q(task_name__in=names))
    by_name = {monitor.name: monitor for monitor in candidates}
    found: dict[int, Monitor] = {}
    unknown = []
    for name in names:
        of_name = [by_name[name]] if name in by_name else [each for each in candidates if each.task_name == name]
        found |= {monitor.pk: monitor for monitor in of_name}
        if not of_name:
            unknown.append(name)
    if unknown:
        raise UnknownMonitors("\n".join(map(_unknown_said, unknown)))
    return list(found.values())


def _unknown_said(name: str) -> str:
    known = Monitor.objects.using(database_alias()).values_list("name", "task_name")
    near = near_names(name, sorted({each for pair in known for each in pair}))
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "list_status shows those that there are"
    return f"No monitor is named {name!r}, and none watches a task of that name; {hint}"
