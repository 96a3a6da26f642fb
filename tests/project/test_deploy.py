"""The project as it is deployed: production settings, the Procfile's processes, real PostgreSQL, Redis and SMTP."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import free_port, postgres_server, redis_server
from tests.smtp import MailServer, mail_server

TOP = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
DEADLINE = 30  # seconds
CONFIG = {"data_export": {"expected_statuses": ["Completed"], "notify_to": ["ops@example.com"]}}


def production(tmp_path: Path, **over: str) -> dict[str, str]:
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "DEBUG": "0",  # whatever a .env file says
        "SECRET_KEY": "".join(chr(33 + n * 7 % 90) for n in range(60)),
        "SITE_URL": "https://monitor.example.org",
        "DEFAULT_FROM_EMAIL": "monitor@example.org",
        "EMAIL_URL": "smtp+tls://user:secret@mx.example.org",
        "BEHIND_PROXY": "1",
        "VAR_DIR": str(tmp_path / "var"),
        "PYTHONWARNINGS": "error",
        **over,
    }


def manage(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False, **options)


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert condition()


def test_the_deployment_check_finds_nothing(tmp_path: Path) -> None:
    done = manage("check", "--deploy", "--fail-level=WARNING", env=production(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


def test_the_procfile_serves_runs_and_alerts_and_ends_on_term(tmp_path: Path, mails: MailServer) -> None:
    port = free_port()
    with postgres_server() as database, redis_server() as queue:
        environment = production(
            tmp_path,
            DJANGO_SETTINGS_MODULE="tests.deployed",
            DATABASE_URL=database,
            HUEY_URL=queue,
            EMAIL_URL=f"smtp://127.0.0.1:{mails.port}",
            GUNICORN_CMD_ARGS=f"--bind=127.0.0.1:{port}",
        )
        for command in (["migrate", "--verbosity=0"], ["collectstatic", "--noinput", "--verbosity=0"]):
            done = manage(*command, env=environment)
            assert done.returncode == 0, done.stderr

        log = tmp_path / "honcho.log"
        with log.open("wb") as output:
            honcho = subprocess.Popen(
                [BIN / "honcho", "start"], cwd=TOP, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_for(lambda: status_of(f"http://127.0.0.1:{port}/admin/login/") == 200)
            assert status_of(f"http://127.0.0.1:{port}/static/admin/css/base.css") == 200
            enqueue = (
                "from project.demo.tasks import data_export; from monitoring.tasks import monitor_task_status;"
                f"data_export('nowhere'); monitor_task_status.schedule(args=({CONFIG!r},), delay=1)"
            )
            done = manage("shell", "--verbosity=0", f"--command={enqueue}", env=environment)
            assert done.returncode == 0, done.stderr
            wait_for(lambda: mails.received)
        finally:
            honcho.send_signal(signal.SIGTERM)
            honcho.wait(DEADLINE)
        said = log.read_text()
        done = manage("check_task_status", "--config=-", "--format=json", env=environment, input=json.dumps(CONFIG))

    ((addresses, mail), *_) = mails.received
    assert addresses == ["ops@example.com"]
    assert mail["Subject"] == "[ALERT] data_export Status Check Failed"
    (check,) = json.loads(done.stdout)["checks"]
    assert (check["verdict"], check["run"]["status"]) == ("status mismatch", "Stopped")
    assert "Shutting down: Master" in said, said
    assert "Consumer exiting." in said, said


def status_of(url: str) -> int:
    """As a proxy asks that has ended TLS."""
    host = {"Host": "monitor.example.org", "X-Forwarded-Proto": "https"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=host)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
