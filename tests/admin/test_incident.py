"""An incident's page: the mail's words, the run that failed, what differs, the story and the mails."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from monitoring.admin.records import IncidentAdmin
from monitoring.models import Alert, Delivery, Incident, Message, Monitor, MonitorState
from monitoring.telling import tell
from monitoring.templatetags.monitoring_text import whole_dates
from monitoring.tick import check_monitors
from tests.admin.people import logged_in, staff
from tests.factories import make_monitor, make_run

pytestmark = pytest.mark.django_db

TRACEBACK = 'Traceback (most recent call last):\n  File "export.py", line 8\n    <b>raise</b>\nOSError: disk <full>'

# Another admin site, which shows incidents and nothing else of ours.
alone = AdminSite(name="alone")
alone.register(Incident, IncidentAdmin)
urlpatterns = [path("alone/", alone.urls)]


@pytest.fixture
def boss() -> Client:
    return logged_in(User.objects.create_superuser("boss", "boss@example.com"))


def fail(monitor: Monitor, status: str | None = "Stopped", errors: str = TRACEBACK) -> Incident:
    """Its newest run is a good one, or after it one of this status, and it is checked and told about."""
    now = timezone.now()
    make_run(task_id="good", started_at=now - timedelta(hours=3), finished_at=now - timedelta(hours=2.9), attempts=1)
    if status:
        make_run(
            task_id="failed", status=status, started_at=now - timedelta(minutes=5), finished_at=now, attempts=3,
            errors=errors, earlier_errors="ValueError: the first time", parameters='{"size": 12}',
        )  # fmt: skip
    check_monitors([monitor], now)
    tell(now)
    return Incident.objects.get(monitor=monitor)


def page(client: Client, incident: Incident) -> str:
    response = client.get(reverse("admin:monitoring_incident_change", args=[incident.pk]))
    assert response.status_code == 200
    return response.content.decode()


def test_it_says_what_the_mail_says(boss: Client) -> None:
    incident = fail(make_monitor(dependent_tasks=["send_report"], time_zone="Europe/Berlin"))
    shown, mail = page(boss, incident), Message.objects.get()
    summary = mail.text.splitlines()[0]
    assert summary == "daily_report ended as Stopped after 5 min."
    assert f"✗ open</span> {summary}" in shown
    assert "OSError: disk &lt;full&gt;</p>" in shown
    assert "This is the first failing check. 1 task depends on it." in shown
    for label in ("Current status", "Expected status", "Checked", "Last success"):
        (value,) = [line.partition(": ")[2] for line in mail.text.splitlines() if line.startswith(label)]
        assert f"<dt>{label}</dt><dd>{whole_dates(value)}</dd>" in shown
    assert "<dt>send_report</dt><dd>no run recorded</dd>" in shown


def test_it_shows_the_end_of_the_traceback_and_all_that_the_run_left(boss: Client) -> None:
    shown = page(boss, fail(make_monitor()))
    first, whole = shown.index("&lt;b&gt;raise&lt;/b&gt;"), shown.index("<summary>Full error output")
    assert first < whole < shown.index("&lt;b&gt;raise&lt;/b&gt;", whole)
    assert "ValueError: the first time" in shown
    assert "&quot;size&quot;: 12" in shown
    assert "<b>raise" not in shown


def test_it_says_what_differs_from_the_good_run_before(boss: Client) -> None:
    shown = page(boss, fail(make_monitor(lookback_hours=24)))
    assert 'attempts: <strong>3</strong> <span class="mon-quiet">(was 1)</span>' in shown
    assert 'parameter size: <strong>12</strong> <span class="mon-quiet">(was none)</span>' in shown
    assert "worker:" not in shown


def test_of_a_task_that_did_not_run_it_shows_the_last_run(boss: Client) -> None:
    shown = page(boss, fail(make_monitor(lookback_hours=1), status=None))
    assert "its last run started 3 h before the check and ended as Completed" in shown
    assert "The last run before" in shown
    assert "The run that failed" not in shown
    assert "What differs" not in shown


def test_of_a_run_that_could_not_be_enqueued_it_says_why(boss: Client) -> None:
    make_run(
        task_id="not enqueued", status="Stopped", started_at=None, submitted_at=timezone.now() - timedelta(minutes=5),
        finished_at=timezone.now(), errors="Not enqueued: no route to the queue",
    )  # fmt: skip
    incident = fail(make_monitor(lookback_hours=1), status=None)
    shown, mail = page(boss, incident), Message.objects.get().text
    for said in (shown, mail):
        assert "daily_report could not be enqueued 5 min before the check." in said
        assert "no route to the queue" in said
        assert "waited" not in said
    assert "The run that failed" in shown


def test_the_story_has_instants_in_the_monitors_zone(boss: Client) -> None:
    incident = fail(make_monitor(time_zone="Asia/Kathmandu"))
    Incident.objects.update(acknowledged_at=timezone.now(), acknowledged_by="<ada>")
    MonitorState.objects.update(snoozed_until=timezone.now() + timedelta(hours=1))
    story = page(boss, incident).partition('id="story"')[2].partition("</table>")[0]
    order = ["A check failed", "Alert raised", "Mail sent", "Acknowledged", "Snoozed until then"]
    assert sorted(order, key=story.index) == order
    assert story.count("+0545</time>") == len(order)
    assert "by &lt;ada&gt;" in story
    assert "(to come)" in story


def test_a_closed_one_does_not_speak_as_if_it_were_open(boss: Client) -> None:
    monitor = make_monitor(lookback_hours=24)
    incident = fail(monitor)
    check_monitors([monitor], timezone.now())
    make_run(started_at=timezone.now(), finished_at=timezone.now())
    check_monitors([monitor], timezone.now())
    shown = page(boss, incident)
    assert re.search(r"✓ Closed \w{3} \d\d:\d\d UTC after .* s</span></p>\s*<p>Last finding: daily_report ended", shown)
    assert re.search(r"<p>It failed 2 checks in a row, from .* UTC to .* UTC\.</p>", shown)
    assert "It has failed" not in shown


def test_the_story_counts_the_failing_checks(boss: Client) -> None:
    monitor = make_monitor()
    incident = fail(monitor)
    check_monitors([monitor], timezone.now())
    story = page(boss, incident).partition('id="story"')[2].partition("</table>")[0]
    assert "Alert raised (failing check 1 of 2)" in story
    assert "Alert raised (failing check 2 of 2)" in story
    assert ">2nd failing check in a row</span>" in story


def test_a_mail_that_is_not_written_yet_and_one_that_nobody_gets_are_said(boss: Client) -> None:
    incident = fail(make_monitor())
    Delivery.objects.update(message=None)
    assert "ops@example.com (no mail yet)" in page(boss, incident)
    Delivery.objects.all().delete()
    assert "nobody: no address was known" in page(boss, incident)


def test_what_a_run_left_is_for_those_who_may_see_runs(boss: Client) -> None:
    incident = fail(make_monitor())
    shown = page(staff("view_incident"), incident)
    assert "OSError: disk" in shown  # as its mail says
    for left in ("Full error output", "the first time", "size", "What differs"):
        assert left in page(boss, incident)
        assert left not in shown


def test_the_mails_stand_in_frames_for_those_who_may_see_messages(boss: Client) -> None:
    incident = fail(make_monitor())
    url = reverse("admin:monitoring_message_html", args=[Message.objects.get().pk])
    assert f'src="{url}"' in page(boss, incident)
    assert url not in page(staff("view_incident"), incident)


def test_who_may_snooze_is_offered_it_while_it_is_open(boss: Client) -> None:
    incident = fail(make_monitor())
    for client, offered in ((boss, True), (staff("view_incident"), False)):
        assert ("Snooze for an hour" in page(client, incident)) is offered
        assert ("Acknowledge</button>" in page(client, incident)) is offered
    Incident.objects.update(closed_at=timezone.now())
    assert "Snooze for an hour" not in page(boss, incident)


def test_one_whose_monitor_is_snoozed_says_until_when_and_offers_to_lift_it(boss: Client) -> None:
    incident = fail(make_monitor(time_zone="Europe/Berlin"))
    MonitorState.objects.update(snoozed_until=timezone.now() + timedelta(hours=9))
    shown = page(boss, incident)
    assert re.search(r"<span>Snoozed until \w{3} \d\d:\d\d CES?T\.</span>", shown)
    assert "Snooze for an hour" not in shown
    assert "Its monitor is snoozed until" in page(staff("view_incident"), incident)
    boss.post(reverse("admin:monitoring_incident_change", args=[incident.pk]), {"lift_snooze": ""})
    assert MonitorState.objects.get().snoozed_until is None
    assert "Snooze for an hour" in page(boss, incident)


def test_it_outlives_its_monitor_its_runs_and_facts_that_can_be_read(boss: Client) -> None:
    incident = fail(make_monitor())
    Monitor.objects.all().delete()
    assert "daily report (deleted)" in page(boss, incident)
    Alert.objects.update(facts={})
    Incident.objects.update(facts={"kind": "unheard of"})
    shown = page(boss, incident)
    assert "unheard of" in shown
    assert "Mail sent" in shown


@pytest.mark.urls(__name__)
def test_an_admin_that_shows_incidents_alone_shows_it_without_what_it_lacks(boss: Client) -> None:
    incident = fail(make_monitor(), "Stopped")
    response = boss.get(reverse("alone:monitoring_incident_change", args=[incident.pk]))
    assert response.status_code == 200
    shown = response.content.decode()
    assert "Mail sent" in shown
    assert "Acknowledge</button>" in shown
    assert "<iframe" not in shown


def test_it_takes_as_many_statements_however_long_the_story_is(boss: Client) -> None:
    incident = fail(make_monitor())
    counts = []
    for number in (25, 40):
        for _ in range(number):
            check_monitors([incident.monitor] if incident.monitor else [], timezone.now())
            tell(timezone.now())
        with CaptureQueriesContext(connection) as asked:
            page(boss, incident)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_mail_that_was_not_sent_is_not_said_to_have_been(boss: Client) -> None:
    incident = fail(make_monitor())
    refused = {"sent_at": None, "attempts": 1, "error": "Connection <refused>"}
    Message.objects.update(**refused, next_attempt_at=timezone.now() + timedelta(minutes=1))
    shown = page(boss, incident)
    why = r"✗ not sent yet to <a [^>]*>ops@example.com</a>: Connection &lt;refused&gt;, next try \w{3} \d\d:\d\d UTC"
    assert re.search(f'<dt>Last mail sent</dt><dd><span class="mon-bad">{why}</span></dd>', shown)
    assert "Mail not sent yet</span>" in shown
    assert "Mail sent" not in shown
    assert "Connection" not in page(staff("view_incident"), incident)
    Message.objects.update(gave_up_at=timezone.now())
    shown = page(boss, incident)
    assert re.search("✗ given up to <a [^>]*>ops@example.com</a>: Connection &lt;refused&gt;</span>", shown)
    assert "not sent yet" not in shown


def test_it_says_when_the_last_mail_was_sent(boss: Client) -> None:
    incident = fail(make_monitor())
    shown = page(boss, incident)
    assert re.search(r"<dt>Last alert raised</dt><dd><time ", shown)
    assert re.search(r"<dt>Last mail sent</dt><dd><time ", shown)
    Delivery.objects.update(message=None)
    assert "<dt>Last mail sent</dt><dd>none yet</dd>" in page(boss, incident)
