"""Every page under the content policy, on a phone's width, in both themes; browser and axe may complain of nothing."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils import timezone
from playwright.sync_api import Browser, Page

from monitoring.alerting.composing import compose
from monitoring.models import Alert, BackgroundTask, Incident, Message, Monitor, database_alias
from monitoring.tick import check_monitors
from tests.browser.conftest import log_in
from tests.factories import make_monitor, make_run

pytestmark = pytest.mark.django_db(transaction=True)


def pages() -> list[str]:
    """A site where something fails, something is fine, and somebody was told."""
    now = timezone.now()
    make_run("data_export", "Stopped", started_at=now, finished_at=now, errors="Traceback …\nOSError: gone")
    make_run("hourly_data_sync", started_at=now, finished_at=now)
    for hours in range(9):
        make_run("nobody_watches_" * 3, started_at=now - timedelta(hours=hours), finished_at=now)
    monitors = [
        make_monitor("Export", task_name="data_export", dependent_tasks=("report",), time_zone="Europe/Berlin"),
        make_monitor("Sync", task_name="hourly_data_sync", notify_to=[]),
    ]
    check_monitors(monitors, now)
    compose(now, database_alias())
    rows = {
        "backgroundtask": BackgroundTask.objects.first(),
        "incident": Incident.objects.first(),
        "alert": Alert.objects.first(),
        "message": Message.objects.first(),
        "monitor": Monitor.objects.first(),
    }
    lists = [f"/admin/monitoring/{model}/" for model in rows]
    ours = [f"/admin/monitoring/{model}/{row.pk}/change/" for model, row in rows.items() if row]
    more = [f"/admin/monitoring/monitor/{monitor.pk}/overview/" for monitor in monitors]
    add = "/admin/monitoring/monitor/add/"
    suggested = f"{add}?task_name={'nobody_watches_' * 3}"
    alone = [f"/admin/monitoring/monitor/{page}/" for page in ("board", "add", "import", "unwatched")]
    return ["/admin/", "/admin/monitoring/", *lists, *ours, *more, *alone, suggested]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_broken_by_the_content_policy_or_wider_than_a_phone(logged_in: Page, scheme: str) -> None:
    page = logged_in
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 400, "height": 800})
    too_wide = []
    for url in pages():
        answer = page.goto(url)
        assert answer
        assert answer.status == 200, url
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            too_wide.append(url)
    assert too_wide == []


def test_every_list_fits_beside_its_filter(logged_in: Page) -> None:
    page = logged_in
    page.set_viewport_size({"width": 1280, "height": 800})
    lists = [url for url in pages() if url.count("/") == 4]
    long = "first.last+monitoring@department.example.org"
    Message.objects.update(address=long, attempts=3, error="ConnectionRefusedError: [Errno 111] Connection refused")
    Monitor.objects.update(name=Concat("name", Value("_of_the_department")), notify_to=[long])
    cut_off = []
    for url in lists:
        page.goto(url)
        if page.locator(".results").evaluate("list => list.scrollWidth > list.clientWidth"):
            cut_off.append(url)
    assert len(lists) == 5
    assert cut_off == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(logged_in: Page, axe: Callable[[Page], list[str]], scheme: str) -> None:
    page = logged_in
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    found = []
    for url in pages():
        page.goto(url)
        found += [f"{url}: {wrong}" for wrong in axe(page)]
    assert found == []


def test_a_monitor_is_made_without_javascript(browser, live_server, admin_user) -> None:  # type: ignore[no-untyped-def]
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page, "/admin/monitoring/monitor/add/")
    page.fill("#id_name", "Plain")
    page.fill("#id_task_name", "daily_report")
    page.get_by_label("Completed").check()
    page.fill("#id_schedule", "every 2 hours")
    page.fill("#id_dependent_tasks-0-task_name", "dashboard")
    page.click("input[name=_save]")
    page.get_by_text("was added successfully").wait_for()
    context.close()
    assert Monitor.objects.get().dependent_tasks.get().task_name == "dashboard"


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_settings_are_tried_on_the_past_before_they_are_saved(
    browser,
    live_server,
    admin_user,
    scheme: str,
    javascript: bool,  # type: ignore[no-untyped-def]
) -> None:
    # At half past, and so as many whole hours ago in whatever minute the test runs.
    started = timezone.now().replace(minute=30, second=0) - timedelta(hours=30)
    make_run("data_export", "Stopped", started_at=started, finished_at=started + timedelta(minutes=5))
    viewport = {"width": 400, "height": 800}
    context = browser.new_context(
        base_url=live_server.url, java_script_enabled=javascript, color_scheme=scheme, viewport=viewport
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    log_in(page, "/admin/monitoring/monitor/add/")
    page.fill("#id_name", "Plain")
    page.fill("#id_task_name", "data_export")
    page.fill("#id_schedule", "@hourly")
    page.fill("#id_notify_to", "ops@example.com")
    page.get_by_role("button", name="Try on the last 30 days").click()
    page.get_by_text("With these settings this monitor would have alerted 30 times").wait_for()
    page.get_by_text("Earlier mails").click()
    assert page.get_by_role("row").filter(has_text="alert again").count() == 29
    assert page.input_value("#id_notify_to") == "ops@example.com"
    assert page.locator("html").evaluate("html => html.scrollWidth <= window.innerWidth")
    assert not Monitor.objects.exists()
    page.click("input[name=_save]")
    page.get_by_text("was added successfully").wait_for()
    context.close()
    assert complaints == []
    assert Monitor.objects.get().name == "Plain"


def test_without_javascript_a_monitor_gets_what_its_runs_suggest_and_enter_still_saves(
    browser: Browser, live_server: Any, admin_user: Any
) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for hours in range(30):
        make_run("hourly", started_at=now - timedelta(hours=hours), finished_at=now - timedelta(hours=hours))
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page, "/admin/monitoring/monitor/add/")
    page.fill("#id_name", "Typed before")
    page.fill("#id_task_name", "hourly")
    page.click("text=Look at its runs")
    page.get_by_text("Its last 30 runs started every hour.").wait_for()
    assert page.input_value("#id_schedule") == ""
    page.click("text=Use these settings")
    page.get_by_text("Nothing on this page has been saved yet.").wait_for()
    filled = [page.input_value(f"#id_{name}") for name in ("name", "task_name", "schedule", "lookback_hours")]
    assert filled == ["Typed before", "hourly", "5 * * * *", "1"]
    assert not Monitor.objects.exists()
    page.locator("#id_name").press("Enter")
    page.get_by_text("was added successfully").wait_for()
    context.close()
    assert Monitor.objects.get().schedule == "5 * * * *"
