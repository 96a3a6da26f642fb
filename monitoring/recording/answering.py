"""What a process does for the runs it has begun: it says that it is alive, and notices which others no longer are."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from threading import Event, Thread

from monitoring.models import database_alias, database_now
from monitoring.recording.workers import Worker, dead_workers, end_lost_runs, forget_the_dead
from monitoring.values.clock import Clocks
from monitoring.values.run_event import RunEvent, RunStatus

logger = logging.getLogger("monitoring")

Ask = Callable[[datetime], Callable[[], None] | None]


def when_workers_are_lost(ask: Ask) -> None:
    """Registers `ask`, to be called in the writer's thread when a worker is found dead, and again some seconds later.

    `ask` gets the database's time, and looks for runs that were not yet known to be that worker's. What it returns is
    called in a separate thread, since it asks another system, which may hang. Until it is done, nothing new is asked.
    """
    _asked_about_losses.append(ask)


_asked_about_losses: list[Ask] = []

# A machine that sleeps counts as down, so the clock must go on meanwhile. Of the clocks that nobody sets, only
# CLOCK_BOOTTIME does, where it exists.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """The seconds of a clock that nobody sets."""
    return time.clock_gettime(_STEADY)


class Answering:
    """This process, which answers for runs from the first one that it begins."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.running: dict[str, RunEvent] = {}
        self.has_begun = False
        self.has_beaten = Event()
        self.clocks = Clocks()
        self._dead: set[str] = set()
        self._asks = 0
        self._asking: Thread | None = None

    def note(self, events: Iterable[RunEvent]) -> None:
        """Updates which runs it answers for; the events must be in order."""
        for event in events:
            if event.attempts:
                self.running[event.task_id] = event
                self.has_begun = True
            elif event.status is not RunStatus.RUNNING:  # else it was repeated by `what_runs`
                self.running.pop(event.task_id, None)

    def must_beat(self) -> bool:
        return self.has_begun or self.worker.trouble != self.worker.told_trouble

    def beat(self) -> bool:
        """Says that this process is alive, and ends the runs of those that are not.

        Returns whether others may have thought it dead and ended its runs.
        """
        using = database_alias()
        now = database_now()
        self.clocks.read(now, steady())
        was_silent = self.worker.beat(now, using)
        self.has_beaten.set()
        if self.worker.may_judge():
            if lost := end_lost_runs(now, using):
                event = {"event": "runs-lost", "runs": lost}
                runs = "1 run is over: its worker is" if lost == 1 else f"{lost} runs are over: their workers are"
                logger.warning("%s dead", runs, extra=event)
            forget_the_dead(now, using)
            self._ask_about_losses(now, dead_workers(now, using))
        return was_silent

    def leave(self) -> None:
        if self.worker.beat_at:
            self.worker.leave(database_alias())

    def what_runs(self) -> list[RunEvent]:
        """The starts of the current runs, to be recorded again: newer than before, but not counted as attempts."""
        for event in list(self.running.values()):
            again = event._replace(seq=event.seq + 1, attempts=0, worker=self.worker.name)
            if self.running.get(event.task_id) is event:
                self.running[event.task_id] = again
        return list(self.running.values())

    def _ask_about_losses(self, now: datetime, dead: set[str]) -> None:
        if dead - self._dead:
            self._asks = 2
        self._dead = dead
        if self._asks and not (self._asking and self._asking.is_alive()):
            self._asks -= 1
            questions = [question for ask in _asked_about_losses if (question := ask(now))]
            self._asking = Thread(target=_ask_all, args=[questions], name="monitoring-asking", daemon=True)
            self._asking.start()


def _ask_all(questions: Sequence[Callable[[], None]]) -> None:
    for question in questions:
        try:
            question()
        except Exception as error:
            logger.warning("A queue was not asked for what a lost worker had taken: %s", error)
