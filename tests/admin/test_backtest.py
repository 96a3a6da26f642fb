"""The button in a monitor's form that tries its settings on the past."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from monitoring.models import Monitor
from tests.admin.people import logged_in, staff
from tests.admin.test_forms import GIVEN
from tests.admin.test_monitors import LIST, change_page, said
from tests.factories import make_monitor, make_run

pytestmark = pytest.mark.django_db

ADD = f"{LIST}add/"
ROW = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "0", "0-task_name": "", "0-position": "0"}
INLINE = {f"dependent_tasks-{key}": value for key, value in ROW.items()}
TYPED = GIVEN | {"schedule": "@hourly", "lookback_hours": "1", "time_zone": "UTC"} | INLINE


@pytest.fixture
def client() -> Client:
    return logged_in(User.objects.create_superuser("ada", "ada@example.com"))


@pytest.fixture(autouse=True)
def _history() -> None:
    """A run at the end of each of the last 60 hours; two of them, a day ago, ended in an error."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for hours in range(60):  # the oldest of them started two and a half days ago, less or more
        ended = hour - timedelta(hours=hours)
        status = "Stopped" if hours in (25, 26) else "Completed"
        make_run(status=status, started_at=ended - timedelta(minutes=5), finished_at=ended)


def try_out(client: Client, page: str = ADD, **typed: str) -> Any:
    return client.post(page, TYPED | typed | {"_try": "Try on the last 30 days"})


def test_what_was_typed_is_tried_and_nothing_is_saved(client: Client) -> None:
    page = try_out(client, name="  Not there  ", **{"dependent_tasks-0-task_name": "dashboard"})
    assert page.status_code == 200
    assert re.search(r"this monitor would have alerted 2 times in the last 2 d 1[12] h\.", said(page))
    assert "2 of them failing in 1 stretch; 1 recovery mail." in said(page)
    assert "✗ alert again" in said(page)
    assert "daily_report ended as Stopped after 5 min." in said(page)
    assert re.search("goes back only 2 d 1[12] h", said(page))
    assert "only the last attempt is known" in said(page)
    for typed in ('value="dashboard"', 'value="@hourly"', 'value="  Not there  "'):
        assert typed in page.content.decode()
    assert (Monitor.objects.count(), LogEntry.objects.count()) == (0, 0)


def test_a_monitor_that_exists_stays_as_it_is(client: Client) -> None:
    monitor = make_monitor(schedule="@daily")
    page = try_out(client, change_page(monitor), name=monitor.name, expected_statuses="Stopped")
    assert "would have alerted 58 times" in said(page)
    assert Monitor.objects.get().expected_statuses == ["Completed"]
    assert Monitor.objects.get().schedule == "@daily"


def test_what_was_tried_can_then_be_saved(client: Client) -> None:
    assert "Tried on the last 30 days" in said(try_out(client))
    assert client.post(ADD, TYPED | {"_save": "Save"}).status_code == 302
    assert Monitor.objects.get().schedule == "@hourly"


@pytest.mark.parametrize("wrong", [{"schedule": "nonsense"}, {"dependent_tasks-0-position": "x"}])
def test_what_is_not_valid_is_not_tried(client: Client, wrong: dict[str, str]) -> None:
    page = try_out(client, **wrong)
    assert "Please correct the error" in said(page)
    assert "Tried on" not in said(page)


def test_of_a_task_that_never_ran_nobody_can_tell(client: Client) -> None:
    page = said(try_out(client, task_name="other"))
    assert "What these settings would have done is not known: no run of “other” is recorded." in page


def test_times_are_in_the_zone_that_was_typed(client: Client) -> None:
    assert "JST ✗ alert" in said(try_out(client, time_zone="Asia/Tokyo"))


def test_the_page_leads_to_the_runs_for_those_who_may_see_them(client: Client) -> None:
    link = "/admin/monitoring/backgroundtask/?q=daily_report"
    assert link in try_out(client).content.decode()
    assert link not in try_out(staff("add_monitor", "view_monitor")).content.decode()


def test_it_takes_the_right_to_save() -> None:
    monitor = make_monitor()
    viewer = staff("view_monitor")
    assert try_out(viewer).status_code == 403
    assert try_out(viewer, change_page(monitor)).status_code == 403
    assert "_try" not in viewer.get(change_page(monitor)).content.decode()
