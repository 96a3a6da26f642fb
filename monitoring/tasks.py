"""What Huey runs for us."""

from datetime import timedelta
from typing import Any

from huey import crontab
from huey.contrib.djhuey import db_periodic_task, db_task

from monitoring.alerting.outbox import dispatch
from monitoring.models import database_now
from monitoring.tick import check_config
from monitoring.values.expectation import parse_config

# A dead mail server costs a time-out for each message: the next minute's dispatch goes on, with a worker to spare.
SENDING_MAX = timedelta(minutes=2)


@db_task(name="monitor_task_status")
def monitor_task_status(config: Any) -> dict[str, str]:
    """Checks a configuration now and returns each task's verdict, after every owed mail was tried once.

    `config` is a dictionary from task name to settings, or a list that holds that one dictionary. Raises ConfigError
    before anything is checked, and ValueError, after everything else was done, when nobody can be told about a task.
    """
    expectations = parse_config(config)
    now = database_now()
    found = check_config(expectations, now)
    dispatch(now)
    if found.nobody_to_tell:
        raise ValueError(found.nobody_to_tell)
    return {outcome.check.expectation.task_name: outcome.verdict.value for outcome in found.outcomes}


# It expires so that a worker which comes back after an outage does not work off a heap of them.
@db_periodic_task(crontab(minute="*"), name="dispatch_owed", expires=55)
def dispatch_owed() -> None:
    """Sends what is still owed: what an earlier try could not, and what a process owed before it died."""
    dispatch(database_now(), within=SENDING_MAX)
