"""The wheel, installed into a fresh environment, in a project that is not ours."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import django
import pytest

TOP = Path(__file__).resolve().parent.parent.parent
UV = Path(sys.executable).with_name("uv")
CONFIG = {
    "close_the_books": {"expected_statuses": ["Completed"]},
    "send_invoices": {"expected_statuses": ["Completed"], "notify_to": ["invoices@example.com"]},
    "never_started": {"expected_statuses": ["Completed"], "notify_to": ["invoices@example.com"]},
}


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds our wheel and what it depends on, and not this checkout."""
    folder = tmp_path_factory.mktemp("environment")
    source = folder / "source"
    shutil.copytree(TOP / "monitoring", source / "monitoring", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, source)
    run(UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    python = folder / "venv" / "bin" / "python"
    constraints = TOP / "requirements.txt"
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", constraints, wheel)
    return python


@pytest.fixture(params=["people.Person", "people.Account"])
def site(request: pytest.FixtureRequest, python: Path, tmp_path: Path) -> Any:
    """Runs `manage.py` of the foreign project; each test gets a new site with its tables made."""
    shutil.copytree(TOP / "tests" / "foreign" / "site", tmp_path / "site")
    environment = {
        "PATH": os.environ["PATH"],
        "SITE_FOLDER": str(tmp_path),
        "SITE_USER_MODEL": request.param,
        "SITE_DJANGO": django.get_version(),
    }

    class Site:
        folder = tmp_path
        user_model = request.param

        def command(self, *arguments: str) -> list[str | Path]:
            return [python, "-W", "error", tmp_path / "site" / "manage.py", *arguments]

        def manage(self, *arguments: str, expect: int = 0, **options: Any) -> str:
            done = subprocess.run(
                self.command(*arguments), env=environment, capture_output=True, text=True, check=False, **options
            )
            assert done.returncode == expect, done.stdout + done.stderr
            return done.stdout + done.stderr

        def consumer(self) -> subprocess.Popen[bytes]:
            command = self.command("run_huey", "--workers=2", "--graceful-signal=TERM", "--max-delay=0.2")
            return subprocess.Popen(command, env=environment)

        def shell(self, code: str) -> str:
            return self.manage("shell", "--verbosity=0", f"--command={code}")

        def rows(self, sql: str) -> list[Any]:
            with sqlite3.connect(tmp_path / "runs.sqlite3") as connection:
                return connection.execute(sql).fetchall()

    site = Site()
    site.manage("migrate", "--run-syncdb", "--verbosity=0")
    site.manage("migrate", "--database=runs", "--verbosity=0")
    return site


def test_tasks_are_recorded_judged_and_told_about(site: Any) -> None:
    assert "no issues" in site.manage("check")
    if site.user_model == "people.Person":
        site.shell("from people.models import Person; Person.objects.create_superuser('root', 'root@example.com', 'x')")
    site.shell(
        "from nights.tasks import close_the_books, send; close_the_books(2025); send('ACME', api_token='s3cret')"
    )

    consumer = site.consumer()
    deadline = time.monotonic() + 20
    ended = "SELECT count(*) FROM monitoring_backgroundtask WHERE finished_at IS NOT NULL"
    while site.rows(ended) != [(2,)] and time.monotonic() < deadline:
        time.sleep(0.1)
    consumer.send_signal(signal.SIGTERM)
    assert consumer.wait(20) == 0

    runs = site.rows("SELECT task_name, status, context_id, parameters FROM monitoring_backgroundtask ORDER BY 1")
    assert runs == [
        ("close_the_books", "Completed", "2025", '{"year": 2025}'),
        ("send_invoices", "Stopped", "ACME", '{"customer": "ACME", "api_token": "********"}'),
    ]

    config = site.folder / "config.json"
    config.write_text(json.dumps([CONFIG]))
    said = site.manage("check_task_status", f"--config={config}", expect=2)
    assert "TASKS CRITICAL - 1 not executed, 1 status mismatch, 1 as expected" in said
    # Django's own backend writes the mails of one connection into one file, a line of dashes after each.
    files = b"".join(file.read_bytes() for file in (site.folder / "mail").iterdir())
    sent = [message_from_bytes(mail, policy=policy.default) for mail in files.split(b"-" * 79 + b"\n")[:-1]]
    assert {(mail["To"], mail["From"]) for mail in sent} == {("invoices@example.com", "nights@example.com")}
    assert {mail["Subject"] for mail in sent} == {
        "[ALERT] send_invoices Status Check Failed",
        "[ALERT] never_started Has Not Executed",
    }
    assert all("(Europe/Berlin)" in mail.get_body(("plain",)).get_content() for mail in sent)


def test_who_is_told_when_the_config_names_nobody_depends_on_the_projects_users(site: Any) -> None:
    config = json.dumps({"never_started": {"expected_statuses": ["Completed"]}})
    said = site.manage("check_task_status", "--config=-", input=config, expect=3)
    assert "notify_to is empty but no superuser found for task 'never_started'" in said
    assert "Subject: [ALERT] never_started Has Not Executed" in said, "the whole mail stands in the error log"
    if site.user_model == "people.Person":
        site.shell("from people.models import Person; Person.objects.create_superuser('root', 'root@example.com', 'x')")
        assert "root@example.com" in site.manage("check_task_status", "--config=-", input=config, expect=2)


def test_the_mails_can_be_previewed_there(site: Any) -> None:
    assert site.manage("preview_alert").count("Subject: ") == 6


TESTS = """
from django.test import TestCase
from monitoring.models import BackgroundTask
from nights.tasks import close_the_books


class BooksTest(TestCase):
    databases = {"default", "runs"}

    def test_a_run_is_a_row_at_once(self):
        close_the_books(2025)
        self.assertEqual(BackgroundTask.objects.get().status, "Queued")

    def test_a_run_is_gone_with_its_test(self):
        self.assertFalse(BackgroundTask.objects.exists())
        close_the_books(2026)
"""


def test_its_own_tests_see_runs_in_their_transactions_and_databases_in_memory(site: Any) -> None:
    (site.folder / "site" / "nights" / "tests.py").write_text(TESTS)
    assert "OK" in site.manage("test", "nights", "--verbosity=1")
    assert site.rows("SELECT count(*) FROM monitoring_backgroundtask") == [(0,)]
