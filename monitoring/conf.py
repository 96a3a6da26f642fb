"""The `MONITORING` setting as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

CONTEXT_FIELDS = MappingProxyType(
    {"gap.models.IngestorSession": "ingestor_type", "gap.models.CollectorSession": "ingestor_type"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    SITE_URL: str = ""
    """Where this site is reached, `https://example.org`: mails name it."""

    CONTEXT_FIELDS: Mapping[str, str] = field(default_factory=lambda: CONTEXT_FIELDS)
    """Context model to the field whose value is its context type."""

    DIGEST_OVER: int = 10
    """More alerts than this that wait for one address go to it as one mail."""

    KEEP_RUNS_DAYS: int | None = 90
    """Runs older than this are pruned; 0 or None keeps all."""

    KEEP_INCIDENTS_DAYS: int | None = 365
    """The same for closed incidents, and for alerts and messages."""


def conf() -> Conf:
    """Raises ImproperlyConfigured for a key that is not a setting or a value of another type."""
    given = getattr(settings, "MONITORING", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"MONITORING is {given!r}; a dictionary is wanted")
    days = {"KEEP_RUNS_DAYS": int | None, "KEEP_INCIDENTS_DAYS": int | None}
    types: dict[str, Any] = {"SITE_URL": str, "CONTEXT_FIELDS": Mapping, "DIGEST_OVER": int, **days}
    for key, value in given.items():
        if key not in types:
            raise ImproperlyConfigured(
                f"MONITORING has no setting {key!r}; it has {', '.join(f.name for f in fields(Conf))}"
            )
        if not isinstance(value, types[key]) or isinstance(value, bool):
            wanted = getattr(types[key], "__name__", str(types[key]))
            raise ImproperlyConfigured(f"MONITORING[{key!r}] is {value!r}; {wanted} is wanted")
        if key in days and (value or 0) < 0:
            raise ImproperlyConfigured(f"MONITORING[{key!r}] is {value!r}; a number of days is wanted, or 0 for ever")
    for path, name in given.get("CONTEXT_FIELDS", CONTEXT_FIELDS).items():
        if not (isinstance(path, str) and isinstance(name, str)):
            raise ImproperlyConfigured(
                f"MONITORING['CONTEXT_FIELDS'] has {path!r}: {name!r}; a path and the name of a field are wanted"
            )
    return Conf(**given)
