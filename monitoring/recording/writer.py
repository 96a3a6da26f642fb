"""Events into the run table, by a thread of their own: the task that they are about neither waits nor breaks.

The thread has a connection of its own, and so stands outside the host's transactions. The first event after a quiet
while is written at once; else it lingers, so that what comes meanwhile goes in one statement.
"""

import atexit
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Event, Lock, RLock, Thread
from time import monotonic, sleep

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connections, reset_queries, transaction

from monitoring.conf import conf
from monitoring.models import BackgroundTask, database_alias, database_now
from monitoring.recording.upsert import fold, upsert
from monitoring.recording.workers import BEAT_EVERY, Worker, dead_workers, end_lost_runs, forget_the_dead
from monitoring.values.run_event import RunEvent, RunStatus

logger = logging.getLogger("monitoring")

Ask = Callable[[datetime], Callable[[], None] | None]

# Seconds. No linger costs more under load, a longer one loses more when the process is killed.
QUIET = 0.1
LINGER = 0.006
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # between two tries while the database is away
FLUSH_WITHIN = 4.0  # what an end may take: whoever stops a process kills it some seconds later
LEAVE_WITHIN = 1.0  # where nothing is left to write
IDLE = 60.0  # after which a process that has nothing to say gives its connection back

EVENTS_AT_ONCE = 500
EVENTS_MAX = 50_000  # that wait in memory, most of them about a kilobyte


def observe(make_event: Callable[[], RunEvent], what: str) -> None:
    """Notes one event and never raises: a run that cannot be recorded must still run.

    The event is made here and now, in the caller: what its texts say, cut and masked, is all that is kept of the run's
    parameters.
    """
    try:
        event = _as_settings_allow(make_event())
        if event and _is_tested():
            write_at_once(event)
        elif event:
            _writer.put(event)
    except Exception:
        logger.exception("Not recorded: %s", what)


def flush(timeout: float = FLUSH_WITHIN) -> bool:
    """Waits until what this process observed is written, for at most so many seconds; returns whether it is."""
    return _writer.flush(timeout)


def close() -> None:
    """The same at the end of a process that leaves without Python's own exit; it also says that it no longer lives."""
    _writer.close()


def when_workers_are_lost(ask: Ask) -> None:
    """Has `ask` called, in the thread, when a worker is found dead, and some seconds later once more.

    It is for runs that were not known to be its own yet; `now` is the database's. What it returns is called in a thread
    of its own, since it asks somebody else, who may hang; until it is done nothing new is asked.
    """
    _asked_about_losses.append(ask)


def answer_for_runs(start: RunEvent | None = None) -> str:
    """From now on this process says that it lives: it is one that runs tasks. Returns the name under which it does.

    `start` is that of a run which is written by other means; it is answered for until `answer_no_more`.
    """
    if _is_tested():
        return ""
    _writer.answer_for_runs(start)
    return _writer.worker.name


def answer_no_more(task_id: str) -> None:
    """The run is over, and its end is written by other means."""
    _writer.answer_no_more(task_id)


def wait_for_a_beat(timeout: float) -> bool:
    """Waits until this process has said that it lives, at most `timeout` seconds; returns whether it has."""
    return _is_tested() or _writer.has_beaten.wait(timeout)


_asked_about_losses: list[Ask] = []


def _as_settings_allow(event: RunEvent) -> RunEvent | None:
    """The event without what the settings keep back; None for a task that they except."""
    settings = conf()
    if event.task_name in settings.NOT_RECORDED:
        return None
    if event.task_name in settings.WITHOUT_PARAMETERS:
        return replace(event, parameters="", context_id=None)
    return event


def _is_tested() -> bool:
    """Whether this process runs tests by Django's means.

    Then a row is written where the test stands: a thread would see neither its transaction nor, perhaps, its database,
    and would keep that from being removed.
    """
    testing = sys.modules.get("django.test.utils")
    return testing is not None and hasattr(testing._TestState, "saved_data")


def write_at_once(event: RunEvent) -> None:
    """Writes one event on the caller's connection. Raises what the database raises."""
    using = database_alias()
    connection = connections[using]
    try:
        # A savepoint where the host is inside a transaction, so that an error here leaves the host's work whole.
        with transaction.atomic(using=using):
            upsert([event], using)
    except (InterfaceError, OperationalError):
        if connection.in_atomic_block:
            raise
        connection.close()  # it may have been cut since it was last used; a new one tells
        upsert([event], using)


