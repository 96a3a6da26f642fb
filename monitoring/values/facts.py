"""What an alert has to say, before it is put into words."""

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any, Self

from django.db.models import TextChoices

from monitoring.values.outage import NOT_RECORDED, Down
from monitoring.values.outcome import Outcome, Verdict
from monitoring.values.text import written_span


class AlertKind(TextChoices):
    STATUS_MISMATCH = "mismatch", "status mismatch"
    """The newest run in the window does not have an expected status."""

    NOT_EXECUTED = "not-executed", "not executed"
    """No run started in the window."""

    NOT_JUDGED = "not-judged", "could not be checked"
    """The check itself was not possible."""

    RESOLVED = "resolved", "as expected again"
    """A problem that one of the above reported is over."""

    MONITOR_DOWN = "monitor-down", "monitoring was down"
    """Nothing was checked for some time; such an alert is about no task."""


NO_EXECUTION = "No execution found"
NOT_JUDGED = "Could not be checked"
MONITOR_DOWN = "Monitoring was down"
TICK_TASK = "tick_monitors"  # the task that did not run then

_TIMES = ("started_at", "finished_at", "check_time", "waiting_since")
_KINDS = {
    Verdict.STATUS_MISMATCH: AlertKind.STATUS_MISMATCH,
    Verdict.NOT_EXECUTED: AlertKind.NOT_EXECUTED,
    Verdict.NOT_JUDGED: AlertKind.NOT_JUDGED,
    Verdict.AS_EXPECTED: AlertKind.RESOLVED,
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of one alert. The times of the run that decided are None if there is no such run, or if not known.

    `task_id` is that run's, empty without one; with `context_model` it leads to what else the run history knows.
    `waiting_since` is when the newest run that never started was submitted; `waiting_status` is its status, and
    `waiting_task_id` its task id. `time_zone` is an IANA name; empty means the site's TIME_ZONE.
    """

    kind: AlertKind
    task_name: str
    current_status: str
    expected_statuses: tuple[str, ...]
    lookback_hours: float
    check_time: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    task_id: str = ""
    dependent_tasks: tuple[str, ...] = ()
    context_model: str = ""
    context_type: str = ""
    waiting_since: datetime | None = None
    waiting_status: str = ""
    waiting_task_id: str = ""
    reason: str = ""
    time_zone: str = ""

    def to_json(self) -> dict[str, Any]:
        """Leaves out optional fields that are empty: a storm stores ten thousand of these, each in two rows."""
        named = zip(_NAMES, _values(self), strict=True)
        values: dict[str, Any] = {name: value for name, value in named if value or name in _REQUIRED}
        for name in _TIMES:
            if name in values:
                values[name] = values[name].isoformat()
        return values

    @cached_property  # an incident and its alert store the same
    def written(self) -> str:
        """As the text of a JSON column."""
        return json.dumps(self.to_json())

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`; also reads what another version stored, with more fields than these or fewer.

        Raises TypeError or ValueError for what are no such facts.
        """
        return cls(**{name: read(stored[name]) for name, read in _READ.items() if name in stored})

    @classmethod
    def read(cls, stored: Any) -> Self | None:
        """Like `from_json`, but None for what another version stored and this one cannot read."""
        try:
            return cls.from_json(stored)
        except (TypeError, ValueError):
            return None


def _text(stored: Any) -> str:
    if not isinstance(stored, str):
        raise TypeError(f"{stored!r} is no text")
    return stored


def _texts(stored: Any) -> tuple[str, ...]:
    if not isinstance(stored, list | tuple):
        raise TypeError(f"{stored!r} is no list")
    return tuple(map(_text, stored))


def _number(stored: Any) -> float:
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        raise TypeError(f"{stored!r} is no number")
    return stored


def _time(stored: Any) -> datetime:
    time = datetime.fromisoformat(stored)
    if time.tzinfo is None:
        raise ValueError(f"{stored!r} is in no time zone")
    return time


_NAMES = tuple(field.name for field in fields(Facts))
_REQUIRED = {field.name for field in fields(Facts) if field.default is MISSING}
_values = attrgetter(*_NAMES)
_BY_TYPE: dict[Any, Callable[[Any], Any]] = {
    AlertKind: AlertKind,
    str: _text,
    tuple[str, ...]: _texts,
    float: _number,
    datetime: _time,
    datetime | None: lambda stored: None if stored is None else _time(stored),
}
_READ = {field.name: _BY_TYPE[field.type] for field in fields(Facts)}


def facts_of(outcome: Outcome, time_zone: str = "") -> Facts:
    """The facts of an outcome; an outcome as expected gives the facts of a recovery."""
    expectation, run, waiting = outcome.check.expectation, outcome.run, outcome.waiting
    nothing = NOT_JUDGED if outcome.verdict is Verdict.NOT_JUDGED else NO_EXECUTION
    return Facts(
        kind=_KINDS[outcome.verdict],
        task_name=expectation.task_name,
        current_status=run.status if run else nothing,
        expected_statuses=expectation.expected_statuses,
        lookback_hours=expectation.lookback_hours,
        check_time=outcome.check.at,
        started_at=run.started_at if run else None,
        finished_at=run.finished_at if run else None,
        task_id=run.task_id if run else "",
        dependent_tasks=expectation.dependent_tasks,
        context_model=expectation.context_model or "",
        context_type=expectation.context_type or "",
        waiting_since=waiting.submitted_at if waiting else None,
        waiting_status=waiting.status if waiting else "",
        waiting_task_id=waiting.task_id if waiting else "",
        reason=outcome.reason,
        time_zone=time_zone,
    )


def facts_of_outage(down: Down) -> Facts:
    """The facts of an outage of the monitor itself, whose start and end take the place of a run's."""
    late = "1 monitor was due and will be" if down.late == 1 else f"{down.late} monitors were due and will each be"
    silent = down.silent and f"for {written_span(down.silent.length)} of that time {NOT_RECORDED}"
    return Facts(
        kind=AlertKind.MONITOR_DOWN,
        task_name=TICK_TASK,
        current_status=MONITOR_DOWN,
        expected_statuses=(),
        lookback_hours=0.0,
        check_time=down.span.ended_at,
        started_at=down.span.began_at,
        finished_at=down.span.ended_at,
        reason=f"{late} checked once now; {silent or 'runs were recorded all the while'}",
    )
