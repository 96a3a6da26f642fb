"""One outage: tasks are enqueued all the time, and monitors come due while it lasts."""

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.outages.sites import Broken, Site

MONITORS = 20
EACH = 0.25  # seconds between two tasks
AT_FIRST = 12  # tasks that are done before it begins
DUE_BEFORE = 3  # seconds before a round
LATE_MAX = 90  # seconds: rounds come each minute
SETTLED_WITHIN = 60  # seconds


@dataclass
class Load:
    """Enqueues tasks that write a byte into a file of their own, which tells whether they were executed."""

    folder: Path
    taken: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, Path] = field(default_factory=dict)
    _number: int = 0
    _is_over: Event = field(default_factory=Event)

    def start(self) -> None:
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _work(self) -> None:
        from huey.contrib.djhuey import HUEY

        from tests.app.tasks import note_in

        while not self._is_over.wait(EACH):
            self._number += 1
            path = self.folder / f"{self._number:04}"
            task = note_in.s(str(path))
            try:
                HUEY.enqueue(task)
                self.taken[task.id] = path
            except Exception:  # whatever the queue's client raises, the caller has been told
                self.refused[task.id] = path

    @property
    def executed(self) -> int:
        return sum(path.exists() for path in list(self.taken.values()))  # it grows meanwhile


def experiment(site: Site) -> int:
    """Prints what was found; 1 if it was not as expected."""
    folders = tempfile.TemporaryDirectory(prefix="outage-", ignore_cleanup_errors=True)
    with folders as name, site.build(Path(name)) as broken:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="tests.faults.settings",
            DEBUG="1",
            SECRET_KEY="only-for-the-tests",
            SITE_URL="https://monitor.example.org",
            VAR_DIR=name,
            EMAIL_URL="memory:",
            LOG_LEVEL="CRITICAL",
            DATABASE_URL=broken.database_url,
            HUEY_URL=broken.queue_url,
        )
        return _with_django(site, broken, Path(name))


def _with_django(site: Site, broken: Broken, folder: Path) -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    from monitoring.recording.writer import close
    from tests.faults.report import Case, table
    from tests.outages.clock import clock_is_set

    call_command("migrate", verbosity=0)
    case = Case(site.title)
    try:
        happens = clock_is_set if site.sets_the_clock else _outage
        happens(case, site.seconds, broken, Load(folder))
    except Exception as error:
        case.expect(False, f"it could not be done: {type(error).__name__}: {error}")
    finally:
        close()
        connections.close_all()  # PostgreSQL would wait for these before it ends
    print(f"{table([case])}\n", flush=True)
    return 1 if case.failures else 0


def _outage(case: Any, seconds: int, broken: Broken, load: Load) -> None:
    from django.db import connections
    from django.utils import timezone

    from monitoring.models import MonitorState
    from tests.consumer import wait_for
    from tests.faults.tally import tally
    from tests.faults.world import World, owed, watch
    from tests.smtp import mail_server

    expected = owed(watch(MONITORS))
    with mail_server() as mail, World(mail, kills=0, seed=0).consumer():
        load.start()
        wait_for(lambda: load.executed >= AT_FIRST, 30)
        # The round that should check them comes in the middle of it, with the minute.
        time.sleep((60 - seconds / 2 - time.time()) % 60)
        MonitorState.objects.update(next_check_at=timezone.now() + timedelta(seconds=seconds / 2 - DUE_BEFORE))
        long_run, let_it_end = begin_a_long_run(load.folder / "pipe")
        connections.close_all()  # ours are not the subject
        broken.go_down()
        time.sleep(seconds / 2)  # real time is the subject
        let_it_end()
        time.sleep(seconds / 2)
        broken.come_back()
        back, executed = time.monotonic(), load.executed
        wait_for(lambda: load.executed > executed, LATE_MAX)
        first_task = time.monotonic() - back
        wait_for(lambda: tally(expected, mail.received).lost == 0, 2 * LATE_MAX)
        last_mail = time.monotonic() - back
        load.end()
        with contextlib.suppress(AssertionError):  # it is counted below
            wait_for(lambda: not left(load, long_run), SETTLED_WITHIN)
    case.count(tally(expected, mail.received))
    case.note(f"once it was back, tasks ran after {first_task:.1f} s and the last mail came after {last_mail:.0f} s")
    case.expect(last_mail <= LATE_MAX, f"a mail came later than {LATE_MAX} s after it was back")
    count_runs(case, load, long_run)


def begin_a_long_run(pipe: Path) -> tuple[str, Callable[[], object]]:
    """The id of a task that runs until it is told to end, and what tells it."""
    from huey.contrib.djhuey import HUEY

    from monitoring.models import BackgroundTask
    from tests.app.tasks import read
    from tests.consumer import wait_for

    os.mkfifo(pipe)
    task = read.s(str(pipe))
    HUEY.enqueue(task)
    wait_for(lambda: BackgroundTask.objects.filter(task_id=task.id, status="Running").exists())
    return task.id, lambda: pipe.write_text("")


def count_runs(case: Any, load: Load, long_run: str) -> None:
    """Each run must be recorded as it went, and each that was refused as refused, or as executed all the same."""
    ran, idle = _statuses(load.taken)
    ran_all_the_same, refused = _statuses(load.refused)
    case.note(f"{ran.total()} runs executed and recorded as: {_said(ran)}")
    if idle:
        case.note(f"{idle.total()} runs taken by the queue, never executed, and recorded as: {_said(idle)}")
    if load.refused:
        case.note(f"{refused.total()} runs refused to who enqueued them, and recorded as: {_said(refused)}")
    if ran_all_the_same:
        case.note(f"{ran_all_the_same.total()} executed though refused, and recorded as: {_said(ran_all_the_same)}")
    (ended_meanwhile,) = _rows([long_run]).values()
    case.note(f"the run that ended meanwhile is recorded as: {ended_meanwhile}")
    executed = ran + ran_all_the_same
    case.expect(executed.total() == executed["Completed"], "not each run that was executed is recorded as Completed")
    case.expect(refused.total() == refused["Stopped"], "not each run that was refused is recorded as Stopped")
    going_on = left(load, long_run)
    case.expect(not going_on, f"{going_on} runs are recorded as if they went on")


def left(load: Load, long_run: str) -> int:
    """How many runs are recorded as if they were not over."""
    statuses = _rows({*load.taken, *load.refused, long_run}).values()
    return sum(status in ("Pending", "Queued", "Running", "Invalidated") for status in statuses)


def _statuses(runs: dict[str, Path]) -> tuple[Counter[str], Counter[str]]:
    """How those that were executed are recorded, and how those are that were not."""
    rows = _rows(runs)
    executed = {task_id for task_id, path in runs.items() if path.exists()}
    found: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for task_id in runs:
        found[task_id not in executed][rows.get(task_id, "no row")] += 1
    return found


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _rows(task_ids: Iterable[str]) -> dict[str, str]:
    from monitoring.models import BackgroundTask

    runs = BackgroundTask.objects.filter(task_id__in=list(task_ids))
    return dict(runs.values_list("task_id", "status"))
