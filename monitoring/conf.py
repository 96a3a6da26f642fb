"""The `MONITORING` setting as one frozen value."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

CONTEXT_FIELDS = MappingProxyType(
    {"gap.models.IngestorSession": "ingestor_type", "gap.models.CollectorSession": "ingestor_type"}
)

TOKEN_MIN = 16  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    SITE_URL: str = ""
    """The address of this site, such as `https://example.org`: mails name it and link into its admin."""

    CONTEXT_FIELDS: Mapping[str, str] = field(default_factory=lambda: CONTEXT_FIELDS)
    """For each context model, the field that holds the context type."""

    DIGEST_OVER: int = 10
    """If more alerts than this wait for one address, they go to it as one mail."""

    SPOOL_DIR: str = ""
    """Where short-lived processes keep what the database did not accept; empty: a folder in the user's home."""

    KEEP_RUNS_DAYS: int | None = 90
    """Runs older than this are pruned; 0 or None keeps all."""

    KEEP_INCIDENTS_DAYS: int | None = 365
    """The same for closed incidents, and for alerts and messages."""

    PING_URL: str = ""
    """Requested after each round while all is well; the service there tells people when requests stay away."""

    METRICS_TOKEN: str = ""
    """Clients that send it as `Authorization: Bearer …` may read `/metrics`; empty: only staff may."""

    NOT_RECORDED: Collection[str] = ()
    """Names of tasks whose runs are not recorded."""

    WITHOUT_PARAMETERS: Collection[str] = ()
    """Names of tasks whose runs are recorded without parameters and context id."""


_TYPES: Mapping[object, Any] = {
    "SITE_URL": str,
    "CONTEXT_FIELDS": Mapping,
    "DIGEST_OVER": int,
    "SPOOL_DIR": str,
    "KEEP_RUNS_DAYS": int | None,
    "KEEP_INCIDENTS_DAYS": int | None,
    "PING_URL": str,
    "METRICS_TOKEN": str,
    "NOT_RECORDED": (list, tuple, set, frozenset),
    "WITHOUT_PARAMETERS": (list, tuple, set, frozenset),
}


@cache
def conf() -> Conf:
    """The parsed setting. Raises ImproperlyConfigured for an unknown key or a wrong value.

    Called at each event of each run, so it reads the setting only once.
    """
    return _parse(getattr(settings, "MONITORING", {}))


@receiver(setting_changed)
def _forget(setting: str, **_: Any) -> None:
    """Only tests change settings."""
    if setting == "MONITORING":
        conf.cache_clear()


def _parse(given: object) -> Conf:
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"MONITORING is {given!r}; a dictionary is wanted")
    for key, value in given.items():
        if key not in _TYPES:
            raise ImproperlyConfigured(
                f"MONITORING has no setting {key!r}; it has {', '.join(f.name for f in fields(Conf))}"
            )
        wanted = _TYPES[key]
        if not isinstance(value, wanted) or isinstance(value, bool):
            name = "list of task names" if isinstance(wanted, tuple) else getattr(wanted, "__name__", str(wanted))
            raise ImproperlyConfigured(f"MONITORING[{key!r}] is {value!r}; {name} is wanted")
    if (url := given.get("SITE_URL")) and not _is_site(url):
        raise ImproperlyConfigured(f"MONITORING['SITE_URL'] is {url!r}; a site such as https://example.org is wanted")
    # Errors about secrets do not quote them.
    if (url := given.get("PING_URL")) and not (_is_site(url) and is_one_word(url)):
        raise ImproperlyConfigured(
            "MONITORING['PING_URL'] is no address; one such as https://switch.example.org/ping/ID is wanted"
        )
    if (token := given.get("METRICS_TOKEN")) and not (len(token) >= TOKEN_MIN and is_one_word(token)):
        raise ImproperlyConfigured(
            f"MONITORING['METRICS_TOKEN'] is no token; {TOKEN_MIN} ASCII characters or more, without spaces, are wanted"
        )
    if given.get("DIGEST_OVER", 0) < 0:
        raise ImproperlyConfigured(f"MONITORING['DIGEST_OVER'] is {given['DIGEST_OVER']}; 0 or more is wanted")
    for key in ("KEEP_RUNS_DAYS", "KEEP_INCIDENTS_DAYS"):
        if (given.get(key) or 0) < 0:
            raise ImproperlyConfigured(
                f"MONITORING[{key!r}] is {given[key]}; a number of days is wanted, or 0 for ever"
            )
    for path, name in given.get("CONTEXT_FIELDS", CONTEXT_FIELDS).items():
        if not (isinstance(path, str) and isinstance(name, str)):
            raise ImproperlyConfigured(
                f"MONITORING['CONTEXT_FIELDS'] has {path!r}: {name!r}; a path and the name of a field are wanted"
            )
    for key in ("NOT_RECORDED", "WITHOUT_PARAMETERS"):
        for name in given.get(key, ()):
            if not isinstance(name, str):
                raise ImproperlyConfigured(f"MONITORING[{key!r}] has {name!r}; names of tasks are wanted")
    return Conf(**given)


def is_one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _is_site(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
