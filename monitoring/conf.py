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
KEEP_DAYS_MAX = 36_500  # a hundred years


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
    """Runs older than this are pruned, unless a monitor looks back further; 0 or None keeps all."""

    KEEP_INCIDENTS_DAYS: int | None = 365
    """The same for closed incidents, alerts, messages and outages of the monitor itself."""

    PING_URL: str = ""
    """Requested after each round while all is well; the service there tells people when requests stay away."""

    METRICS_TOKEN: str = ""
    """Clients that send it as `Authorization: Bearer …` may read `/metrics`; empty: only staff may."""

    NOT_RECORDED: Collection[str] = ()
    """Names of tasks whose runs are not recorded."""

    WITHOUT_PARAMETERS: Collection[str] = ()
    """Names of tasks whose runs are recorded without parameters and context id."""


_NAMES = (list, tuple, set, frozenset)
_TYPES: Mapping[object, Any] = {
    "SITE_URL": str,
    "CONTEXT_FIELDS": Mapping,
    "DIGEST_OVER": int,
    "SPOOL_DIR": str,
    "KEEP_RUNS_DAYS": int | None,
    "KEEP_INCIDENTS_DAYS": int | None,
    "PING_URL": str,
    "METRICS_TOKEN": str,
    "NOT_RECORDED": _NAMES,
    "WITHOUT_PARAMETERS": _NAMES,
}
_IN_WORDS: Mapping[Any, str] = {
    str: "a string",
    int: "a whole number",
    int | None: "a whole number or None",
    Mapping: "a dictionary",
    _NAMES: "a list of task names",
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
        raise ImproperlyConfigured(f"MONITORING must be a dictionary, not {given!r}")
    for key, value in given.items():
        if key not in _TYPES:
            raise ImproperlyConfigured(
                f"MONITORING has no key {key!r}; its keys are {', '.join(f.name for f in fields(Conf))}"
            )
        wanted = _TYPES[key]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ImproperlyConfigured(f"MONITORING[{key!r}] must be {_IN_WORDS[wanted]}, not {value!r}")
    if (url := given.get("SITE_URL")) and not _is_site(url):
        raise ImproperlyConfigured(
            f"MONITORING['SITE_URL'] must be an address such as https://example.org, not {url!r}"
        )
    # Errors about secrets do not quote them.
    if (url := given.get("PING_URL")) and not (_is_site(url) and is_one_word(url)):
        raise ImproperlyConfigured(
            "MONITORING['PING_URL'] must be an address such as https://switch.example.org/ping/ID"
        )
    if (token := given.get("METRICS_TOKEN")) and not (len(token) >= TOKEN_MIN and is_one_word(token)):
        raise ImproperlyConfigured(
            f"MONITORING['METRICS_TOKEN'] must be at least {TOKEN_MIN} ASCII characters, without spaces"
        )
    if given.get("DIGEST_OVER", 0) < 0:
        raise ImproperlyConfigured(f"MONITORING['DIGEST_OVER'] must be 0 or more, not {given['DIGEST_OVER']}")
    for key in ("KEEP_RUNS_DAYS", "KEEP_INCIDENTS_DAYS"):
        if not 0 <= (given.get(key) or 0) <= KEEP_DAYS_MAX:
            raise ImproperlyConfigured(
                f"MONITORING[{key!r}] must be at most {KEEP_DAYS_MAX} days, or 0 to keep all, not {given[key]}"
            )
    for path, name in given.get("CONTEXT_FIELDS", CONTEXT_FIELDS).items():
        if not (isinstance(path, str) and isinstance(name, str)):
            raise ImproperlyConfigured(
                f"MONITORING['CONTEXT_FIELDS'] must map paths of models to names of fields, not {path!r} to {name!r}"
            )
    for key in ("NOT_RECORDED", "WITHOUT_PARAMETERS"):
        for name in given.get(key, ()):
            if not isinstance(name, str):
                raise ImproperlyConfigured(f"MONITORING[{key!r}] must hold names of tasks, not {name!r}")
    return Conf(**given)


def is_one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _is_site(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
