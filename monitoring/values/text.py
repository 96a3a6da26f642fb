"""Makes text from strangers fit to be stored and shown: task names, errors, parameters, context ids."""

import unicodedata
from datetime import timedelta

NAME_MAX = 255  # characters of a task name, task id or context id

# Control characters, lone surrogates, line and paragraph separators.
_BREAKING_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
# These change the reading direction of what follows: one name could look like another.
_BIDI_CONTROLS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_SINGLE = {"1.0 s": "second", "1 min": "minute", "1 h": "hour", "1 d": "day"}


def storable(text: str) -> str:
    """The text as every database can hold it: PostgreSQL refuses NUL, and no encoding has lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


def storable_name(name: str) -> str:
    """A name as stored in the run table; names are compared in this form."""
    return storable(name)[:NAME_MAX]


def tail(text: str, limit: int) -> str:
    """The last `limit` characters, since the end of a traceback says what happened; a cut is marked."""
    if len(text) <= limit:
        return text
    cut = "[… cut]\n"
    return cut + text[len(text) + len(cut) - limit :]


def head(text: str, limit: int) -> str:
    """The first `limit` characters; a cut is marked."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str) -> str:
    """For a subject or a terminal column: what would break the line or change its direction becomes a space."""
    if text.isprintable():  # a quick check that most text passes: no such character is printable
        return text
    return "".join(
        " " if unicodedata.category(char) in _BREAKING_CATEGORIES or char in _BIDI_CONTROLS else char for char in text
    )


def plain_lines(text: str) -> str:
    """For a terminal or a log: the lines of the text, each passed through `one_line`."""
    return "\n".join(map(one_line, text.split("\n")))


def said(error: BaseException) -> str:
    """The error's own words. Never raises: one that others' code raised may fail to say anything."""
    try:
        return str(error)
    except Exception:
        return "it cannot be put into words"


def sentence(text: str) -> str:
    """With a capital letter and a full stop: for a page what a terminal prints after a colon."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def written_span(span: timedelta) -> str:
    """`0.8 s`, `4 min 12 s`, `3 h 5 min`, `2 d 3 h`: its two largest units."""
    if span < timedelta(seconds=0.1):
        return "less than 0.1 s"
    if span < timedelta(seconds=10):
        return f"{span.total_seconds():.1f} s"
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    counted = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next(place for place, (number, _) in enumerate(counted) if number)
    return " ".join(f"{number} {unit}" for number, unit in counted[first : first + 2] if number)


def every(span: timedelta) -> str:
    """`every hour`, `every 20 min`."""
    written = written_span(span)
    return f"every {_SINGLE.get(written, written)}"


def error_line(errors: str) -> str:
    """The line that says what went wrong: in a traceback the first one after its frames, otherwise the last one.

    The message after the frames may have several lines, and its last line alone says little.
    """
    lines = [line for line in errors.splitlines() if any(map(str.isalnum, line))]
    after_frames = 0
    for place, line in enumerate(lines):
        if line.startswith('  File "'):
            after_frames = place + 1
    said = lines[after_frames:] if after_frames else lines[-1:]
    return next((line for line in said if not line[0].isspace()), lines[-1] if lines else "")
