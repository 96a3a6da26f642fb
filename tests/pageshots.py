"""Pictures of the admin's pages for docs/pages.md: a site where something is broken, and a quiet one.

One more is of a mail that this site wrote, for the README, which shows its terminal too.

`python -m tests.pageshots` (`make screenshots-pages`) writes them to docs/pages; given a folder, to that.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import tests.early  # noqa: F401 - the settings' environment
from tests.services import BROWSER, connects, free_port, running

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pages"
LOOKS = {"light": (1200, "light"), "dark": (1200, "dark"), "phone": (400, "light"), "phone-dark": (400, "dark")}
# What docs/pages.md shows; another folder gets all pages in all looks.
IN_DOCS = {
    *(
        f"{page}-broken-{look}"
        for page in ("board", "monitor", "incident", "form")
        for look in ("light", "dark", "phone")
    ),
    *("board-quiet-light", "board-quiet-dark", "monitor-quiet-light", "front-broken-light", "monitors-broken-light"),
    *("unwatched-broken-light", "run-broken-light", "message-broken-light", "mail-broken-light", "mail-broken-dark"),
}
HEIGHT_MAX = 2_600  # pixels: of a long page its beginning
MAIL = (660, 800)  # width and height: what stands in it first
COLOURS = 128

WHOLE = timedelta(minutes=40)  # into an hour its runs are over
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/.venv/lib/python3.11/site-packages/huey/api.py", line 412, in _execute
    task_value = task.execute()
  File "/srv/shop/exports/tasks.py", line 88, in data_export
    upload(target, part)
  File "/srv/shop/exports/sftp.py", line 131, in upload
    raise ConnectionError(f"{target} closed the connection after {done} of {parts} files")
ConnectionError: sftp://partner.example.org closed the connection after 3 of 12 files
"""


def build(now: datetime, *, broken: bool) -> dict[str, Any]:
    """A week of a shop's runs, and its monitors; returns the pages by name."""
    from monitoring.models import Incident, Message
    from monitoring.telling import tell
    from monitoring.tick import tick
    from tests.factories import make_monitor

    hour = (now - WHOLE).replace(minute=0, second=0, microsecond=0)
    _runs_of_a_week(hour - timedelta(hours=6))
    export = make_monitor(
        "Export of orders",
        task_name="data_export",
        lookback_hours=1.5,
        schedule="35 * * * *",
        time_zone="Europe/Berlin",
        notify_to=["ops@example.com", "data-team@example.com"],
        dependent_tasks=("report_generation", "update_dashboard"),
        due_at=hour - timedelta(hours=6, minutes=25),
    )
    hourly = {"lookback_hours": 2, "schedule": "20 * * * *", "due_at": hour - timedelta(hours=6, minutes=40)}
    make_monitor("Import of prices", task_name="price_import", **hourly)
    make_monitor("Ledger", task_name="ledger", expected_statuses=["Completed", "Running"], **hourly)
    if broken:
        make_monitor("Invoices", task_name="invoices", **hourly)
    for ago in range(6, -1, -1):
        at = hour - timedelta(hours=ago)
        _runs_of_an_hour(at, now, broken=broken)
        told = min(at + timedelta(minutes=36), now)
        tick(told)
        tell(told, within=timedelta(seconds=60))
    tick(now)
    incident, message = Incident.objects.filter(closed_at=None, monitor=export).first(), Message.objects.last()
    pages = {"front": "", "board": "monitoring/monitor/board/", "monitors": "monitoring/monitor/"}
    pages["monitor"] = f"monitoring/monitor/{export.pk}/overview/"
    if not (broken and incident and message):
        return pages
    return pages | {
        "incident": f"monitoring/incident/{incident.pk}/change/",
        "incidents": "monitoring/incident/",
        "form": f"monitoring/monitor/{export.pk}/change/",
        "unwatched": "monitoring/monitor/unwatched/",
        "runs": "monitoring/backgroundtask/",
        "run": f"monitoring/backgroundtask/{incident.run_id}/change/",
        "message": f"monitoring/message/{message.pk}/change/",
    }


