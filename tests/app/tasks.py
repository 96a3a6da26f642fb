"""Huey tasks of each ending. The first parameter is an order's id, which only some of them look at."""

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from huey import crontab
from huey.contrib.djhuey import HUEY, db_task, lock_task, periodic_task, task
from huey.exceptions import CancelExecution, RetryTask

from tests.app.models import Customer


@task()
def succeed(order_id: object, token: str = "", note: str = "") -> str:
    return "done"


@db_task()
def succeed_in_the_database(order_id: int) -> None:
    Customer.objects.create()


@task()
def fail(order_id: int) -> None:
    raise ValueError(f"there is no order {order_id}")


@task(retries=1, context=True)
def fail_once(order_id: int, task: Any) -> None:
    if task.retries:
        raise ValueError("not yet")


@task(retries=1, retry_delay=2, context=True)
def fail_once_and_wait(order_id: int, task: Any) -> None:
    if task.retries:
        raise ValueError("not yet")


@task(retries=2, context=True)
def fail_always(order_id: int, task: Any) -> None:
    raise ValueError(f"failed with {task.retries} retries left")


@task()
def ask_for_a_retry(order_id: int) -> None:
    if _is_first_attempt("ask_for_a_retry", order_id):
        raise RetryTask


@task()
def give_up(order_id: int) -> None:
    raise CancelExecution("the shop is closed")


@task()
def give_up_and_retry(order_id: int) -> None:
    if _is_first_attempt("give_up_and_retry", order_id):
        raise CancelExecution("the shop is closed", retry=True)


@task()
@lock_task("till")
def need_the_till(order_id: int) -> None: ...


@task()
@HUEY.rate_limit("never", limit=0, per=60, retry=False)
def be_over_the_limit(order_id: int) -> None: ...


@task(timeout=0.2, context=True)
def take_too_long(order_id: int, task: Any) -> None:
    while True:
        task.check_timeout()


@task()
def leave(order_id: int) -> None:
    sys.exit(3)


@task()
def note_in(file: str) -> None:
    """One byte a run, so that its size counts those that were executed."""
    with open(file, "ab", buffering=0) as notes:
        notes.write(b".")


@task()
def read(fifo: str) -> None:
    """Goes on when somebody writes."""
    Path(fifo).read_text()


@task()
def say(words: str) -> None:
    raise ValueError(words)


@task()
def never_end(order_id: int) -> None:
    time.sleep(3600)


@task()
def generate_daily_report(fails: bool) -> None:
    if fails:
        raise RuntimeError("the template of the report is gone")


@task()
def extract_orders(target: str) -> str:
    return target


@task()
def transform_orders(target: str) -> str:
    return target


@task()
def load_orders(target: str) -> str:
    if target == "full":
        raise OSError(f"no space left on {target}")
    return target


@task()
def report_orders(target: str) -> None: ...


def _each_minute_where_asked_for(now: datetime) -> bool:
    """Huey looks at a consumer's start too. Only those consumers tick whose tests want it."""
    return "SHOP_TICKS" in os.environ and bool(crontab(minute="*")(now))


@periodic_task(_each_minute_where_asked_for)
def count_the_till() -> None: ...


def _is_first_attempt(name: str, order_id: int) -> bool:
    """A retry that is asked for changes nothing in the task that would tell the attempts apart."""
    return HUEY.put_if_empty(f"{name} {order_id}", True)
