"""The wall clock of everything is set, while monitors that are well are checked each minute and others fail."""

import contextlib
import time

from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from monitoring.models import BackgroundTask, MonitorState
from monitoring.tasks import tick_monitors
from tests.consumer import wait_for
from tests.factories import make_monitor
from tests.faults.report import Case
from tests.faults.tally import Said, tally
from tests.faults.world import EVERYBODY, World, make_due, owed, watch
from tests.outages.experiment import (
    AT_FIRST,
    LATE_MAX,
    MONITORS,
    SETTLED_WITHIN,
    Load,
    begin_a_long_run,
    count_runs,
    left,
)
from tests.outages.sites import Broken
from tests.smtp import MailServer, mail_server

STEADY = 20  # monitors of what runs all the time
LOOKBACK_MINUTES = 3
SOON = 90  # seconds: a monitor of each minute is due again by then


def clock_is_set(case: Case, seconds: float, broken: Broken, load: Load) -> None:
    """Nobody may hear of anything but the tasks that fail, which are due for the first time after each step."""
    User.objects.create_superuser("root", "root@example.com")  # would hear that monitoring was down
    expected: set[Said] = set()
    with mail_server() as mail, World(mail, kills=0, seed=0).consumer():
        load.start()
        wait_for(lambda: load.executed >= AT_FIRST, 30)
        _watch_what_runs()
        run, let_it_end = begin_a_long_run(load.folder / "pipe")
        time.sleep(seconds)  # real time is the subject; by then there was a round, and the worker judges who is lost
        for number, (step, set_the_clock) in enumerate({"forwards": broken.go_down, "back": broken.come_back}.items()):
            set_the_clock()
            expected |= owed(names := watch(MONITORS, first=number * MONITORS))
            _told(case, step, expected, names, mail)
            time.sleep(seconds)
            case.expect(
                BackgroundTask.objects.filter(task_id=run, status="Running").exists(), f"{step}: a run was lost"
            )
            _planned(case, step)
        let_it_end()
        load.end()
        with contextlib.suppress(AssertionError):  # it is counted below
            wait_for(lambda: not left(load, run), SETTLED_WITHIN)
    case.count(tally(expected, mail.received))
    count_runs(case, load, run)


def _watch_what_runs() -> None:
    """Not before it runs: a check at a full minute that comes before would rightly find nothing."""
    for number in range(STEADY):
        make_monitor(
            f"steady {number}",
            task_name="note_in",
            # It runs some times a second, so that now and then a check finds a run that is not over yet.
            expected_statuses=["Completed", "Running"],
            lookback_hours=LOOKBACK_MINUTES / 60,
            schedule="* * * * *",
            notify_to=list(EVERYBODY),
        )


def _told(case: Case, step: str, expected: set[Said], names: list[str], mail: MailServer) -> None:
    began = time.monotonic()
    make_due(names)
    tick_monitors()
    with contextlib.suppress(AssertionError):  # it is counted by the tally
        wait_for(lambda: tally(expected, mail.received).lost == 0, LATE_MAX)
    case.note(f"{step}: what was due then was told {time.monotonic() - began:.1f} s after it")


def _planned(case: Case, step: str) -> None:
    connections.close_all()  # ours are not the subject
    wait = max(
        state.next_check_at - timezone.now() for state in MonitorState.objects.filter(monitor__task_name="note_in")
    )
    case.expect(wait.total_seconds() <= SOON, f"{step}: a monitor of each minute is checked in {wait} only")
