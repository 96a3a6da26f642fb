"""Runs, incidents, alerts and messages: who may look, what stands there, and what may be done."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from monitoring.admin.parts import lasted, pre
from monitoring.alerting.owing import Announcement, owe
from monitoring.alerting.states import MessageState, state_of
from monitoring.models import Alert, Delivery, Heartbeat, Incident, Message, Monitor, MonitorState, database_alias
from monitoring.telling import tell
from monitoring.tick import check_monitors
from monitoring.values.outcome import END_OF_TIME
from tests.admin.people import logged_in, staff
from tests.factories import NOW, ago, make_facts, make_monitor, make_run

pytestmark = pytest.mark.django_db

YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
RECORDS = ["backgroundtask", "incident", "alert", "message"]


def make_incident(monitor: Monitor | None = None, **over: Any) -> Incident:
    values = {
        "monitor": monitor,
        "monitor_name": monitor.name if monitor else "gone monitor",
        "task_name": "daily_report",
        "opened_at": ago(hours=2),
        "last_failed_at": ago(hours=1),
        "facts": make_facts().to_json(),
    }
    return Incident.objects.create(**{**values, **over})


def make_alert(incident: Incident | None = None, *addresses: str) -> Alert:
    (alert,) = owe([Announcement(make_facts(), addresses, incident)], NOW, database_alias())
    return alert


def make_message(alert: Alert | None = None, address: str = "ops@example.com", **over: Any) -> Message:
    values = {
        "address": address,
        "subject": "[ALERT] daily_report Status Check Failed",
        "text": "the text part",
        "html": "<p>the html part</p><script>alert(1)</script>",
        "created_at": ago(hours=1),
        "next_attempt_at": ago(minutes=1),
    }
    message = Message.objects.create(**{**values, **over})
    if alert:
        Delivery.objects.update_or_create(alert=alert, address=address, defaults={"message": message})
    return message


def make_row(model: str) -> Any:
    incident = make_incident(make_monitor(f"monitor {Monitor.objects.count()}"))
    alert = make_alert(incident, "ops@example.com", "second@example.com")
    rows = {
        "backgroundtask": make_run(errors="boom", parameters='{"args": [1]}'),
        "incident": incident,
        "alert": alert,
        "message": make_message(alert),
    }
    return rows[model]


def list_of(model: str) -> str:
    return reverse(f"admin:monitoring_{model}_changelist")


def page_of(row: Any) -> str:
    return reverse(f"admin:monitoring_{row._meta.model_name}_change", args=[row.pk])


def act(client: Client, model: str, action: str, *rows: Any) -> Any:
    posted = {"action": action, "index": "0", "_selected_action": [row.pk for row in rows]}
    return client.post(list_of(model), posted, follow=True)


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


@pytest.fixture
def ticking() -> None:
    Heartbeat.objects.create(name="tick", beat_at=timezone.now())


@pytest.fixture
def admin_client() -> Client:
    """As pytest-django's, without the half second that a password takes."""
    return logged_in(User.objects.create_superuser("admin"))


# Who may look


@pytest.mark.parametrize("model", RECORDS)
def test_strangers_are_sent_to_log_in(client: Client, model: str) -> None:
    row = make_row(model)
    for url in (list_of(model), page_of(row)):
        assert client.get(url).url.startswith("/admin/login/")


@pytest.mark.parametrize("model", RECORDS)
def test_staff_without_the_right_are_refused(model: str) -> None:
    client, row = staff(), make_row(model)
    for url in (list_of(model), page_of(row)):
        assert client.get(url).status_code == 403


@pytest.mark.parametrize("model", RECORDS)
def test_who_may_view_sees_the_list_and_the_page(model: str) -> None:
    client, row = staff(f"view_{model}"), make_row(model)
    assert client.get(list_of(model)).status_code == 200
    page = client.get(page_of(row))
    assert page.status_code == 200
    assert "View " in page.content.decode()


