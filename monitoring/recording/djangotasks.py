"""The functions behind the tasks of Django's framework, all of which Huey's backend runs as a single Huey task.

Source: huey.contrib.djhuey.tasks_backend of Huey 3.5. That task is called with the path of the function, its positional
arguments as a list, and its keyword arguments. The path is importable, and leads to Django's `Task` or to the bare
function.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from monitoring.recording.arguments import Call

SHIM = "djtasks.run"  # the name of that single task


def call_of(path: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Call:
    """What is really called, under the function's name without its module, as Huey names its own tasks.

    Nothing is imported for this. A process that has not loaded the function yet says nothing about its arguments; the
    process that enqueued the task has loaded it.
    """
    module, _, name = path.rpartition(".")
    task = getattr(sys.modules.get(module), name, None)
    signature = _signature(getattr(task, "func", task), getattr(task, "takes_context", False))
    return Call(name, args, kwargs if signature else {}, signature)


@lru_cache(maxsize=4096)
def _signature(function: Callable[..., Any] | None, takes_context: bool) -> inspect.Signature | None:
    """The signature as callers see it, without the context, which the backend adds."""
    try:
        signature = inspect.signature(function) if function else None
    except (TypeError, ValueError):
        return None
    if not (signature and takes_context):
        return signature
    return signature.replace(parameters=list(signature.parameters.values())[1:])
