"""What a provider reports about a mail that it accepted. Anymail reads the reports and checks who sent them."""

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import idna
from anymail.signals import AnymailTrackingEvent, EventType, tracking
from django.db import transaction

from monitoring.alerting.envelope import METADATA_KEY
from monitoring.models import Message, database_alias, database_now
from monitoring.values.text import head, one_line, storable

SAID_MAX = 1_000  # characters

# The field in which each event is noted; None if it says nothing about whether the mail arrives.
NOTED_AS: dict[str, str | None] = {
    EventType.DEFERRED: "deferred_at",
    EventType.DELIVERED: "delivered_at",
    EventType.BOUNCED: "bounced_at",
    EventType.REJECTED: "rejected_at",
    EventType.FAILED: "rejected_at",
    EventType.COMPLAINED: "complained_at",
    EventType.QUEUED: None,
    EventType.SENT: None,
    EventType.AUTORESPONDED: None,
    EventType.OPENED: None,
    EventType.CLICKED: None,
    EventType.UNSUBSCRIBED: None,
    EventType.SUBSCRIBED: None,
    EventType.INBOUND: None,
    EventType.INBOUND_FAILED: None,
    EventType.UNKNOWN: None,
}
TIMES = tuple(dict.fromkeys(name for name in NOTED_AS.values() if name))


def connect() -> None:
    """Listens to Anymail's webhooks, wherever the project has put them."""
    tracking.connect(_hear, dispatch_uid="monitoring.tracking")


def _hear(sender: Any, event: AnymailTrackingEvent, **kwargs: Any) -> None:
    note_event(event, database_now())


def note_event(event: AnymailTrackingEvent, now: datetime) -> Message | None:
    """Notes the event on its message and returns that; None if it says nothing, or is about no mail of ours.

    The time of the first event of a kind stands, since providers repeat themselves.
    """
    name, using = NOTED_AS.get(event.event_type), database_alias()
    if name is None:
        return None
    with transaction.atomic(using=using):
        message = _message_of(event, using)
        if message is None:
            return None
        at = event.timestamp or now
        if at >= max((time for each in TIMES if (time := getattr(message, each))), default=at):
            message.provider_said = _words(event)
        if getattr(message, name) is None:
            setattr(message, name, at)
        was_refused = message.gave_up_at and name == "rejected_at"
        if message.sent_at is None and not was_refused:
            # Its sender may have died before it could record that: it need not go out again.
            message.sent_at, message.gave_up_at = at, None
        message.save(using=using, update_fields=[name, "provider_said", "sent_at", "gave_up_at"])
    return message


def _message_of(event: AnymailTrackingEvent, using: str) -> Message | None:
    """Found by the provider's id, or by ours if the event came before the provider's id was noted.

    Others may send through the same account: an event with another id or another recipient is about their mail.
    """
    messages = Message.objects.using(using).select_for_update()
    # Others attach to their mails whatever they like.
    ours = str(event.metadata.get(METADATA_KEY, "")) if isinstance(event.metadata, Mapping) else ""
    message = messages.filter(provider_id=storable(event.message_id)).first() if event.message_id else None
    if message is None and ours.isascii() and ours.isdecimal() and len(ours) <= 18:
        message = messages.filter(pk=int(ours), provider_id="", attempts__gt=0).first()
    is_theirs = message and _comparable(event.recipient or "") != _comparable(message.address)
    return None if is_theirs else message


def _comparable(address: str) -> str:
    """In small letters, its domain in ASCII as Anymail encodes it (IDNA 2008), if that can be."""
    local, at, domain = address.rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = idna.encode(domain, uts46=True).decode()
    return f"{local}{at}{domain}".lower()


def _words(event: AnymailTrackingEvent) -> str:
    said = dict.fromkeys(filter(None, [event.reject_reason, event.mta_response, event.description]))
    return head(one_line(storable(": ".join(map(str, said)))), SAID_MAX)
