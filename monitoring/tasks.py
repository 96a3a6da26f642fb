"""What Huey runs for us."""

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
from monitoring.recording.spool import write_kept
from monitoring.recording.writer import clock_steps, wait_for_a_beat
from monitoring.retention import politely, prune
from monitoring.telling import tell
from monitoring.tick import check_config, tick
from monitoring.values.expectation import parse_config

FIRST_BEAT_WITHIN = 1.0  # seconds; a process that has beaten once waits no more

# What is left is sent by the next minute's dispatch.
SENDING_MAX = timedelta(minutes=2)

# One worker of a process sends at a time: a mail server that hangs must leave the others to the ticks.
_sending = threading.Lock()
_asked = threading.Event()
# The other worker, if there is one, ticks meanwhile; ten seconds are some 100,000 runs.
PRUNING_MAX = timedelta(seconds=10)

# Seconds after which a periodic task that no worker took is dropped, so that a worker which comes back after an outage
# does not work off a heap of them. Every worker may enqueue them: each due moment, and each mail, is claimed once.
EXPIRES = 55


@on_startup("spare_what_stays")
def spare_what_stays() -> None:
    """What is loaded by now lasts as long as the worker: the garbage collector need not go through it again."""
    gc.freeze()


@db_task(name="monitor_task_status")
def monitor_task_status(config: Any) -> dict[str, str]:
    """Checks a configuration now and returns each task's verdict, after every owed mail was tried once.

    `config` is a dictionary from task name to settings, or a list that holds that one dictionary. Raises ConfigError
    before anything is checked, and ValueError, after everything else was done, when nobody can be told about a task.
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
    """Checks the monitors that are due; mails go out by a task of their own, so that no server keeps it waiting."""
    write_kept()  # runs that have ended are to be judged as they ended
    wait_for_a_beat(FIRST_BEAT_WITHIN)  # the first round after an outage is to know who records from now on
    now = database_now()
    found = tick(now, clock_steps(now))
    log_round(found)
    if found.announcements:
        dispatch_owed()
    if conf().PING_URL:
        say_all_is_well()


@db_task(name="say_all_is_well", expires=EXPIRES)
def say_all_is_well() -> None:
    """After a round, tells a dead man's switch outside that the monitor works, unless `/readyz` would say otherwise."""
    if (url := conf().PING_URL) and not problems(database_now()):
        ping(url)


@db_periodic_task(crontab(minute="*"), name="dispatch_owed", expires=EXPIRES)
def dispatch_owed() -> None:
    """Sends what is still owed: what an earlier try could not, and what a process owed before it died.

    While another worker of this process sends, that one does it.
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
    """Removes a part of what is too old; the next one goes on from there."""
    for _ in politely(prune(database_now()), within=PRUNING_MAX):
        pass