@pytest.mark.parametrize("model", RECORDS)
def test_nobody_adds_changes_or_deletes_not_even_a_superuser(admin_client: Client, model: str) -> None:
    row = make_row(model)
    assert admin_client.get(reverse(f"admin:monitoring_{model}_add")).status_code == 403
    assert admin_client.post(page_of(row), {"task_name": "other"}).status_code == 403
    assert admin_client.post(reverse(f"admin:monitoring_{model}_delete", args=[row.pk])).status_code == 403
    assert "delete_selected" not in admin_client.get(list_of(model)).content.decode()


@pytest.mark.parametrize("model", RECORDS)
def test_a_list_takes_as_many_statements_for_fifty_rows_as_for_five(admin_client: Client, model: str) -> None:
    counts = []
    for rows in (5, 45):
        for _ in range(rows):
            make_row(model)
        with CaptureQueriesContext(connection) as asked:
            assert admin_client.get(list_of(model)).status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]


# Runs


def test_a_run_shows_its_errors_and_parameters_escaped_and_who_watches_it(admin_client: Client) -> None:
    monitor = make_monitor()
    run = make_run(status="Stopped", errors="<b>boom</b>", parameters='{"args": [1]}', finished_at=ago(seconds=30))
    page = admin_client.get(page_of(run)).content.decode()
    assert "&lt;b&gt;boom&lt;/b&gt;</pre>" in page
    assert "&quot;args&quot;: [\n    1\n  ]" in page
    assert "✗ Stopped" in page
    assert "30 s" in page
    assert f'<a href="/admin/monitoring/monitor/{monitor.pk}/overview/">daily report</a>' in page


def test_parameters_that_were_cut_are_shown_as_they_are(admin_client: Client) -> None:
    run = make_run(parameters='{"args": ["abc…')
    assert "{&quot;args&quot;: [&quot;abc…" in admin_client.get(page_of(run)).content.decode()


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("daily", ["daily report", "daily_report"]),
        ("daily report", ["daily report"]),
        ("report", []),
        ("the-id", ["hourly"]),
        ("the-i", []),
        ("", ["daily report", "daily_report", "hourly"]),
    ],
)
def test_runs_are_found_by_the_beginning_of_the_name_or_the_whole_id(
    admin_client: Client, term: str, found: list[str]
) -> None:
    for name in ("daily_report", "daily report"):
        make_run(name)
    make_run("hourly", task_id="the-id")
    results = admin_client.get(list_of("backgroundtask"), {"q": term}).context["cl"].result_list
    assert sorted(run.task_name for run in results) == found


def test_the_newest_run_comes_first_and_statuses_are_filtered(admin_client: Client) -> None:
    make_run("first")
    make_run("second", "Stopped")
    make_run("third")
    names = [run.task_name for run in admin_client.get(list_of("backgroundtask")).context["cl"].result_list]
    assert names == ["third", "second", "first"]
    stopped = admin_client.get(list_of("backgroundtask"), {"status__exact": "Stopped"}).context["cl"].result_list
    assert [run.task_name for run in stopped] == ["second"]


@pytest.mark.parametrize(
    ("span", "written"),
    [
        ({"milliseconds": 99}, "less than 0.1 s"),
        ({"milliseconds": 840}, "0.8 s"),
        ({"seconds": 12}, "12 s"),
        ({"minutes": 4, "seconds": 12}, "4 min 12 s"),
        ({"hours": 3}, "3 h"),
        ({"hours": 3, "minutes": 5, "seconds": 9}, "3 h 5 min"),
        ({"days": 2, "hours": 3}, "2 d 3 h"),
        ({"seconds": -1}, "–"),
    ],
)
def test_how_long_something_took_in_words(span: dict[str, float], written: str) -> None:
    assert lasted(NOW, NOW + timedelta(**span)) == written


def test_what_has_not_ended_took_no_time_yet() -> None:
    assert lasted(NOW, None) == lasted(None, NOW) == "–"


