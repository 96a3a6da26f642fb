"""What leaves the process of a task's parameters and errors: masked, cut, storable."""

import json
import re
import traceback
from collections.abc import Mapping
from itertools import islice
from typing import Any

from monitoring.values.text import head, storable, tail

PARAMETERS_MAX = 2_000  # characters of a run's parameters
VALUE_MAX = 200  # characters of one value in them
ITEMS_MAX = 20  # entries of one list or dictionary in them
DEPTH_MAX = 4
ERRORS_MAX = 20_000  # characters of a run's errors, the last ones
MASK = "********"

_SECRET_NAME = re.compile("password|passwd|token|secret|key|authorization", re.IGNORECASE)


def written_parameters(parameters: Mapping[str, object]) -> str:
    """The parameters as JSON, its first PARAMETERS_MAX characters; never raises, whatever they are."""
    if not parameters:
        return ""
    text = json.dumps(_plain(dict(parameters), DEPTH_MAX), ensure_ascii=False)
    return head(storable(text), PARAMETERS_MAX)


def written_error(error: BaseException) -> str:
    """The traceback, whose last line is the error itself; its end where it is longer than ERRORS_MAX characters."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:
        text = f"{type(error).__name__} (it cannot be printed)"
    return tail(storable(text.strip()), ERRORS_MAX)


def _plain(value: object, depth: int) -> Any:
    """The value in JSON's types, cut to `depth` levels; what JSON does not know as Python prints it."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and value.bit_length() <= 64):
        return value
    if isinstance(value, str):
        return head(value, VALUE_MAX)
    if isinstance(value, Mapping) and depth:
        return {
            _printed(name): MASK if _SECRET_NAME.search(_printed(name)) else _plain(item, depth - 1)
            for name, item in islice(value.items(), ITEMS_MAX)
        }
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_plain(item, depth - 1) for item in islice(value, ITEMS_MAX)]
    return _printed(value)


def _printed(value: object) -> str:
    try:
        return head(value if isinstance(value, str) else repr(value), VALUE_MAX)
    except Exception:
        return f"a {type(value).__name__} (it cannot be printed)"
