"""Makes a task's parameters and errors fit to leave the process: masked, cut, storable."""

import json
import math
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from itertools import islice
from json.encoder import encode_basestring
from typing import Any

from monitoring.values.text import head, one_line, storable, tail

PARAMETERS_MAX = 2_000  # characters of a run's parameters
VALUE_MAX = 200  # characters of one value in them
ITEMS_MAX = 20  # entries of one list or dictionary in them
DEPTH_MAX = 4
ERRORS_MAX = 20_000  # characters of a run's errors, the last ones
REASON_MAX = 1_000  # characters of what an exception adds to a reason
MASK = "********"

# More values than fit in PARAMETERS_MAX characters. Without this limit, 20 entries on each of 4 levels would take half
# a second.
_VALUES_MAX = 1_000
_as_json = json.JSONEncoder(ensure_ascii=False).encode
# Writes values of exactly these types as JSON; empty for one that is too large, or that JSON does not have.
_SIMPLE: dict[type, Callable[[Any], str]] = {
    int: lambda value: repr(value) if value.bit_length() <= 64 else "",
    float: lambda value: repr(value) if math.isfinite(value) else "",
    str: lambda value: encode_basestring(value) if len(value) <= VALUE_MAX and "://" not in value else "",
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}
_SECRET_NAME = re.compile("password|passwd|token|secret|key|authorization", re.IGNORECASE)
_SECRET_CONTEXT = re.compile(
    "password|passwd|token|secret|(api|access|private|auth|encryption)[_-]?key|authorization", re.IGNORECASE
)


# A name like that, `=` or `:`, and the value after it, quoted or not; but not an exception's name. The bounds on
# lengths keep it fast.
_SECRET_IN_TEXT = re.compile(
    rf"""(?x) ( (?<![\w-]) [\w-]{{0,40}}? (?i:{_SECRET_CONTEXT.pattern})
        (?!\w*(?:Error|Exception|Warning)\b) [\w-]{{0,40}}
        ["']? (?: [ \t]*=[ \t]* | [ \t]*:[ \t]+ | (?<=["']): ) (?i:(?:bearer|basic)[ \t]+)? )
    (?: "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [^\s,;&"')\]}}]+ )"""
)
_PASSWORD_IN_URL = re.compile(r"(://[^\s/:@]{0,200}:)[^\s/]{1,200}(?=@)")
_PASSWORD_ENDS_WITHIN = 500  # characters of the `://` before it


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a value under this name must not be a context id; an `order_key` may be one, an `api_key` may not."""
    return bool(_SECRET_CONTEXT.search(name))


def written_parameters(parameters: Mapping[str, object]) -> str:
    """The first PARAMETERS_MAX characters of the parameters as JSON; never raises, whatever they are."""
    if not parameters:
        return ""
    entries = [*map(_simple_entry, parameters, parameters.values())] if len(parameters) <= ITEMS_MAX else [""]
    if all(entries):
        text = f"{{{', '.join(entries)}}}"
    else:
        text = _as_json(_plain(parameters, DEPTH_MAX, iter(range(_VALUES_MAX))))
    return head(storable(text), PARAMETERS_MAX)


def is_simple(value: object) -> bool:
    """Whether the value can go into JSON as it is; then it is also small and immutable."""
    write = _SIMPLE.get(type(value))
    return write is not None and write(value) != ""


def _simple_entry(name: object, value: object) -> str:
    """The entry in JSON if it may stay as it is, else empty. Most may, at a third of the cost of looking into them."""
    write = _SIMPLE.get(type(value))
    start = _simple_name(name) if write and type(name) is str else ""
    written = write(value) if write and start else ""
    return start + written if written else ""


@lru_cache(maxsize=4096)
def _simple_name(name: str) -> str:
    return "" if len(name) > VALUE_MAX or _smells(name) else f"{encode_basestring(name)}: "


def written_error(error: BaseException) -> str:
    """The traceback, whose last line is the error itself; only its end if it is longer than ERRORS_MAX characters."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:
        text = f"{type(error).__name__} (it cannot be printed)"
    # Of a very long one, only the end is searched, but more than is kept: no cut may part a secret from its name.
    return tail(masked(storable(text.strip()[-2 * ERRORS_MAX :])), ERRORS_MAX)


def masked(text: str) -> str:
    """The text without passwords in URLs, and without the values after names that suggest a secret."""
    return _SECRET_IN_TEXT.sub(rf"\1{MASK}", without_passwords(text))


def without_passwords(text: str) -> str:
    """The text with the passwords in its URLs masked."""
    return _PASSWORD_IN_URL.sub(rf"\1{MASK}", text) if "://" in text else text


def written_reason(reason: str, cause: object) -> str:
    """A reason in our words and, on the same line, what its cause says about it."""
    try:
        # As in `written_error`, more is searched than is kept.
        detail = one_line(head(masked(str(cause)[: 2 * REASON_MAX]), REASON_MAX)) if cause is not None else ""
    except Exception:
        detail = f"a {type(cause).__name__} (it cannot be printed)"
    return storable(f"{reason}: {detail}" if detail else reason)


def _plain(value: object, depth: int, places: Iterator[int]) -> Any:
    """The value in JSON's types, cut to `depth` levels and as many values as there are `places`.

    What JSON does not have is written as Python prints it. What is too deep is left out: printed, it would show its
    secrets.
    """
    try:
        if type(value) is str:
            return _cut(value)
        if _is_plain(value):
            return value
        named = _named(value)
        if named is not None:
            return _plain_mapping(named, depth, places) if depth else "{…}"
        if isinstance(value, list | tuple | set | frozenset):
            entries = zip(islice(value, ITEMS_MAX), places, strict=False)
            return [_plain(item, depth - 1, places) for item, _ in entries] if depth else "[…]"
        return _printed(value)
    except Exception:
        return f"a {type(value).__name__} (it cannot be printed)"


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool) or (isinstance(value, int) and value.bit_length() <= 64)


def _named(value: object) -> Mapping[Any, object] | None:
    """What the value holds under names, which may suggest a secret: a dictionary's entries, a record's fields."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value) if field.repr}
    return None


def _plain_mapping(named: Mapping[Any, object], depth: int, places: Iterator[int]) -> dict[str, Any]:
    entries = zip(islice(named.items(), ITEMS_MAX), places, strict=False)
    printed = ((_printed(name), item) for (name, item), _ in entries)
    return {name: MASK if _smells(name) else _plain(item, depth - 1, places) for name, item in printed}


@lru_cache(maxsize=4096)
def _smells(name: str) -> bool:
    return bool(_SECRET_NAME.search(name))


def _printed(value: object) -> str:
    return _cut(value if isinstance(value, str) else repr(value))


def _cut(text: str) -> str:
    """To VALUE_MAX characters, none of which is one of a password in a URL."""
    looked_at = VALUE_MAX + _PASSWORD_ENDS_WITHIN
    return head(without_passwords(text[:looked_at]) + text[looked_at:], VALUE_MAX)