# Incidents


def test_an_incident_shows_what_was_found_and_leads_to_run_alerts_and_messages(admin_client: Client) -> None:
    run = make_run(status="Stopped", started_at=ago(minutes=5))
    incident = make_incident(make_monitor(), failing_checks=3)
    alert = make_alert(incident, "ops@example.com", "second@example.com")
    message = make_message(alert, "ops@example.com", sent_at=NOW)
    page = admin_client.get(page_of(incident)).content.decode()
    for row in (run, alert, message):
        assert f'href="{page_of(row)}"' in page
    assert "second@example.com (no mail yet)" in page
    assert "✓ sent" in page
    assert "<dt>Current status</dt><dd>Stopped</dd>" in page


def test_an_incident_whose_monitor_is_deleted_keeps_its_name(admin_client: Client) -> None:
    incident = make_incident(None, closed_at=NOW)
    assert "gone monitor (deleted)" in admin_client.get(page_of(incident)).content.decode()
    assert "gone monitor (deleted)" in admin_client.get(list_of("incident")).content.decode()


@pytest.mark.parametrize(("end", "zone"), [(YEAR_ONE, "America/New_York"), (END_OF_TIME, "Pacific/Kiritimati")])
@pytest.mark.parametrize("times", ["started_at finished_at", "submitted_at", "finished_at"])
def test_a_run_at_an_end_of_the_calendar_breaks_no_page(
    admin_client: Client, settings: Any, end: datetime, zone: str, times: str
) -> None:
    settings.TIME_ZONE = zone
    started_at = timezone.now() - timedelta(minutes=5)
    at_the_end = dict.fromkeys(times.split(), end)
    run = make_run(status="Stopped", **{"started_at": started_at} | at_the_end)
    monitor = make_monitor(time_zone=zone, dependent_tasks=["daily_report"])
    check_monitors([monitor], timezone.now())
    tell(timezone.now())
    rows = [monitor, run, Incident.objects.get(), Alert.objects.get(), Message.objects.get()]
    pages = [*map(page_of, rows), *(list_of(row._meta.model_name) for row in rows)]
    overview = reverse("admin:monitoring_monitor_overview", args=[monitor.pk])
    for page in (*pages, overview, reverse("admin:monitoring_board")):
        assert admin_client.get(page).status_code == 200
    assert f">{end:%Y-%m-%d %H:%M:%S} UTC</time>" in admin_client.get(page_of(run)).content.decode()


@pytest.mark.parametrize(
    "facts",
    [
        [],
        "mismatch",
        {},
        {"kind": "unheard of"},
        {"kind": "mismatch"},
        *(make_facts().to_json() | spoilt for spoilt in ({"task_name": 7}, {"expected_statuses": [7]})),
        *(make_facts().to_json() | spoilt for spoilt in ({"check_time": None}, {"started_at": "2026-11-22T08:35:00"})),
    ],
)
def test_facts_that_cannot_be_read_are_shown_as_they_stand(admin_client: Client, facts: Any) -> None:
    monitor = make_monitor()
    incident = make_incident(monitor, facts=facts)
    alert = make_alert(incident, "ops@example.com")
    Alert.objects.update(facts=facts)
    incident.refresh_from_db()  # PostgreSQL has an order of its own
    overview = reverse("admin:monitoring_monitor_overview", args=[monitor.pk])
    for page in (page_of(incident), page_of(alert), overview):
        assert pre(json.dumps(incident.facts, indent=2)) in admin_client.get(page).content.decode()
    for page in (page_of(make_message(alert)), reverse("admin:monitoring_board")):
        assert admin_client.get(page).status_code == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "open"}, ["mine", "open"]),
        ({"state": "closed"}, ["closed"]),
        ({"acknowledged": "yes"}, ["mine"]),
        ({"acknowledged": "no"}, ["closed", "open"]),
        ({"state": "nonsense"}, ["closed", "mine", "open"]),
    ],
)
def test_incidents_are_filtered(admin_client: Client, query: dict[str, str], found: list[str]) -> None:
    make_incident(make_monitor("open"))
    make_incident(make_monitor("closed"), closed_at=NOW)
    make_incident(make_monitor("mine"), acknowledged_at=NOW, acknowledged_by="me")
    results = admin_client.get(list_of("incident"), query).context["cl"].result_list
    assert sorted(incident.monitor_name for incident in results) == found


