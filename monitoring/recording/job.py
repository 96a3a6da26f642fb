"""A command as a run: started at once, output and signals passed on, its end recorded whatever the database does."""

import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TextIO

from monitoring.recording.code import Run
from monitoring.recording.order import instant
from monitoring.recording.privacy import masked
from monitoring.recording.spool import Writing
from monitoring.recording.writer import answer_for_runs, answer_no_more, wait_for_a_beat
from monitoring.values.run_event import RunStatus
from monitoring.values.text import storable, tail

OUTPUT_MAX = 4_000  # characters of a failed job's output, the last ones
PATIENCE = 3  # seconds that the database may take once the job has ended
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # POSIX, "Exit Status for Commands", as are 128 and more for a signal

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_CHUNK = 1 << 20  # bytes: more than a pipe holds, so that one read empties it


class CannotStart(Exception):
    """The command could not be run; `status` is what a shell would exit with."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


def record_job(name: str, command: Sequence[str], context_id: str | None = None) -> int:
    """Runs the command, without a shell, and returns what a shell would exit with. Raises CannotStart.

    Its end is recorded when it ends; its output is passed on for as long as any process holds it open.
    """
    run = Run(name, instant(), context_id)
    writings: list[Writing] = []

    def note_end(status: RunStatus, errors: str) -> None:
        answer_no_more(run.task_id)
        writings.append(Writing(run.ended(status, errors, instant())))

    job = _Job()
    try:
        with _signals_passed_on(job) as wakeup:
            process = job.start(command)
            # This process beats while the job runs: if it is killed, others find the run lost. But a run whose
            # worker never beat would be found lost at once, so the first beat comes before the start is written.
            started = run.started()
            start = started._replace(worker=answer_for_runs(started))
            writings.append(Writing(start, after=partial(wait_for_a_beat, PATIENCE)))
            job.attend(process, wakeup, lambda: note_end(*ending(process.returncode, bytes(job.output))))
    except CannotStart as failure:
        writings.append(Writing(run.started()))
        note_end(RunStatus.STOPPED, storable(str(failure)))
        raise
    finally:
        deadline = time.monotonic() + PATIENCE
        for writing in writings:
            writing.settle(deadline)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def ending(returncode: int, output: bytes) -> tuple[RunStatus, str]:
    """What the end of a process means for its run; `returncode` is Popen's, negative for a signal."""
    if returncode == 0:
        return RunStatus.COMPLETED, ""
    reason = f"Exit status {returncode}" if returncode > 0 else f"Ended by signal {_signal_name(-returncode)}"
    said = tail(masked(storable(output.decode("utf-8", "replace").strip())), OUTPUT_MAX)
    return RunStatus.STOPPED, f"{reason}; the end of its output:\n{said}" if said else reason


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:  # not every signal has a name
        return str(number)


class _Job:
    """The process, the end of its output, and the signals that came before it started."""

    def __init__(self) -> None:
        self.output = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._is_left = False

    def start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        try:
            # Files opened for the job, such as a lock, stay open in it; those that Python opens are not inherited.
            process = subprocess.Popen(
                command, stdin=_stdin(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=False
            )
        except FileNotFoundError as error:
            raise CannotStart(f"{command[0]}: command not found", NOT_FOUND) from error
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise CannotStart(f"{command[0]}: cannot be executed: {why}", NOT_EXECUTABLE) from error
        self._process = process
        for number in self._early:
            process.send_signal(number)
        return process

    def tell(self, number: int) -> None:
        """Passes a signal on; once the job has ended, a signal ends the wait for its output instead."""
        if self._process is None:
            self._early.append(number)
        elif self._process.poll() is not None:
            self._is_left = True
        elif not _is_from_terminal(number):
            self._process.send_signal(number)

    def attend(self, process: "subprocess.Popen[bytes]", wakeup: int, on_end: Callable[[], None]) -> None:
        """Passes output on until it is closed and the process has ended; calls `on_end` as soon as it has ended."""
        with selectors.DefaultSelector() as selector, process:
            selector.register(wakeup, selectors.EVENT_READ)
            for stream, ours in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                if stream:
                    selector.register(stream, selectors.EVENT_READ, data=_file(ours))
            has_ended = False
            while not has_ended or (len(selector.get_map()) > 1 and not self._is_left):
                self._pass_on(selector, None)
                if not has_ended and process.poll() is not None:
                    has_ended = True
                    self._pass_on(selector, 0)  # its last output
                    on_end()

    def _pass_on(self, selector: selectors.BaseSelector, timeout: float | None) -> None:
        for key, _ in selector.select(timeout):
            chunk = os.read(key.fd, _CHUNK)
            if key.data is None:
                continue  # only woken up
            self.output += chunk
            del self.output[: -OUTPUT_MAX * 4]  # 4 bytes: the longest character
            if not (chunk and _write_all(key.data, chunk)):
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr] # the job learns that nobody reads it


def _write_all(file: int, chunk: bytes) -> bool:
    """Writes the chunk; returns whether anybody still reads the file."""
    rest = memoryview(chunk)
    while rest:
        try:
            rest = rest[os.write(file, rest) :]
        except BlockingIOError:  # a process that shares the terminal may have made it so
            select.select([], [file], [])
        except OSError:
            return False
    return True


def _stdin() -> int | None:
    """Ours, or nothing if we were started without one: another file may have its number by now."""
    return None if sys.stdin else subprocess.DEVNULL


def _file(stream: TextIO | None) -> int:
    """What the stream writes to, or a file that forgets if we were started without the stream."""
    return stream.fileno() if stream else os.open(os.devnull, os.O_WRONLY)


def _is_from_terminal(number: int) -> bool:
    """Whether the job got the signal too: Ctrl-C goes to every process in the terminal's foreground."""
    with suppress(OSError), open("/dev/tty", "rb") as terminal:
        return number == signal.SIGINT and os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False


@contextmanager
def _signals_passed_on(job: _Job) -> Iterator[int]:
    """Yields a file that becomes readable when a signal comes or the job ends.

    Signals that we were told to ignore, for instance by `nohup`, stay ignored, and the job ignores them too. SIGCHLD is
    the exception: if the end of a child is ignored, nobody learns its exit status.
    """
    wakeup, waker = os.pipe()
    os.set_blocking(waker, False)
    wanted = [number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: job.tell(number)) for number in wanted}
    if callable(handler := signal.signal(signal.SIGCHLD, lambda *_: None)):
        before[signal.SIGCHLD] = handler  # else ours stays: Python complains of a late signal that finds no handler
    waker_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        yield wakeup
    finally:
        signal.set_wakeup_fd(waker_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wakeup)
        os.close(waker)
