import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connections

from monitoring.models import BackgroundTask
from monitoring.recording import writer
from monitoring.recording.code import record_run
from monitoring.recording.privacy import MASK
from tests.consumer import wait_for

pytestmark = pytest.mark.django_db


def run() -> BackgroundTask:
    return BackgroundTask.objects.get()


def statuses() -> list[tuple[str, str]]:
    return list(BackgroundTask.objects.order_by("id").values_list("task_name", "status"))


def test_a_block_is_running_and_then_completed() -> None:
    with record_run("nightly_export") as task_id:
        running = run()
        assert (running.task_id, running.task_name, running.status) == (task_id, "nightly_export", "Running")
        assert running.finished_at is None
    ended = run()
    assert (ended.status, ended.attempts, ended.errors, ended.context_id) == ("Completed", 1, "", None)
    assert ended.started_at == running.started_at
    assert ended.started_at < ended.finished_at
    assert UUID(task_id)


def test_what_a_block_raises_is_recorded_and_passes_on() -> None:
    error = ValueError("no space left")
    with pytest.raises(ValueError, match="no space left") as raised, record_run("nightly_export"):
        raise error
    assert raised.value is error
    assert run().status == "Stopped"
    assert run().errors.startswith("Traceback")
    assert run().errors.endswith("ValueError: no space left")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SystemExit(), "Completed", ""),
        (SystemExit(0), "Completed", ""),
        (SystemExit(3), "Stopped", "Left by exit: 3"),
        (SystemExit("disk full"), "Stopped", "Left by exit: disk full"),
        (KeyboardInterrupt(), "Stopped", "Interrupted from the keyboard"),
    ],
)
def test_leaving_by_exit_or_from_the_keyboard_is_said_in_words(error: BaseException, status: str, said: str) -> None:
    with pytest.raises(type(error)), record_run("nightly_export"):
        raise error
    assert (run().status, run().errors) == (status, said)


def test_the_context_and_the_parameters_are_stored_as_those_of_tasks() -> None:
    day = UUID(int=7)
    with record_run("nightly_export", context_id=day, parameters={"day": 7, "password": "hunter2"}):
        pass
    assert run().context_id == str(day)
    assert json.loads(run().parameters) == {"day": 7, "password": MASK}


def test_each_call_of_a_decorated_function_is_a_run() -> None:
    @record_run("nightly_export")
    def export(rows: int) -> int:
        """Exports."""
        return rows + 1

    assert (export(1), export(rows=2)) == (2, 3)
    assert export.__doc__ == "Exports."
    assert statuses() == [("nightly_export", "Completed")] * 2


def test_runs_nest() -> None:
    @record_run("halve")
    def halve(number: int) -> None:
        if number:
            halve(number // 2)

    with record_run("all"), record_run("part"):
        halve(2)
        assert statuses() == [("all", "Running"), ("part", "Running"), *[("halve", "Completed")] * 3]
    assert {status for _, status in statuses()} == {"Completed"}


@pytest.mark.django_db(transaction=True)
def test_threads_that_share_a_decorated_function_end_their_own_runs() -> None:
    has_failed = threading.Event()
    seen = []

    @record_run("nightly_export")
    def export(fails: bool) -> None:
        if fails:
            other.start()
            wait_for(lambda: BackgroundTask.objects.count() == 2)
            raise ValueError
        has_failed.wait(10)
        seen.extend(status for _, status in statuses())

    def call(fails: bool) -> None:
        with suppress(ValueError):
            export(fails)
        if fails:
            has_failed.set()
        connections.close_all()

    first, other = (threading.Thread(target=call, args=(fails,)) for fails in (True, False))
    first.start()
    first.join()
    other.join()
    assert seen == ["Stopped", "Running"]
    assert [status for _, status in statuses()] == ["Stopped", "Completed"]


async def _async_function() -> None: ...


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> Any:
    yield 1


@pytest.mark.parametrize("function", [_async_function, _generator, _async_generator])
def test_what_goes_on_after_its_call_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"record_run cannot decorate {function.__name__}: .* `with record_run"):
        record_run("nightly_export")(function)


@pytest.mark.parametrize("name", ["", "  ", None, _generator])
def test_a_run_without_a_name_is_refused_where_it_is_written(name: Any) -> None:
    with pytest.raises(TypeError, match=r"record_run wants the run's name, as in record_run\('nightly_export'\)"):
        record_run(name)


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("away", [True, False])
def test_what_cannot_be_recorded_still_runs(away: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_database(*_: object) -> None:
        raise OperationalError("the database is away")

    if away:
        monkeypatch.setattr(writer, "write_at_once", no_database)
    done = []
    with record_run("nightly_export", context_id=None if away else Unspeakable()):
        done.append(1)
    with pytest.raises(ValueError, match="as it is"), record_run("nightly_export", context_id=Unspeakable()):
        raise ValueError("as it is")
    assert done == [1]
    assert not BackgroundTask.objects.exists()
