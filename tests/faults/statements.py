"""Stops a process at a chosen SQL statement, where no signal from outside could be aimed.

The environment that the harness gives a consumer says where, and whether the process dies there or waits for a word.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.db.backends.signals import connection_created

STATEMENT, MOMENT, FOLDER = "FAULT_STATEMENT", "FAULT_MOMENT", "FAULT_FOLDER"
REACHED, GO_ON = "reached", "go-on"
LONGEST_WAIT = 60  # seconds


class Moment(StrEnum):
    BEFORE = "before"
    """The statement is not executed yet."""

    AFTER = "after"
    """It is executed; its transaction, if there is one, is still open."""

    COMMITTED = "committed"
    """What it wrote is committed, and nothing has happened since."""


def dying(statement: str, moment: Moment) -> dict[str, str]:
    """The environment of a process that dies, as by kill -9, the first time that it comes to such a statement."""
    return {STATEMENT: statement, MOMENT: moment}


def waiting(statement: str, moment: Moment, folder: Path) -> dict[str, str]:
    """Of one that waits there once, until `go_on(folder)`; `has_reached(folder)` tells that it is there."""
    return {STATEMENT: statement, MOMENT: moment, FOLDER: str(folder)}


def has_reached(folder: Path) -> bool:
    return (folder / REACHED).exists()


def go_on(folder: Path) -> None:
    (folder / GO_ON).touch()


def install() -> None:
    """Watches every connection of this process if its environment says so."""
    if STATEMENT in os.environ:
        stop = _wait_once if FOLDER in os.environ else _die
        watch = _watching(re.compile(os.environ[STATEMENT]), Moment(os.environ[MOMENT]), stop)
        connection_created.connect(lambda connection, **_: connection.execute_wrappers.append(watch), weak=False)


def _watching(statement: re.Pattern[str], moment: Moment, stop: Callable[[], None]) -> Callable[..., Any]:
    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not statement.search(sql):
            return execute(sql, params, many, context)
        if moment is Moment.BEFORE:
            stop()
        result = execute(sql, params, many, context)
        if moment is Moment.AFTER:
            stop()
        if moment is Moment.COMMITTED:
            context["connection"].on_commit(stop)
        return result

    return watch


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_once() -> None:
    folder = Path(os.environ[FOLDER])
    try:
        (folder / REACHED).touch(exist_ok=False)
    except FileExistsError:
        return
    deadline = time.monotonic() + LONGEST_WAIT
    while not (folder / GO_ON).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
