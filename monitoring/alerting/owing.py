"""Writes what is owed as rows: an alert with its facts, and a delivery for each address that must be told."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connections

from monitoring.models import Alert, Delivery, Incident
from monitoring.models.rows import insert
from monitoring.values.facts import Facts
from monitoring.values.incident import IncidentState

_ALERT = ("kind", "task_name", "facts", "incident_id")
_AS_NOTED = """
INSERT INTO {alert} (kind, task_name, facts, incident_id, created_at)
SELECT {kind}, {task_name}, incident.facts, incident.id, %s
FROM {items} JOIN {incident} AS incident ON incident.id = {id} ORDER BY place RETURNING id
"""
_WORDS = {
    "postgresql": {
        "items": "json_array_elements_text(%s::json) WITH ORDINALITY AS item(id, place)",
        "id": "item.id::bigint",
        "kind": "incident.facts->>'kind'",
        "task_name": "incident.facts->>'task_name'",
    },
    "sqlite": {
        "items": "(SELECT key AS place, value AS id FROM json_each(%s)) AS item",
        "id": "item.id",
        "kind": "json_extract(incident.facts, '$.kind')",
        "task_name": "json_extract(incident.facts, '$.task_name')",
    },
}


@dataclass(frozen=True, slots=True)
class Announcement:
    """Facts and the addresses to tell; without addresses the alert is kept as undeliverable.

    `is_noted` says that the incident's row already holds these facts.
    """

    facts: Facts
    recipients: tuple[str, ...]
    incident: IncidentState | None = None
    is_noted: bool = False


def owe(announcements: Sequence[Announcement], now: datetime, using: str) -> Iterator[Alert]:
    """Writes alerts and deliveries and does nothing else, since it runs inside the transaction that judges.

    The returned alerts are read only as they are iterated over, those with noted facts first.
    """
    noted = [said for said in announcements if said.is_noted]
    others = [said for said in announcements if not said.is_noted]
    alerts = [
        (said.facts.kind, said.facts.task_name, said.facts.written, said.incident.pk if said.incident else None)
        for said in others
    ]
    keys = [*_owe_as_noted(noted, now, using), *insert(Alert, _ALERT, alerts, using, created_at=now)]
    told = zip(keys, [*noted, *others], strict=True)
    deliveries = [(key, address) for key, said in told for address in said.recipients]
    insert(Delivery, ("alert_id", "address"), deliveries, using)
    return (Alert.objects.using(using).get(pk=key) for key in keys)


def _owe_as_noted(announcements: Sequence[Announcement], now: datetime, using: str) -> list[int]:
    """The ids of their alerts. The database copies the facts itself: they are long, and it already has them."""
    if not announcements:
        return []
    connection = connections[using]
    names = {"alert": Alert._meta.db_table, "incident": Incident._meta.db_table}
    incidents = json.dumps([said.incident.pk for said in announcements if said.incident])
    with connection.cursor() as cursor:
        statement = _AS_NOTED.format(**names, **_WORDS[connection.vendor])
        cursor.execute(statement, [connection.ops.adapt_datetimefield_value(now), incidents])
        return sorted(key for (key,) in cursor.fetchall())
