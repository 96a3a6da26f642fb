import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail as django_mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.alerting import composing, digest, variables
from monitoring.alerting.composing import compose
from monitoring.alerting.envelope import thread_of
from monitoring.alerting.mail import render, render_digest
from monitoring.alerting.outbox import RETRY_AFTER, dispatch
from monitoring.alerting.owing import Announcement, owe
from monitoring.models import Alert, Delivery, Incident, Message, database_alias
from monitoring.values.facts import AlertKind
from tests import smtp
from tests.alerting.overriding import ALERT_TEXT
from tests.factories import NOW, make_facts
from tests.smtp import MailServer, send_by

pytestmark = pytest.mark.django_db

OPS = "ops@example.com"
LAST_DAY = datetime(9999, 12, 31, 23, tzinfo=UTC)


def owe_to(*addresses: str, of: Incident | None = None, **facts: Any) -> Alert:
    (alert,) = owe([Announcement(make_facts(**facts), addresses, of)], NOW, database_alias())
    return alert


def make_incident(**over: Any) -> Incident:
    times = {"opened_at": NOW, "last_failed_at": NOW}
    return Incident.objects.create(
        monitor_name="daily report", task_name="daily_report", facts=make_facts().to_json(), **times | over
    )


def compose_now() -> list[Message]:
    return compose(NOW, database_alias())


def subjects() -> list[str]:
    return [message.subject for message in Message.objects.order_by("id")]


def sent_to() -> list[str]:
    return [address for message in django_mail.outbox for address in message.to]


def test_each_delivery_becomes_a_message_of_its_own() -> None:
    alert = owe_to("a@example.com", "b@example.com")
    messages = compose_now()
    assert [message.address for message in messages] == ["a@example.com", "b@example.com"]
    mail = render(make_facts())
    for message in Message.objects.all():
        assert (message.subject, message.text, message.html) == (mail.subject, mail.text, mail.html)
        assert (message.created_at, message.next_attempt_at, message.attempts) == (NOW, NOW, 0)
        assert message.deliveries.get().alert == alert


def test_composing_again_makes_nothing_more() -> None:
    owe_to(OPS)
    assert len(compose_now()) == 1
    assert compose_now() == []
    assert Message.objects.count() == 1


@pytest.mark.parametrize(("alerts", "messages"), [(1, 1), (2, 2), (3, 1), (4, 1)])
def test_more_alerts_than_the_limit_go_to_an_address_as_one_mail(
    monitoring_settings: Any, alerts: int, messages: int
) -> None:
    monitoring_settings(DIGEST_OVER=2)
    for number in range(alerts):
        owe_to(OPS, task_name=f"task_{number}")
    owe_to("calm@example.com")
    assert len(compose_now()) == messages + 1
    of_ops = Message.objects.filter(address=OPS)
    assert of_ops.count() == messages
    assert sum(message.deliveries.count() for message in of_ops) == alerts
    assert Delivery.objects.filter(message=None).count() == 0
    if messages == 1 < alerts:
        mail = render_digest([make_facts(task_name=f"task_{number}") for number in range(alerts)])
        assert (of_ops.get().subject, of_ops.get().text) == (f"[ALERT] {alerts} Task Checks Failed", mail.text)
    assert Message.objects.get(address="calm@example.com").subject == "[ALERT] daily_report Status Check Failed"


def test_ten_alerts_are_ten_mails_and_eleven_are_one() -> None:
    for address, alerts in (("ten@example.com", 10), ("eleven@example.com", 11)):
        for number in range(alerts):
            owe_to(address, task_name=f"task_{number}")
    compose_now()
    assert Message.objects.filter(address="ten@example.com").count() == 10
    assert Message.objects.filter(address="eleven@example.com").count() == 1


def test_what_a_message_says_is_frozen_before_the_first_attempt(project_template: Any) -> None:
    alert = owe_to(OPS)
    (message,) = compose_now()
    Alert.objects.filter(pk=alert.pk).update(facts=make_facts(task_name="another").to_json())
    project_template(ALERT_TEXT, "another text")
    dispatch(NOW)
    (sent,) = django_mail.outbox
    assert (sent.subject, sent.body) == (message.subject, message.text)
    assert "another" not in sent.subject + sent.body


