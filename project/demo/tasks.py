"""Tasks under the names that the example configs watch: some complete, one fails, one is never started."""

import time

from huey.contrib.djhuey import db_task, task

from project.demo.models import IngestorSession

PROCESSING_SECONDS = 6  # long enough to be found running


@task()
def hourly_data_sync() -> int:
    return 128


@task()
def data_collection() -> int:
    return 4096


@task()
def data_processing() -> None:
    time.sleep(PROCESSING_SECONDS)


@task()
def data_export(target: str) -> None:
    raise ConnectionError(f"{target} closed the connection after 3 of 12 files")


@task()
def daily_report_generation() -> None:
    """Completes at once."""


@task()
def daily_cleanup() -> None:
    """Never started: the task that "has not executed"."""


@db_task()
def ingestor_session(session_id: int) -> str:
    session = IngestorSession.objects.get(pk=session_id)
    if session.ingestor_type == "Hourly Tomorrow.io":
        raise TimeoutError(f"{session.ingestor_type}: no answer from the provider within 30 s")
    return session.ingestor_type
