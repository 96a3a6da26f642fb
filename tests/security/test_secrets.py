"""Where secrets may be, and where they must not come out."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.handlers.exception import response_for_exception
from django.db import OperationalError, connection
from django.test import Client

from monitoring.alerting.mail import render
from monitoring.alerting.owing import Announcement, owe
from monitoring.checking.evidence import gather
from monitoring.models import BackgroundTask, database_alias
from monitoring.recording.code import record_run
from tests.admin.people import logged_in
from tests.factories import make_facts

TOP = Path(__file__).resolve().parent.parent.parent
SECRET = "hunter2-hunter2"
URLS = {
    "EMAIL_URL": (
        f"smpt://user:{SECRET}@mx", f"smtp://user:{SECRET}@mx:port", f"anymail+mailgunn://{SECRET}@mg",
        f"smtp://user:{SECRET}@mx?wait=1", f"user:{SECRET}@mx", f"smtp://user:{SECRET}@[mx", f":{SECRET}@mx",
        f"smtp://user:{SECRET}/x@mx",
    ),
    "DATABASE_URL": (
        f"postgress://app:{SECRET}@db/shop", f"app:{SECRET}@db", f"postgres://app:{SECRET}@db:port/shop",
        f"postgres://app:{SECRET}@[db/shop", f"postgres://app:{SECRET}/x@db/shop",
    ),
    "HUEY_URL": (
        f"amqp://app:{SECRET}@queue", f"app:{SECRET}@queue", f"redis://:{SECRET}@queue:port/0", f":{SECRET}@queue",
        f"redis://:{SECRET}/x@queue",
    ),
    "ANYMAIL_WEBHOOK_SECRET": (SECRET, f"{SECRET}:short"),
    "SITE_URL": (f"https://user:{SECRET}@monitor.example.org/path", f"https://user:{SECRET}@monitor.example.org"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in URLS.items() for value in values])
def test_what_is_wrong_with_a_variable_is_said_without_its_password(name: str, value: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DEBUG": "0", "SECRET_KEY": "x", "VAR_DIR": str(tmp_path), name: value}
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    assert f"  {name}: " in done.stderr, done.stderr
    assert SECRET not in done.stdout + done.stderr


def raising(password: str, token: str) -> None:
    raise ValueError(f"no postgres://app:{password}@db/shop, api_key={token}")


@pytest.mark.django_db
def test_a_runs_secrets_stand_in_no_page_no_mail_no_json_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="no postgres"), record_run("nightly"):
        raising(SECRET, SECRET)
    run = BackgroundTask.objects.get()
    assert run.errors
    client = logged_in(User.objects.create_superuser("boss"))
    page = client.get(f"/admin/monitoring/backgroundtask/{run.pk}/change/").content.decode()
    assert "ValueError" in page
    assert SECRET not in page
    facts = make_facts(task_name="nightly", task_id=run.task_id)
    (alert,) = owe([Announcement(facts, ["ops@example.com"], None)], run.started_at, database_alias())
    (evidence,) = gather([alert], run.started_at)
    words = render(facts, evidence)
    assert "ValueError" in words.text
    assert SECRET not in words.text + words.html + words.subject
    assert SECRET not in caplog.text


@pytest.mark.django_db
def test_what_anybody_may_ask_says_nothing_of_the_site(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    def away(*args: Any) -> None:
        raise OperationalError(f"connection to server at 10.0.0.7 failed: password {SECRET} is wrong for user app")

    with connection.execute_wrapper(away):
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["Cannot query the database"]
    for path in ("/healthz", "/nowhere", "/admin/login/", "/"):
        said = client.get(path)
        assert not {"Server", "X-Powered-By", "Via"} & set(said.headers)


def test_an_error_of_the_site_shows_its_visitor_nothing(settings: Any, rf: Any) -> None:
    settings.DEBUG, settings.DEBUG_PROPAGATE_EXCEPTIONS = False, False
    try:
        raising(SECRET, SECRET)
    except ValueError as error:
        response = response_for_exception(rf.get("/"), error)
    assert response.status_code == 500
    assert SECRET not in response.content.decode()
    assert "ValueError" not in response.content.decode()


def test_production_shows_no_pages_for_developers(tmp_path: Path) -> None:
    """DEBUG is off unless it is switched on."""
    code = "import project.settings as s; print(s.DEBUG)"
    environment = {
        "SECRET_KEY": "x" * 50,
        "SITE_URL": "https://monitor.example.org",
        "DEFAULT_FROM_EMAIL": "monitor@example.org",
        "EMAIL_URL": "memory:",
        "VAR_DIR": str(tmp_path),
    }
    program = f"import environs; environs.Env.read_env = lambda *a, **k: None; {code}"
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_file_with_secrets_is_its_owners_alone() -> None:
    makefile = (TOP / "Makefile").read_text()
    assert "umask 077; printf 'DEBUG=1\\nSECRET_KEY=" in makefile
    assert {".env", "var/"} <= set((TOP / ".gitignore").read_text().split())
