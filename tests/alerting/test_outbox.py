import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as django_mail
from django.db import connection, connections

from monitoring.alerting.mail import render, render_digest
from monitoring.alerting.outbox import (
    ERROR_MAX,
    GIVE_UP_AFTER,
    LEASE,
    RETRY_AFTER,
    compose,
    dispatch,
    log_undeliverable,
)
from monitoring.alerting.owing import Announcement, owe
from monitoring.models import Alert, Delivery, Message, database_alias
from monitoring.values.facts import AlertKind
from tests import smtp
from tests.alerting.overriding import ALERT_TEXT
from tests.factories import NOW, make_facts
from tests.smtp import MailServer, send_by, send_through

pytestmark = pytest.mark.django_db

OPS = "ops@example.com"
A_MOMENT = timedelta(microseconds=1)


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    with smtp.mail_server() as server:
        send_through(f"smtp://127.0.0.1:{server.port}", settings)
        yield server


def owe_to(*addresses: str, **facts: Any) -> Alert:
    (alert,) = owe([Announcement(make_facts(**facts), addresses)], NOW, database_alias())
    return alert


def compose_now() -> list[Message]:
    return compose(NOW, database_alias())


def sent_to() -> list[str]:
    return [address for message in django_mail.outbox for address in message.to]


# Composing


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


def test_facts_that_cannot_be_read_hold_up_nobody_and_stay_pending(caplog: pytest.LogCaptureFixture) -> None:
    unreadable = owe_to("a@example.com", OPS)
    Alert.objects.filter(pk=unreadable.pk).update(facts=unreadable.facts | {"kind": "of a newer version"})
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


# Sending


def test_a_sent_message_is_stamped_and_never_sent_again() -> None:
    owe_to(OPS)
    dispatched = dispatch(NOW)
    assert ([message.address for message in dispatched.sent], dispatched.failed) == ([OPS], ())
    message = Message.objects.get()
    assert (message.sent_at, message.attempts, message.gave_up_at, message.error) == (NOW, 1, None, "")
    for later in (timedelta(0), LEASE, GIVE_UP_AFTER, 10 * GIVE_UP_AFTER):
        assert dispatch(NOW + later).sent == ()
    assert sent_to() == [OPS]


