"""The board as a browser shows it in each of its states, and what is pressed there."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page

from monitoring.models import Heartbeat, Incident, Monitor, MonitorState
from monitoring.tick import check_monitors, tick
from tests.browser.conftest import log_in
from tests.factories import make_monitor, make_run

pytestmark = pytest.mark.django_db(transaction=True)

BOARD = "/admin/monitoring/monitor/board/"


def empty() -> str:
    return "There are no monitors yet."


def quiet() -> str:
    make_run(started_at=timezone.now())
    check_monitors([make_monitor("one"), make_monitor("two")], timezone.now())
    tick(timezone.now())
    return "All 2 monitors are as expected."


def failing() -> str:
    quiet()
    now = timezone.now()
    name = "warehouse.nightly.rebuild_of_everything_that_is_known_of_all_customers"
    make_run(name, "Stopped", started_at=now, finished_at=now, errors=f"ValueError: {'x' * 300}")
    check_monitors([make_monitor(name, task_name=name, dependent_tasks=[f"{name}_{n}" for n in range(7)])], now)
    check_monitors([make_monitor("taken", task_name="never")], now)
    Incident.objects.filter(task_name="never").update(acknowledged_at=now, acknowledged_by="ada")
    MonitorState.objects.filter(monitor__name="taken").update(snoozed_until=now + timedelta(hours=1))
    return "2 of 4 monitors are failing."


def unusual() -> str:
    said = quiet()
    for hours in range(1, 31):
        began = timezone.now() - timedelta(hours=hours)
        make_run("slow", started_at=began, submitted_at=began, finished_at=began + timedelta(minutes=1), attempts=1)
    make_run("slow", "Running", started_at=timezone.now() - timedelta(minutes=12))
    make_run("slow", "Queued", started_at=None, submitted_at=timezone.now() - timedelta(minutes=12))
    return said


def unchecked() -> str:
    failing()
    Heartbeat.objects.update(beat_at=timezone.now() - timedelta(hours=1))
    return "The monitors are not being checked."


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", [empty, quiet, failing, unusual, unchecked])
def test_in_each_state_it_can_be_read_by_all_and_on_a_phone(
    logged_in: Page, axe: Callable[[Page], list[str]], state: Callable[[], str], scheme: str
) -> None:
    sentence, page = state(), logged_in
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for url, heading in ((BOARD, "h1"), ("/admin/", "h2")):
        page.goto(url)
        assert page.locator(f"{heading}#mon-head").inner_text() == sentence
        for width in (400, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth"), (url, width)
        assert axe(page) == []


def test_what_fails_is_taken_on_by_keyboard_and_without_javascript(browser, live_server, admin_user) -> None:  # type: ignore[no-untyped-def]
    failing()
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page, f"{BOARD}?paused=1")
    monitor = Monitor.objects.get(name__startswith="warehouse")
    button = page.get_by_role("button", name=f"Acknowledge {monitor.name}")
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Acknowledged:").wait_for()
    assert page.url.endswith(f"{BOARD}?paused=1")
    assert Incident.objects.get(monitor=monitor).acknowledged_by == "admin"
    assert page.get_by_role("listitem").filter(has_text="by admin").count()
    context.close()


def test_from_the_front_page_it_is_two_steps_to_the_traceback(logged_in: Page) -> None:
    failing()
    page = logged_in
    page.goto("/admin/")
    page.get_by_role("link", name="Open the board").click()
    page.get_by_role("link", name="Run and traceback").click()
    page.get_by_text("ValueError: xxx").wait_for()
