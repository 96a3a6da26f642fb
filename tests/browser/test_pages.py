"""Every page under the content policy, on a phone's width, in both themes; browser and axe may complain of nothing."""

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page

from monitoring.alerting.composing import compose
from monitoring.models import Alert, BackgroundTask, Incident, Message, Monitor, database_alias
from monitoring.tick import check_monitors
from tests.factories import make_monitor, make_run

pytestmark = pytest.mark.django_db(transaction=True)


def pages() -> list[str]:
    """A site where something fails, something is fine, and somebody was told."""
    now = timezone.now()
    make_run("data_export", "Stopped", started_at=now, finished_at=now, errors="Traceback …\nOSError: gone")
    make_run("hourly_data_sync", started_at=now, finished_at=now)
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
    alone = [f"/admin/monitoring/monitor/{page}/" for page in ("board", "add", "import")]
    return ["/admin/", "/admin/monitoring/", *lists, *ours, *more, *alone]


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
    page.goto("/admin/monitoring/monitor/add/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "password")
    page.click("input[type=submit]")
    page.fill("#id_name", "Plain")
    page.fill("#id_task_name", "daily_report")
    page.get_by_label("Completed").check()
    page.fill("#id_schedule", "every 2 hours")
    page.fill("#id_dependent_tasks-0-task_name", "dashboard")
    page.click("input[name=_save]")
    page.get_by_text("was added successfully").wait_for()
    context.close()
    assert Monitor.objects.get().dependent_tasks.get().task_name == "dashboard"
