from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from monitoring.alerting.envelope import envelope, message_to, site_domain, thread_of
from monitoring.alerting.mail import render
from monitoring.models import Incident, Message
from monitoring.values.facts import AlertKind
from tests.factories import NOW, ago, make_facts

pytestmark = pytest.mark.django_db

LINE_MAX = 998  # octets; RFC 5322, 2.1.1


def make_message(**over: Any) -> Message:
    values = {"address": "ops@example.com", "subject": "s", "text": "t", "html": "<p>h</p>", "next_attempt_at": NOW}
    return Message.objects.create(**{"created_at": NOW} | values | over)


def wire(message: Message) -> EmailMessage:
    return message_from_bytes(envelope(message).message().as_bytes(), policy=policy.default)


def incident_since(opened_at: Any) -> Incident:
    return Incident.objects.create(
        monitor_name="m", task_name="t", opened_at=opened_at, last_failed_at=opened_at, facts={}
    )


def test_no_program_answers_a_mail_and_each_can_be_sorted() -> None:
    for mail in (wire(make_message()), message_to("me@example.com", render(make_facts())).message()):
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["X-Auto-Response-Suppress"] == "All"
        assert mail["List-Id"] == "Task monitor <task-monitor.monitor.example.org>"


def test_a_message_has_the_same_id_at_each_attempt_and_no_other_has_it() -> None:
    message, other = make_message(), make_message()
    first = wire(message)["Message-ID"]
    Message.objects.update(attempts=1, created_at=ago(days=1))
    assert wire(Message.objects.get(pk=message.pk))["Message-ID"] == first
    assert first.startswith(f"<message-{message.pk}.")
    assert first.endswith("@monitor.example.org>")
    assert wire(other)["Message-ID"] != first


def test_another_database_that_numbers_its_rows_alike_gives_other_ids() -> None:
    message = make_message()
    first = wire(message)["Message-ID"]
    message.text = "of another database"
    assert wire(message)["Message-ID"] != first


def test_all_mails_of_an_incident_refer_to_one_thread() -> None:
    incident = incident_since(NOW)
    thread = thread_of(Incident.objects.get(pk=incident.pk))
    for kind in (AlertKind.STATUS_MISMATCH, AlertKind.RESOLVED):
        mail = wire(make_message(subject=render(make_facts(kind=kind)).subject, thread=thread))
        assert (mail["References"], mail["In-Reply-To"]) == (thread, thread)
    assert thread == thread_of(incident)
    assert thread != thread_of(incident_since(NOW))


def test_without_an_incident_there_is_no_thread() -> None:
    mail = wire(make_message(thread=thread_of(None)))
    assert mail["References"] is mail["In-Reply-To"] is None


def test_a_provider_is_told_by_what_it_shall_name_the_mail_later() -> None:
    message = make_message()
    email = envelope(message)
    assert (email.tags, email.metadata) == (["task-monitoring"], {"monitoring_message": str(message.pk)})


def test_ids_are_of_the_sites_domain_or_else_of_the_senders(monitoring_settings: Any, settings: Any) -> None:
    assert site_domain() == "monitor.example.org"
    monitoring_settings(SITE_URL="")
    settings.DEFAULT_FROM_EMAIL = "Task monitor <monitor@mail.example.com>"
    assert site_domain() == "mail.example.com"


def test_an_id_is_ascii_though_the_sites_domain_is_not(monitoring_settings: Any) -> None:
    monitoring_settings(SITE_URL="https://bücher.example")
    message = make_message(thread=thread_of(incident_since(NOW)))
    for name in ("Message-ID", "References", "In-Reply-To", "List-Id"):
        assert wire(message)[name].endswith("xn--bcher-kva.example>")


@pytest.mark.parametrize("host", ["bü..cher.example", f"b{'ü' * 70}cher.example"])
def test_a_domain_that_cannot_exist_holds_back_no_mail(monitoring_settings: Any, host: str) -> None:
    monitoring_settings(SITE_URL=f"https://{host}")
    assert site_domain() == "localhost"


def test_no_line_is_longer_than_mail_servers_take() -> None:
    words = render(make_facts(task_name="🛰️" * 255, reason="x" * 100_000))
    long = "y" * 100_000
    message = make_message(
        subject=words.subject, text=words.text + long, html=words.html + long, thread=thread_of(incident_since(NOW))
    )
    assert max(map(len, envelope(message).message().as_bytes().split(b"\n"))) <= LINE_MAX
