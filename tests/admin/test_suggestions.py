from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from monitoring.admin import suggestions
from monitoring.checking import suggestions as checking_suggestions
from monitoring.models import Monitor
from tests.admin.people import staff
from tests.admin.test_monitors import ADD, GIVEN, LIST
from tests.factories import ago, make_monitor, make_run

pytestmark = pytest.mark.django_db

UNWATCHED = f"{LIST}unwatched/"


def make_runs(task_name: str = "hourly", number: int = 9, every: timedelta = timedelta(hours=1)) -> None:
    for n in range(number):
        make_run(task_name, started_at=ago(minutes=35) - n * every, finished_at=ago(minutes=34) - n * every)


def shown(answer: Any) -> str:
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def value_of(answer: Any, name: str) -> Any:
    return answer.context["adminform"].form[name].value()


def test_the_form_of_a_monitor_shows_what_its_runs_suggest_beside_what_is_set(admin_client: Client) -> None:
    make_runs()
    monitor = make_monitor(task_name="hourly", lookback_hours=2, schedule="35 8 * * *")
    page = shown(admin_client.get(f"{LIST}{monitor.pk}/change/"))
    assert "<td>2 h</td><td><strong>1 h</strong></td>" in page
    assert "35 8 * * *<br>" in page
    assert "5 * * * *<br>" in page
    assert "<li>Its last 9 runs started every hour.</li>" in page
    assert 'name="_take_over"' in page


def test_a_form_that_is_set_so_has_nothing_to_take_over(admin_client: Client) -> None:
    make_runs()
    monitor = make_monitor(task_name="hourly", lookback_hours=1, schedule="5 * * * *")
    page = shown(admin_client.get(f"{LIST}{monitor.pk}/change/"))
    assert "<td>1 h</td><td>1 h</td>" in page
    assert 'name="_take_over"' not in page


@pytest.mark.parametrize(("number", "said"), [(0, "0"), (2, "2")])
def test_too_few_runs_are_said_and_nothing_is_guessed(admin_client: Client, number: int, said: str) -> None:
    make_runs("rare", number)
    page = shown(admin_client.get(f"{ADD}?task_name=rare"))
    assert f"Too few runs for a suggestion: {said}; 4 are needed." in page
    assert 'name="_take_over"' not in page


def test_looking_keeps_what_was_typed_finds_no_fault_with_it_and_saves_nothing(admin_client: Client) -> None:
    make_runs()
    typed = {**GIVEN, "name": "", "task_name": "hourly", "schedule": "when it rains", "notify_to": "not yet"}
    answer = admin_client.post(ADD, {**typed, "_look_at_runs": "1"})
    page = shown(answer)
    assert "Its last 9 runs started every hour." in page
    assert "Nothing on this page has been saved yet." in page
    assert "errornote" not in page
    assert [value_of(answer, name) for name in ("schedule", "notify_to")] == ["when it rains", "not yet"]
    assert not Monitor.objects.exists()


def test_taking_over_fills_in_lookback_and_schedule_and_saves_nothing(admin_client: Client) -> None:
    make_runs()
    monitor = make_monitor(task_name="hourly", lookback_hours=2, schedule="35 8 * * *")
    typed = {**GIVEN, "name": "Typed", "task_name": "hourly", "expected_statuses": ["Stopped"], "time_zone": "UTC"}
    answer = admin_client.post(f"{LIST}{monitor.pk}/change/", {**typed, "_take_over": "1"})
    assert "At minute 5 of every hour" in shown(answer), "what comes next is of the schedule that was filled in"
    filled = [value_of(answer, name) for name in ("name", "lookback_hours", "schedule", "expected_statuses")]
    assert filled == ["Typed", "1", "5 * * * *", ["Stopped", "Completed"]]
    assert Monitor.objects.values_list("name", "schedule").get() == ("daily report", "35 8 * * *")
    saved = {"lookback_hours": "1.5", "schedule": "5 * * * *"}
    assert admin_client.post(f"{LIST}{monitor.pk}/change/", {**typed, **saved}).status_code == 302


def test_taking_over_from_too_few_runs_leaves_the_form_as_it_is(admin_client: Client) -> None:
    answer = admin_client.post(ADD, {**GIVEN, "_take_over": "1"})
    assert [value_of(answer, name) for name in ("lookback_hours", "schedule")] == ["25", "35 8 * * *"]


def test_a_link_opens_a_form_that_is_filled_in(admin_client: Client) -> None:
    make_runs()
    answer = admin_client.get(f"{ADD}?task_name=hourly&_take_over=1")
    filled = [value_of(answer, name) for name in ("name", "task_name", "lookback_hours", "schedule")]
    assert filled == ["hourly", "hourly", "1", "5 * * * *"]
    assert "At minute 5 of every hour" in shown(answer)
    assert "Once the schedule is entered" not in shown(answer)
    assert "Once the schedule is entered" in shown(admin_client.get(ADD))
    assert value_of(answer, "expected_statuses") == ["Completed"]


def test_who_may_only_look_sees_what_is_suggested_without_a_button() -> None:
    make_runs()
    monitor = make_monitor(task_name="hourly")
    client = staff("view_monitor")
    page = shown(client.get(f"{LIST}{monitor.pk}/change/"))
    assert "Its last 9 runs started every hour." in page
    assert "_take_over" not in page
    assert "_look_at_runs" not in page
    assert client.post(f"{LIST}{monitor.pk}/change/", {**GIVEN, "_take_over": "1"}).status_code == 403


def test_the_list_says_how_many_tasks_nobody_watches_and_leads_to_them(admin_client: Client) -> None:
    assert "no monitor" not in shown(admin_client.get(LIST))
    make_runs()
    make_runs("<b>rare</b>", 1)
    make_run("timeless", "Queued", started_at=None)
    assert f'<a href="{UNWATCHED}">3 tasks have no monitor</a>' in shown(admin_client.get(LIST))
    page = admin_client.get(UNWATCHED).content.decode()
    assert "<h1>3 tasks have no monitor</h1>" in page
    assert "<td>–</td><td>too few runs to say: 0</td>" in page
    assert "&lt;b&gt;rare&lt;/b&gt;" in page
    assert "every hour" in page
    assert f'<a href="{ADD}?task_name=hourly&amp;_take_over=1">Add as suggested' in page


def test_where_there_are_very_many_tasks_the_list_does_not_count_them(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking_suggestions, "NAMES_COUNTED", 2)
    for name in ("a", "b", "c"):
        make_run(name)
    assert f'<a href="{UNWATCHED}">Tasks without a monitor</a>' in shown(admin_client.get(LIST))


def test_pages_of_tasks_follow_each_other_by_name_in_as_many_statements(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggestions, "TASKS_SHOWN", 2)
    for name in ("a", "b&c", "d"):
        make_run(name)
    with CaptureQueriesContext(connection) as first:
        page = shown(admin_client.get(UNWATCHED))
    assert 'href="?after=b%26c" rel="next"' in page
    with CaptureQueriesContext(connection) as second:
        page = shown(admin_client.get(f"{UNWATCHED}?after=b%26c"))
    assert "<td>d<br>" in page
    assert "rel=" not in page.partition("content-main")[2]
    assert len(first) == len(second)


def test_who_may_not_add_monitors_sees_the_tasks_without_links_and_others_see_nothing() -> None:
    make_runs()
    page = shown(staff("view_monitor").get(UNWATCHED))
    assert "<td>hourly</td>" in page
    assert "Add as suggested" not in page
    assert staff("view_incident").get(UNWATCHED).status_code == 403
