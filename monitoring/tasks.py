"""The tasks that Huey runs for this app."""

import gc
import threading
from datetime import timedelta
from typing import Any

from huey import crontab
from huey.contrib.djhuey import db_periodic_task, db_task, on_startup

from monitoring.alerting.ping import ping
from monitoring.checking.health import problems
from monitoring.conf import conf
from monitoring.journal import log_owed, log_round, log_sent
from monitoring.models import database_now
from monitoring.recording.huey import registered_names
from monitoring.recording.spool import write_kept
from monitoring.recording.writer import clock_steps, wait_for_a_beat
from monitoring.retention import politely, prune
from monitoring.telling import tell
from monitoring.tick import check_config, tick
from monitoring.values.expectation import parse_config

FIRST_BEAT_WITHIN = 1.0  # seconds; once a process has beaten, it no longer waits

# What is left over is sent by the next minute's dispatch.
SENDING_MAX = timedelta(minutes=2)

# Only one worker of a process sends at a time: if the mail server hangs, the others are free for the ticks.
_sending = threading.Lock()
_asked = threading.Event()
# Enough for some 100,000 runs. Another worker, if there is one, ticks meanwhile.
PRUNING_MAX = timedelta(seconds=10)

# Seconds after which a periodic task that no worker took is dropped, so that a worker that comes back after an outage
# finds no backlog of them. Several consumers may enqueue them: each due moment, and each mail, is claimed only once.
EXPIRES = 55


@on_startup("spare_what_stays")
def spare_what_stays() -> None:
    """Exempts from garbage collection what is loaded by now: it lives as long as the worker."""
    gc.freeze()


@db_task(name="monitor_task_status")
def monitor_task_status(config: Any) -> dict[str, str]:
    """Checks a configuration now, tries every owed mail once, and returns each task's verdict.

    `config` is a dictionary from task name to settings, or a list that holds only that dictionary. Raises ConfigError
    for an invalid one, before anything is checked. Raises ValueError, after everything else is done, if nobody can be
    told about a task.
    """
    expectations = parse_config(config)
    now = database_now()
    found = check_config(expectations, now)
    log_owed(found)
    log_sent(tell(now))
    if found.nobody_to_tell:
        raise ValueError(found.nobody_to_tell)
    return {judged.name: judged.outcome.verdict.value for judged in found.judged}


@db_periodic_task(crontab(minute="*"), name="tick_monitors", expires=EXPIRES)
def tick_monitors() -> None:
    """Checks the monitors that are due; another task sends the mails, so that no mail server delays this one."""
    write_kept()  # so that runs that have ended are judged by how they ended
    wait_for_a_beat(FIRST_BEAT_WITHIN)  # so that the first round after an outage sees this process alive
    now = database_now()
    found = tick(now, clock_steps(now))
    log_round(found)
    if found.announcements:
        dispatch_owed()
    if conf().PING_URL:
        say_all_is_well()


@db_task(name="say_all_is_well", expires=EXPIRES)
def say_all_is_well() -> None:
    """After a round, pings an external dead man's switch, unless `/readyz` would report a problem."""
    if (url := conf().PING_URL) and not problems(database_now()):
        ping(url)


@db_periodic_task(crontab(minute="*"), name="dispatch_owed", expires=EXPIRES)
def dispatch_owed() -> None:
    """Sends what is still owed: what an earlier try could not send, and what a process owed before it died.

    If another worker of this process is sending, that one sends this too.
    """
    _asked.set()
    while _asked.is_set() and _sending.acquire(blocking=False):
        try:
            _asked.clear()
            log_sent(tell(database_now(), within=SENDING_MAX))
        finally:
            _sending.release()


@db_periodic_task(crontab(minute="*/10"), name="prune_history", expires=EXPIRES)
def prune_history() -> None:
    """Removes some of what is too old; the next call continues from there."""
    for _ in politely(prune(database_now()), within=PRUNING_MAX):
        pass


# They run each minute or so, and the admin shows in other ways whether they do.
OURS_UNRECORDED = (tick_monitors, say_all_is_well, dispatch_owed, prune_history)


def recorded_names() -> list[str]:
    """The names of Huey's tasks whose runs are recorded, sorted."""
    unrecorded = unrecorded_names()
    return [name for name in registered_names() if name not in unrecorded]


def unrecorded_names() -> set[str]:
    """The names of the tasks whose runs are never recorded."""
    return {each.task_class.__name__ for each in OURS_UNRECORDED} | set(conf().NOT_RECORDED)
