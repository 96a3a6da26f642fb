import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.values.text import (
    NAME_MAX,
    error_line,
    head,
    one_line,
    plain_lines,
    said,
    storable,
    storable_name,
    tail,
)
from tests.factories import Wordless

_any_text = st.text(st.characters(codec=None, exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("", ""),
        ("naïve 🧨\n\t", "naïve 🧨\n\t"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("half \ud83e of a pair", "half ? of a pair"),
    ],
)
def test_storable_changes_only_what_a_database_refuses(text: str, stored: str) -> None:
    assert storable(text) == stored


@given(_any_text)
def test_storable_text_has_an_encoding_and_no_nul(text: str) -> None:
    stored = storable(text)
    assert "\0" not in stored.encode().decode()
    assert len(stored) == len(text)
    assert storable(stored) == stored


@given(_any_text)
def test_a_storable_name_fits_its_column_and_stays_as_it_is(text: str) -> None:
    name = storable_name(text * 40)
    assert len(name) <= NAME_MAX
    assert storable_name(name) == name


def test_a_name_is_cut_at_the_column() -> None:
    assert storable_name("x" * 256) == "x" * 255
    assert storable_name("x" * 255) == "x" * 255


@pytest.mark.parametrize(
    ("limit", "shown"), [(11, "hello world"), (12, "hello world"), (10, "hello wor…"), (2, "h…"), (1, "…")]
)
def test_head_shows_that_it_was_cut(limit: int, shown: str) -> None:
    assert head("hello world", limit) == shown


def test_tail_keeps_the_end_and_shows_that_it_was_cut() -> None:
    assert tail("x" * 20, 20) == "x" * 20
    assert tail("start" + "x" * 11, 15) == "[… cut]\nxxxxxxx"


@given(_any_text, st.integers(8, 40))
def test_a_cut_text_is_as_long_as_allowed(text: str, limit: int) -> None:
    assert len(head(text, limit)) == min(len(text), limit)
    assert len(tail(text, limit)) == min(len(text), limit)


@pytest.mark.parametrize(
    "char", ["\n", "\r", "\0", "\t", "\x1b", "\x85", "\u2028", "\u2029", "\ud800", "\u200f", "\u202e", "\u2066"]
)
def test_what_breaks_or_turns_a_line_becomes_a_space(char: str) -> None:
    assert one_line(f"a{char}b") == "a b"


def test_one_line_leaves_what_belongs_to_words() -> None:
    text = "naïve 🧨 👩\u200d🚀 नमस्ते عربى \N{NO-BREAK SPACE}"
    assert one_line(text) == text


@given(_any_text)
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert len(line) == len(text)
    assert line.encode()[:1] != b"\n"
    assert one_line(line) == line


def test_an_error_that_cannot_be_put_into_words_raises_no_other() -> None:
    assert said(ValueError("no key")) == "no key"
    assert said(Wordless()) == "it cannot be put into words"


def test_plain_lines_are_lines_still() -> None:
    assert plain_lines("a\x1b[2Jb\n\u202ec\r\nd") == "a [2Jb\n c \nd"


TRACEBACK = """Traceback (most recent call last):
  File "/app/tasks.py", line 41, in collect
    rows = fetch(source)
           ^^^^^^^^^^^^^
  File "/app/source.py", line 17, in fetch
    raise ConnectionError(host)
"""


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        (f"{TRACEBACK}ConnectionError: refused", "ConnectionError: refused"),
        (f"{TRACEBACK}ConnectionError: refused\n\n", "ConnectionError: refused"),
        # What a database says has several lines, and its first one says what is wrong.
        (f"{TRACEBACK}psycopg.Error: no column\nLINE 1: SELECT x\n               ^", "psycopg.Error: no column"),
        (
            f"ValueError: first\n\nDuring handling of the above exception, another exception occurred:\n\n"
            f"{TRACEBACK}KeyError: 'second'",
            "KeyError: 'second'",
        ),
        ("Timed out", "Timed out"),
        ("Timed out: 30 s\nsee the log\n", "see the log"),
        (f"{TRACEBACK}    only indented", "    only indented"),
        (TRACEBACK.rstrip(), "    raise ConnectionError(host)"),
        ("----\nreason\n----", "reason"),
        ("", ""),
        ("\n \n", ""),
    ],
)
def test_the_line_that_says_what_went_wrong_is_found(errors: str, line: str) -> None:
    assert error_line(errors) == line
