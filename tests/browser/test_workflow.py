"""The seed's "Complete Example Workflow" as a person does it: a real browser, a real consumer, a real mail server."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from huey.contrib.djhuey import HUEY
from playwright.sync_api import Page

from monitoring.models import BackgroundTask, Monitor, MonitorState
from monitoring.tasks import tick_monitors
from tests.app.tasks import generate_daily_report
from tests.consumer import consumer, wait_for
from tests.smtp import MailServer, mail_server

pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE = 20


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


def run_until(status: str, fails: bool) -> None:
    task = generate_daily_report.s(fails)
    HUEY.enqueue(task)
    wait_for(lambda: BackgroundTask.objects.filter(task_id=task.id, status=status).exists(), DEADLINE)


def let_it_be_checked() -> None:
    MonitorState.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))
    tick_monitors()


def test_a_daily_report_is_monitored_fails_is_told_about_and_recovers(logged_in: Page, mails: MailServer) -> None:
    page = logged_in
    page.goto("/admin/monitoring/monitor/add/")
    page.fill("#id_name", "Monitor Daily Report Generation")
    page.fill("#id_task_name", "generate_daily_report")
    page.get_by_label("Completed").check()
    page.fill("#id_lookback_hours", "2")
    page.fill("#id_notify_to", "reports-team@example.com\nmanagement@example.com")
    page.fill("#id_schedule", "35 8 * * *")
    page.fill("#id_dependent_tasks-0-task_name", "send_report_emails")
    page.fill("#id_dependent_tasks-1-task_name", "update_dashboard")
    page.click("input[name=_save]")
    page.get_by_text("was added successfully").wait_for()
    monitor = Monitor.objects.get()
    assert [task.task_name for task in monitor.dependent_tasks.all()] == ["send_report_emails", "update_dashboard"]

    HUEY.flush()
    with consumer(EMAIL_URL=f"smtp://127.0.0.1:{mails.port}"):
        run_until("Stopped", fails=True)
        let_it_be_checked()
        wait_for(lambda: len(mails.received) == 2, DEADLINE)
        page.goto("/admin/monitoring/incident/")
        page.get_by_text("Monitor Daily Report Generation").first.wait_for()
        page.goto("/admin/monitoring/monitor/")
        page.locator(".mon-bad").get_by_text("failing").wait_for()

        run_until("Completed", fails=False)
        let_it_be_checked()
        wait_for(lambda: len(mails.received) == 4, DEADLINE)
        page.goto("/admin/monitoring/monitor/")
        page.locator(".mon-good").get_by_text("fine").wait_for()

    told = [(addresses, mail["Subject"]) for addresses, mail in mails.received]
    both = {"reports-team@example.com", "management@example.com"}
    assert {address for addresses, _ in told[:2] for address in addresses} == both
    assert {subject for _, subject in told[:2]} == {"[ALERT] generate_daily_report Status Check Failed"}
    assert {address for addresses, _ in told[2:] for address in addresses} == both
    assert {subject for _, subject in told[2:]} == {"[RESOLVED] generate_daily_report Is As Expected Again"}
    text = mails.received[0][1].get_body(("plain",)).get_content()
    assert "send_report_emails" in text
    assert "update_dashboard" in text