@pytest.mark.parametrize("spoilt", [{"kind": "of a newer version"}, {"dependent_tasks": [1]}])
def test_facts_that_cannot_be_read_hold_up_nobody_and_stay_pending(
    caplog: pytest.LogCaptureFixture, spoilt: dict[str, Any]
) -> None:
    unreadable = owe_to("a@example.com", OPS)
    Alert.objects.filter(pk=unreadable.pk).update(facts=unreadable.facts | spoilt)
    owe_to(OPS, "z@example.com")
    dispatch(NOW)
    assert sent_to() == [OPS, "z@example.com"]
    assert Delivery.objects.filter(message=None).count() == 2
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert f"alert {unreadable.pk} for {OPS}" in caplog.text


def test_in_a_digest_too_facts_that_cannot_be_read_hold_up_no_other(monitoring_settings: Any) -> None:
    monitoring_settings(DIGEST_OVER=1)
    unreadable = owe_to(OPS)
    Alert.objects.filter(pk=unreadable.pk).update(facts={})
    owe_to(OPS, task_name="one")
    owe_to(OPS, task_name="two")
    dispatch(NOW)
    assert [message.subject for message in django_mail.outbox] == ["[ALERT] 2 Task Checks Failed"]
    assert Delivery.objects.get(message=None).alert == unreadable


def test_what_another_dispatch_composed_meanwhile_is_not_composed_again(happening: Any) -> None:
    """While our text is rendered, the other one is done."""
    owe_to(OPS)

    def another_dispatch() -> str:
        message = Message.objects.create(address=OPS, subject="theirs", created_at=NOW, next_attempt_at=NOW)
        return str(Delivery.objects.filter(message=None).update(message=message))

    happening(another_dispatch)
    assert compose_now() == []
    assert [message.subject for message in Message.objects.all()] == ["theirs"]


def test_of_what_was_written_together_another_dispatch_takes_away_only_its_own(happening: Any) -> None:
    owe_to("a@example.com")
    theirs = owe_to("b@example.com")
    owe_to("c@example.com")

    def another_dispatch() -> str:
        message = Message.objects.create(address="b@example.com", subject="theirs", created_at=NOW, next_attempt_at=NOW)
        return str(Delivery.objects.filter(alert=theirs, message=None).update(message=message))

    happening(another_dispatch)
    assert [message.address for message in compose_now()] == ["a@example.com", "c@example.com"]
    assert {(each.address, each.message.address) for each in Delivery.objects.select_related("message")} == {
        (address, address) for address in ("a@example.com", "b@example.com", "c@example.com")
    }
    assert Message.objects.exclude(subject="theirs").count() == 2


@pytest.mark.parametrize(("messages", "transactions"), [(1, 1), (3, 1), (4, 2), (7, 3)])
def test_messages_are_written_together_as_many_as_one_transaction_is_to_write(
    monkeypatch: pytest.MonkeyPatch, messages: int, transactions: int
) -> None:
    monkeypatch.setattr(composing, "WRITTEN_AT_ONCE", 3)
    for number in range(messages):
        owe_to(f"somebody-{number}@example.com")
    with CaptureQueriesContext(connection) as queries:
        assert len(compose_now()) == messages
    written = [query for query in queries if query["sql"].startswith('INSERT INTO "monitoring_message"')]
    assert len(written) == transactions
    assert Delivery.objects.filter(message=None).count() == 0


