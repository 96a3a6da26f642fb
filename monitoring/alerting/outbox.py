"""From deliveries to sent mails. A crash anywhere repeats a mail at worst and loses none."""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.core import mail
from django.core.mail import EmailMessage
from django.db import transaction

from monitoring.alerting.mail import Mail, message_to, render, render_digest
from monitoring.conf import conf
from monitoring.models import Alert, Delivery, Message, database_alias
from monitoring.values.evidence import Evidence
from monitoring.values.facts import Facts
from monitoring.values.text import head, storable

logger = logging.getLogger("monitoring")

LEASE = timedelta(minutes=5)  # a sender that has not stamped a message by then is taken for dead
RETRY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 60))  # the last one again and again
GIVE_UP_AFTER = timedelta(days=1)
ERROR_MAX = 2_000

Gather = Callable[[Sequence[Alert], datetime], list[Evidence]]  # the evidence of each, in their order


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The messages that one dispatch tried: those that were taken, and those that were not."""

    sent: tuple[Message, ...]
    failed: tuple[Message, ...]


class Line:
    """The connection that all mails of one dispatch share, opened for the first of them."""

    def __init__(self) -> None:
        self._backend: Any = None

    def send(self, message: EmailMessage) -> None:
        """Raises whatever the mail backend raises."""
        self._backend = self._backend or _mail_backend()
        self._backend.open()
        self._backend.send_messages([message])

    def close(self) -> None:
        """Called after an error too, which may have left the connection in any state: the next mail opens another."""
        backend, self._backend = self._backend, None
        if backend is not None:
            with contextlib.suppress(Exception):
                backend.close()


def _mail_backend() -> Any:
    """The default way to send, of Django 6.1's MAILERS or of the settings before it."""
    return mail.mailers.default if hasattr(mail, "mailers") else mail.get_connection()


def without_evidence(alerts: Sequence[Alert], now: datetime) -> list[Evidence]:
    return [Evidence(incident_id=alert.incident_id) for alert in alerts]


def dispatch(now: datetime, within: timedelta | None = None, gather: Gather = without_evidence) -> Dispatched:
    """Composes what is pending and tries every message that is due once, or as many as it can begin `within` a time."""
    using = database_alias()
    compose(now, using, gather)
    sent: list[Message] = []
    failed: list[Message] = []
    began, passed = time.monotonic(), timedelta(0)
    with contextlib.closing(Line()) as line:
        while (within is None or passed < within) and (message := _claim(now, now + passed, using)):
            (sent if _send(message, line, now + passed, using) else failed).append(message)
            passed = timedelta(seconds=time.monotonic() - began)
    return Dispatched(sent=tuple(sent), failed=tuple(failed))


def compose(now: datetime, using: str, gather: Gather = without_evidence) -> list[Message]:
    """Writes the messages that carry the pending deliveries, their text frozen."""
    pending = Delivery.objects.using(using).filter(message=None).select_related("alert").order_by("address", "id")
    messages = []
    for address, group in groupby(pending, key=lambda delivery: delivery.address):
        deliveries = list(group)
        together = [deliveries] if len(deliveries) > conf().DIGEST_OVER else [[one] for one in deliveries]
        for part in together:
            readable = [(delivery, facts) for delivery in part if (facts := _facts(delivery))]
            message = _compose(address, readable, now, using, gather) if readable else None
            messages += [message] if message else []
    return messages


def _facts(delivery: Delivery) -> Facts | None:
    """None where they cannot be read: that delivery stays pending alone, and holds up no other."""
    try:
        return Facts.from_json(delivery.alert.facts)
    except Exception:
        logger.exception("No mail can be made of alert %s for %s", delivery.alert_id, delivery.address)
        return None


def _evidence(alerts: Sequence[Alert], now: datetime, gather: Gather) -> list[Evidence]:
    """Whatever keeps it from being gathered, the alerts go out, and say so."""
    try:
        return gather(alerts, now)
    except Exception as error:
        logger.exception("The evidence of %s alerts could not be gathered", len(alerts))
        return [Evidence(incident_id=alert.incident_id, problem=type(error).__name__) for alert in alerts]


def _compose(
    address: str, readable: list[tuple[Delivery, Facts]], now: datetime, using: str, gather: Gather
) -> Message | None:
    """Rendered outside the transaction, since a project's templates may do anything; None if another was faster."""
    deliveries, facts = [delivery for delivery, _ in readable], [facts for _, facts in readable]
    evidence = _evidence([delivery.alert for delivery in deliveries], now, gather)
    words = render(facts[0], evidence[0]) if len(facts) == 1 else render_digest(facts, evidence)
    with transaction.atomic(using=using):
        message = Message.objects.using(using).create(
            address=address,
            subject=words.subject,
            text=words.text,
            html=words.html,
            created_at=now,
            next_attempt_at=now,
        )
        ours = Delivery.objects.using(using).filter(pk__in=[delivery.pk for delivery in deliveries], message=None)
        if ours.update(message=message) == len(deliveries):
            return message
        transaction.set_rollback(True, using=using)  # another dispatch composed some of them meanwhile
    return None


def _claim(due_by: datetime, now: datetime, using: str) -> Message | None:
    """Takes one message at a time: a lease taken for many would run out while the first of them is sent slowly."""
    with transaction.atomic(using=using):
        message = (
            Message.objects.using(using)
            .filter(sent_at=None, gave_up_at=None, next_attempt_at__lte=due_by)
            .select_for_update(skip_locked=True)
            .order_by("next_attempt_at", "id")
            .first()
        )
        if message:
            message.attempts += 1
            message.next_attempt_at = now + LEASE
            message.save(using=using, update_fields=["attempts", "next_attempt_at"])
    return message


def _send(message: Message, line: Line, now: datetime, using: str) -> bool:
    try:
        line.send(message_to(message.address, Mail(message.subject, message.text, message.html)))
    except Exception as error:  # one address's failure never touches another's
        line.close()
        logger.warning("Not sent to %s: %s: %s", message.address, message.subject, error)
        message.error = _said(error)
        _put_off(message, now)
        message.save(using=using, update_fields=["error", "gave_up_at", "next_attempt_at"])
        return False
    message.sent_at, message.error = now, ""
    message.save(using=using, update_fields=["sent_at", "error"])
    return True


def _put_off(message: Message, now: datetime) -> None:
    if now - message.created_at >= GIVE_UP_AFTER:
        message.gave_up_at = now
    else:
        message.next_attempt_at = now + RETRY_AFTER[min(message.attempts, len(RETRY_AFTER)) - 1]


def _said(error: Exception) -> str:
    return head(storable(f"{type(error).__name__}: {error}"), ERROR_MAX)


def send_again(keys: Collection[int], now: datetime, using: str) -> list[Message]:
    """Makes these messages due at once, given up or not; returns those, which leaves out what was sent."""
    unsent = Message.objects.using(using).filter(pk__in=keys, sent_at=None)
    messages = list(unsent)
    unsent.update(gave_up_at=None, next_attempt_at=now)
    return messages


def log_undeliverable(facts: Facts) -> None:
    """The whole mail goes to the error log, since it can go nowhere else."""
    words = render(facts)
    logger.error("Nobody to tell, so the mail stands here\nSubject: %s\n\n%s", words.subject, words.text)
