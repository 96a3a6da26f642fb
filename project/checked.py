"""Parsers for environment variables that Django would accept unchecked and fail on later."""

from email.utils import parseaddr
from typing import Any
from zoneinfo import available_timezones

import dj_database_url
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from environs import EnvError

from monitoring.conf import TOKEN_MIN, is_one_word
from project.mailurl import complaint_about, require_slashes, split


def not_empty(value: str) -> str:
    if not value:
        raise EnvError("must not be empty")
    return value


def database_url(value: str, **options: Any) -> Any:
    """Django's settings of the database; without a host, PostgreSQL is asked through its local socket."""
    parts, form = split(value), "sqlite:///FILE or postgres://user:password@host/name"
    if parts.scheme not in ("sqlite", "postgres", "postgresql"):
        raise EnvError(f"{complaint_about(parts.scheme)}; use {form}")
    require_slashes(value, parts, form)
    return dj_database_url.parse(value, **options)


def site_url(value: str) -> str:
    parts = split(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or set("?@") & set(value):
        given = "" if "@" in value else f", not {value!r}"
        raise EnvError(
            f"must be an address such as https://monitor.example.org, without path, query or password{given}"
        )
    return value.rstrip("/")


def sender(value: str) -> str:
    """An address, or a name and an address: `Task monitor <monitor@example.org>`."""
    try:
        validate_email(parseaddr(value)[1])
    except ValidationError:
        raise EnvError(f"must be a sender such as 'Task monitor <monitor@example.org>', not {value!r}") from None
    return value


def webhook_secret(value: str) -> str:
    """Empty, or `user:password` as it stands in the webhook's URL: `https://user:password@monitor.example.org/…`."""
    user, colon, password = value.partition(":")
    if value and not (user and colon and len(password) >= 16):
        raise EnvError("must be USER:PASSWORD, with a password of at least 16 characters")
    return value


def ping_url(value: str) -> str:
    """Empty, or an address; the error does not repeat it, since it is a secret."""
    parts = split(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or not is_one_word(value)):
        raise EnvError("must be an address such as https://switch.example.org/ping/ID")
    return value


def token(value: str) -> str:
    if value and (len(value) < TOKEN_MIN or not is_one_word(value)):
        raise EnvError(f"must be at least {TOKEN_MIN} ASCII characters, without spaces")
    return value


def time_zone(value: str) -> str:
    if value not in available_timezones():
        raise EnvError(f"must be an IANA time zone such as Europe/Berlin or UTC, not {value!r}")
    return value
