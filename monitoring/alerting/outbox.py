"""Sends messages as mails. A crash anywhere at worst repeats a mail; it never loses one."""

import contextlib
import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from anymail.exceptions import AnymailUnsupportedFeature
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db.models import Q, QuerySet

from monitoring.alerting.composing import Gather, compose, without_evidence
from monitoring.alerting.envelope import bare, envelope
from monitoring.alerting.failures import NothingSent, SendersDied, is_permanent, words_of
from monitoring.alerting.mail import render
from monitoring.alerting.states import MessageState, in_state
from monitoring.models import Message, database_alias
from monitoring.values.facts import Facts
from monitoring.values.text import head, one_line, said, storable

logger = logging.getLogger("monitoring")

LEASE = timedelta(minutes=5)  # a sender that has recorded no result by then is taken for dead
RETRY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 60))  # the last one repeats
RETRY_FOR = timedelta(days=1)
DEADLY_FROM = 20  # attempts: fewer senders than that may have died of restarts, or in an outage of a day
PATIENCE = timedelta(seconds=20)  # what one dispatch may spend on servers that do not answer
LOOKED_AT = 50  # messages read at once


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The messages that one dispatch tried: those that were accepted, and those that were not."""

    sent: tuple[Message, ...]
    failed: tuple[Message, ...]


class Turn:
    """One dispatch's clock, and what it may still try.

    With `within` it ends once that time has passed or PATIENCE is spent, so that a hanging server does not hold up its
    worker for longer. Without it, messages never tried are all tried; those that failed before only while patience
    lasts.
    """

    def __init__(self, began_at: datetime, within: timedelta | None) -> None:
        self.began_at = began_at
        self.wasted = timedelta(0)
        self._within = within
        self._began = time.monotonic()

    @property
    def now(self) -> datetime:
        return self.began_at + timedelta(seconds=time.monotonic() - self._began)

    def may_try(self, message: Message) -> bool:
        has_patience = self.wasted < PATIENCE
        if self._within is None:
            return has_patience or not message.attempts
        return has_patience and self.now - self.began_at < self._within


class Line:
    """The connection that all mails of one dispatch share, opened for the first of them."""

    def __init__(self) -> None:
        self._backend: Any = None

    def send(self, email: EmailMultiAlternatives) -> EmailMultiAlternatives:
        """Returns the mail as it was sent: bare if the provider can carry it only so.

        Raises whatever the mail backend raises, and NothingSent if it sent nothing and raised nothing.
        """
        self._backend = self._backend or mail_backend()
        self._backend.open()
        try:
            sent = self._backend.send_messages([email])
        except AnymailUnsupportedFeature:
            email = bare(email)
            sent = self._backend.send_messages([email])
        if sent == 0:  # None is fine: not every backend counts
            raise NothingSent
        return email

    def close(self) -> None:
        """Also called after an error, which may leave the connection in any state: the next mail opens a new one."""
        backend, self._backend = self._backend, None
        if backend is not None:
            with contextlib.suppress(Exception):
                backend.close()


def mail_backend() -> Any:
    """The default mail backend, of Django 6.1's MAILERS or of the older settings."""
    return mail.mailers.default if hasattr(mail, "mailers") else mail.get_connection()


def dispatch(now: datetime, within: timedelta | None = None, gather: Gather = without_evidence) -> Dispatched:
    """Composes what is pending and tries each due message once, or as many as it can begin `within` that time."""
    using, turn = database_alias(), Turn(now, within)
    compose(now, using, gather)
    sent: list[Message] = []
    failed: list[Message] = []
    unanswered = _unanswered_addresses(using)
    with contextlib.closing(Line()) as line:
        for message in _claims(turn, failed, using, gather):
            if not _send(message, line, turn, using):
                failed.append(message)
                continue
            sent.append(message)
            if message.address in unanswered:
                unanswered.discard(message.address)
                _bring_forward(message.address, turn.began_at, using)
    return Dispatched(sent=tuple(sent), failed=tuple(failed))


def _claims(turn: Turn, failed: list[Message], using: str, gather: Gather) -> Iterator[Message]:
    """Due messages, each claimed for this sender alone; one that it could not send is not tried twice.

    They are read in batches but claimed one by one: leases on a batch would run out while the first is sent slowly.
    """
    while (due := _due(turn.began_at, failed, using)) or compose(turn.began_at, using, gather):
        for message in due:
            if not turn.may_try(message):
                return
            its_sender_died = message.leased_until is not None
            if not _claim(message, turn.now, using):
                continue
            if its_sender_died and message.attempts > DEADLY_FROM and _is_out_of_time(message, turn.now):
                _not_sent(message, SendersDied(), turn.now, using)
                failed.append(message)
            else:
                yield message