@pytest.mark.django_db(transaction=True)
def test_templates_are_rendered_and_mails_sent_outside_any_transaction(
    happening: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_transaction: list[bool] = []

    def look() -> None:
        in_transaction.append(connection.in_atomic_block)

    happening(look)
    monkeypatch.setattr(smtp.Watching, "look", look)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    assert in_transaction == [False, False]


@pytest.mark.django_db(transaction=True)
def test_a_template_whose_query_fails_spoils_no_transaction(happening: Any) -> None:
    def ask_for_a_table_that_is_not_there() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM there_is_none")

    happening(ask_for_a_table_that_is_not_there)
    owe_to(OPS)
    assert len(dispatch(NOW).sent) == 1
    assert "could not be rendered" in Message.objects.get().html


# Order


def test_an_incidents_next_mail_to_an_address_is_written_when_the_one_before_was_sent(server: MailServer) -> None:
    incident = make_incident()
    server.busy = {OPS}
    owe_to(OPS, "calm@example.com", of=incident)
    dispatch(NOW)
    owe_to(OPS, "calm@example.com", of=incident, kind=AlertKind.RESOLVED, current_status="Completed")
    dispatch(NOW)
    assert server.recipients == ["calm@example.com", "calm@example.com"]
    assert subjects().count("[RESOLVED] daily_report Is As Expected Again") == 1

    server.busy.clear()
    dispatch(NOW + 2 * RETRY_AFTER[0])
    assert [(to, mail["Subject"]) for (to,), mail in server.received][2:] == [
        (OPS, "[ALERT] daily_report Status Check Failed"),
        (OPS, "[RESOLVED] daily_report Is As Expected Again"),
    ]


def test_of_what_is_owed_of_an_incident_together_all_goes_in_one_dispatch_and_in_order() -> None:
    incident = make_incident()
    for number in range(4):
        owe_to(OPS, of=incident, task_name=f"task_{number}")
    assert len(compose_now()) == 1
    dispatch(NOW)
    assert [mail.subject for mail in django_mail.outbox] == [
        f"[ALERT] task_{number} Status Check Failed" for number in range(4)
    ]


def test_a_mail_that_was_given_up_holds_up_no_later_one(server: MailServer) -> None:
    incident = make_incident()
    server.unwanted = {"[ALERT] odd Status Check Failed"}
    owe_to(OPS, of=incident, task_name="odd")
    dispatch(NOW)
    owe_to(OPS, of=incident, task_name="next")
    assert compose_now() == []
    Message.objects.update(gave_up_at=NOW)
    assert len(dispatch(NOW).sent) == 1


def test_incidents_and_configurations_wait_for_no_other(server: MailServer) -> None:
    server.unwanted = {"[ALERT] odd Status Check Failed"}
    for of in (make_incident(), None):
        owe_to(OPS, of=of, task_name="odd")
    dispatch(NOW)
    for of in (make_incident(), None, None):
        owe_to(OPS, of=of, task_name="next")
    assert len(dispatch(NOW).sent) == 3


# Storms


def test_where_many_mails_wait_for_another_try_what_comes_is_gathered_until_then(
    server: MailServer, monitoring_settings: Any
) -> None:
    monitoring_settings(DIGEST_OVER=3)
    server.busy = {OPS}
    for minute in range(6):
        owe_to(OPS, task_name=f"task_{minute}")
        dispatch(NOW + timedelta(seconds=minute))
    assert len(subjects()) == 3
    assert Delivery.objects.filter(message=None).count() == 3

    server.busy.clear()
    dispatch(NOW + 2 * RETRY_AFTER[0])
    assert sorted(subjects()) == [
        "[ALERT] 3 Task Checks Failed",
        *(f"[ALERT] task_{number} Status Check Failed" for number in range(3)),
    ]
    assert len(server.received) == 4


def test_after_a_long_outage_what_comes_is_itself_the_try_that_tells_whether_it_is_over(
    server: MailServer, monitoring_settings: Any
) -> None:
    monitoring_settings(DIGEST_OVER=3)
    server.busy = {OPS}
    for number in range(3):
        owe_to(OPS, task_name=f"task_{number}")
    dispatch(NOW)
    Message.objects.update(attempts=9, next_attempt_at=NOW + timedelta(hours=1))
    server.busy.clear()
    owe_to(OPS, task_name="new")
    assert len(dispatch(NOW + timedelta(minutes=1)).sent) == 4


@pytest.mark.parametrize("spoilt", [{"time_zone": "../x"}, {"time_zone": "Europe"}, {"started_at": LAST_DAY}])
def test_what_is_odd_in_one_alert_is_said_all_the_same(spoilt: dict[str, Any]) -> None:
    owe_to(OPS, **{"time_zone": "Pacific/Kiritimati"} | spoilt)
    owe_to("calm@example.com")
    dispatch(NOW)
    assert sorted(sent_to()) == ["calm@example.com", OPS]


def find_no_words_for(task_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def summary_of(facts: Any, *evidence: Any) -> str:
        if facts.task_name == task_name:
            raise ZeroDivisionError
        return f"of {facts.task_name}"

    for module in (digest, variables):
        monkeypatch.setattr(module, "summary_of", summary_of)


@pytest.mark.parametrize("limit", [10, 2])
def test_an_alert_that_cannot_be_put_into_words_holds_up_no_other(
    monitoring_settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limit: int
) -> None:
    """Alone or in a digest: whatever goes wrong there, it is said in the log, and the others go out."""
    monitoring_settings(DIGEST_OVER=limit)
    find_no_words_for("odd", monkeypatch)
    odd = owe_to(OPS, task_name="odd")
    for number in range(4):
        owe_to(OPS, task_name=f"task_{number}")
    dispatch(NOW)
    assert [delivery.alert for delivery in Delivery.objects.filter(message__sent_at=None)] == [odd]
    assert "No mail can be made for ops@example.com" in caplog.text


def test_an_alert_that_cannot_be_put_into_words_holds_up_no_later_mail_of_its_incident(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_no_words_for("odd", monkeypatch)
    incident = make_incident()
    odd = owe_to(OPS, of=incident, task_name="odd")
    owe_to(OPS, of=incident, task_name="next")
    owe_to(OPS, of=incident, kind=AlertKind.RESOLVED, current_status="Completed")
    dispatch(NOW)
    assert [mail.subject for mail in django_mail.outbox] == [
        "[ALERT] next Status Check Failed",
        "[RESOLVED] daily_report Is As Expected Again",
    ]
    assert Delivery.objects.get(message=None).alert == odd


def test_a_digest_leaves_out_what_must_wait_for_an_earlier_mail(server: MailServer, monitoring_settings: Any) -> None:
    monitoring_settings(DIGEST_OVER=2)
    incident = make_incident()
    server.unwanted = {"[ALERT] odd Status Check Failed"}
    owe_to(OPS, of=incident, task_name="odd")
    dispatch(NOW)
    owe_to(OPS, of=incident, task_name="later")
    for number in range(3):
        owe_to(OPS, of=make_incident(), task_name=f"task_{number}")
    dispatch(NOW)
    ((_, mail),) = server.received
    assert mail["Subject"] == "[ALERT] 3 Task Checks Failed"
    assert "later" not in mail.as_string()


def test_no_message_carries_more_than_a_statement_can_name(
    monitoring_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitoring_settings(DIGEST_OVER=1)
    monkeypatch.setattr(composing, "CARRIED_MAX", 3)
    for number in range(7):
        owe_to(OPS, task_name=f"task_{number}")
    with CaptureQueriesContext(connection) as queries:
        assert sorted(message.deliveries.count() for message in compose_now()) == [1, 3, 3]
    asked = [re.search(r'"id" IN \(([^)]*)\)', query["sql"]) for query in queries]
    assert sorted(len(keys[1].split(",")) for keys in asked if keys) == [1, 3, 3]


@pytest.mark.parametrize(("carried", "others", "first"), [(3, 2, 3), (3, 3, 3), (3, 4, 3), (9, 2, 1)])
def test_a_recovery_does_not_overtake_its_alert_where_the_two_are_not_in_one_mail(
    server: MailServer, monitoring_settings: Any, monkeypatch: pytest.MonkeyPatch, carried: int, others: int, first: int
) -> None:
    """More are pending than one mail carries; or one of them cannot be put into words, and the mail is halved."""
    monitoring_settings(DIGEST_OVER=1)
    monkeypatch.setattr(composing, "CARRIED_MAX", carried)
    find_no_words_for("odd", monkeypatch)
    incident = make_incident()
    owe_to(OPS, of=incident)
    for number in range(others):
        owe_to(OPS, task_name="odd" if not number and first == 1 else f"task_{number}")
    owe_to(OPS, of=incident, kind=AlertKind.RESOLVED, current_status="Completed")
    server.unwanted = {f"[ALERT] {first} Task Checks Failed", "[ALERT] daily_report Status Check Failed"}
    dispatch(NOW)
    assert not [mail for _, mail in server.received if "Expected Again" in mail.as_string()]

    server.unwanted.clear()
    dispatch(NOW + 2 * RETRY_AFTER[0])
    assert "Expected Again" in server.received[-1][1].as_string()


# Threads


def test_mails_of_one_incident_are_a_thread_and_those_of_many_are_none(monitoring_settings: Any) -> None:
    monitoring_settings(DIGEST_OVER=1)
    incident, other = make_incident(), make_incident()
    owe_to("a@example.com", of=incident)
    owe_to("b@example.com", of=incident)
    owe_to("both@example.com", of=incident)
    owe_to("both@example.com", of=other)
    owe_to("config@example.com")
    compose_now()
    threads = dict(Message.objects.values_list("address", "thread"))
    assert threads == {
        "a@example.com": thread_of(incident),
        "b@example.com": thread_of(incident),
        "both@example.com": "",
        "config@example.com": "",
    }
    assert thread_of(incident) != thread_of(other)
