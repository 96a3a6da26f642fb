"""Writes events to the run table in a separate thread, so that the task they are about neither waits nor breaks.

The thread has its own connection, and so is outside the host's transactions. When there is little to do, it writes
each event at once; under load it lingers, so that the events that come meanwhile go into one statement.
"""

import atexit
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain
from queue import Empty, SimpleQueue
from threading import Event, Lock, RLock, Thread
from time import monotonic, sleep
from typing import Protocol

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connections

from monitoring.conf import conf
from monitoring.models import BackgroundTask, database_alias
from monitoring.recording.answering import Answering, steady
from monitoring.recording.upsert import fold, upsert, write_at_once
from monitoring.recording.workers import BEAT_EVERY
from monitoring.values.outage import Period
from monitoring.values.run_event import RunEvent
from monitoring.values.text import one_line

logger = logging.getLogger("monitoring")

# Under load the thread waits until this many runs have ended, or for LINGER seconds. Fewer cost more; with more, more
# are lost when the process is killed. Only ends matter: a run whose start was not written is found all the same. SQLite
# also loses those that are just being written; PostgreSQL writes what it was sent, whatever becomes of the sender.
ENDS_AT_ONCE = {"sqlite": 6, "postgresql": 9}
LINGER = 0.024
# This many statements in this many seconds do not wait: a run that is over should not be found still running.
WRITES_AT_ONCE, WITHIN = 4, 0.2
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two tries while the database is away
FLUSH_WITHIN = 4.0  # seconds that an exit may take: a process that is told to stop is killed some seconds later
LEAVE_WITHIN = 1.0  # the same if nothing is left to write
IDLE = 60.0  # seconds with nothing to write, after which a process closes its connection

EVENTS_AT_ONCE = 500
EVENTS_MAX = 50_000  # waiting in memory, most of them about a kilobyte each


class Sighting(Protocol):
    """Something seen of a run, from which the writer's thread makes the event later, when there is time.

    Nothing that it holds is large, or may change until then. `ends` says whether the attempt is over, `is_retried`
    whether another is about to begin. `event` is None if it would say nothing new.
    """

    @property
    def ends(self) -> bool: ...
    @property
    def is_retried(self) -> bool: ...
    def event(self) -> RunEvent | None: ...


def observe(make: Callable[[], RunEvent | Sighting], *what: object) -> None:
    """Notes one event and never raises: a run that cannot be recorded must still run.

    `make` is called here and now, in the caller. If it fails, `what` tells the log which event it was.
    """
    try:
        note(make())
    except Exception as error:
        not_recorded(error, *what)


def note(seen: RunEvent | Sighting) -> None:
    """Like `observe`, for an event that is made already; may raise."""
    if not _is_tested():
        _writer.put(seen)
    elif event := _event_of(seen):
        write_at_once(event)


def not_recorded(error: Exception, *what: object) -> None:
    """Logs why an event could not be noted."""
    logger.error("Not recorded: %s", one_line(" ".join(map(str, what))), exc_info=error)


def flush(timeout: float = FLUSH_WITHIN) -> bool:
    """Waits at most `timeout` seconds until what this process observed is written; returns whether it is."""
    return _writer.flush(timeout)


def close() -> None:
    """Like `flush`, at the end of a process that skips Python's normal exit; also says that it no longer lives."""
    _writer.close()


def answer_for_runs(start: RunEvent | None = None) -> str:
    """Makes this process beat from now on, as one that runs tasks. Returns the name under which it beats.

    `start` is the start of a run that is written by other means; it is answered for until `answer_no_more`.
    """
    if _is_tested():
        return ""
    _writer.answer_for_runs(start)
    return _writer.answering.worker.name


def answer_no_more(task_id: str) -> None:
    """To be called when the run is over; its end is written by other means."""
    _writer.answering.running.pop(task_id, None)


def wait_for_a_beat(timeout: float) -> bool:
    """Waits at most `timeout` seconds until this process has beaten; returns whether it has."""
    return _is_tested() or _writer.answering.has_beaten.wait(timeout)


def clock_steps(now: datetime) -> tuple[Period, ...]:
    """The spans that the database's clock was set forwards over while this process recorded runs."""
    return _writer.answering.clocks.steps(now, steady())


def _event_of(seen: RunEvent | Sighting) -> RunEvent | None:
    event = seen if isinstance(seen, RunEvent) else seen.event()
    return event and _as_settings_allow(event)