@pytest.mark.usefixtures("ticking")
def test_acknowledging_takes_open_incidents_that_are_nobodys_and_stands_in_the_history() -> None:
    user = User.objects.create_superuser("anna")
    open_one = make_incident(make_monitor("open"))
    closed = make_incident(make_monitor("closed"), closed_at=NOW)
    others = make_incident(make_monitor("others"), acknowledged_at=ago(hours=1), acknowledged_by="bert")
    response = act(logged_in(user), "incident", "acknowledge", open_one, closed, others)
    assert list(Incident.objects.order_by("pk").values_list("acknowledged_by", flat=True)) == ["anna", "", "bert"]
    open_one.refresh_from_db()
    assert open_one.acknowledged_at is not None
    assert messages_of(response) == [
        "1 incident acknowledged: reminders stop, a recovery is still announced.",
        "2 incidents left as before: closed, or acknowledged already.",
    ]
    assert [(entry.object_id, entry.change_message) for entry in LogEntry.objects.all()] == [
        (str(open_one.pk), "Acknowledged.")
    ]


def test_acknowledging_writes_nothing_that_the_checker_wrote_meanwhile(admin_client: Client) -> None:
    incident = make_incident(make_monitor())
    Incident.objects.filter(pk=incident.pk).update(failing_checks=9)
    act(admin_client, "incident", "acknowledge", incident)
    incident.refresh_from_db()
    assert (incident.failing_checks, incident.acknowledged_by) == (9, "admin")


def test_only_who_may_snooze_acknowledges() -> None:
    incident = make_incident(make_monitor())
    for client, may in (staff("view_incident"), False), (staff("view_incident", "snooze_monitor"), True):
        assert ('name="acknowledge"' in client.get(page_of(incident)).content.decode()) is may
        act(client, "incident", "acknowledge", incident)
        incident.refresh_from_db()
        assert bool(incident.acknowledged_at) is may


def test_what_is_closed_or_acknowledged_offers_no_button(admin_client: Client) -> None:
    for over in ({"closed_at": NOW}, {"acknowledged_at": NOW, "acknowledged_by": "anna"}):
        incident = make_incident(make_monitor(f"monitor {over}"), **over)
        assert 'name="acknowledge"' not in admin_client.get(page_of(incident)).content.decode()


# Alerts


def test_an_alert_that_reached_nobody_says_so_and_can_be_filtered(admin_client: Client) -> None:
    orphan, told = make_alert(), make_alert(None, "ops@example.com", "b@example.com")
    assert "reached nobody" in admin_client.get(page_of(orphan)).content.decode()
    assert "reached nobody" not in admin_client.get(page_of(told)).content.decode()
    assert "b@<wbr>example.com and 1 more" in admin_client.get(list_of("alert")).content.decode()
    for reach, found in (("nobody", [orphan]), ("somebody", [told])):
        assert list(admin_client.get(list_of("alert"), {"reach": reach}).context["cl"].result_list) == found


def test_an_alert_leads_to_its_incident_and_messages(admin_client: Client) -> None:
    incident = make_incident(make_monitor())
    alert = make_alert(incident, "ops@example.com")
    message = make_message(alert)
    page = admin_client.get(page_of(alert)).content.decode()
    assert f'href="{page_of(incident)}"' in page
    assert f'href="{page_of(message)}"' in page


# Messages

