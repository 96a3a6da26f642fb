"""A real Celery worker: another process with children of its own, on the test database and a Redis for itself."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.consumer import ROOT, START_DEADLINE, STOP_DEADLINE, url_of_the_test_database, wait_for

COMMAND = (
    sys.executable, "-m", "celery", "-A", "tests.app.celery", "worker", "--pool=prefork", "--concurrency=2",
    "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=INFO",
)  # fmt: skip


@contextlib.contextmanager
def worker(broker_url: str) -> Iterator[Path]:
    """Yields the file that its output goes to; ended by TERM."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": url_of_the_test_database(),
        "CELERY_BROKER_URL": broker_url,
    }
    with tempfile.TemporaryDirectory(prefix="worker-") as folder:
        log = Path(folder, "output")
        with log.open("wb") as output:
            process = subprocess.Popen(
                COMMAND, cwd=ROOT, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_for(lambda: process.poll() is not None or " ready." in log.read_text(errors="replace"), START_DEADLINE)
            assert process.poll() is None, f"the worker ended with {process.returncode}:\n{log.read_text()}"
            yield log
        finally:
            process.terminate()
            try:
                process.wait(STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