def _ask_all(questions: Sequence[Callable[[], None]]) -> None:
    for question in questions:
        try:
            question()
        except Exception as error:
            logger.warning("A queue was not asked for what a lost worker had taken: %s", error)


class Writer:
    """One for each process. The thread starts with the first event."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.has_beaten = Event()
        self._queue: SimpleQueue[RunEvent | Event] = SimpleQueue()  # an event of threading marks a place in it
        self._thread: Thread | None = None
        self._lock = Lock()
        self._touching = RLock()  # the database
        self._end = Event()
        self._is_closed = False
        self._answers = False
        self._dead: set[str] = set()
        self._asks = 0
        self._asking: Thread | None = None
        self._running: dict[str, RunEvent] = {}
        self._taken: Sequence[RunEvent] = ()

    def put(self, event: RunEvent) -> None:
        """Notes the event; written it is by and by. One more than memory may hold is dropped and counted.

        Endings have as much room again: they say what their start said, and without them a run would go on for ever.
        """
        if self._is_closed:  # the process ends: its last word
            write_at_once(event)
            return
        if event.status is RunStatus.RUNNING:
            self._running[event.task_id] = event
            self._answers = True
        else:
            self.answer_no_more(event.task_id)
        if self._queue.qsize() < (2 * EVENTS_MAX if event.finished_at else EVENTS_MAX):
            self._queue.put(event)
        else:
            self._count_dropped()
        self._start()

    def answer_for_runs(self, start: RunEvent | None = None) -> None:
        if start:
            self._running[start.task_id] = start
        if not self._answers:
            self._answers = True
            self._queue.put(Event())  # a thread that waits already would beat only when that is over
        self._start()

    def answer_no_more(self, task_id: str) -> None:
        self._running.pop(task_id, None)

    def flush(self, timeout: float = FLUSH_WITHIN) -> bool:
        """Waits until all that was put before is written, at most `timeout` seconds; returns whether it is."""
        if self._thread is None:
            return True
        self._start()
        self._queue.put(mark := Event())
        return mark.wait(timeout)

    def close(self, timeout: float = FLUSH_WITHIN) -> None:
        """Writes what is left, for at most `timeout` seconds, and ends the thread; later events are written at once."""
        self._is_closed = True
        if self._thread is None:
            return
        left = len(self._taken) + self._queue.qsize()
        self._queue.put(self._end)
        if not self._end.wait(timeout if left else min(timeout, LEAVE_WITHIN)) and left:
            left = len(self._taken) + self._queue.qsize() - 1
            logger.error("The database is away: %d events of runs are lost with this process", left)

    def pause(self) -> None:
        """Keeps the thread from the database until `go_on`; if it hangs there, nobody waits for it."""
        self._touching.acquire(timeout=LONGEST_PAUSE)

    def go_on(self) -> None:
        with suppress(RuntimeError):  # it was not paused
            self._touching.release()

    def _start(self) -> None:
        """Starts the thread, unless it lives; one that died is replaced, and what it was about to write has gone."""
        if self._is_closed or (self._thread and self._thread.is_alive()):
            return
        with self._lock:
            if not (self._thread and self._thread.is_alive()):
                self.worker.dropped += len(self._taken)
                self._taken = ()
                self._thread = Thread(target=self._live, name="monitoring-writer", daemon=True)
                self._thread.start()

    def _count_dropped(self) -> None:
        with self._lock:
            self.worker.dropped += 1
        if self.worker.dropped == 1:
            logger.error("Events of runs are dropped: %d wait for the database already", EVENTS_MAX)

    def _live(self) -> None:
        try:
            self._work()
        finally:  # whatever it died of, its connection does not outlive it
            connections[database_alias()].close()

    def _work(self) -> None:
        """The thread: waits, lingers, writes, and beats in between."""
        wrote_at = beat_at = -IDLE
        mark = None
        while mark is not self._end:
            first = self._next(beat_at)
            if monotonic() - wrote_at < QUIET and isinstance(first, RunEvent):
                sleep(LINGER)
            self._taken, mark = self._take(first)
            if self._must_beat() and monotonic() - beat_at >= BEAT_EVERY.total_seconds():
                self._persist(self._beat)
                beat_at = monotonic()
            if self._taken:
                self._persist(self._write)
                wrote_at = monotonic()
            self._taken = ()
            if mark is self._end:
                self._leave()
            if mark:
                mark.set()

    def _leave(self) -> None:
        if self.worker.beat_at:
            self._persist(lambda: self.worker.leave(database_alias()))
        connections[database_alias()].close()

    def _next(self, beat_at: float) -> RunEvent | Event | None:
        """What comes next; None when it is time to beat, or when nothing came for long."""
        timeout = beat_at + BEAT_EVERY.total_seconds() - monotonic() if self._must_beat() else IDLE
        try:
            return self._queue.get(timeout=max(0.0, timeout))
        except Empty:
            if not self._must_beat():
                connections[database_alias()].close()
            return None

    def _take(self, first: RunEvent | Event | None) -> tuple[Sequence[RunEvent], Event | None]:
        """What waits, up to the first mark, which is returned too."""
        taken: list[RunEvent] = []
        following = first
        while isinstance(following, RunEvent):
            taken.append(following)
            if len(taken) == EVENTS_AT_ONCE:
                return taken, None
            try:
                following = self._queue.get_nowait()
            except Empty:
                return taken, None
        return taken, following

    def _must_beat(self) -> bool:
        return self._answers or self.worker.trouble != self.worker.told_trouble

    def _persist(self, write: Callable[[], None]) -> None:
        """Tries until the database has taken it. What is tried again is the same: nothing newer joins it."""
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
        reset_queries()  # which Django keeps where DEBUG is on, until a request comes

    def _write(self) -> None:
        using = database_alias()
        events = fold(self._taken)
        try:
            upsert(events, using, self.worker.name)
        except (InterfaceError, OperationalError):
            raise
        except Exception:
            for event in events:
                self._write_alone(event, using)

    def _write_alone(self, event: RunEvent, using: str) -> None:
        """One that the database refuses is set aside, so that it holds up no other."""
        try:
            upsert([event], using, self.worker.name)
        except (InterfaceError, OperationalError):
            raise
        except Exception:
            BackgroundTask.objects.using(using).first()  # raises if it is the table that is not as it should be
            self.worker.set_aside += 1
            logger.exception("Not recorded: %s of %s %s", event.status, event.task_name, event.task_id)

    def _beat(self) -> None:
        using = database_alias()
        now = database_now()
        if self.worker.beat(now, using):
            self._say_again_what_runs()
        self.has_beaten.set()
        if self.worker.may_judge():
            if lost := end_lost_runs(now, using):
                event = {"event": "runs-lost", "runs": lost}
                logger.warning("%d runs are over: their workers are dead", lost, extra=event)
            forget_the_dead(now, using)
            self._ask_about_losses(now, dead_workers(now, using))

    def _ask_about_losses(self, now: datetime, dead: set[str]) -> None:
        if dead - self._dead:
            self._asks = 2
        self._dead = dead
        if self._asks and not (self._asking and self._asking.is_alive()):
            self._asks -= 1
            questions = [question for ask in _asked_about_losses if (question := ask(now))]
            self._asking = Thread(target=_ask_all, args=[questions], name="monitoring-asking", daemon=True)
            self._asking.start()

    def _say_again_what_runs(self) -> None:
        """Another process may have thought that this one is dead, and have ended its runs."""
        for event in list(self._running.values()):
            again = replace(event, seq=event.seq + 1, attempts=0, worker=self.worker.name)
            if self._running.get(event.task_id) is event:
                self._running[event.task_id] = again
                self._queue.put(again)


_writer = Writer()


def _before_fork() -> None:
    """A process that is forked while a thread is inside the database's library inherits locks that nobody opens."""
    _writer.pause()


def _after_fork_in_parent() -> None:
    _writer.go_on()


def _after_fork_in_child() -> None:
    """It has its parent's memory but none of its threads; what waits is the parent's to write."""
    global _writer
    _writer = Writer()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(lambda: _writer.close())
