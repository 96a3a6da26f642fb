"""What an incident's last failing check was about: the run, the good one before it, and how the two differ."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitoring.checking.context import NotQueried, runs_of
from monitoring.checking.probe import EVER_SINCE, Probe, started_in
from monitoring.checking.runs import context_of, start_of
from monitoring.models import BackgroundTask, database_alias
from monitoring.values.facts import Facts
from monitoring.values.run_event import RunStatus
from monitoring.values.text import head, written_span

LOOKED_BACK = 200  # earlier runs that are searched for a good one
VALUE_MAX = 200  # characters of a parameter

# Durations differ if the longer is at least TIMES_AS_LONG times the shorter, and longer by at least LONGER_BY.
TIMES_AS_LONG = 1.5
LONGER_BY = timedelta(seconds=1)

_AN_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` differs: how it was in the failed run and in the good one; empty if that run had none."""

    what: str
    failed: str
    good: str


@dataclass(frozen=True, slots=True)
class Runs:
    """The whole rows of the run that an incident is about, and of the newest completed run before it."""

    run: BackgroundTask | None = None
    good: BackgroundTask | None = None

    @property
    def differences(self) -> tuple[Difference, ...]:
        return tuple(_differences(self.run, self.good)) if self.run and self.good else ()


def runs_of_story(facts: Facts, task_id: str) -> Runs:
    """`task_id` is that of the run that the incident is about; empty if there is none."""
    using = database_alias()
    run = BackgroundTask.objects.using(using).filter(task_id=task_id).first() if task_id else None
    return Runs(run, _good_before(facts, run.started_at, using)) if run and run.started_at else Runs(run)


def _good_before(facts: Facts, instant: datetime, using: str) -> BackgroundTask | None:
    """None if the task's last runs before it include no completed one, or cannot be queried."""
    before = max(instant, EVER_SINCE) - _AN_INSTANT
    since = start_of(facts.task_name, LOOKED_BACK, before, using)
    probe = Probe(facts.task_name, since, before, facts.context_type)
    try:
        with runs_of(context_of(facts), using) as only:
            (runs,) = started_in([probe], using, only, limit=LOOKED_BACK)
    except NotQueried:
        return None
    good = next((run.id for run in runs if run.status == RunStatus.COMPLETED), None)
    return BackgroundTask.objects.using(using).filter(pk=good).first() if good else None


def _differences(run: BackgroundTask, good: BackgroundTask) -> Iterator[Difference]:
    if differ := _spans("took", _took(run), _took(good)):
        yield differ
    if differ := _spans("waited in the queue", _waited(run), _waited(good)):
        yield differ
    for what, failed, fine in (
        ("attempts", str(run.attempts), str(good.attempts)),
        ("worker", run.worker, good.worker),
        ("context id", run.context_id or "", good.context_id or ""),
    ):
        if failed != fine:
            yield Difference(what, failed, fine)
    yield from _parameters(run.parameters, good.parameters)


def _took(run: BackgroundTask) -> timedelta | None:
    return run.finished_at - run.started_at if run.started_at and run.finished_at else None


def _waited(run: BackgroundTask) -> timedelta | None:
    """From its submission until its newest attempt began."""
    return run.started_at - run.submitted_at if run.started_at and run.submitted_at else None


def _spans(what: str, failed: timedelta | None, good: timedelta | None) -> Difference | None:
    if failed is None or good is None:
        return None
    shorter, longer = sorted((max(failed, timedelta(0)), max(good, timedelta(0))))
    if longer - shorter < LONGER_BY or longer < TIMES_AS_LONG * shorter:
        return None
    return Difference(what, written_span(failed), written_span(good))


def _parameters(failed: str, good: str) -> Iterator[Difference]:
    """Compared by name, or as a whole if they were cut so that they cannot be parsed."""
    before, after = _read(good), _read(failed)
    if before is None or after is None:
        if failed != good:
            yield Difference("parameters", head(failed, VALUE_MAX), head(good, VALUE_MAX))
        return
    for name in {**before, **after}:
        if name not in before or name not in after or before[name] != after[name]:
            yield Difference(f"parameter {name}", _value(after, name), _value(before, name))


def _read(parameters: str) -> dict[str, Any] | None:
    try:
        found = json.loads(parameters or "{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _value(parameters: dict[str, Any], name: str) -> str:
    if name not in parameters:
        return ""
    value = parameters[name]
    return head(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_MAX)
