"""Keeps a site busy for some minutes, prints what grew, and ends with 1 if something did that should not."""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.services import connects, free_port, postgres_server, redis_server
from tests.smtp import MailServer, mail_server

MINUTES = 30
EACH = 5.0  # seconds between two samples
STARTED_WITHIN = 30
COMPLAINT = re.compile(r"^.* (?:WARNING|ERROR|CRITICAL) (?!huey:).*$", re.MULTILINE)  # tasks that fail are meant to
WORKER = ("manage.py", "run_huey", "--workers", "2", "--graceful-signal", "TERM", "--max-delay", "1")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"default {MINUTES}")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="postgres")
    arguments = parser.parse_args()
    folder = tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True)
    with folder as name, _servers(arguments.database, Path(name)) as (database_url, queue_url), mail_server() as mail:
        port = free_port()
        os.environ.update(
            DJANGO_SETTINGS_MODULE="tests.soak.settings",
            SECRET_KEY="only-for-the-tests",
            SITE_URL=f"http://localhost:{port}",
            HTTPS="0",
            DEFAULT_FROM_EMAIL="monitor@example.org",
            VAR_DIR=name,
            EMAIL_URL=f"smtp://127.0.0.1:{mail.port}",
            LOG_LEVEL="WARNING",
            DATABASE_URL=database_url,
            HUEY_URL=queue_url,
        )
        return _soak(arguments.minutes, port, mail, Path(name))


@contextlib.contextmanager
def _servers(database: str, folder: Path) -> Iterator[tuple[str, str]]:
    if database == "sqlite":
        yield f"sqlite:///{folder}/db.sqlite3", f"sqlite:{folder}/huey.sqlite3"
    else:
        with postgres_server() as database_url, redis_server() as queue_url:
            yield database_url, queue_url


def _soak(minutes: float, port: int, mail: MailServer, folder: Path) -> int:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    from monitoring.checking.health import last_tick
    from monitoring.recording.writer import close
    from tests.consumer import wait_for
    from tests.soak.world import Site

    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    gunicorn = ("-m", "gunicorn", "project.wsgi", "--workers", "2", "--bind", f"127.0.0.1:{port}")
    try:
        with _running("web", gunicorn, folder) as web, _running("worker", WORKER, folder) as worker:
            wait_for(lambda: connects(port) and last_tick(), STARTED_WITHIN)
            site = Site(web, worker, port, mail)
            with site.busy():
                verdict = _watch(site, minutes)
    finally:
        close()
        connections.close_all()  # PostgreSQL would wait for these before it ends
    return _say(site, verdict, folder)


@contextlib.contextmanager
def _running(name: str, command: tuple[str, ...], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _watch(site: Any, minutes: float) -> Any:
    from tests.soak.measuring import course, judge

    began, samples = time.monotonic(), []
    while (at := time.monotonic() - began) < minutes * 60:
        samples.append(site.sample(at))
        time.sleep(EACH)
    verdict = judge(samples)
    verdict.lines += [f"memory of {name} meanwhile, MB: {course(samples, name)}" for name in samples[0].memory]
    return verdict


def _say(site: Any, verdict: Any, folder: Path) -> int:
    print(
        f"{site.enqueued:,} tasks, {site.rounds:,} rounds, {site.mails:,} mails, "
        f"pages: {', '.join(f'{count:,} with {status}' for status, count in sorted(site.answers.items()))}\n"
    )
    print(f"{'':40} {'first part':>12} {'last part':>12}")
    print("\n".join(verdict.lines))
    problems = [f"{count} times {what}" for what, count in site.troubles.items()]
    problems += [line for name in ("web", "worker") for line in COMPLAINT.findall((folder / f"{name}.log").read_text())]
    for problem in problems:
        print(f"TROUBLE {problem}")
    print(f"{'; '.join(verdict.grown)} grew" if verdict.grown else "nothing grew", flush=True)
    return 1 if verdict.grown or problems else 0


if __name__ == "__main__":
    sys.exit(main())
