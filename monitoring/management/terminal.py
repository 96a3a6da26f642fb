"""Output that suits the terminal: marks in colour if it has colours, ASCII if it knows no more, lines that fit."""

import codecs
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.core.management.color import Style

from monitoring.alerting.words import MARKS, run_tone
from monitoring.values.outcome import RunFacts
from monitoring.values.text import one_line, written_span

ASCII_MARKS = {"good": "+", "bad": "x", "busy": "o", "idle": "-"}
_IN_ASCII = str.maketrans(
    {MARKS[tone]: mark for tone, mark in ASCII_MARKS.items()} | {"…": "...", "→": "->", "“": '"', "”": '"'}
)
INDENT = "  "


@dataclass(frozen=True, slots=True)
class Terminal:
    """`width` is None if lines may have any length, as in a pipe or a file; `is_unicode` is False for ASCII."""

    style: Style
    width: int | None = None
    is_unicode: bool = True

    def spelt(self, text: str) -> str:
        """On one line, in characters that this terminal can write."""
        text = one_line(text)
        return text if self.is_unicode else text.translate(_IN_ASCII).encode("ascii", "backslashreplace").decode()

    def painted(self, text: str, tone: str) -> str:
        """In the colour of a tone, one of MARKS; trailing blanks stay plain."""
        paint: dict[str, Callable[[str], str]] = {
            "good": self.style.SUCCESS,
            "bad": self.style.ERROR,
            "busy": self.style.WARNING,
        }
        word = text.rstrip()
        return paint[tone](word) + text[len(word) :] if tone in paint else text

    def strip(self, runs: Sequence[RunFacts], width: int = 0) -> str:
        """A mark for each run, oldest first, as in mails; `runs` come newest first."""
        tones = [run_tone(run.status) for run in reversed(runs)]
        marks = (self.painted(self.spelt(MARKS[tone]) * len(list(alike)), tone) for tone, alike in groupby(tones))
        return ("".join(marks) or "-") + " " * (width - max(len(tones), 1))

    def wrapped(self, text: str, indent: str = INDENT) -> list[str]:
        """The text's lines; none for an empty text."""
        if self.width is None:
            return [indent + self.spelt(text)] if text else []
        return textwrap.wrap(
            self.spelt(text),
            self.width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )


def terminal(stream: Any, style: Style) -> Terminal:
    """`stream` is a command's stdout."""
    width = shutil.get_terminal_size().columns if stream.isatty() else None
    return Terminal(style, width, is_unicode(stream))


def is_unicode(stream: Any) -> bool:
    """Whether all characters can be written to it; they can if it has no encoding."""
    encoding = getattr(stream, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name == "utf-8"


def ago(instant: datetime | None, now: datetime) -> str:
    """`3 h ago`, for a column; a dash for None."""
    if instant is None:
        return "-"
    span = _short(now - instant)
    return f"{span} ago" if span else "now"


def from_now(instant: datetime | None, now: datetime) -> str:
    if instant is None:
        return "-"
    span = _short(instant - now)
    return f"in {span}" if span else "now"


def _short(span: timedelta) -> str:
    """Its greatest unit only; empty for less than ten seconds."""
    return " ".join(written_span(span).split()[:2]) if span >= timedelta(seconds=10) else ""
