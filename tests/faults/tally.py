"""What was owed against what arrived. The scenario says what was owed, since a lost alert stands in no table."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import NamedTuple

from monitoring.models import Alert, Delivery, Message
from monitoring.values.facts import AlertKind

TASK_NAME = re.compile(r"\bjob_\d+\b")

Received = Sequence[tuple[list[str], EmailMessage]]


class Said(NamedTuple):
    """The `nth` alert of a task, counted from 0, as an address is to learn of it."""

    address: str
    task_name: str
    nth: int
    kind: AlertKind


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail that came, the message whose text it has, and the keys of the alerts that this message carries."""

    address: str
    mail: EmailMessage
    message: int
    alerts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """All but `mails`, `duplicates` and `renamed` count alerts at an address."""

    owed: int = 0
    arrived: int = 0
    lost: int = 0
    out_of_order: int = 0
    """After a later one of the same incident, for the first time or again."""
    false_alarms: int = 0
    """Not owed."""
    misnamed: int = 0
    """Named in the text or the HTML of a mail that does not carry them, or carried by one that does not name them."""
    mails: int = 0
    duplicates: int = 0
    renamed: int = 0
    """Duplicates with another Message-ID than before: mail programs show them as two mails."""


def tally(owed: Iterable[Said], received: Received) -> Tally:
    owed, said, arrivals = set(owed), said_by_alert(), read(received)
    arrived = {Said(arrival.address, *said[alert]) for arrival in arrivals for alert in arrival.alerts}
    again = repeated(arrivals)
    return Tally(
        owed=len(owed),
        arrived=len(owed & arrived),
        lost=len(owed - arrived),
        out_of_order=_out_of_order(arrivals),
        false_alarms=len(arrived - owed),
        misnamed=sum(len(_misnamed(arrival, {said[alert][0] for alert in arrival.alerts})) for arrival in arrivals),
        mails=len(arrivals),
        duplicates=len(again),
        renamed=sum(_id_of(arrivals[place]) != _id_of(arrivals[before]) for place, before in again.items()),
    )


def said_by_alert() -> dict[int, tuple[str, int, AlertKind]]:
    """By each alert's key: its task, its place among that task's alerts, and its kind."""
    seen: Counter[str] = Counter()
    found = {}
    for key, task_name, kind in Alert.objects.order_by("id").values_list("id", "task_name", "kind"):
        found[key] = (task_name, seen[task_name], AlertKind(kind))
        seen[task_name] += 1
    return found


def read(received: Received) -> list[Arrival]:
    """In the order of their coming. Raises LookupError for a mail that is no message of ours."""
    received = list(received)  # before the messages are read, since more may come meanwhile
    by_words: dict[tuple[str, str], int] = {}
    for key, address, text in Message.objects.values_list("id", "address", "text"):
        if by_words.setdefault((address, _words(text)), key) != key:
            raise LookupError(f"two messages to {address} have the same words: no mail can be told to be either")
    alerts: dict[int, list[int]] = {}
    for message, alert in Delivery.objects.exclude(message=None).order_by("alert").values_list("message", "alert"):
        alerts.setdefault(message, []).append(alert)
    arrivals = []
    for (address,), mail in received:
        message = by_words.get((address, _words(part(mail, "plain"))))
        if message is None:
            raise LookupError(f"no message to {address} has the words of {mail['Subject']!r}")
        arrivals.append(Arrival(address, mail, message, tuple(alerts.get(message, ()))))
    return arrivals


def repeated(arrivals: Sequence[Arrival]) -> dict[int, int]:
    """By the place of each mail that had come before, the place where it came the last time."""
    last: dict[int, int] = {}
    again = {}
    for place, arrival in enumerate(arrivals):
        if arrival.message in last:
            again[place] = last[arrival.message]
        last[arrival.message] = place
    return again


def part(mail: EmailMessage, subtype: str) -> str:
    found = mail.get_body((subtype,))
    return found.get_content() if found else ""


def _out_of_order(arrivals: Sequence[Arrival]) -> int:
    incident_of = dict(Alert.objects.values_list("id", "incident"))
    newest: dict[tuple[str, int | None], int] = {}
    count = 0
    for arrival in arrivals:
        # A mail that tells of a failure and of its recovery says how it stands.
        latest = {incident_of[alert]: alert for alert in sorted(arrival.alerts)}
        for incident, alert in latest.items():
            before = newest.get((arrival.address, incident), 0)
            count += alert < before
            newest[arrival.address, incident] = max(alert, before)
    return count


def _misnamed(arrival: Arrival, carried: set[str]) -> set[str]:
    """Of a mail without its alerts all, for instance: they were given to another mail, and are told twice."""
    text, html = (set(TASK_NAME.findall(part(arrival.mail, subtype))) for subtype in ("plain", "html"))
    return (text ^ carried) | (html ^ carried)


def _id_of(arrival: Arrival) -> str | None:
    return arrival.mail["Message-ID"]


def _words(text: str) -> str:
    return " ".join(text.split())
