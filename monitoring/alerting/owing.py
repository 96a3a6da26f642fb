"""What is owed becomes rows: an alert with its facts, and a delivery for each address that must learn of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.models import Alert, Delivery, Incident
from monitoring.models.rows import insert
from monitoring.values.facts import Facts
from monitoring.values.span import Span


@dataclass(frozen=True, slots=True)
class Announcement:
    """Facts and the addresses that must learn of them; without any the alert is kept as undeliverable."""

    facts: Facts
    recipients: tuple[str, ...]
    incident: Incident | Span | None = None


def owe(announcements: Sequence[Announcement], now: datetime, using: str) -> Iterator[Alert]:
    """Writes alerts and deliveries and does nothing else: it is called inside the transaction that judges.

    The alerts that it gives back are made of what was written when somebody asks for them.
    """
    alerts = [
        {
            "kind": announcement.facts.kind,
            "task_name": announcement.facts.task_name,
            "facts": announcement.facts.to_json(),
            "created_at": now,
            "incident_id": announcement.incident.pk if announcement.incident else None,
        }
        for announcement in announcements
    ]
    keys = insert(Alert, alerts, using)
    deliveries = [
        {"alert_id": key, "address": address}
        for key, announcement in zip(keys, announcements, strict=True)
        for address in announcement.recipients
    ]
    insert(Delivery, deliveries, using)
    return (
        Alert.from_db(using, ("id", *alert), (key, *alert.values())) for key, alert in zip(keys, alerts, strict=True)
    )
