"""What is owed becomes rows: an alert with its facts, and a delivery for each address that must learn of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring.models import Alert, Delivery, Incident
from monitoring.models.rows import insert
from monitoring.values.facts import Facts
from monitoring.values.incident import IncidentState

_ALERT = ("kind", "task_name", "facts", "incident_id")


@dataclass(frozen=True, slots=True)
class Announcement:
    """Facts and the addresses that must learn of them; without any the alert is kept as undeliverable."""

    facts: Facts
    recipients: tuple[str, ...]
    incident: Incident | IncidentState | None = None


def owe(announcements: Sequence[Announcement], now: datetime, using: str) -> Iterator[Alert]:
    """Writes alerts and deliveries and does nothing else: it is called inside the transaction that judges.

    The alerts that it gives back are read when somebody asks for them.
    """
    alerts = [
        (said.facts.kind, said.facts.task_name, said.facts.written, said.incident.pk if said.incident else None)
        for said in announcements
    ]
    keys = insert(Alert, _ALERT, alerts, using, created_at=now)
    deliveries = [(key, address) for key, said in zip(keys, announcements, strict=True) for address in said.recipients]
    insert(Delivery, ("alert_id", "address"), deliveries, using)
    return (Alert.objects.using(using).get(pk=key) for key in keys)
