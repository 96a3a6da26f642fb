"""Mails through a provider, over real HTTP."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from anymail.exceptions import AnymailRecipientsRefused
from django.core import mail as django_mail

from monitoring.alerting.outbox import RETRY_AFTER, dispatch, send_again
from monitoring.alerting.owing import Announcement, owe
from monitoring.models import Message, database_alias
from tests import provider as providers
from tests import smtp
from tests.factories import NOW, make_facts
from tests.provider import Provider
from tests.smtp import Plain, send_by, send_through

pytestmark = pytest.mark.django_db

OPS = "ops@example.com"


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    with providers.provider() as provider:
        send_through(provider.url, settings)
        yield provider


def owe_to(*addresses: str) -> None:
    owe([Announcement(make_facts(), addresses)], NOW, database_alias())


def test_a_mail_arrives_with_its_tag_metadata_and_headers_and_its_id_is_kept(provider: Provider) -> None:
    owe_to(OPS)
    dispatch(NOW)
    message = Message.objects.get()
    assert message.sent_at is not None
    assert message.provider_id == "<1@mg.example.org>"
    assert len(provider.taken) == 1
    fields = {name.lower(): values for name, values in provider.taken[0].items()}
    assert fields["to"] == [OPS]
    assert fields["o:tag"] == ["task-monitoring"]
    assert fields["v:monitoring_message"] == [str(message.pk)]
    assert fields["h:auto-submitted"] == ["auto-generated"]
    assert fields["h:message-id"][0].startswith(f"<message-{message.pk}.")
    assert "daily_report ended as Stopped" in fields["text"][0]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_provider_that_is_busy_or_broken_is_asked_again(provider: Provider, status: int) -> None:
    provider.status = status
    owe_to(OPS)
    dispatch(NOW)
    message = Message.objects.get()
    assert (message.sent_at, message.gave_up_at) == (None, None)
    assert f"the provider says {status}" in message.error
    provider.status = 200
    assert len(dispatch(NOW + 2 * RETRY_AFTER[0]).sent) == 1


def test_a_provider_that_refuses_the_key_is_not_and_its_words_stand_there(provider: Provider) -> None:
    provider.status = 401
    owe_to(OPS)
    dispatch(NOW)
    message = Message.objects.get()
    assert message.gave_up_at is not None
    assert "the provider says 401" in message.error
    provider.status = 200
    send_again([message.pk], NOW, database_alias())
    assert len(dispatch(NOW).sent) == 1


def test_a_provider_that_does_not_answer_costs_its_timeout(provider: Provider) -> None:
    provider.muteness = threading.Event()
    owe_to(OPS)
    dispatch(NOW)
    message = Message.objects.get()
    assert (message.sent_at, message.gave_up_at) == (None, None)
    assert timedelta(0) < message.next_attempt_at - NOW < RETRY_AFTER[0] + timedelta(seconds=20)
    provider.muteness.set()
    provider.muteness = None
    assert len(dispatch(NOW + 2 * RETRY_AFTER[0]).sent) == 1


def test_a_provider_that_is_away_loses_nothing(provider: Provider, settings: Any) -> None:
    send_through(provider.url.replace(str(provider.port), str(smtp.free_port())), settings)
    owe_to(OPS)
    dispatch(NOW)
    assert Message.objects.get().gave_up_at is None
    send_through(provider.url, settings)
    assert len(dispatch(NOW + 2 * RETRY_AFTER[0]).sent) == 1


class Refusing(smtp.Watching):
    """As Anymail does for an address on the provider's suppression list."""

    def send_messages(self, messages: Any) -> int:
        raise AnymailRecipientsRefused


def test_an_address_that_the_provider_rejects_at_once_is_given_up(settings: Any) -> None:
    send_by(Refusing, settings)
    owe_to(OPS)
    dispatch(NOW)
    message = Message.objects.get()
    assert message.gave_up_at is not None
    assert message.error == "AnymailRecipientsRefused: All message recipients were rejected or invalid"


def test_a_provider_that_can_carry_the_words_alone_gets_these(settings: Any) -> None:
    send_by(Plain, settings)
    owe_to(OPS)
    assert len(dispatch(NOW).sent) == 1
    (email,) = django_mail.outbox
    message = Message.objects.get()
    assert (email.to, email.subject, email.body) == ([OPS], message.subject, message.text)
    assert email.alternatives[0][0] == message.html
    assert message.provider_id == "<bare@mg.example.org>"
