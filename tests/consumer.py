"""A real consumer: another process, started as the Procfile starts it, on the test database and the tests' queue."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, connections

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (
    sys.executable, "manage.py", "run_huey", "--workers", "2", "--graceful-signal", "TERM", "--max-delay", "0.1",
)  # fmt: skip
START_DEADLINE = STOP_DEADLINE = 20  # seconds
POLL = 0.02

T = TypeVar("T")


def wait_for(condition: Callable[[], T], deadline_seconds: float = 10) -> T:
    """What the condition returns as soon as that is true; fails when it is not within the deadline."""
    deadline = time.monotonic() + deadline_seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {deadline_seconds} s"
        time.sleep(POLL)
    return found


@dataclass(frozen=True, slots=True)
class Consumer:
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """As kill -9 or the kernel out of memory does, to it and to the processes that are its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"the consumer ended with {self.process.returncode}"
        return "The following commands are available" in self.output() and self._heeds_term()

    def _heeds_term(self) -> bool:
        """Huey catches signals last, when its workers run already; where there is no /proc that is not known."""
        status = Path(f"/proc/{self.process.pid}/status")
        caught = re.search(r"^SigCgt:\s*(\w+)$", status.read_text(), re.M) if status.exists() else None
        return caught is None or bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@contextlib.contextmanager
def launched(*options: str, code: Path = ROOT, **environment: str) -> Iterator[Consumer]:
    """Not yet ready. Ended by TERM; its output is shown when what happens meanwhile fails.

    `code` is the checkout that it runs.
    The test database must exist already, and a test that shares it needs `django_db(transaction=True)`.
    """
    with tempfile.TemporaryDirectory(prefix="consumer-") as folder:
        log = Path(folder, "output")
        with log.open("wb") as output:
            running = Consumer(
                subprocess.Popen(
                    [*COMMAND, *options],
                    cwd=code,
                    env=os.environ
                    | {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": url_of_the_test_database()}
                    | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                ),
                log,
            )
        try:
            yield running
        except BaseException:
            _stop(running.process)
            print(f"--- The consumer said:\n{running.output()}")  # noqa: T201 - pytest shows it with the failure
            raise
        was_killed = running.process.poll() == -signal.SIGKILL
        assert was_killed or _stop(running.process) == 0, f"the consumer did not end well:\n{running.output()}"


@contextlib.contextmanager
def consumer(*options: str, code: Path = ROOT, **environment: str) -> Iterator[Consumer]:
    """The same, ready. The task that a worker has is done first."""
    with launched(*options, code=code, **environment) as running:
        wait_for(running.is_ready, START_DEADLINE)
        yield running


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def url_of_the_test_database() -> str:
    """DATABASE_URL with the name of the test database in the place of the real one's."""
    url, mark, options = os.environ["DATABASE_URL"].partition("?")
    name = Path(connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]).name
    return f"{url.rpartition('/')[0]}/{name}{mark}{options}"