def _runs_of_a_week(until: datetime) -> None:
    from tests.factories import make_run

    for hours in range(7 * 24, 0, -1):
        at = until - timedelta(hours=hours)
        wobble = hours * 7919 % 29
        slow = 300 if hours % 41 == 0 else 0
        _run("data_export", at + timedelta(minutes=10), 60 + wobble + slow)
        _run("price_import", at + timedelta(minutes=5), 20 + wobble / 3)
        _run("newsletter", at + timedelta(minutes=45), 4 + wobble / 9)
        _run("ledger", at + timedelta(minutes=15), 140 + 3 * wobble)
    make_run("report_generation", started_at=until, finished_at=until + timedelta(minutes=2))


def _runs_of_an_hour(at: datetime, now: datetime, *, broken: bool) -> None:
    from tests.factories import make_run

    _run("price_import", at + timedelta(minutes=5), 24)
    fails = broken and now - at < timedelta(hours=4)
    start = at + timedelta(minutes=10)
    if fails and start < now:
        make_run(
            "data_export",
            "Stopped",
            submitted_at=start - timedelta(minutes=6, seconds=40),
            started_at=start,
            finished_at=start + timedelta(seconds=2),
            errors=TRACEBACK,
            parameters='{"target": "sftp://partner.example.org", "batch": 12}',
            attempts=3,
            worker="worker-2:41:ab",
        )
    else:
        _run("data_export", start, 71)
    if now - at < WHOLE + timedelta(hours=1):
        late = timedelta(minutes=65) if broken else timedelta(seconds=90)
        make_run("ledger", "Running", started_at=now - late)
        if broken:
            make_run("invoices", "Queued", started_at=None, submitted_at=now - timedelta(minutes=50))
    else:
        _run("ledger", at + timedelta(minutes=15), 150)


def _run(name: str, started_at: datetime, seconds: float) -> None:
    from tests.factories import make_run

    make_run(
        name,
        submitted_at=started_at - timedelta(seconds=1),
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=seconds),
        parameters='{"target": "sftp://partner.example.org", "batch": 8}' if name == "data_export" else "{}",
        attempts=1,
        worker="worker-1:17:cd",
    )


@contextmanager
def site() -> Iterator[str]:
    """The project's site on its own server; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "project.wsgi", f"--bind=127.0.0.1:{port}"]
    os.environ["ALLOWED_HOSTS"] = "127.0.0.1"
    with running(command, Path(os.environ["VAR_DIR"]) / "site.log", lambda: connects(port)):
        yield f"http://127.0.0.1:{port}/admin/"


def main(folder: Path) -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.utils import timezone
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop makes Django believe that all is asynchronous
    with ExitStack() as stack:
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=str(BROWSER.path()), args=["--no-sandbox"]
        )
        stack.callback(browser.close)
        for state in ("broken", "quiet"):
            call_command("migrate", verbosity=0)
            call_command("flush", interactive=False, verbosity=0)
            User.objects.create_superuser("admin", "admin@example.com", "password")
            pages = build(timezone.now(), broken=state == "broken")
            with site() as address:
                for look in LOOKS:
                    _picture(browser, address, pages, folder, state, look)
            if state == "broken":
                _picture_of_a_mail(browser, folder)
    sys.stdout.write(f"The pictures are in {os.path.relpath(folder)}\n")


def _picture(browser: Any, address: str, pages: dict[str, str], folder: Path, state: str, look: str) -> None:
    width, scheme = LOOKS[look]
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.fill("#id_username", "admin")
    page.fill("#id_password", "password")
    page.click("input[type=submit]")
    for name, path in pages.items():
        if folder == FOLDER and f"{name}-{state}-{look}" not in IN_DOCS:
            continue
        page.goto(address + path)
        if name == "form":
            page.click("input[name=_try]")
            page.locator(".mon-backtest").wait_for()
        _save(page, width, folder / f"{name}-{state}-{look}.png")
    context.close()


def _picture_of_a_mail(browser: Any, folder: Path) -> None:
    from monitoring.models import Message

    html = Message.objects.filter(subject__contains="data_export").latest("id").html
    width, height = MAIL
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_content(html)
        _draw(page, folder / f"mail-broken-{scheme}.png")
        page.close()


def _save(page: Any, width: int, path: Path) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(height, HEIGHT_MAX)})
    _draw(page, path)


def _draw(page: Any, path: Path) -> None:
    from PIL import Image

    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
