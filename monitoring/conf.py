"""The `MONITORING` setting as one frozen value."""

from collections.abc import Collection, Iterator, Mapping
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


# For each annotation above, the types that a value may have, and these in words.
_TYPES: Mapping[Any, tuple[Any, str]] = {
    str: (str, "a string"),
    int: (int, "a whole number"),
    int | None: (int | None, "a whole number or None"),
    Mapping[str, str]: (Mapping, "a dictionary"),
    Collection[str]: ((list, tuple, set, frozenset), "a list of task names"),
}
_SECRET = ("PING_URL", "METRICS_TOKEN")
_WANTED = {each.name: _TYPES[each.type] for each in fields(Conf)}


@cache
def conf() -> Conf:
    """The parsed setting. Raises ImproperlyConfigured for unknown keys and wrong values: a line for each.

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
    problems = [problem for key, value in given.items() for problem in _problems(key, value)]
    if problems:
        raise ImproperlyConfigured("\n".join(problems))
    return Conf(**given)


def _problems(key: object, value: Any) -> Iterator[str]:
    """One line each; those of secrets do not quote them."""
    name = f"MONITORING[{key!r}]"
    if key not in _WANTED:
        yield f"MONITORING has no key {key!r}; its keys are {', '.join(_WANTED)}"
        return
    types, in_words = _WANTED[key]
    if not isinstance(value, types) or isinstance(value, bool):
        yield f"{name} must be {in_words}" + ("" if key in _SECRET else f", not {value!r}")
        return
    match key:
        case "SITE_URL" if value and not _is_site(value):
            yield f"{name} must be an address such as https://example.org, not {value!r}"
        case "PING_URL" if value and not (_is_site(value) and is_one_word(value)):
            yield f"{name} must be an address such as https://switch.example.org/ping/ID"
        case "METRICS_TOKEN" if value and (len(value) < TOKEN_MIN or not is_one_word(value)):
            yield f"{name} must be at least {TOKEN_MIN} ASCII characters, without spaces"
        case "DIGEST_OVER" if value < 0:
            yield f"{name} must be 0 or more, not {value}"
        case "KEEP_RUNS_DAYS" | "KEEP_INCIDENTS_DAYS" if not 0 <= (value or 0) <= KEEP_DAYS_MAX:
            yield f"{name} must be at most {KEEP_DAYS_MAX} days, or 0 to keep all, not {value}"
        case "CONTEXT_FIELDS":
            for path, field_name in value.items():
                if not (isinstance(path, str) and isinstance(field_name, str)):
                    yield f"{name} must map paths of models to names of fields, not {path!r} to {field_name!r}"
        case "NOT_RECORDED" | "WITHOUT_PARAMETERS":
            for task_name in value:
                if not isinstance(task_name, str):
                    yield f"{name} must hold names of tasks, not {task_name!r}"


def is_one_word(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _is_site(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
