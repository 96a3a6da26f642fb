"""Any code as a run: a block, a function, or what one of our commands starts."""

from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from dataclasses import dataclass, field
from datetime import datetime
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

from monitoring.recording.order import instant, place
from monitoring.recording.privacy import written_error, written_parameters, written_reason
from monitoring.recording.writer import observe
from monitoring.values.run_event import RunEvent, RunStatus
from monitoring.values.text import storable_name

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Run:
    """One run, from its start on, to which no queue gave an id."""

    name: str
    started_at: datetime
    context_id: object = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    task_id: str = field(default_factory=lambda: str(uuid4()))

    def started(self) -> RunEvent:
        return self._event(RunStatus.RUNNING, self.started_at, attempts=1)

    def ended(self, status: RunStatus, errors: str, now: datetime) -> RunEvent:
        return self._event(status, now, finished_at=now, errors=errors)

    def _event(self, status: RunStatus, now: datetime, **more: Any) -> RunEvent:
        return RunEvent(
            task_id=self.task_id,
            task_name=storable_name(self.name),
            status=status,
            seq=place(0, now),
            started_at=self.started_at,
            parameters=written_parameters(self.parameters),
            context_id=None if self.context_id is None else storable_name(str(self.context_id)),
            **more,
        )


class record_run(ContextDecorator):
    """Records a block, or each call of a function, as a run of this name: Completed, or Stopped by what it raises.

        with record_run("nightly_export", context_id=day) as task_id: ...

        @record_run("nightly_export")
        def export(): ...

    `context_id` is stored as text, `parameters` like those of a task: masked and cut. Errors propagate unchanged, and
    code whose run cannot be recorded still runs. Raises TypeError for a name that is empty or not text, and for a
    function whose calls end before its work does.
    """

    def __init__(self, name: str, *, context_id: object = None, parameters: Mapping[str, object] | None = None) -> None:
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"record_run wants the run's name, as in record_run('nightly_export'), not {name!r}")
        self._name, self._context_id, self._parameters = name, context_id, parameters or {}
        self._open: list[Run] = []

    def __call__(self, function: Function) -> Function:
        if iscoroutinefunction(function) or isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                f"record_run cannot decorate {function.__qualname__}: what an async function or a generator does, it "
                "does after its call. Write `with record_run(...)` around what is to be recorded."
            )
        return super().__call__(function)

    def _recreate_cm(self) -> Self:
        """Makes each call of a decorated function a separate run, in whatever thread."""
        return type(self)(self._name, context_id=self._context_id, parameters=self._parameters)

    def __enter__(self) -> str:
        run = Run(self._name, instant(), self._context_id, self._parameters)
        self._open.append(run)
        observe(run.started, "start of", run.name, run.task_id)
        return run.task_id

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run = self._open.pop()
        observe(lambda: run.ended(*_ending(error), instant()), "end of", run.name, run.task_id)


def _ending(error: BaseException | None) -> tuple[RunStatus, str]:
    match error:
        case None | SystemExit(code=None | 0):
            return RunStatus.COMPLETED, ""
        case SystemExit():
            return RunStatus.STOPPED, written_reason("Left by exit", error.code)
        case KeyboardInterrupt():
            return RunStatus.STOPPED, written_reason("Interrupted from the keyboard", error)
        case _:
            return RunStatus.STOPPED, written_error(error)
