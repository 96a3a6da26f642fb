"""Tasks of Django's framework are recorded as what they are, not as the one Huey task that runs them all.

The unwrapping is tried under every Django, on a task of the same shape; the whole way under those that have the
framework.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import django
import pytest
from django.utils.module_loading import import_string
from huey import MemoryHuey
from huey.contrib.djhuey import HUEY

from monitoring.models import BackgroundTask
from monitoring.recording.djangotasks import SHIM
from monitoring.recording.huey import connect, registered_names
from monitoring.recording.privacy import MASK
from tests.app import tasks
from tests.consumer import consumer, wait_for

ORDER = 4711


@dataclass(frozen=True)
class Task:
    """What Django puts in the place of a function that it made a task."""

    func: Callable[..., Any]
    takes_context: bool = False


def _pack(order_id: int, token: str = "", note: str = "") -> None: ...


def _pack_with_context(context: object, order_id: int) -> None: ...


def pack_plainly(order_id: int) -> None: ...


pack = Task(_pack)
pack_with_context = Task(_pack_with_context, takes_context=True)


def recorded(name: str, *args: object, **kwargs: object) -> BackgroundTask:
    """The run of what a worker is asked to do in the way of Huey's backend."""
    huey = MemoryHuey(immediate=True)
    connect(huey)

    @huey.task(name=SHIM, context=True)
    def run(path: str, args: list[object], kwargs: dict[str, object], task: Any = None) -> None:
        found = import_string(path)
        context = [None] if getattr(found, "takes_context", False) else []
        getattr(found, "func", found)(*context, *args, **kwargs)

    run(name, list(args), kwargs)
    return BackgroundTask.objects.get()


@pytest.mark.django_db
def test_a_run_has_the_name_and_the_arguments_of_the_function_behind_it() -> None:
    run = recorded(f"{__name__}.pack", ORDER, "hunter2", note="by hand")
    assert (run.task_name, run.status, run.context_id) == ("pack", "Completed", str(ORDER))
    assert json.loads(run.parameters) == {"order_id": ORDER, "token": MASK, "note": "by hand"}


@pytest.mark.django_db
def test_the_context_that_the_backend_adds_is_no_parameter() -> None:
    run = recorded(f"{__name__}.pack_with_context", ORDER)
    assert (run.context_id, json.loads(run.parameters)) == (str(ORDER), {"order_id": ORDER})


@pytest.mark.django_db
def test_the_path_may_lead_to_the_bare_function() -> None:
    run = recorded(f"{__name__}.pack_plainly", order_id=ORDER)
    assert (run.task_name, run.context_id) == ("pack_plainly", str(ORDER))


@pytest.mark.django_db
def test_a_function_that_is_not_loaded_is_not_loaded_for_recording() -> None:
    run = recorded("tests.app.nowhere.pack", ORDER, note="by hand")
    assert (run.task_name, run.status, run.parameters, run.context_id) == ("pack", "Stopped", "", None)
    assert "No module named 'tests.app.nowhere'" in run.errors


@pytest.mark.django_db
def test_another_task_with_such_arguments_stays_what_it_is() -> None:
    huey = MemoryHuey(immediate=True)
    connect(huey)

    @huey.task()
    def load(path: str, rows: list[int], options: dict[str, int]) -> None: ...

    load(f"{__name__}.pack", [ORDER], {})
    run = BackgroundTask.objects.get()
    assert (run.task_name, run.context_id) == ("load", f"{__name__}.pack")


def test_the_task_that_runs_them_all_is_none_that_runs_are_known_by() -> None:
    assert SHIM not in registered_names()


def enqueue_hueys_own() -> tuple[str, str, str]:
    task = tasks.fail.s(ORDER)
    HUEY.enqueue(task)
    return task.id, "fail", "Stopped"


ENQUEUED = [enqueue_hueys_own]
if django.VERSION >= (6,):
    from tests.app import djangotasks

    def enqueue_djangos() -> tuple[str, str, str]:
        return djangotasks.ship.enqueue(ORDER, token="hunter2").id, "ship", "Completed"

    def enqueue_djangos_with_context() -> tuple[str, str, str]:
        return djangotasks.ship_with_context.enqueue(ORDER).id, "ship_with_context", "Stopped"

    ENQUEUED += [enqueue_djangos, enqueue_djangos_with_context]


@pytest.mark.django_db(transaction=True)
def test_each_kind_of_task_that_this_django_has_runs_in_a_real_consumer_under_its_own_name() -> None:
    expected = [enqueue() for enqueue in ENQUEUED]
    with consumer():
        for task_id, name, status in expected:
            run = wait_for(lambda i=task_id, s=status: BackgroundTask.objects.filter(task_id=i, status=s).first())
            assert (run.task_name, run.context_id, run.attempts) == (name, str(ORDER), 1)
            assert "hunter2" not in run.parameters
            assert run.errors == "" or run.errors.endswith(f"ValueError: there is no order {ORDER}")