def test_the_stamp_comes_after_the_send(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(smtp.Watching, "look", lambda: seen.append(Message.objects.get()))
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    assert [(message.sent_at, message.attempts) for message in seen] == [(None, 1)]
    assert Message.objects.get().sent_at == NOW


def test_what_a_killed_process_had_claimed_comes_due_again_after_the_lease_and_not_before(settings: Any) -> None:
    owe_to(OPS)
    send_by(smtp.Killed, settings)
    with pytest.raises(SystemExit):
        dispatch(NOW)
    send_through("memory:", settings)
    message = Message.objects.get()
    assert (message.sent_at, message.attempts, message.next_attempt_at) == (None, 1, NOW + LEASE)

    assert dispatch(NOW + LEASE - A_MOMENT).sent == ()
    assert sent_to() == []
    assert [sent.pk for sent in dispatch(NOW + LEASE).sent] == [message.pk]
    assert sent_to() == [OPS]


def test_a_dispatch_may_be_given_a_time_within_which_it_begins_to_send() -> None:
    owe_to(OPS)
    assert dispatch(NOW, within=timedelta(0)).sent == ()
    assert Message.objects.get().attempts == 0
    assert len(dispatch(NOW, within=timedelta(minutes=1)).sent) == 1


def test_a_dispatch_without_a_limit_tries_all_that_is_owed_once(server: MailServer) -> None:
    server.refused = {f"{number}@example.com" for number in range(0, 30, 3)}
    owe_to(*(f"{number}@example.com" for number in range(30)))
    dispatched = dispatch(NOW)
    assert (len(dispatched.sent), len(dispatched.failed)) == (20, 10)
    assert set(Message.objects.values_list("attempts", flat=True)) == {1}


def test_the_mails_of_a_dispatch_share_a_connection_and_an_error_begins_another(server: MailServer) -> None:
    at_start = server.connections
    owe_to(*(f"{number}@example.com" for number in range(5)))
    dispatch(NOW)
    assert server.connections - at_start == 1

    server.refused = {"b@example.com"}
    owe_to("a@example.com", "b@example.com", "c@example.com", "d@example.com")
    dispatch(NOW)
    assert server.connections - at_start == 3
    assert server.recipients[5:] == ["a@example.com", "c@example.com", "d@example.com"]


def test_the_oldest_is_sent_first() -> None:
    owe_to(OPS, task_name="younger")
    compose(NOW, database_alias())
    owe_to(OPS, task_name="older")
    compose(NOW - timedelta(hours=1), database_alias())
    assert [message.subject for message in dispatch(NOW).sent] == [
        "[ALERT] older Status Check Failed",
        "[ALERT] younger Status Check Failed",
    ]


# Failures


def test_a_real_mail_of_two_parts_arrives(server: MailServer) -> None:
    facts = make_facts(task_name="🛰️ daily_report", dependent_tasks=("data_export",))
    owe([Announcement(facts, (OPS,))], NOW, database_alias())
    dispatch(NOW)
    ((recipients, mail),) = server.received
    assert recipients == [OPS]
    assert mail["Subject"].strip() == "[ALERT] 🛰️ daily_report Status Check Failed"
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    rendered = render(facts)
    assert text.get_content().replace("\r\n", "\n") == rendered.text
    assert html.get_content().replace("\r\n", "\n") == rendered.html


def test_a_refused_address_touches_no_other(server: MailServer, caplog: pytest.LogCaptureFixture) -> None:
    server.refused = {"gone@example.com"}
    owe_to("a@example.com", "gone@example.com", "z@example.com")
    dispatched = dispatch(NOW)

    assert server.recipients == ["a@example.com", "z@example.com"]
    assert [message.address for message in dispatched.sent] == ["a@example.com", "z@example.com"]
    (failed,) = dispatched.failed
    assert "There is nobody of that name" in failed.error
    refused = Message.objects.get(address="gone@example.com")
    assert (refused.sent_at, refused.attempts) == (None, 1)
    # Counted from its own try, which came after the one before it.
    assert timedelta(0) <= refused.next_attempt_at - NOW - RETRY_AFTER[0] < timedelta(seconds=30)
    assert refused.error == failed.error
    assert refused.error.startswith("SMTPRecipientsRefused: ")
    (record,) = [record for record in caplog.records if record.name == "monitoring"]
    assert record.levelno == logging.WARNING
    assert "gone@example.com" in record.getMessage()

    assert len(dispatch(NOW + 2 * RETRY_AFTER[0]).failed) == 1
    assert server.recipients == ["a@example.com", "z@example.com"]


def test_who_was_refused_is_told_when_the_server_takes_it_again(server: MailServer) -> None:
    server.refused = {OPS}
    owe_to(OPS)
    dispatch(NOW)
    server.refused.clear()
    assert dispatch(NOW + RETRY_AFTER[0] - A_MOMENT).sent == ()
    later = NOW + RETRY_AFTER[0]
    assert len(dispatch(later).sent) == 1
    message = Message.objects.get()
    assert (message.sent_at, message.attempts, message.error) == (later, 2, "")


def test_tries_come_at_growing_distances(server: MailServer) -> None:
    server.refused = {OPS}
    owe_to(OPS)
    now, minutes = NOW, []
    for _ in range(8):
        dispatch(now)
        next_attempt_at = Message.objects.get().next_attempt_at
        minutes.append((next_attempt_at - now) / timedelta(minutes=1))
        assert dispatch(next_attempt_at - A_MOMENT).failed == (), "not before its time"
        now = next_attempt_at
    assert minutes == [1, 2, 5, 15, 60, 60, 60, 60]


def test_after_a_day_of_failures_it_is_given_up(server: MailServer) -> None:
    server.refused = {OPS}
    owe_to(OPS)
    dispatch(NOW)
    dispatch(NOW + GIVE_UP_AFTER - A_MOMENT)
    message = Message.objects.get()
    assert (message.gave_up_at, message.attempts) == (None, 2)
    last = message.next_attempt_at
    dispatch(last)
    message = Message.objects.get()
    assert (message.gave_up_at, message.sent_at, message.attempts) == (last, None, 3)
    assert "There is nobody of that name" in message.error

    server.refused.clear()
    assert dispatch(last + GIVE_UP_AFTER).sent == ()
    assert server.recipients == []


def test_what_succeeds_after_more_than_a_day_is_sent(server: MailServer) -> None:
    owe_to(OPS)
    compose_now()
    assert len(dispatch(NOW + 2 * GIVE_UP_AFTER).sent) == 1


def test_a_server_that_is_away_loses_nothing(settings: Any, server: MailServer) -> None:
    owe_to("a@example.com", "b@example.com")
    send_through(f"smtp://127.0.0.1:{smtp.free_port()}", settings)
    dispatched = dispatch(NOW)
    assert [message.error.split(":")[0] for message in dispatched.failed] == ["ConnectionRefusedError"] * 2
    send_through(f"smtp://127.0.0.1:{server.port}", settings)
    dispatch(NOW + 2 * RETRY_AFTER[0])
    assert server.recipients == ["a@example.com", "b@example.com"]


def test_what_an_error_said_is_stored_cut_and_without_nul(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("\0" + "no " * ERROR_MAX)

    monkeypatch.setattr(smtp.Watching, "look", fail)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    error = Message.objects.get().error
    assert error.startswith("RuntimeError: \N{REPLACEMENT CHARACTER}no no ")
    assert len(error) == ERROR_MAX


# Two at once


@pytest.mark.django_db(transaction=True)
def test_two_dispatches_at_once_send_each_mail_once(server: MailServer, monitoring_settings: Any) -> None:
    monitoring_settings(DIGEST_OVER=2)
    addresses = [f"{number:02}@example.com" for number in range(20)]
    for task in ("one", "two", "three"):
        owe_to(*addresses, task_name=task)
    owe_to(*addresses[:5], task_name="four")
    start = threading.Barrier(2)
    errors: list[Exception] = []

    def work() -> None:
        try:
            start.wait(10)
            dispatch(NOW)
            # What both composed at the same moment was rolled back by one: the next minute's dispatch takes it up.
            dispatch(NOW)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert sorted(server.recipients) == addresses
    assert Delivery.objects.filter(message=None).count() == 0
    assert set(Message.objects.values_list("attempts", "error")) == {(1, "")}
    assert not Message.objects.filter(sent_at=None).exists()


# Nobody to tell


@pytest.mark.parametrize("kind", AlertKind)
def test_the_whole_mail_of_an_undeliverable_alert_is_in_the_error_log(
    kind: AlertKind, caplog: pytest.LogCaptureFixture
) -> None:
    facts = make_facts(kind=kind, dependent_tasks=("data_export",), reason="it is gone")
    log_undeliverable(facts)
    (record,) = caplog.records  # caught at the root: the logger propagates
    assert (record.name, record.levelno) == ("monitoring", logging.ERROR)
    mail = render(facts)
    assert f"Subject: {mail.subject}\n\n{mail.text}" in record.getMessage()
