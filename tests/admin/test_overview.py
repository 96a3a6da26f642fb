"""One monitor's page, and the preview of its mail."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from monitoring.admin.monitors import MonitorAdmin
from monitoring.admin.records import IncidentAdmin, MessageAdmin, RunAdmin
from monitoring.checking import timeline as checking_timeline
from monitoring.checking.runs import last_runs
from monitoring.models import (
    Alert,
    BackgroundTask,
    Delivery,
    Heartbeat,
    Incident,
    Message,
    Monitor,
    MonitorState,
)
from monitoring.tick import check_monitors, tick
from project.demo.models import IngestorSession
from tests.admin.people import logged_in, staff
from tests.factories import NOW, ago, make_monitor, make_run

pytestmark = pytest.mark.django_db

# Another admin site, as a project that has its own would register our pages.
site = AdminSite(name="nights")
site.register(Monitor, MonitorAdmin)
site.register(BackgroundTask, RunAdmin)
site.register(Incident, IncidentAdmin)
site.register(Message, MessageAdmin)
urlpatterns = [path("nights/", site.urls)]


@pytest.fixture
def boss() -> Client:
    return logged_in(User.objects.create_superuser("boss", "boss@example.com"))


def overview_of(monitor: Monitor) -> str:
    return reverse("admin:monitoring_monitor_overview", args=[monitor.pk])


def mail_of(monitor: Monitor) -> str:
    return reverse("admin:monitoring_monitor_mail", args=[monitor.pk])


def page(client: Client, monitor: Monitor) -> str:
    response = client.get(overview_of(monitor))
    assert response.status_code == 200
    return response.content.decode()


def lately(**span: float) -> Any:
    """Pages ask the clock."""
    return timezone.now() - timedelta(**span)


# Who may look


@pytest.mark.parametrize("url_of", [overview_of, mail_of])
def test_only_who_may_view_monitors_sees_it(client: Client, url_of: Any) -> None:
    url = url_of(make_monitor())
    assert client.get(url).url.startswith("/admin/login/")
    assert staff("view_incident").get(url).status_code == 403
    assert staff("view_monitor").get(url).status_code == 200


@pytest.mark.parametrize("url_of", [overview_of, mail_of])
def test_a_monitor_that_is_gone_is_not_found(boss: Client, url_of: Any) -> None:
    monitor = make_monitor()
    url = url_of(monitor)
    monitor.delete()
    assert boss.get(url).status_code == 404


def test_who_may_only_view_is_not_offered_a_change(boss: Client) -> None:
    monitor = make_monitor()
    assert ">Change</a>" in page(boss, monitor)
    assert ">Settings</a>" in page(staff("view_monitor"), monitor)


# What stands there


def test_it_says_where_the_monitor_stands_and_what_is_wanted(boss: Client) -> None:
    monitor = make_monitor(due_at=ago(minutes=1), notify_to=["ops@example.com", "b@example.com"])
    tick(NOW)
    shown = page(boss, monitor)
    incident = Incident.objects.get()
    assert "✗ failing" in shown
    assert reverse("admin:monitoring_incident_change", args=[incident.pk]) in shown
    assert "<dt>Current status</dt><dd>No execution found</dd>" in shown
    assert "At 08:35 every day" in shown
    assert "35 8 * * *, UTC" in shown
    assert "ops@example.com, b@example.com" in shown


def test_only_a_snooze_that_lasts_is_said(boss: Client) -> None:
    monitor = make_monitor()
    for until, says in (lately(hours=-1), True), (lately(hours=1), False):
        MonitorState.objects.update(snoozed_until=until)
        assert ("Snoozed until" in page(boss, monitor)) is says


def test_without_recipients_it_names_the_superusers_or_says_nobody(boss: Client) -> None:
    monitor = make_monitor(notify_to=[])
    assert "the superusers boss@example.com" in page(boss, monitor)
    User.objects.update(email="")
    assert "nobody: it has no addresses" in page(boss, monitor)


@pytest.mark.parametrize("status", ["Completed", "Stopped"])
def test_if_it_were_checked_now_changes_nothing_and_tells_nobody(boss: Client, status: str) -> None:
    monitor = make_monitor(due_at=NOW)
    make_run(status=status, started_at=lately(minutes=5))
    before = list(MonitorState.objects.values())
    shown = page(boss, monitor)
    boss.get(mail_of(monitor))
    assert ("✓ as expected" in shown) is (status == "Completed")
    assert ("✗ status mismatch" in shown) is (status == "Stopped")
    assert "– not checked yet" in shown
    assert list(MonitorState.objects.values()) == before
    assert [model.objects.count() for model in (Incident, Alert, Delivery, Message, Heartbeat)] == [0] * 5


def test_the_last_twenty_runs_are_listed_from_the_newest_on(boss: Client) -> None:
    monitor = make_monitor()
    runs = [make_run(started_at=lately(hours=hours)) for hours in range(1, 26)]
    make_run("another_task", task_id="not-ours")
    waiting = make_run(status="Queued", started_at=None, submitted_at=lately(minutes=90))
    shown = [run.id for run in last_runs(monitor, 20).runs]
    assert shown == [runs[0].pk, waiting.pk, *(run.pk for run in runs[1:19])]
    text = page(boss, monitor)
    assert "not yet; submitted" in text
    assert "never; submitted" not in text
    BackgroundTask.objects.filter(pk=waiting.pk).update(status="Stopped", finished_at=timezone.now())
    assert "never; submitted" in page(boss, monitor)
    assert "not-ours" not in text
    assert runs[18].task_id in text


@pytest.mark.parametrize("with_type", [True, False])
def test_only_runs_of_its_context_are_listed(with_type: bool) -> None:
    hourly = IngestorSession.objects.create(ingestor_type="Hourly Tomorrow.io")
    other = IngestorSession.objects.create(ingestor_type="Salient")
    context_type = hourly.ingestor_type if with_type else ""
    monitor = make_monitor(context_model="gap.models.IngestorSession", context_type=context_type)
    for context_id in (str(hourly.pk), str(other.pk), "no key", None):
        make_run(context_id=context_id, task_id=f"of-{context_id}")
    shown = {run.task_id for run in last_runs(monitor, 20).runs}
    assert shown == {f"of-{hourly.pk}"} | (set() if with_type else {f"of-{other.pk}"})


def test_a_context_model_that_is_gone_is_said_where_the_runs_would_stand(boss: Client) -> None:
    monitor = make_monitor()
    Monitor.objects.filter(pk=monitor.pk).update(context_model="absent.models.Thing", context_type="x")
    shown = page(boss, monitor)
    assert "no installed app has the label or module" in shown
    assert "could not be checked" in shown


@pytest.mark.parametrize(
    "spoilt",
    [
        {"time_zone": "Mars/Olympus"},
        {"schedule": "whenever"},
        {"expected_statuses": ["Perfect"]},
        {"expected_statuses": []},
        {"expected_statuses": 5},
        {"notify_to": []},
        {"notify_to": 7},
        {"lookback_hours": 1e300},
        {"repeat": "never"},
    ],
)
def test_a_monitor_whose_row_was_spoilt_still_has_its_page_and_mail(boss: Client, spoilt: dict[str, Any]) -> None:
    monitor = make_monitor()
    Monitor.objects.filter(pk=monitor.pk).update(**spoilt)
    MonitorState.objects.all().delete()
    page(boss, monitor)
    assert boss.get(reverse("admin:monitoring_monitor_change", args=[monitor.pk])).status_code == 200
    assert boss.get(mail_of(monitor)).status_code == 200


def test_it_takes_as_many_statements_with_many_runs_and_incidents(boss: Client) -> None:
    monitor = make_monitor(dependent_tasks=["one", "two"])
    counts = []
    for rows in (1, 30):
        for number in range(rows):
            make_run(started_at=lately(minutes=number + 1), task_id=f"{rows}-{number}")
            opened = {"opened_at": ago(hours=number), "last_failed_at": NOW, "closed_at": NOW}
            Incident.objects.create(monitor=monitor, monitor_name="m", task_name="t", facts={}, **opened)
        with CaptureQueriesContext(connection) as asked:
            page(boss, monitor)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_it_warns_of_what_is_wrong_with_the_monitor_itself(boss: Client) -> None:
    monitor = make_monitor()
    assert "No worker has run checks yet" in page(boss, monitor)
    Heartbeat.objects.create(name="tick", beat_at=timezone.now())
    assert "No worker" not in page(boss, monitor)


def test_who_may_only_change_monitors_is_warned_too() -> None:
    assert "No worker has run checks yet" in page(staff("change_monitor"), make_monitor())


# Its time


@pytest.mark.parametrize(("query", "shown"), [("", "7 days"), ("24h", "24 hours"), ("30d", "30 days"), ("x", "7 days")])
def test_the_span_is_the_one_asked_for_or_what_suits_the_schedule(boss: Client, query: str, shown: str) -> None:
    response = boss.get(overview_of(make_monitor()), {"span": query})
    assert f'aria-current="page">{shown}</a>' in response.content.decode()


def test_all_that_is_drawn_stands_in_the_table(boss: Client) -> None:
    monitor = make_monitor(lookback_hours=24, time_zone="Europe/Berlin", schedule="every 12 hours")
    started_at = lately(hours=3)
    run = make_run(status="Stopped", started_at=started_at, finished_at=started_at + timedelta(seconds=12))
    check_monitors([monitor], timezone.now())
    shown = page(boss, monitor)
    table = shown[shown.index("<summary>The last 7 days") :].split("</table>")[0]
    exact = f"{started_at.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%d %H:%M:%S %Z}"
    for said in (exact, "12 s", run.task_id, "✗ Stopped", "✗ open", "✗ status mismatch", "looks back 1 d"):
        assert said in table
    for row in (run, Incident.objects.get(), Alert.objects.get()):
        assert f'href="{reverse(f"admin:monitoring_{row._meta.model_name}_change", args=[row.pk])}"' in table


def test_runs_that_are_not_drawn_are_said(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking_timeline, "RUNS_KNOWN", 1)
    for days in (1, 2):
        make_run(started_at=lately(days=days))
    assert "Not all runs can be shown" in page(boss, make_monitor())


# Its mail


def test_the_mail_is_what_would_be_sent_now(boss: Client) -> None:
    monitor = make_monitor(task_name="<i>report</i>", dependent_tasks=["send_report"])
    make_run("<i>report</i>", "Stopped", started_at=lately(minutes=5))
    shown = page(boss, monitor)
    assert "[ALERT] &lt;i&gt;report&lt;/i&gt; Status Check Failed" in shown
    assert "What a failing check would send now." in shown
    assert "Current status: Stopped\n" in shown
    assert "send_report" in shown
    assert "<i>report" not in shown


def test_when_nothing_fails_the_mail_is_a_sample_of_its_own_settings(boss: Client) -> None:
    monitor = make_monitor(expected_statuses=["Completed", "Stopped"], dependent_tasks=["send_report"])
    make_run(started_at=lately(minutes=5))
    shown = page(boss, monitor)
    assert "nothing is failing now" in shown
    assert "[ALERT] daily_report Status Check Failed" in shown
    assert "Expected status: Completed, Stopped\n" in shown
    assert "Current status: Completed\n" not in shown
    assert "Current status: Stopped\n" not in shown


def test_the_mail_stands_in_a_sandboxed_frame_with_its_own_policy(boss: Client) -> None:
    monitor = make_monitor()
    response = boss.get(overview_of(monitor))
    assert f'sandbox loading="lazy" src="{mail_of(monitor)}"' in response.content.decode()
    assert response["X-Frame-Options"] == "DENY"
    framed = boss.get(mail_of(monitor))
    assert "<h1" in framed.content.decode()
    assert framed["X-Frame-Options"] == "SAMEORIGIN"
    assert framed["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; sandbox"
    )


# Another site


@pytest.mark.urls(__name__)
def test_the_pages_of_another_admin_site_lead_to_that_site(boss: Client) -> None:
    monitor = make_monitor(due_at=ago(minutes=1))
    run = make_run(status="Stopped", started_at=ago(minutes=3))
    tick(NOW)
    incident = Incident.objects.get()
    pages = [
        reverse("nights:monitoring_monitor_overview", args=[monitor.pk]),
        reverse("nights:monitoring_incident_change", args=[incident.pk]),
        reverse("nights:monitoring_backgroundtask_change", args=[run.pk]),
        reverse("nights:monitoring_incident_changelist"),
    ]
    for url in pages:
        response = boss.get(url)
        assert response.status_code == 200, url
        assert 'href="/admin/' not in response.content.decode()
    assert f'href="{pages[2]}"' in boss.get(pages[0]).content.decode()
    assert f'href="{pages[0]}"' in boss.get(pages[1]).content.decode()