IN_EACH_STATE: dict[MessageState, dict[str, Any]] = {
    MessageState.PENDING: {},
    MessageState.FAILED: {"attempts": 1, "error": "refused"},
    MessageState.GIVEN_UP: {"gave_up_at": NOW, "error": "refused"},
    MessageState.SENT: {"sent_at": NOW, "attempts": 2},
    MessageState.DEFERRED: {"sent_at": NOW, "deferred_at": NOW},
    MessageState.DELIVERED: {"sent_at": NOW, "deferred_at": NOW, "delivered_at": NOW},
    MessageState.REJECTED: {"sent_at": NOW, "rejected_at": NOW},
    MessageState.BOUNCED: {"sent_at": NOW, "delivered_at": NOW, "bounced_at": NOW},
    MessageState.COMPLAINED: {"sent_at": NOW, "delivered_at": NOW, "complained_at": NOW},
}


def test_a_message_is_in_the_state_that_its_filter_finds_it_by(admin_client: Client) -> None:
    assert IN_EACH_STATE.keys() == set(MessageState)
    made = {state: make_message(**over) for state, over in IN_EACH_STATE.items()}
    for state, message in made.items():
        assert state_of(message) is state
        found = admin_client.get(list_of("message"), {"state": state.name.lower()}).context["cl"].result_list
        assert list(found) == [message]
        assert state.value in admin_client.get(page_of(message)).content.decode()


def test_a_message_shows_its_text_and_frames_its_html(admin_client: Client) -> None:
    alert = make_alert(make_incident(make_monitor()), "ops@example.com")
    message = make_message(alert, error="refused <mailbox>")
    page = admin_client.get(page_of(message)).content.decode()
    url = reverse("admin:monitoring_message_html", args=[message.pk])
    assert f'sandbox loading="lazy" src="{url}"' in page
    assert "the text part</pre>" in page
    assert "refused &lt;mailbox&gt;" in page
    assert "the html part" not in page
    assert f'href="{page_of(alert)}"' in page
    framed = admin_client.get(url)
    assert framed.content == message.html.encode()
    assert framed["X-Frame-Options"] == "SAMEORIGIN"
    assert framed["Content-Security-Policy"].startswith("default-src 'none';")
    assert framed["Content-Security-Policy"].endswith("sandbox")


def test_a_message_shows_what_its_provider_told(admin_client: Client) -> None:
    said = "bounced: 550 <nobody>"
    message = make_message(sent_at=NOW, deferred_at=ago(minutes=9), bounced_at=ago(minutes=5), provider_said=said)
    page = admin_client.get(page_of(message)).content.decode()
    assert page.index("<dt>Deferred</dt>") < page.index("<dt>Bounced</dt>") < page.index("550 &lt;nobody&gt;")
    assert "550 &lt;nobody&gt;" in admin_client.get(list_of("message")).content.decode()


def test_the_html_of_a_message_is_for_those_who_may_view_messages(client: Client) -> None:
    message = make_message()
    url = reverse("admin:monitoring_message_html", args=[message.pk])
    assert client.get(url).url.startswith("/admin/login/")
    assert staff("view_alert").get(url).status_code == 404
    assert staff("view_message").get(url).status_code == 200
    assert staff("view_message").get(url.replace(str(message.pk), "999999")).status_code == 404


@pytest.mark.usefixtures("ticking")
def test_sending_again_makes_due_what_was_not_sent(admin_client: Client) -> None:
    given_up = make_message(gave_up_at=NOW, attempts=14, next_attempt_at=ago(days=1))
    waiting = make_message(error="refused", attempts=1, next_attempt_at=timezone.now() + timedelta(hours=1))
    sent = make_message(sent_at=NOW, next_attempt_at=ago(days=2))
    before = timezone.now()
    response = act(admin_client, "message", "send_again", given_up, waiting, sent)
    for message in (given_up, waiting):
        message.refresh_from_db()
        assert message.gave_up_at is None
        assert before <= message.next_attempt_at <= timezone.now()
    sent.refresh_from_db()
    assert (sent.sent_at, sent.next_attempt_at) == (NOW, ago(days=2))
    said = [text for text in messages_of(response) if "message" in text.split(" ", 2)[1]]
    assert said == [
        "2 messages to be sent within a minute, while a worker runs.",
        "1 message left as before: sent already.",
    ]
    assert {entry.object_id for entry in LogEntry.objects.all()} == {str(given_up.pk), str(waiting.pk)}


