"""A cache of what was made of a row, for callers that ask for it again soon.

A cache that is limited only by its number of entries would fill up, however few of them are asked for again: the longer
a process lives, the more memory it would use. This one forgets what nobody has asked for lately.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

KEPT = 150.0  # seconds, and at most twice that: what each minute's round asks for stays
HALF = 25_000  # entries, and hardly more than twice that

Made = TypeVar("Made")


class Remembered(Generic[Made]):
    """`make` makes an object of a row's columns; equal rows get the same object."""

    def __init__(self, make: Callable[..., Made]) -> None:
        self._make = make
        self._young: dict[tuple[Any, ...], Made] = {}
        self._old: dict[tuple[Any, ...], Made] = {}
        self._turned_at = 0.0

    def of(self, row: tuple[Any, ...]) -> Made:
        made = self._young.get(row)
        if made is None:
            made = self._young[row] = self._old.get(row) or self._make(*row)
        return made

    def turn(self, steady: float) -> None:
        """If it is time, forgets what nobody has asked for since the last time; `steady` is `time.monotonic()`."""
        if steady - self._turned_at >= KEPT or len(self._young) >= HALF:
            self._old, self._young, self._turned_at = self._young, {}, steady
