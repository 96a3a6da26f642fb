"""The `MONITORING` setting as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

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


def conf() -> Conf:
    """Raises ImproperlyConfigured for a key that is not a setting or a value of another type."""
    given = getattr(settings, "MONITORING", {})
    types = {"SITE_URL": str, "CONTEXT_FIELDS": Mapping, "DIGEST_OVER": int}
    for key, value in given.items():
        if key not in types:
            raise ImproperlyConfigured(
                f"MONITORING has no setting {key!r}; it has {', '.join(f.name for f in fields(Conf))}"
            )
        if not isinstance(value, types[key]):
            raise ImproperlyConfigured(f"MONITORING[{key!r}] is {value!r}; a {types[key].__name__} is wanted")
    return Conf(**given)
