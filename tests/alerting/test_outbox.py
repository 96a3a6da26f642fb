import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as django_mail
from django.db import connections

from monitoring.alerting import outbox
from monitoring.alerting.composing import compose
from monitoring.alerting.failures import WORDS_MAX
from monitoring.alerting.mail import render
from monitoring.alerting.outbox import (
    LEASE,
    RETRY_AFTER,
    RETRY_FOR,
    dispatch,
    log_undeliverable,
    send_again,
)
from monitoring.alerting.owing import Announcement, owe
from monitoring.models import Alert, Delivery, Message, database_alias
from monitoring.values.facts import AlertKind, Facts
from tests import smtp
from tests.factories import NOW, Wordless, make_facts
from tests.smtp import MailServer, send_by, send_through

pytestmark = pytest.mark.django_db

OPS = "ops@example.com"
A_MOMENT = timedelta(microseconds=1)


def owe_to(*addresses: str, **facts: Any) -> Alert:
    (alert,) = owe([Announcement(make_facts(**facts), addresses)], NOW, database_alias())
    return alert


def compose_now() -> list[Message]:
    return compose(NOW, database_alias())


def sent_to() -> list[str]:
    return [address for message in django_mail.outbox for address in message.to]


# Sending


def test_a_sent_message_is_stamped_and_never_sent_again() -> None:
    owe_to(OPS)
    dispatched = dispatch(NOW)
    assert ([message.address for message in dispatched.sent], dispatched.failed) == ([OPS], ())
    message = Message.objects.get()
    assert (message.attempts, message.gave_up_at, message.error) == (1, None, "")
    assert timedelta(0) <= message.sent_at - NOW < timedelta(seconds=30)
    for later in (timedelta(0), LEASE, RETRY_FOR, 10 * RETRY_FOR):
        assert dispatch(NOW + later).sent == ()
    assert sent_to() == [OPS]


