"""The tasks that the measurements' consumers run."""

import os
import time

from huey.contrib.djhuey import task


@task()
def work(number: int, milliseconds: float) -> None:
    """Takes that much processor time."""
    until = time.thread_time() + milliseconds / 1000
    while milliseconds and time.thread_time() < until:
        pass


@task(context=True)
def wait(seconds: float, notes: str, task: object) -> None:
    """Waits, then notes its own id in a file, which shows that it was executed."""
    time.sleep(seconds)
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{task.id}\n".encode())
    os.close(file)
