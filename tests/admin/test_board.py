"""The board, its head on the front page, and what can be done there."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.template import Context, Template
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from monitoring.admin.monitors import MonitorAdmin
from monitoring.admin.records import IncidentAdmin, RunAdmin
from monitoring.checking import board as checking_board
from monitoring.models import BackgroundTask, Heartbeat, Incident, Message, Monitor, MonitorState
from monitoring.tick import check_monitors, tick
from tests.admin.people import logged_in, staff
from tests.factories import make_monitor, make_run

pytestmark = pytest.mark.django_db

BOARD = reverse("admin:monitoring_board")

# Another admin site, as a project that has its own would register our pages; and one that has none of them.
nights = AdminSite(name="nights")
nights.register(Monitor, MonitorAdmin)
nights.register(BackgroundTask, RunAdmin)
nights.register(Incident, IncidentAdmin)
days = AdminSite(name="days")
days.register(User)
urlpatterns = [path("nights/", nights.urls), path("days/", days.urls)]


@pytest.fixture
def boss() -> Client:
    return logged_in(User.objects.create_superuser("boss", "boss@example.com"))


@pytest.fixture
def failing() -> Monitor:
    """Found by a check an hour ago."""
    make_run("export", started_at=lately(hours=30), finished_at=lately(hours=29))
    make_run("report", "Running", started_at=lately(minutes=9))
    errors = "Traceback (most recent call last):\n  File …\nOSError: no space left"
    make_run("export", "Stopped", started_at=lately(minutes=70), finished_at=lately(minutes=65), errors=errors)
    monitor = make_monitor("Export", task_name="export", dependent_tasks=["report", "dashboard"])
    check_monitors([monitor], lately(hours=1))
    tick(timezone.now())
    return monitor


def lately(**span: float) -> Any:
    """Pages ask the clock."""
    return timezone.now() - timedelta(**span)


def page(client: Client, url: str = BOARD) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


# Who may look


def test_only_who_may_view_monitors_sees_it(client: Client) -> None:
    assert client.get(BOARD).url.startswith("/admin/login/")
    assert staff("view_incident").get(BOARD).status_code == 403
    assert staff("view_monitor").get(BOARD).status_code == 200


# What stands there


def test_a_card_says_what_was_found_since_when_and_what_depends_on_it(boss: Client, failing: Monitor) -> None:
    shown = page(boss)
    incident = Incident.objects.get()
    assert "The monitor is failing.</h1>" in shown
    assert "<title>The monitor is failing. |" in shown
    assert "export ended as Stopped after 5 min.</p>" in shown
    assert ">OSError: no space left</pre>" in shown
    assert "This is the first failing check. 2 tasks depend on it." in shown
    assert ">1 h</time>" in shown
    assert "<dt>Last success</dt><dd><time" in shown
    assert ">1 d 5 h ago</time>" in shown
    assert ">report</a> <span" in shown
    assert "● Running, started " in shown
    assert "<li>dashboard <span" in shown
    assert "– no run recorded" in shown
    run = BackgroundTask.objects.get(status="Stopped")
    for name, key in (("backgroundtask", run.pk), ("incident", incident.pk)):
        assert reverse(f"admin:monitoring_{name}_change", args=[key]) in shown
    assert reverse("admin:monitoring_monitor_overview", args=[failing.pk]) in shown


@pytest.mark.usefixtures("failing")
def test_a_date_on_a_card_is_kept_together(boss: Client) -> None:
    assert '● Running, started <span class="mon-date">2' in page(boss)


def test_who_took_it_on_and_until_when_it_is_snoozed_is_said(boss: Client, failing: Monitor) -> None:
    Incident.objects.update(acknowledged_by="ada", acknowledged_at=lately(minutes=5))
    MonitorState.objects.update(snoozed_until=lately(hours=-2))
    shown = page(boss)
    assert "<dd>by ada, <time" in shown
    assert ">5 min ago</time>" in shown
    assert "<dt>Snoozed</dt><dd>until " in shown


@pytest.mark.usefixtures("failing")
def test_a_check_whose_time_has_come_is_due_now(boss: Client) -> None:
    MonitorState.objects.update(next_check_at=lately(seconds=-90))
    assert "<dt>Next check</dt><dd><time" in page(boss)
    MonitorState.objects.update(next_check_at=lately(seconds=21))
    assert "<dt>Next check</dt><dd>due now</dd>" in page(boss)


@pytest.mark.usefixtures("failing")
def test_names_and_errors_are_text(boss: Client) -> None:
    BackgroundTask.objects.filter(status="Stopped").update(errors="<b>bold</b>")
    Monitor.objects.update(name="<i>Export</i>")
    shown = page(boss)
    assert "&lt;b&gt;bold" in shown
    assert "<b>bold" not in shown
    assert "<i>Export" not in shown


@pytest.mark.usefixtures("failing")
def test_facts_of_another_version_leave_a_card_that_says_so(boss: Client) -> None:
    Incident.objects.update(facts={})
    assert "Another version of this program stored what was found" in page(boss)


def test_what_is_unusual_stands_under_it_with_its_figure(boss: Client) -> None:
    for number in range(30):
        started_at = lately(hours=number + 2)
        make_run("slow", started_at=started_at, finished_at=started_at + timedelta(minutes=4))
    run = make_run("slow", "Running", started_at=lately(minutes=12))
    shown = page(boss)
    assert "has been running for 12 min; all of the last 30 completed runs took at most 4 min." in shown
    assert reverse("admin:monitoring_backgroundtask_change", args=[run.pk]) in shown


def test_when_all_is_well_it_says_so_and_counts_the_quiet_rest(boss: Client) -> None:
    make_run(started_at=lately(minutes=5))
    check_monitors([make_monitor("one"), make_monitor("two")], timezone.now())
    make_monitor("off", enabled=False)
    tick(timezone.now())
    shown = page(boss)
    assert "All 2 monitors are as expected.</h1>" in shown
    assert ">just now</time>.</p>" in shown
    assert "needs attention" not in shown
    assert 'stands=fine"><strong>2</strong> fine</a>' in shown
    assert 'stands=disabled"><strong>1</strong> disabled</a>' in shown
    assert "stands=failing" not in shown


@pytest.mark.usefixtures("failing")
def test_it_says_when_the_checker_has_not_run(boss: Client) -> None:
    Heartbeat.objects.update(beat_at=lately(minutes=42))
    shown = page(boss)
    assert "The monitors are not being checked.</h1>" in shown
    assert "As things stood then: The monitor is failing." in shown
    assert "No worker has run checks since" in shown
    assert "export ended as Stopped" in shown


@pytest.mark.usefixtures("failing")
def test_it_says_when_mails_are_stuck_and_events_were_dropped(boss: Client) -> None:
    times = {"created_at": lately(hours=2), "next_attempt_at": lately(hours=1)}
    Message.objects.create(address="a@example.com", subject="s", text="t", html="h", **times)
    Heartbeat.objects.create(name="web:1", beat_at=timezone.now(), dropped=3, trouble_at=timezone.now())
    shown = page(boss)
    assert "2 mails are still not sent after 30 minutes" in shown, "this one, and the one about the failing monitor"
    assert "3 events of runs were dropped" in shown


@pytest.mark.usefixtures("failing")
def test_of_more_than_it_shows_it_links_to_the_rest(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking_board, "FAILING_SHOWN", 1)
    check_monitors([make_monitor("Never", task_name="never")], timezone.now())
    shown = page(boss)
    assert shown.count('<li class="mon-card') == 1
    assert '?stands=failing">1 more monitor failing for longer</a>' in shown


def test_it_takes_as_many_statements_for_many(boss: Client) -> None:
    counts = []
    for monitors in (1, 20):
        for number in range(monitors):
            make_run(f"task {monitors} {number}", "Stopped", started_at=lately(minutes=5))
            make_monitor(f"{monitors} {number}", task_name=f"task {monitors} {number}", dependent_tasks=["one"])
        check_monitors(list(Monitor.objects.all()), timezone.now())
        with CaptureQueriesContext(connection) as asked:
            page(boss)
        counts.append(len(asked))
    assert counts[0] == counts[1]


# It renews itself


def test_it_renews_itself_each_minute_until_it_is_paused(boss: Client) -> None:
    running, paused = boss.get(BOARD), boss.get(f"{BOARD}?paused=1")
    assert running["Refresh"] == "60"
    assert " UTC." in running.content.decode()
    assert '<a href="?paused=1">Pause</a>' in running.content.decode()
    assert "Refresh" not in paused
    assert '<a href="?">Resume</a>' in paused.content.decode()


# What can be done


def test_acknowledging_there_is_what_it_is_in_the_list(boss: Client, failing: Monitor) -> None:
    response = boss.post(f"{BOARD}?paused=1", {"acknowledge": failing.pk}, follow=True)
    assert response.redirect_chain == [(f"{BOARD}?paused=1", 302)]
    assert Incident.objects.get().acknowledged_by == "boss"
    shown = response.content.decode()
    assert "Acknowledged:" in shown
    assert f'name="acknowledge" value="{failing.pk}"' not in shown
    assert LogEntry.objects.get().change_message == "Acknowledged."


@pytest.mark.parametrize("key", ["9" * 5_000, "9" * 30, "-1", "²", "one", ""])
def test_what_is_no_key_of_a_monitor_is_done_nothing_to(boss: Client, failing: Monitor, key: str) -> None:
    assert boss.post(BOARD, {"acknowledge": key}).status_code == 302
    assert Incident.objects.get().acknowledged_at is None


def test_snoozing_there_and_lifting_it(boss: Client, failing: Monitor) -> None:
    shown = boss.post(BOARD, {"snooze_hour": failing.pk}, follow=True).content.decode()
    state = MonitorState.objects.get()
    assert state.snoozed_until
    assert timedelta(minutes=59) < state.snoozed_until - timezone.now() <= timedelta(hours=1)
    assert 'name="lift_snooze"' in shown
    assert 'name="snooze_hour"' not in shown
    boss.post(BOARD, {"lift_snooze": failing.pk})
    assert MonitorState.objects.get().snoozed_until is None
    boss.post(BOARD, {"snooze_until_morning": failing.pk})
    assert MonitorState.objects.get().snoozed_until


@pytest.mark.parametrize("given", [{}, {"delete": "1"}, {"acknowledge": "x"}, {"acknowledge": "9" * 30}])
def test_what_is_not_offered_is_not_done(boss: Client, failing: Monitor, given: dict[str, str]) -> None:
    assert boss.post(BOARD, given).status_code == 302
    assert Incident.objects.get().acknowledged_at is None


def test_without_the_right_nothing_is_offered_and_nothing_done(failing: Monitor) -> None:
    client = staff("view_monitor")
    assert "<button" not in page(client).partition('id="content-main"')[2].partition("</main>")[0]
    assert client.post(BOARD, {"acknowledge": failing.pk}).status_code == 403
    assert Incident.objects.get().acknowledged_at is None
    assert 'name="acknowledge"' in page(staff("view_monitor", "snooze_monitor"))


def test_what_is_posted_needs_its_token(failing: Monitor) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("ada"))
    assert client.post(BOARD, {"acknowledge": failing.pk}).status_code == 403


def test_a_button_names_its_monitor_though_the_sites_numbers_have_separators(boss: Client, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    run = make_run("export", "Stopped", started_at=lately(minutes=9), finished_at=lately(minutes=8))
    monitor = make_monitor("Export", task_name=run.task_name, pk=1234)
    check_monitors([monitor], timezone.now())
    shown = page(boss, BOARD)
    assert re.findall(r'<button form="mon-act" [^>]*value="([^"]*)"', shown) == ["1234"] * 3


# Its head on the front page


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("url", ["/admin/", "/admin/monitoring/"])
def test_the_front_page_says_it_in_a_sentence_and_leads_to_the_board(boss: Client, url: str) -> None:
    shown = page(boss, url)
    assert "The monitor is failing.</h2>" in shown
    assert f'<a href="{BOARD}">Open the board</a>' in shown
    assert "Recent actions" in page(boss, "/admin/"), "what Django shows there is still there"


def test_the_list_of_monitors_leads_to_it(boss: Client) -> None:
    assert f'<a href="{BOARD}">Board</a>' in page(boss, reverse("admin:monitoring_monitor_changelist"))


@pytest.mark.usefixtures("failing")
def test_other_apps_pages_and_people_without_the_right_do_not_see_it(boss: Client) -> None:
    assert BOARD not in page(boss, "/admin/auth/")
    for client in (staff(), staff("view_incident")):
        assert "mon-head" not in page(client, "/admin/")
    assert "mon-head" in page(staff("view_monitor"), "/admin/")


def test_the_front_page_is_there_where_the_monitors_tables_are_not(boss: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {Heartbeat._meta.db_table} RENAME TO gone")
    shown = page(boss, "/admin/")
    assert "The state of the monitors could not be read: " in shown
    assert "/admin/auth/user/" in shown


def test_the_front_page_needs_no_context_processor_for_requests(boss: Client, settings: Any) -> None:
    (templates,) = settings.TEMPLATES
    others = [name for name in templates["OPTIONS"]["context_processors"] if not name.endswith(".request")]
    settings.TEMPLATES = [templates | {"OPTIONS": templates["OPTIONS"] | {"context_processors": others}}]
    assert "mon-head" in page(boss, "/admin/")


def test_without_a_request_there_is_no_head_of_the_board() -> None:
    assert not Template("{% load monitoring_board %}{% monitoring_board %}").render(Context()).strip()


@pytest.mark.urls(__name__)
@pytest.mark.usefixtures("failing")
def test_another_admin_site_has_its_own_board_and_one_without_monitors_has_none(boss: Client) -> None:
    board = reverse("nights:monitoring_board")
    assert f'href="{board}"' in page(boss, reverse("nights:index"))
    assert 'href="/admin/' not in page(boss, board)
    assert reverse("nights:monitoring_incident_change", args=[Incident.objects.get().pk]) in page(boss, board)
    assert "mon-head" not in page(boss, reverse("days:index"))