def test_the_stamp_comes_after_the_send(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(smtp.Watching, "look", lambda: seen.append(Message.objects.get()))
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    assert [(message.sent_at, message.attempts) for message in seen] == [(None, 1)]
    assert Message.objects.get().sent_at >= NOW


def test_what_a_killed_process_had_claimed_comes_due_again_after_the_lease_and_not_before(settings: Any) -> None:
    owe_to(OPS)
    send_by(smtp.Killed, settings)
    with pytest.raises(SystemExit):
        dispatch(NOW)
    send_through("memory:", settings)
    message = Message.objects.get()
    assert (message.sent_at, message.attempts, message.next_attempt_at) == (None, 1, NOW)
    lease = message.leased_until
    assert NOW + LEASE <= lease < NOW + LEASE + timedelta(seconds=10)

    assert dispatch(lease - A_MOMENT).sent == ()
    assert sent_to() == []
    assert [sent.pk for sent in dispatch(lease).sent] == [message.pk]
    assert sent_to() == [OPS]


def test_a_message_that_ends_its_senders_is_given_up_after_a_day(settings: Any) -> None:
    owe_to(OPS)
    send_by(smtp.Killed, settings)
    died = 0
    now = NOW
    while not Message.objects.exclude(gave_up_at=None).exists():
        try:
            dispatch(now)
        except SystemExit:
            died += 1
        now += 2 * LEASE
    message = Message.objects.get()
    assert RETRY_FOR <= message.gave_up_at - NOW <= RETRY_FOR + 2 * LEASE
    assert message.error.endswith("died of something: see the worker's log and memory")
    assert died == RETRY_FOR // (2 * LEASE)


def test_a_message_whose_sender_died_before_an_outage_of_days_is_sent_after_it(settings: Any) -> None:
    owe_to(OPS)
    send_by(smtp.Killed, settings)
    with pytest.raises(SystemExit):
        dispatch(NOW)
    send_through("memory:", settings)
    dispatch(NOW + 3 * RETRY_FOR)
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


def test_a_refused_address_is_given_up_at_once_and_touches_no_other(
    server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.refused = {"gone@example.com"}
    owe_to("a@example.com", "gone@example.com", "z@example.com")
    dispatched = dispatch(NOW)

    assert server.recipients == ["a@example.com", "z@example.com"]
    assert [message.address for message in dispatched.sent] == ["a@example.com", "z@example.com"]
    (failed,) = dispatched.failed
    assert "There is nobody of that name" in failed.error
    refused = Message.objects.get(address="gone@example.com")
    assert (refused.sent_at, refused.attempts, refused.leased_until) == (None, 1, None)
    # Counted from its own try, which came after the one before it.
    assert timedelta(0) <= refused.gave_up_at - NOW < timedelta(seconds=30)
    assert refused.error == failed.error
    assert refused.error.startswith("SMTPRecipientsRefused: ")
    (record,) = [record for record in caplog.records if record.name == "monitoring"]
    assert record.levelno == logging.WARNING
    assert "gone@example.com" in record.getMessage()

    assert dispatch(NOW + RETRY_FOR).failed == ()


def test_who_was_put_off_is_told_when_the_server_takes_it_again(server: MailServer) -> None:
    server.busy = {OPS}
    owe_to(OPS)
    dispatch(NOW)
    server.busy.clear()
    due = Message.objects.get().next_attempt_at
    assert timedelta(0) <= due - NOW - RETRY_AFTER[0] < timedelta(seconds=30)
    assert dispatch(due - A_MOMENT).sent == ()
    assert len(dispatch(due).sent) == 1
    message = Message.objects.get()
    assert (message.attempts, message.error) == (2, "")
    assert message.sent_at >= due


def test_tries_come_at_growing_distances(server: MailServer) -> None:
    server.busy = {OPS}
    owe_to(OPS)
    now, minutes = NOW, []
    for _ in range(8):
        dispatch(now)
        next_attempt_at = Message.objects.get().next_attempt_at
        minutes.append(round((next_attempt_at - now) / timedelta(minutes=1)))
        assert dispatch(next_attempt_at - A_MOMENT).failed == (), "not before its time"
        now = next_attempt_at
    assert minutes == [1, 2, 5, 15, 60, 60, 60, 60]


def test_after_a_day_of_failures_it_is_given_up(server: MailServer) -> None:
    server.busy = {OPS}
    owe_to(OPS)
    dispatch(NOW)
    dispatch(NOW + RETRY_FOR - timedelta(minutes=1))
    message = Message.objects.get()
    assert (message.gave_up_at, message.attempts) == (None, 2)
    last = message.next_attempt_at
    dispatch(last)
    message = Message.objects.get()
    assert (message.sent_at, message.attempts) == (None, 3)
    assert timedelta(0) <= message.gave_up_at - last < timedelta(seconds=30)
    assert "try again later" in message.error

    server.busy.clear()
    assert dispatch(last + RETRY_FOR).sent == ()
    assert server.recipients == []


def test_what_somebody_wants_sent_again_is_tried_for_another_day(server: MailServer) -> None:
    server.refused = {OPS}
    owe_to(OPS)
    dispatch(NOW)
    server.refused, server.busy = set(), {OPS}
    later = NOW + 3 * RETRY_FOR
    message = Message.objects.get()
    assert send_again([message.pk], later, database_alias()) == [message]
    dispatch(later)
    message.refresh_from_db()
    assert (message.gave_up_at, message.attempts) == (None, 1)
    server.busy.clear()
    assert len(dispatch(message.next_attempt_at).sent) == 1


def test_what_succeeds_after_more_than_a_day_is_sent(server: MailServer) -> None:
    owe_to(OPS)
    compose_now()
    assert len(dispatch(NOW + 2 * RETRY_FOR).sent) == 1


def test_a_server_that_is_away_loses_nothing(settings: Any, server: MailServer) -> None:
    owe_to("a@example.com", "b@example.com")
    send_through(f"smtp://127.0.0.1:{smtp.free_port()}", settings)
    dispatched = dispatch(NOW)
    assert [message.error.split(":")[0] for message in dispatched.failed] == ["ConnectionRefusedError"] * 2
    send_through(f"smtp://127.0.0.1:{server.port}", settings)
    dispatch(NOW + 2 * RETRY_AFTER[0])
    assert server.recipients == ["a@example.com", "b@example.com"]


def test_a_success_brings_forward_what_waits_for_the_same_address_and_nothing_else(server: MailServer) -> None:
    server.busy = {OPS, "other@example.com"}
    owe_to(OPS, "other@example.com", task_name="first")
    dispatch(NOW)
    dispatch(NOW + 2 * RETRY_AFTER[0])
    server.busy.clear()
    soon = NOW + 2 * RETRY_AFTER[0] + timedelta(seconds=30)
    owe_to(OPS, task_name="second")
    assert [message.subject for message in dispatch(soon).sent] == [
        "[ALERT] second Status Check Failed",
        "[ALERT] first Status Check Failed",
    ]
    assert server.recipients == [OPS, OPS]


def test_what_fails_while_others_to_its_address_pass_is_tried_once_a_dispatch(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.unwanted = {"[ALERT] odd Status Check Failed"}
    owe_to(OPS, task_name="odd")
    dispatch(NOW)
    for number in range(3):
        owe_to(OPS, task_name=f"task_{number}")
    assert (len(dispatch(NOW).sent), Message.objects.get(sent_at=None).attempts) == (3, 2)


def test_what_is_new_goes_before_what_fails(server: MailServer) -> None:
    server.busy = {f"{number}@example.com" for number in range(20)}
    owe_to(*server.busy)
    dispatch(NOW)
    server.busy = set()
    later = NOW + 2 * RETRY_AFTER[0]
    owe_to(OPS, task_name="new")
    dispatch(later)
    assert server.recipients[0] == OPS
    assert len(server.recipients) == 21


def test_in_the_background_a_server_that_hangs_holds_up_its_worker_for_its_patience_alone(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def hang() -> None:
        tried.append("")
        raise TimeoutError("timed out")

    monkeypatch.setattr(smtp.Watching, "look", hang)
    send_by(smtp.Watching, settings)
    owe_to(*(f"{number}@example.com" for number in range(20)))
    monkeypatch.setattr(outbox, "PATIENCE", A_MOMENT)
    dispatch(NOW, within=timedelta(minutes=1))
    assert len(tried) == 1
    dispatch(NOW)
    assert len(tried) == 20, "a check tries all that was never tried"
    later = NOW + 2 * RETRY_AFTER[0]
    owe_to("new@example.com")
    dispatch(later)
    assert len(tried) == 21, "and then what failed before only while it has patience"


def test_a_message_that_cannot_be_put_into_an_envelope_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    owe_to("a@example.com", OPS)
    compose(NOW, database_alias())
    Message.objects.filter(address="a@example.com").update(subject="two\nlines")
    assert [message.address for message in dispatch(NOW).sent] == [OPS]
    message = Message.objects.get(address="a@example.com")
    assert (message.gave_up_at is not None, message.leased_until) == (True, None)


def test_what_is_wanted_sent_again_while_it_is_sent_is_not_sent_twice(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def another_dispatch() -> None:
        tried.append(1)
        if len(tried) == 1:
            send_again([Message.objects.get().pk], NOW, database_alias())
            dispatch(NOW)

    monkeypatch.setattr(smtp.Watching, "look", another_dispatch)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    assert len(tried) == 1


def test_a_backend_that_sends_nothing_and_says_nothing_has_not_sent(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp.Watching, "look", str)
    monkeypatch.setattr(smtp.Watching, "send_messages", lambda self, messages: 0)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    assert len(dispatch(NOW).failed) == 1
    assert Message.objects.get().error == "NothingSent: the mail backend says that it sent nothing"


def test_a_backend_that_does_not_count_has_sent(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp.Watching, "send_messages", lambda self, messages: None)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    assert len(dispatch(NOW).sent) == 1


def test_a_sender_taken_for_dead_does_not_undo_what_another_has_sent(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back from a send that took longer than its lease, with an error."""

    def be_overtaken() -> None:
        Message.objects.update(sent_at=NOW, attempts=2, leased_until=None)
        raise TimeoutError("timed out")

    monkeypatch.setattr(smtp.Watching, "look", be_overtaken)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    message = Message.objects.get()
    assert (message.sent_at, message.error, message.attempts) == (NOW, "", 2)


@pytest.mark.parametrize("error", [TimeoutError("timed out"), ValueError("no mail can have this")])
def test_a_sender_taken_for_dead_leaves_the_message_to_the_one_that_claimed_it(
    settings: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It fails while the other is still sending."""
    later = NOW + 2 * LEASE

    def be_overtaken() -> None:
        assert outbox._claim(Message.objects.get(), later, database_alias())
        raise error

    monkeypatch.setattr(smtp.Watching, "look", be_overtaken)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    message = Message.objects.get()
    assert (message.leased_until, message.gave_up_at, message.error) == (later + LEASE, None, "")
    assert dispatch(later).sent == (), "the claim holds"


def test_what_a_sender_taken_for_dead_has_sent_after_all_is_no_longer_given_up(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_overtaken() -> None:
        Message.objects.update(gave_up_at=NOW, error="refused", attempts=2, leased_until=None)

    monkeypatch.setattr(smtp.Watching, "look", be_overtaken)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    message = Message.objects.get()
    assert (message.sent_at is not None, message.gave_up_at, message.error) == (True, None, "")


def test_what_an_error_said_is_stored_cut_and_without_nul(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("\0" + "no " * WORDS_MAX)

    monkeypatch.setattr(smtp.Watching, "look", fail)
    send_by(smtp.Watching, settings)
    owe_to(OPS)
    dispatch(NOW)
    error = Message.objects.get().error
    assert error.startswith("RuntimeError: \N{REPLACEMENT CHARACTER}no no ")
    assert len(error) == WORDS_MAX


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


def test_an_error_that_cannot_be_put_into_words_holds_up_no_other_mail(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise Wordless

    monkeypatch.setattr(smtp.Watching, "look", fail)
    send_by(smtp.Watching, settings)
    owe_to(OPS, "dev@example.com")
    assert len(dispatch(NOW).failed) == 2
    assert set(Message.objects.values_list("error", flat=True)) == {"Wordless: it cannot be put into words"}


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


def test_an_undeliverable_alert_that_no_mail_can_be_made_of_is_named_in_the_error_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(facts: Facts) -> None:
        raise Wordless

    monkeypatch.setattr(outbox, "render", fail)
    log_undeliverable(make_facts())
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "Nobody to tell, and no mail can be made for the task 'daily_report'"


@pytest.mark.parametrize("meanwhile", [{"sent_at": NOW}, {"leased_until": NOW + outbox.LEASE}, {"attempts": 1}])
def test_a_message_that_is_not_as_it_was_read_is_left_to_who_changed_it(meanwhile: dict[str, Any]) -> None:
    """Its server told that it arrived; or another claimed it, before or after somebody asked to send it again."""
    read = Message.objects.create(address=OPS, subject="words", created_at=NOW, next_attempt_at=NOW)
    Message.objects.filter(pk=read.pk).update(**meanwhile)
    assert not outbox._claim(read, NOW, database_alias())
