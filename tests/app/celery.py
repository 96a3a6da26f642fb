"""A Celery app whose tasks have each ending; where its broker is, CELERY_BROKER_URL says."""

import os
import signal
import sys
from typing import Any

from celery import Celery
from celery.exceptions import Ignore, Reject

from tests.consumer import wait_for

app = Celery("shop", set_as_current=True)
app.conf.update(
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


class ShopClosed(Exception):
    """It cannot be pickled, and so does not come out of a worker's child as it is."""

    def __init__(self, door: object):
        super().__init__(lambda: door)

    def __str__(self) -> str:
        return "the shop is closed"


@app.task
def succeed(order_id: object, token: str = "", note: str = "") -> str:
    return "done"


@app.task(name="shop.tasks.sync")
def sync(order_id: int) -> None: ...


@app.task
def fail(order_id: int) -> None:
    raise ValueError(f"there is no order {order_id}")


@app.task
def fail_unspeakably(order_id: int) -> None:
    raise ShopClosed("front")


@app.task(bind=True, autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
def fail_once(self: Any, order_id: int) -> None:
    if not self.request.retries:
        _see_that_it_runs(self.request.id, attempts=1)
        raise ValueError("not yet")


@app.task(bind=True, max_retries=2)
def fail_always(self: Any, order_id: int, countdown: int = 0) -> None:
    try:
        raise ValueError(f"failed after {self.request.retries} retries")
    except ValueError as error:
        raise self.retry(exc=error, countdown=countdown) from error


@app.task(bind=True)
def fail_once_and_die(self: Any, order_id: int) -> None:
    if not self.request.retries:
        raise self.retry(countdown=0)
    _see_that_it_runs(self.request.id, attempts=2)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True, time_limit=1, max_retries=1)
def fail_once_and_take_too_long(self: Any, order_id: int) -> None:
    if not self.request.retries:
        raise self.retry(countdown=0)
    signal.pause()


@app.task
def wait(order_id: int) -> None:
    signal.pause()


@app.task(bind=True)
def leave(self: Any, order_id: int) -> None:
    _see_that_it_runs(self.request.id, attempts=1)
    sys.exit("the shift is over")


@app.task
def ignore(order_id: int) -> None:
    raise Ignore("nobody wants it")


@app.task
def reject(order_id: int) -> None:
    raise Reject("it is spoilt", requeue=False)


@app.task(bind=True, acks_late=True)
def requeue_once(self: Any, order_id: int) -> None:
    if not self.request.delivery_info["redelivered"]:
        _see_that_it_runs(self.request.id, attempts=1)
        raise Reject("not here", requeue=True)


@app.task(bind=True)
def replace_itself(self: Any, order_id: int) -> None:
    _see_that_it_runs(self.request.id, attempts=1)
    raise self.replace(succeed.si(order_id))


def _see_that_it_runs(task_id: str, attempts: int) -> None:
    """Before another process ends the next attempt, or this one takes what it has still to write along with it."""
    from monitoring.models import BackgroundTask

    wait_for(lambda: BackgroundTask.objects.filter(task_id=task_id, status="Running", attempts=attempts).exists())
