"""From deliveries to sent mails. A crash anywhere repeats a mail at worst and loses none."""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from django.db import transaction
from django.db.models import F

from monitoring.alerting.mail import Mail, message_to, render, render_digest
from monitoring.conf import conf
from monitoring.models import Delivery, Message, database_alias
from monitoring.values.facts import Facts
from monitoring.values.text import head, storable

logger = logging.getLogger("monitoring")

CLAIMED_AT_ONCE = 10
LEASE = timedelta(minutes=5)  # a sender that has not stamped a message by then is taken for dead
SENDING_MAX = 120  # seconds after which a dispatch claims no more, so that its `now` and its leases stay true
RETRY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 60))  # the last one again and again
GIVE_UP_AFTER = timedelta(days=1)
ERROR_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The messages that one dispatch tried: those that were taken, and those that were not."""

    sent: tuple[Message, ...]
    failed: tuple[Message, ...]


def dispatch(now: datetime) -> Dispatched:
    """Composes what is pending and tries every message that is due once."""
    using = database_alias()
    compose(now, using)
    tried: list[tuple[Message, bool]] = []
    stop_at = time.monotonic() + SENDING_MAX
    while time.monotonic() < stop_at and (claimed := _claim(now, using)):
        tried += [(message, _send(message, now, using)) for message in claimed]
    return Dispatched(
        sent=tuple(message for message, was_sent in tried if was_sent),
        failed=tuple(message for message, was_sent in tried if not was_sent),
    )


def compose(now: datetime, using: str) -> list[Message]:
    """Writes the messages that carry the pending deliveries, their text frozen."""
    pending = Delivery.objects.using(using).filter(message=None).select_related("alert").order_by("address", "id")
    messages = []
    for address, group in groupby(pending, key=lambda delivery: delivery.address):
        deliveries = list(group)
        together = [deliveries] if len(deliveries) > conf().DIGEST_OVER else [[one] for one in deliveries]
        for part in together:
            message = _compose(address, part, now, using)
            messages += [message] if message else []
    return messages


def _compose(address: str, deliveries: list[Delivery], now: datetime, using: str) -> Message | None:
    """Rendered outside the transaction, since a project's templates may do anything; None if another was faster."""
    facts = [Facts.from_json(delivery.alert.facts) for delivery in deliveries]
    mail = render(facts[0]) if len(facts) == 1 else render_digest(facts)
    with transaction.atomic(using=using):
        message = Message.objects.using(using).create(
            address=address,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            created_at=now,
            next_attempt_at=now,
        )
        ours = Delivery.objects.using(using).filter(pk__in=[delivery.pk for delivery in deliveries], message=None)
        if ours.update(message=message) == len(deliveries):
            return message
        transaction.set_rollback(True, using=using)  # another dispatch composed some of them meanwhile
    return None


def _claim(now: datetime, using: str) -> list[Message]:
    with transaction.atomic(using=using):
        due = (
            Message.objects.using(using)
            .filter(sent_at=None, gave_up_at=None, next_attempt_at__lte=now)
            .select_for_update(skip_locked=True)
            .order_by("next_attempt_at", "id")[:CLAIMED_AT_ONCE]
        )
        claimed = list(due)
        Message.objects.using(using).filter(pk__in=[message.pk for message in claimed]).update(
            next_attempt_at=now + LEASE, attempts=F("attempts") + 1
        )
    return claimed


def _send(message: Message, now: datetime, using: str) -> bool:
    row = Message.objects.using(using).filter(pk=message.pk)
    try:
        message_to(message.address, Mail(message.subject, message.text, message.html)).send()
    except Exception as error:  # one address's failure never touches another's
        logger.warning("Not sent to %s: %s: %s", message.address, message.subject, error)
        message.error = _said(error)
        row.update(error=message.error, **_next_try(message, now))
        return False
    row.update(sent_at=now, error="")
    return True


def _next_try(message: Message, now: datetime) -> dict[str, datetime]:
    if now - message.created_at >= GIVE_UP_AFTER:
        return {"gave_up_at": now}
    return {"next_attempt_at": now + RETRY_AFTER[min(message.attempts, len(RETRY_AFTER) - 1)]}


def _said(error: Exception) -> str:
    return head(storable(f"{type(error).__name__}: {error}"), ERROR_MAX)


def log_undeliverable(facts: Facts) -> None:
    """The whole mail goes to the error log, since it can go nowhere else."""
    mail = render(facts)
    logger.error("Nobody to tell, so the mail stands here\nSubject: %s\n\n%s", mail.subject, mail.text)
