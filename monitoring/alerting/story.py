"""What happened to an incident, in order: found, told, acknowledged, over."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import groupby
from typing import Any

from django.db.models.fields.json import KT

from monitoring.alerting.states import MessageState, state_of
from monitoring.models import Alert, Delivery, Incident, Message, database_alias
from monitoring.values.facts import AlertKind

ALERTS_TOLD = 20  # the newest ones; the first one is told as well
DELIVERIES_TOLD = 400  # of all these alerts together
AT_ONCE = timedelta(minutes=1)  # sooner than that a mail is sent, or given up, as soon as it is written


class Happened(Enum):
    """What can happen, in the order in which events of the same instant are shown."""

    FOUND = "a check failed"
    """The first failing check, which opened the incident."""

    FAILED_AGAIN = "a check failed again"
    """The last failing check, if there were several."""

    RECOVERED = "as expected again"
    """A check found the task as expected and closed the incident, and a recovery is told."""

    CLOSED = "closed"
    """It ended and no recovery is told, for instance because its monitor was deleted or disabled."""

    OWED = "alert raised"
    """Somebody must be told; without an address, nobody could be."""

    LEFT_OUT = "more alerts"
    """There are other alerts between the first one and the newest ones."""

    COMPOSED = "mail written"
    NOT_SENT = "mail not sent yet"
    """The mail was written, but no attempt to send it has succeeded; it is tried again."""

    SENT = "mail sent"
    DEFERRED = "mail put off"
    DELIVERED = "mail delivered"
    REJECTED = "mail rejected"
    BOUNCED = "mail returned"
    COMPLAINED = "mail called spam"
    GAVE_UP = "mail given up"

    ACKNOWLEDGED = "acknowledged"
    """Somebody has taken it on."""

    SNOOZED = "snoozed until then"
    """Until then mails were, or still are, snoozed."""


_TIMES = {
    "created_at": Happened.COMPOSED,
    "sent_at": Happened.SENT,
    "deferred_at": Happened.DEFERRED,
    "delivered_at": Happened.DELIVERED,
    "rejected_at": Happened.REJECTED,
    "bounced_at": Happened.BOUNCED,
    "complained_at": Happened.COMPLAINED,
    "gave_up_at": Happened.GAVE_UP,
}
_ORDER = list(Happened)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """`by` is who did it, `addresses` are whom it concerns, `messages` are the mails without their text.

    `unwritten` are those of the addresses that have no mail yet. `failing_check` is which one in a row raised the alert
    or is told of; 0 if that is not known.
    """

    at: datetime
    happened: Happened
    by: str = ""
    failing_check: int = 0
    alert: Alert | None = None
    addresses: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """The moments, oldest first. `messages` are the mails that they tell of, newest first, without their text."""

    moments: tuple[Moment, ...]
    messages: tuple[Message, ...]

    @property
    def last_sent_at(self) -> datetime | None:
        return max((message.sent_at for message in self.messages if message.sent_at), default=None)

    @property
    def not_sent(self) -> tuple[Message, ...]:
        """For each address, its newest mail if that has failed so far or was given up."""
        newest = {message.address: message for message in self.messages[::-1]}
        failed = (MessageState.FAILED, MessageState.GIVEN_UP)
        return tuple(message for message in newest.values() if state_of(message) in failed)


def story_of(incident: Incident, snoozed_until: datetime | None) -> Story:
    """Takes three statements, however many alerts there are; `snoozed_until` is that of its monitor."""
    alerts, left_out = _alerts(incident)
    deliveries = _deliveries(alerts)
    messages = {each.message.pk: each.message for each in deliveries if each.message}
    newest_first = tuple(sorted(messages.values(), key=lambda message: message.pk, reverse=True))
    moments = [
        *_of_incident(incident, snoozed_until, _is_recovery(alerts)),
        *_of_alerts(alerts, deliveries, {} if left_out else _failing_checks(alerts, incident)),
        *_of_messages(newest_first[::-1]),
        *([Moment(at=alerts[1].created_at, happened=Happened.LEFT_OUT)] if left_out else ()),
    ]
    return Story(tuple(sorted(moments, key=_place)), newest_first)


def _place(moment: Moment) -> tuple[datetime, int]:
    # What is left out goes before the first alert after the gap.
    return moment.at, -1 if moment.happened is Happened.LEFT_OUT else _ORDER.index(moment.happened)


def _alerts(incident: Incident) -> tuple[list[Any], bool]:
    """The first one and the newest ones, oldest first, and whether there are others between them.

    Of their facts only the time of the check is read, as `checked_at`.
    """
    every = Alert.objects.using(database_alias()).filter(incident=incident).defer("facts")
    every = every.annotate(checked_at=KT("facts__check_time"))
    # Ordered by time, which no index covers: by key, PostgreSQL might walk through all alerts to find these.
    newest = list(every.order_by("-created_at", "-id")[: ALERTS_TOLD + 1])[::-1]
    if len(newest) <= ALERTS_TOLD:
        return newest, False
    first = every.order_by("created_at", "id")[0]
    return [first, *newest[1:]], first != newest[0]


def _deliveries(alerts: list[Any]) -> list[Delivery]:
    keys = [alert.pk for alert in alerts]
    deliveries = Delivery.objects.using(database_alias()).filter(alert__in=keys).select_related("message")
    return list(deliveries.defer("message__text", "message__html").order_by("alert_id", "address")[:DELIVERIES_TOLD])


def _is_recovery(alerts: list[Any]) -> bool:
    return any(alert.kind == AlertKind.RESOLVED for alert in alerts[-1:])


def _of_incident(incident: Incident, snoozed_until: datetime | None, has_recovered: bool) -> Iterator[Moment]:
    yield Moment(at=incident.opened_at, happened=Happened.FOUND)
    if incident.failing_checks > 1:
        count = incident.failing_checks
        yield Moment(at=incident.last_failed_at, happened=Happened.FAILED_AGAIN, failing_check=count)
    if incident.acknowledged_at:
        yield Moment(at=incident.acknowledged_at, happened=Happened.ACKNOWLEDGED, by=incident.acknowledged_by)
    ended = incident.closed_at
    if snoozed_until and snoozed_until > incident.opened_at and not (ended and snoozed_until > ended):
        yield Moment(at=snoozed_until, happened=Happened.SNOOZED)
    if ended:
        yield Moment(at=ended, happened=Happened.RECOVERED if has_recovered else Happened.CLOSED)


def _failing_checks(alerts: list[Any], incident: Incident) -> dict[int, int]:
    """By alert, the place in the row of the check that raised it; empty unless each failing check raised one."""
    failing = [alert for alert in alerts if alert.kind != AlertKind.RESOLVED]
    checks = {alert.checked_at for alert in failing if alert.checked_at}
    if not len(checks) == len(failing) == incident.failing_checks:
        return {}
    return {alert.pk: place for place, alert in enumerate(failing, start=1)}


def _of_alerts(alerts: list[Any], deliveries: list[Delivery], failing_checks: dict[int, int]) -> Iterator[Moment]:
    of_alert: dict[int, list[Delivery]] = {}
    for delivery in deliveries:
        of_alert.setdefault(delivery.alert_id, []).append(delivery)
    for alert in alerts:
        owed = of_alert.get(alert.pk, [])
        yield Moment(
            at=alert.created_at,
            happened=Happened.OWED,
            alert=alert,
            failing_check=failing_checks.get(alert.pk, 0),
            addresses=tuple(delivery.address for delivery in owed),
            unwritten=tuple(delivery.address for delivery in owed if delivery.message_id is None),
        )


def _events_of(message: Message) -> Iterator[tuple[Happened, datetime]]:
    """A mail whose end, sent or given up, came within a minute was not also written; nothing else could follow."""
    tried_at = message.sent_at or message.gave_up_at
    is_at_once = tried_at is not None and tried_at - message.created_at < AT_ONCE
    for name, happened in _TIMES.items():
        if (at := getattr(message, name)) and not (is_at_once and happened is Happened.COMPOSED):
            is_stuck = happened is Happened.COMPOSED and state_of(message) is MessageState.FAILED
            yield (Happened.NOT_SENT if is_stuck else happened), at


def _of_messages(messages: tuple[Message, ...]) -> Iterator[Moment]:
    """The same event of several mails within one minute is one moment."""
    every = [(happened, at, message) for message in messages for happened, at in _events_of(message)]
    every.sort(key=lambda each: (_ORDER.index(each[0]), each[1]))
    for _, group in groupby(every, lambda each: (each[0], each[1].replace(second=0, microsecond=0))):
        together = list(group)
        happened, at, _ = together[0]
        mails = tuple(message for _, _, message in together)
        yield Moment(at=at, happened=happened, messages=mails, addresses=tuple(mail.address for mail in mails))
