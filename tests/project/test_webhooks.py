"""The provider's word on a mail, as it comes in over HTTP: who may say it, and where it lands."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import constant_time_compare

from monitoring.models import Message
from project import mailurl
from project.webhooks import urls_of
from tests import provider
from tests.factories import NOW

pytestmark = pytest.mark.django_db

OPS = "ops@example.com"
SECRET = "mailgun:a-long-enough-password"
PATH = "/anymail/mailgun/tracking/"


@pytest.fixture
def webhook(settings: Any) -> Iterator[None]:
    with provider.webhook_of(settings, SECRET):
        yield


def post(client: Client, body: str, secret: str = SECRET) -> int:
    authorization = {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"} if secret else {}
    return client.post(PATH, body, content_type="application/json", headers=authorization).status_code


def make_message() -> Message:
    return Message.objects.create(
        address=OPS, subject="s", text="t", html="h", created_at=NOW, next_attempt_at=NOW, sent_at=NOW,
        provider_id="<1@mg.example.org>",
    )  # fmt: skip


def delivered(message: Message, name: str = "delivered", **more: Any) -> str:
    metadata = {"monitoring_message": str(message.pk)}
    return provider.event(name, OPS, message.provider_id, NOW.timestamp(), metadata, **more)


@pytest.mark.usefixtures("webhook")
def test_a_signed_event_lands_on_its_message(client: Client) -> None:
    message = make_message()
    status = {"code": 550, "message": "5.1.1 There is nobody of that name", "description": ""}
    bounce = delivered(message, "failed", severity="permanent", reason="bounce", **{"delivery-status": status})
    assert post(client, bounce) == 200
    message.refresh_from_db()
    assert message.bounced_at == NOW
    assert "There is nobody of that name" in message.provider_said


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize(
    ("secret", "spoil"),
    [
        ("", lambda body: body),
        ("mailgun:another-password-here", lambda body: body),
        (SECRET, lambda body: body.replace('"signature": "', '"signature": "0')),
        (SECRET, lambda body: body.replace('"token": "', '"token": "0')),
        (SECRET, lambda body: "{}"),
        (SECRET, lambda body: "\x00"),
    ],
)
def test_who_has_not_the_secret_or_signs_wrongly_is_refused(client: Client, secret: str, spoil: Any) -> None:
    message = make_message()
    assert post(client, spoil(delivered(message)), secret) == 400
    message.refresh_from_db()
    assert message.delivered_at is None


@pytest.mark.usefixtures("webhook")
def test_the_secret_and_the_signature_are_compared_in_constant_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(given: Any, wanted: Any) -> bool:
        compared.append(wanted)
        return constant_time_compare(given, wanted)

    for module in ("base", "mailgun"):
        monkeypatch.setattr(f"anymail.webhooks.{module}.constant_time_compare", compare)
    assert post(client, delivered(make_message())) == 200
    assert compared[0] == SECRET
    assert len(compared) > 1


@pytest.mark.usefixtures("webhook")
def test_only_the_webhook_of_the_provider_that_sends_is_there(client: Client) -> None:
    assert client.get(PATH).status_code == 405
    for path in ("/anymail/postmark/tracking/", "/anymail/mailgun/inbound/", "/anymail/"):
        assert client.post(path).status_code == 404
    assert reverse("anymail:mailgun_tracking_webhook") == PATH


@pytest.mark.parametrize(("name", "secret"), [("mailgun", ""), ("", SECRET)])
def test_without_a_secret_or_a_provider_there_is_none(client: Client, name: str, secret: str) -> None:
    assert urls_of(name, secret) == []
    assert client.post(PATH).status_code == 404
    with pytest.raises(NoReverseMatch):
        reverse("anymail:mailgun_tracking_webhook")


@pytest.mark.parametrize("name", sorted(mailurl.ANYMAIL_KEYS.keys() - {"scaleway"}))
def test_every_provider_that_tells_has_its_webhook(name: str) -> None:
    (included,) = urls_of(name, SECRET)
    (pattern,) = included.url_patterns
    assert str(pattern.pattern) == f"{name}/tracking/"