def _due(now: datetime, failed: list[Message], using: str) -> list[Message]:
    """The least tried ones first, so that new messages never wait for failing ones."""
    unsent = Message.objects.using(using).filter(sent_at=None, gave_up_at=None, next_attempt_at__lte=now)
    untried = unsent.filter(_is_free(now)).exclude(pk__in=[message.pk for message in failed])
    return list(untried.order_by("attempts", "next_attempt_at", "id")[:LOOKED_AT])


def _is_free(now: datetime) -> Q:
    return Q(leased_until=None) | Q(leased_until__lte=now)


def _claim(message: Message, now: datetime, using: str) -> bool:
    """Whether the message is ours now: a sender that took it meanwhile has counted an attempt.

    It is not ours either once it was sent, or once its provider has reported on it, which counts as sent.
    """
    as_read = Message.objects.using(using).filter(
        pk=message.pk, sent_at=None, attempts=message.attempts, leased_until=message.leased_until
    )
    message.attempts += 1
    message.leased_until = now + LEASE
    return bool(as_read.update(attempts=message.attempts, leased_until=message.leased_until))


def _send(message: Message, line: Line, turn: Turn, using: str) -> bool:
    began_at = turn.now
    try:
        email = line.send(envelope(message))
    except Exception as error:  # a failure of one address never affects another
        line.close()
        turn.wasted += turn.now - began_at
        _not_sent(message, error, turn.now, using)
        return False
    message.sent_at, message.gave_up_at, message.leased_until, message.error = turn.now, None, None, ""
    message.provider_id = _provider_id(email)
    _write(message, _unsent(message, using), "sent_at", "gave_up_at", "leased_until", "error", "provider_id")
    return True


def _not_sent(message: Message, error: Exception, now: datetime, using: str) -> None:
    _note_failure(message, error, now, using)
    event = {"event": "mail-given-up" if message.gave_up_at else "mail-failed", "mail": message.pk}
    logger.warning("Not sent to %s: %s: %s", message.address, message.subject, one_line(said(error)), extra=event)


def _note_failure(message: Message, error: Exception, now: datetime, using: str) -> None:
    """Writes nothing if this sender was taken for dead and another has claimed the message meanwhile."""
    claimed = _unsent(message, using).filter(leased_until=message.leased_until)
    message.error = words_of(error)
    message.leased_until = None
    if is_permanent(error) or _is_out_of_time(message, now):
        message.gave_up_at = now
    else:
        message.next_attempt_at = now + RETRY_AFTER[min(message.attempts, len(RETRY_AFTER)) - 1]
    _write(message, claimed, "error", "leased_until", "gave_up_at", "next_attempt_at")


def _is_out_of_time(message: Message, now: datetime) -> bool:
    return now >= (message.retry_until or message.created_at + RETRY_FOR)


def _unsent(message: Message, using: str) -> QuerySet[Message]:
    """Its row; none if a sender that took this one for dead has sent it meanwhile."""
    return Message.objects.using(using).filter(pk=message.pk, sent_at=None)


def _write(message: Message, row: QuerySet[Message], *fields: str) -> None:
    row.update(**{field: getattr(message, field) for field in fields})


def _provider_id(email: EmailMultiAlternatives) -> str:
    status = getattr(email, "anymail_status", None)
    given = status and status.message_id
    return head(storable(given), 998) if isinstance(given, str) else ""


def _unanswered_addresses(using: str) -> set[str]:
    tried = Message.objects.using(using).filter(in_state(MessageState.FAILED))
    return set(tried.order_by().values_list("address", flat=True).distinct())


def _bring_forward(address: str, now: datetime, using: str) -> None:
    """The address accepts mails again, so those that wait for a retry need not wait longer."""
    waiting = Message.objects.using(using).filter(in_state(MessageState.FAILED), address=address)
    waiting.filter(next_attempt_at__gt=now).update(next_attempt_at=now)


def try_again(now: datetime, using: str) -> None:
    """Makes all unsent messages due: after the clock was set back, their next attempts may be far in the future."""
    unsent = Message.objects.using(using).filter(sent_at=None, gave_up_at=None)
    unsent.filter(next_attempt_at__gt=now).update(next_attempt_at=now)


def send_again(keys: Collection[int], now: datetime, using: str) -> list[Message]:
    """Makes these due at once and for another day, given up or not. Leaves out those already sent; returns the rest.

    That the provider rejected them is forgotten: it may take them now.
    """
    unsent = Message.objects.using(using).filter(pk__in=keys, sent_at=None)
    messages = list(unsent)
    unsent.update(gave_up_at=None, rejected_at=None, next_attempt_at=now, retry_until=now + RETRY_FOR, attempts=0)
    return messages


def log_undeliverable(facts: Facts) -> None:
    """Writes the whole mail to the error log, since it can go nowhere else. Never raises."""
    try:
        words = render(facts)
    except Exception:
        logger.exception("Nobody to tell, and no mail can be made for the task %r", facts.task_name)
        return
    logger.error("Nobody to tell, so the mail stands here\nSubject: %s\n\n%s", words.subject, words.text)