def test_only_who_may_send_sends_again() -> None:
    message = make_message(gave_up_at=NOW)
    for client, may in (staff("view_message"), False), (staff("view_message", "send_alert"), True):
        assert ('name="send_again"' in client.get(page_of(message)).content.decode()) is may
        act(client, "message", "send_again", message)
        message.refresh_from_db()
        assert (message.gave_up_at is None) is may


def test_a_button_on_a_record_leads_back_to_the_record(admin_client: Client) -> None:
    incident, message = make_incident(make_monitor()), make_message(gave_up_at=NOW)
    for row, button in ((incident, "acknowledge"), (incident, "snooze_hour"), (message, "send_again")):
        url = f"{page_of(row)}?_changelist_filters=q%3Dx"
        response = admin_client.post(url, {button: ""})
        assert (response.status_code, response["Location"]) == (302, url)
        row.refresh_from_db()
    assert incident.acknowledged_by == "admin"
    assert MonitorState.objects.get().snoozed_until
    assert message.gave_up_at is None


# The monitor itself


def test_a_list_says_what_is_wrong_with_the_monitor_itself_to_who_may_see_monitors() -> None:
    url = list_of("incident")
    assert messages_of(staff("view_incident").get(url)) == []
    (warning,) = messages_of(staff("view_incident", "view_monitor").get(url))
    assert warning.startswith("Monitoring itself needs attention: No worker has run checks yet")
    make_monitor("<i>late</i>", due_at=ago(days=300))
    (warning,) = messages_of(staff("view_incident", "view_monitor").get(url))
    assert "</li><li>1 monitor is overdue by more than 5 minutes: &lt;i&gt;late&lt;/i&gt;</li>" in warning


def test_what_is_posted_is_answered_by_one_warning_not_two(admin_client: Client) -> None:
    response = act(admin_client, "incident", "acknowledge", make_incident(make_monitor()))
    assert [text[:11] for text in messages_of(response)] == ["1 incident ", "Monitoring "]


# Times


def test_a_page_shows_its_times_in_the_zone_of_its_monitor(admin_client: Client) -> None:
    monitor = make_monitor(time_zone="Asia/Kathmandu")
    facts = make_facts(time_zone="Asia/Kathmandu")
    incident = make_incident(monitor, facts=facts.to_json())
    (alert,) = owe([Announcement(facts, ("ops@example.com",), incident)], NOW, database_alias())
    message = make_message(alert, sent_at=NOW, delivered_at=NOW)
    run = make_run(submitted_at=NOW, finished_at=NOW)
    for row in (run, incident, alert, message):
        page = admin_client.get(page_of(row)).content.decode().partition("<body")[2]
        assert "+0545" in page, row
        assert " UTC" not in page, row
    make_monitor("in another zone", time_zone="Europe/Berlin")
    assert " UTC</time>" in admin_client.get(page_of(run)).content.decode()


def test_an_incidents_name_says_its_zone() -> None:
    assert str(make_incident(make_monitor())) == "daily report since 2026-11-22 06:35 UTC"


def test_the_messages_list_says_when_each_was_written_and_how_often_it_was_tried(admin_client: Client) -> None:
    make_message(attempts=3, error="refused", created_at=ago(hours=1))
    page = admin_client.get(list_of("message")).content.decode()
    lines = ("✗ not sent, retrying", "3 attempts", "refused")
    assert '</span><br><span class="mon-quiet">'.join(lines) in page
    assert 'title="2026-11-22 07:35:00 UTC"' in page
    assert "ops@<wbr>example.com" in page