def _as_settings_allow(event: RunEvent) -> RunEvent | None:
    """The event without what the settings hold back; None for a task that they exclude."""
    settings = conf()
    if event.task_name in settings.NOT_RECORDED:
        return None
    if event.task_name in settings.WITHOUT_PARAMETERS:
        return event._replace(parameters="", context_id=None)
    return event


def _is_tested() -> bool:
    """Whether this process runs tests with Django's test tools.

    Rows are then written on the test's own connection. A thread would see neither the test's transaction nor, perhaps,
    its database, and would keep that database from being removed.
    """
    testing = sys.modules.get("django.test.utils")
    return testing is not None and hasattr(testing._TestState, "saved_data")


class Writer:
    """One for each process. The thread starts with the first event."""

    def __init__(self) -> None:
        self.answering = Answering()
        self._queue: SimpleQueue[RunEvent | Sighting | Event] = SimpleQueue()  # a threading.Event marks a place in it
        self._thread: Thread | None = None
        self._lock = Lock()
        self._touching = RLock()  # held while it uses the database
        self._end = Event()
        self._ended = 0  # attempts, since it last took what waits
        self._ends_at_once = min(ENDS_AT_ONCE.values())
        # Released to end the linger. Unlike setting a threading.Event, that is allowed even in a signal handler.
        self._patience = Lock()
        self._patience.acquire()
        self._is_closed = False
        self._taken: Sequence[RunEvent] = ()

    def put(self, seen: RunEvent | Sighting) -> None:
        """Notes the event, to be written soon. If too many are waiting already, it is dropped and counted.

        Ends have as much room again: they repeat what their start said, and without them a run would go on for ever.
        """
        if self._is_closed:  # the process is ending: these are its last events
            if event := _event_of(seen):
                write_at_once(event)
            return
        ends = seen.ends
        if self._queue.qsize() < (2 * EVENTS_MAX if ends else EVENTS_MAX):
            self._queue.put(seen)
            if ends:
                self._ended += 1  # two threads may count as one: it then waits a little longer
                # Another process may begin the next attempt at once, and report it before this one is written.
                if self._ended >= self._ends_at_once or seen.is_retried:
                    self._hurry()
        else:
            self._count_dropped()
            _event_of(seen)  # its end can repeat what it said only if its event was made
        if self._thread is None:
            self._start()

    def answer_for_runs(self, start: RunEvent | None = None) -> None:
        if start:
            self.answering.running[start.task_id] = start
        if not self.answering.has_begun:
            self.answering.has_begun = True
            self._queue.put(Event())  # wakes the thread: one that waits already would beat only after its wait
        self._start()

    def flush(self, timeout: float = FLUSH_WITHIN) -> bool:
        """Waits at most `timeout` seconds until all that was put before is written; returns whether it is."""
        if self._thread is None and self._queue.empty():
            return True
        self._start()
        self._queue.put(mark := Event())
        self._hurry()
        return mark.wait(timeout)

    def close(self, timeout: float = FLUSH_WITHIN) -> None:
        """Writes what is left, for at most `timeout` seconds, and ends the thread; later events are written at once."""
        self._is_closed = True
        if self._thread is None and self._queue.empty():
            return
        left = len(self._taken) + self._queue.qsize()
        self._queue.put(self._end)
        self._hurry()
        if not self._end.wait(timeout if left else min(timeout, LEAVE_WITHIN)) and left:
            left = len(self._taken) + self._queue.qsize() - 1
            logger.error("The database is away: %d events of runs are lost with this process", left)

    def pause(self) -> None:
        """Keeps the thread off the database until `go_on`; if it hangs there, does not wait for it long."""
        self._touching.acquire(timeout=LONGEST_PAUSE)

    def go_on(self) -> None:
        with suppress(RuntimeError):  # it was not paused
            self._touching.release()

    def _hurry(self) -> None:
        with suppress(RuntimeError):  # it is released already
            self._patience.release()

    def _start(self) -> None:
        """Starts the thread, unless it is alive."""
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._thread = Thread(target=self._live, name="monitoring-writer", daemon=True)
                self._thread.start()

    def _count_dropped(self) -> None:
        worker = self.answering.worker
        with self._lock:
            worker.dropped += 1
        if worker.dropped == 1:
            logger.error("Events of runs are dropped: %d wait for the database already", EVENTS_MAX)

    def _live(self) -> None:
        try:
            self._work()
        finally:  # whatever it died of: its connection must not outlive it, and the next event starts another thread
            connections[database_alias()].close()
            with self._lock:
                self.answering.worker.dropped += len(self._taken)
                self._taken = ()
                self._thread = None

    def _work(self) -> None:
        """The thread: waits, lingers, writes, and beats in between."""
        self._ends_at_once = ENDS_AT_ONCE[connections[database_alias()].vendor]
        wrote_at = deque([-IDLE] * WRITES_AT_ONCE, maxlen=WRITES_AT_ONCE)
        beat_at, mark = -IDLE, None
        while mark is not self._end:
            first = self._next(beat_at)
            if monotonic() - wrote_at[0] < WITHIN and not isinstance(first, Event | None):
                self._patience.acquire(timeout=LINGER)
            self._ended = 0
            self._taken, mark = self._take(first)
            self.answering.note(self._taken)
            if self.answering.must_beat() and monotonic() - beat_at >= BEAT_EVERY.total_seconds():
                self._persist(self._beat)
                beat_at = monotonic()
            if self._taken:
                self._persist(self._write)
                wrote_at.append(monotonic())
            self._taken = ()
            if mark is self._end:
                self._persist(self.answering.leave)
                connections[database_alias()].close()
            if mark:
                mark.set()

    def _next(self, beat_at: float) -> RunEvent | Sighting | Event | None:
        """What comes next; None when it is time to beat, or when nothing has come for long."""
        timeout = beat_at + BEAT_EVERY.total_seconds() - monotonic() if self.answering.must_beat() else IDLE
        try:
            return self._queue.get(timeout=max(0.0, timeout))
        except Empty:
            if not self.answering.must_beat():
                connections[database_alias()].close()
            return None

    def _take(self, first: RunEvent | Sighting | Event | None) -> tuple[Sequence[RunEvent], Event | None]:
        """The waiting events up to the first mark, which is returned too."""
        taken: list[RunEvent] = []
        following = first
        while following is not None and not isinstance(following, Event):
            try:
                if event := _event_of(following):
                    taken.append(event)
            except Exception:
                logger.exception("Not recorded: %s", following)
            if len(taken) == EVENTS_AT_ONCE:
                return taken, None
            try:
                following = self._queue.get_nowait()
            except Empty:
                return taken, None
        return taken, following

    def _persist(self, write: Callable[[], None]) -> None:
        """Tries until the database has taken it. Each try writes the same: nothing newer joins it."""
        pause = FIRST_PAUSE
        while True:
            try:
                with self._touching:
                    write()
                break
            except DatabaseError as error:
                if pause == FIRST_PAUSE:
                    logger.warning("The database takes no runs and is tried again: %s", error)
                connections[database_alias()].close()
                sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception:
                logger.exception("Recording goes on without this")
                break
        connections[database_alias()].queries_log.clear()  # with DEBUG on, it grows until a request comes

    def _write(self) -> None:
        using = database_alias()
        try:
            upsert(self._taken, using, self.answering.worker.name)
        except (InterfaceError, OperationalError):
            raise
        except Exception:
            for event in chain.from_iterable(fold(self._taken)):
                self._write_alone(event, using)

    def _write_alone(self, event: RunEvent, using: str) -> None:
        """Sets aside an event that the database refuses, so that it holds up no other."""
        try:
            upsert([event], using, self.answering.worker.name)
        except (InterfaceError, OperationalError):
            raise
        except Exception:
            BackgroundTask.objects.using(using).first()  # raises if the table is at fault, not the event
            self.answering.worker.set_aside += 1
            what = one_line(f"{event.status} of {event.task_name} {event.task_id}")
            logger.exception("Not recorded: %s", what)

    def _beat(self) -> None:
        if self.answering.beat():
            self._say_again_what_runs()

    def _say_again_what_runs(self) -> None:
        for event in self.answering.what_runs():
            self._queue.put(event)


_writer = Writer()


def _before_fork() -> None:
    """A process forked while a thread is inside the database's library would inherit locks that nobody releases."""
    _writer.pause()


def _after_fork_in_parent() -> None:
    _writer.go_on()


def _after_fork_in_child() -> None:
    """The child has its parent's memory but none of its threads; what waits is for the parent to write."""
    global _writer
    _writer = Writer()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(lambda: _writer.close())
