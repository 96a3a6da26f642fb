"""Two in the morning: a pipeline breaks, a mail comes, and its link leads to the line that failed."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from django.utils import timezone
from huey.contrib.djhuey import HUEY
from playwright.sync_api import Page, expect

from monitoring.alerting.words import written_time
from monitoring.models import BackgroundTask, Incident, MonitorState
from monitoring.tasks import tick_monitors
from tests.app.tasks import extract_orders, load_orders, report_orders, transform_orders
from tests.browser.conftest import log_in
from tests.consumer import consumer, wait_for
from tests.factories import make_monitor
from tests.management.calling import call
from tests.smtp import MailServer, mail_server

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE = 20
ZONE = timezone.get_default_timezone()


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


def run_pipeline(target: str) -> None:
    HUEY.enqueue(extract_orders.s(target).then(transform_orders).then(load_orders).then(report_orders))


def has_run(task_name: str, status: str) -> bool:
    return BackgroundTask.objects.filter(task_name=task_name, status=status).exists()


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def labelled(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z][\w ]+): (.+?)\r?$", text, re.MULTILINE))


def on_page(page: Page) -> dict[str, str]:
    pairs = page.locator("dl.mon-pairs").evaluate_all(
        "lists => lists.flatMap(list => [...list.querySelectorAll('dt')]"
        ".map(term => [term.textContent, term.nextElementSibling.textContent]))"
    )
    return dict(reversed(pairs))  # of a label that comes twice the first


def test_the_mail_of_a_broken_pipeline_leads_to_the_failing_line(
    logged_in: Page, live_server: Any, mails: MailServer
) -> None:
    monitor = make_monitor("Orders are loaded", task_name="load_orders", dependent_tasks=["report_orders"])
    HUEY.flush()
    with consumer(EMAIL_URL=f"smtp://127.0.0.1:{mails.port}", SITE_URL=live_server.url):
        run_pipeline("roomy")
        wait_for(lambda: has_run("report_orders", "Completed"), DEADLINE)
        run_pipeline("full")
        wait_for(lambda: has_run("load_orders", "Stopped"), DEADLINE)
        MonitorState.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))
        tick_monitors()
        wait_for(lambda: mails.received, DEADLINE)
    ((_, mail),) = mails.received
    failed = BackgroundTask.objects.get(task_name="load_orders", status="Stopped")

    # The mail stands in a window of its own, as a mail program would show it.
    reader = logged_in.context.new_page()
    reader.set_content(part(mail, "html"))
    reader.get_by_role("link", name="Open incident").click()
    expect(reader.get_by_text('raise OSError(f"no space left on {target}")').first).to_be_visible()
    expect(reader.get_by_text("OSError: no space left on full").first).to_be_visible()
    expect(reader.get_by_text("parameter target: full (was roomy)")).to_be_visible()
    assert reader.url == f"{live_server.url}/admin/monitoring/incident/{Incident.objects.get().pk}/change/"

    # The same facts, wherever one reads them.
    text = part(mail, "plain")
    told, shown = labelled(text), on_page(reader)
    (as_json,) = json.loads(call("list_status", monitor=["Orders are loaded"], format="json").out)["monitors"]
    (check,) = json.loads(call("check_task_status", monitor=["Orders are loaded"], dry_run=True, format="json").out)[
        "checks"
    ]
    listed = call("list_status", monitor=["Orders are loaded"]).out
    checked = call("check_task_status", monitor=["Orders are loaded"], dry_run=True).out
    started_at = failed.started_at
    assert started_at
    assert told["Run"] == shown["Run"] == check["run"]["task_id"] == as_json["last_run"]["task_id"] == failed.task_id
    assert told["Current status"] == shown["Current status"] == check["run"]["status"] == as_json["found"] == "Stopped"
    assert told["Expected status"] == shown["Expected status"] == ", ".join(check["expected_statuses"]) == "Completed"
    assert told["Checked"] == shown["Checked"]
    assert told["Started"] == written_time(started_at, ZONE) == written_started(reader)
    assert datetime.fromisoformat(check["run"]["started_at"]) == started_at
    for terminal in (listed, checked):
        assert written_time(started_at, ZONE) in terminal
        assert "Stopped" in terminal
    summary = text.splitlines()[0]
    expect(reader.get_by_text(summary)).to_be_visible()

    # And on from there.
    reader.get_by_role("link", name="Monitor", exact=True).click()
    expect(reader.get_by_role("heading", name=monitor.name)).to_be_visible()
    assert reader.locator("svg.mon-timeline a .mon-run.mon-bad").count() == 1
    reader.close()


def written_started(page: Page) -> str:
    """Under "Last finding", where the facts stand as the mail has them."""
    found = page.locator("section[aria-labelledby=found]")
    return found.locator("dt:text-is('Started') + dd").inner_text()


def test_the_pages_can_be_read_without_javascript_and_from_the_keyboard(
    browser: Any, live_server: Any, admin_user: Any
) -> None:
    monitor = make_monitor(task_name="load_orders")
    now = timezone.now()
    MonitorState.objects.update(next_check_at=now - timedelta(seconds=1))
    BackgroundTask.objects.create(task_id="one", task_name="load_orders", status="Stopped", started_at=now)
    tick_monitors()
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page, f"/admin/monitoring/monitor/{monitor.pk}/overview/")
    page.get_by_role("link", name="30 days").click()
    page.locator("a[aria-current]").get_by_text("30 days").wait_for()
    summary = page.get_by_text("The last 30 days as a table")
    summary.focus()
    page.keyboard.press("Enter")
    page.locator("details td").get_by_text("one", exact=True).wait_for()
    context.close()
