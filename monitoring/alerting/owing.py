"""What is owed becomes rows: an alert with its facts, and a delivery for each address that must learn of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.models import Alert, Delivery, Incident
from monitoring.models.rows import insert
from monitoring.values.facts import Facts


@dataclass(frozen=True, slots=True)
class Announcement:
    """Facts and the addresses that must learn of them; without any the alert is kept as undeliverable."""

    facts: Facts
    recipients: tuple[str, ...]
    incident: Incident | None = None


def owe(announcements: Sequence[Announcement], now: datetime, using: str) -> list[Alert]:
    """Writes alerts and deliveries and does nothing else: it is called inside the transaction that judges."""
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
    return [
        Alert.from_db(using, ("id", *alert), (key, *alert.values())) for key, alert in zip(keys, alerts, strict=True)
    ]
