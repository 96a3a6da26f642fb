import json
from collections import namedtuple
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from huey.exceptions import CancelExecution

from monitoring.recording.privacy import (
    DEPTH_MAX,
    ERRORS_MAX,
    ITEMS_MAX,
    MASK,
    PARAMETERS_MAX,
    REASON_MAX,
    VALUE_MAX,
    masked,
    written_error,
    written_parameters,
    written_reason,
)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class BrokenDictionary(dict[str, object]):
    def items(self) -> Any:
        raise RuntimeError("no")


@dataclass
class Account:
    user: str
    password: str
    pin: int = field(default=4711, repr=False)


Login = namedtuple("Login", ["user", "password"])


def read(**parameters: object) -> Any:
    """The parameters as a reader of the column finds them."""
    return json.loads(written_parameters(parameters))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    "name",
    ["password", "PASSWORD", "db_password", "passwd", "token", "accessToken", "client_secret", "key", "api-key",
     "Authorization", "HTTP_AUTHORIZATION"],
)  # fmt: skip
def test_a_value_whose_name_smells_of_a_secret_is_masked(name: str) -> None:
    assert read(**{name: "hunter2", "user": "ann"}) == {name: MASK, "user": "ann"}


@pytest.mark.parametrize("secret", ["hunter2", 4711, None, ["hunter2"], {"a": "hunter2"}, b"hunter2"])
def test_a_secret_is_masked_whatever_it_is(secret: object) -> None:
    assert read(token=secret) == {"token": MASK}


@pytest.mark.parametrize(
    "value",
    [
        {"password": "hunter2"},
        {"deeper": {"password": "hunter2"}},
        [{"password": "hunter2"}],
        ({"password": "hunter2"},),
        MappingProxyType({"password": "hunter2"}),
        {b"password": "hunter2"},
        Login("ann", "hunter2"),
        Account("ann", "hunter2"),
        [Account("ann", "hunter2")],
    ],
    ids=repr,
)
def test_secrets_are_masked_wherever_a_name_tells_them(value: object) -> None:
    written = written_parameters({"value": value})
    assert MASK in written
    assert "hunter2" not in written


def test_a_field_that_a_record_does_not_show_is_not_written() -> None:
    assert read(account=Account("ann", "hunter2")) == {"account": {"user": "ann", "password": MASK}}


@pytest.mark.parametrize("levels", range(DEPTH_MAX + 3))
@pytest.mark.parametrize("wrap", [lambda inner: {"in": inner}, lambda inner: [inner]], ids=["dictionaries", "lists"])
def test_a_secret_is_nowhere_too_deep_to_be_masked(wrap: Any, levels: int) -> None:
    value: object = {"password": "hunter2"}
    for _ in range(levels):
        value = wrap(value)
    assert "hunter2" not in written_parameters({"value": value})


@pytest.mark.parametrize("before", ["", "x" * 150, "x" * 160, "x" * 170, "x" * 300], ids=len)
@pytest.mark.parametrize(
    "wrap", [str, lambda url: [url], lambda url: {"to": url}, Exception], ids=["", "[]", "{}", "()"]
)
def test_a_password_in_a_url_is_masked_wherever_that_stands_and_is_cut(wrap: Any, before: str) -> None:
    written = written_parameters({"target": wrap(f"{before}postgres://sync:hunter2hunter2@db.example.org/shop")})
    assert "hun" not in written
    assert before or f"postgres://sync:{MASK}@db.example.org/shop" in written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("ü ☃", "ü ☃"),
        ("", ""),
        (b"raw", "b'raw'"),
        (date(2026, 11, 22), "datetime.date(2026, 11, 22)"),
        (Decimal("1.10"), "Decimal('1.10')"),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        ({1: "one"}, {"1": "one"}),
        ([], []),
        ({}, {}),
    ],
    ids=repr,
)
def test_values_are_written_as_json_or_as_python_prints_them(value: object, written: object) -> None:
    assert read(value=value) == {"value": written}


def test_no_parameters_are_an_empty_text() -> None:
    assert written_parameters({}) == ""


def test_a_long_value_is_cut_to_its_length_and_shows_it() -> None:
    (value,) = read(value="x" * 100_000).values()
    assert value == "x" * (VALUE_MAX - 1) + "…"
    assert read(value="x" * VALUE_MAX) == {"value": "x" * VALUE_MAX}


@pytest.mark.parametrize(
    "value", ["x" * 100_000, b"x" * 100_000, ["x" * 100_000], {"x" * 100_000: 1}, {1: "x" * 100_000}]
)
def test_hundred_kilobytes_become_a_value_of_stated_length(value: object) -> None:
    assert len(written_parameters({"value": value})) < VALUE_MAX + 40


@pytest.mark.parametrize("value", [list(range(1_000)), tuple(range(1_000)), dict.fromkeys(range(1_000))])
def test_a_long_list_or_dictionary_is_cut_to_its_first_entries(value: object) -> None:
    (written,) = read(value=value).values()
    assert [int(entry) for entry in written] == list(range(ITEMS_MAX))


def test_parameters_are_cut_to_their_length_altogether() -> None:
    written = written_parameters({f"p{number}": "x" * VALUE_MAX for number in range(ITEMS_MAX)})
    assert len(written) == PARAMETERS_MAX
    assert written.endswith("…")


@pytest.mark.parametrize(
    "wrap", [lambda inner: dict.fromkeys(range(99), inner), lambda inner: [inner] * 99], ids=["dictionaries", "lists"]
)
def test_no_more_values_are_looked_at_than_can_be_written(wrap: Any) -> None:
    """20 entries on each of 4 levels are 160,000: the task would wait for them at each of its signals."""
    looked_at = 0

    class Counted:
        def __repr__(self) -> str:
            nonlocal looked_at
            looked_at += 1
            return ""

    value: object = Counted()
    for _ in range(DEPTH_MAX - 1):
        value = wrap(value)
    assert len(written_parameters({"value": value, "other": value})) == PARAMETERS_MAX
    assert looked_at <= 1_000


def test_what_is_nested_too_deep_is_left_out() -> None:
    assert read(a={"b": {"c": {"d": {"e": 1}}}, "l": [[[]]]}) == {"a": {"b": {"c": {"d": "{…}"}}, "l": [["[…]"]]}}


def test_a_list_that_holds_itself_ends() -> None:
    value: list[object] = [1]
    value.append(value)
    assert read(value=value) == {"value": [1, [1, [1, "[…]"]]]}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Unprintable(), "a Unprintable (it cannot be printed)"),
        ([1, Unprintable()], [1, "a Unprintable (it cannot be printed)"]),
        (BrokenDictionary(a=1), "a BrokenDictionary (it cannot be printed)"),
        ({Unprintable(): 1}, "a dict (it cannot be printed)"),
        ({Unprintable()}, ["a Unprintable (it cannot be printed)"]),
        (10**5_000, "a int (it cannot be printed)"),  # Python prints no more than 4,300 digits
    ],
    ids=["object", "in a list", "dictionary", "key", "in a set", "number"],
)
def test_what_cannot_be_printed_says_so(value: object, written: object) -> None:
    assert read(value=value, other=1) == {"value": written, "other": 1}


def test_a_huge_number_is_a_text_since_readers_of_json_would_round_it() -> None:
    assert read(value=10**30) == {"value": "1" + "0" * 30}
    assert len(written_parameters({"value": 10**4_000})) < VALUE_MAX + 20


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\0" * 300])
def test_no_text_holds_what_a_database_refuses(text: str) -> None:
    for written in (
        written_parameters({"value": text, text: 1}),
        written_error(ValueError(text)),
        written_reason("Cancelled", CancelExecution(text)),
    ):
        assert "\0" not in written
        assert written.encode()  # what holds half a surrogate pair cannot be encoded


def test_an_error_is_its_traceback_with_the_error_itself_last() -> None:
    written = written_error(raised(ValueError("no such file")))
    assert written.startswith("Traceback (most recent call last):")
    assert "test_privacy.py" in written
    assert written.endswith("\nValueError: no such file")


def test_a_long_traceback_keeps_its_end() -> None:
    error = ValueError("x" * 100_000 + " in the end")
    error.__cause__ = raised(KeyError("in the beginning"))
    written = written_error(error)
    assert len(written) == ERRORS_MAX
    assert written.startswith("[… cut]\n")
    assert written.endswith(" in the end")


def test_a_traceback_that_fits_is_whole() -> None:
    length = ERRORS_MAX - len("ValueError: ")
    assert written_error(ValueError("x" * length)) == "ValueError: " + "x" * length


def test_an_error_that_cannot_be_printed_still_has_its_name() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert "Mute" in written_error(raised(Mute()))


def test_an_error_that_breaks_the_printing_of_tracebacks_still_has_its_name() -> None:
    class Hostile(Exception):
        @property
        def __traceback__(self) -> Any:
            raise RuntimeError("no")

    assert written_error(Hostile()) == "Hostile (it cannot be printed)"


@pytest.mark.parametrize(
    ("cause", "written"),
    [
        (None, "Cancelled"),
        (CancelExecution(), "Cancelled"),
        (CancelExecution("the shop is closed"), "Cancelled: the shop is closed"),
        (CancelExecution("two\nlines"), "Cancelled: two lines"),
        (CancelExecution(Unprintable()), "Cancelled: a CancelExecution (it cannot be printed)"),
    ],
)
def test_a_reason_is_one_line_with_what_its_cause_says(cause: BaseException | None, written: str) -> None:
    assert written_reason("Cancelled", cause) == written


def test_a_long_reason_is_cut() -> None:
    assert len(written_reason("Cancelled", CancelExecution("x" * 100_000))) == REASON_MAX + len("Cancelled: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no postgres://app:hunter2@db/shop here", "no postgres://app:*@db/shop here"),
        ("redis://:p@ss@a,redis://:other@b", "redis://:*@a,redis://:*@b"),
        ("PGPASSWORD=hunter2 psql --api-key=abc", "PGPASSWORD=* psql --api-key=*"),
        ("connect(host='db', password='a b\\'c', port=1)", "connect(host='db', password=*, port=1)"),
        ('{"access_token": "abc", "n": 1, "secret":"d"}', '{"access_token": *, "n": 1, "secret":*}'),
        ("Authorization: Bearer abc.def", "Authorization: Bearer *"),
        ("the password: hunter2", "the password: *"),
    ],
)
def test_secrets_in_texts_are_masked(text: str, said: str) -> None:
    said = said.replace("*", MASK)
    assert masked(text) == said
    assert written_error(ValueError(text)) == f"ValueError: {said}"
    assert written_reason("Not enqueued", text) == f"Not enqueued: {said}"


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'day'",
        "TokenError: it has expired",
        "sorted(rows, key=len)",
        "order_key=3",
        "Key (id)=(3) already exists",
        "http://db:80/a@b",
        '  File "tokens.py", line 3, in token',
    ],
)
def test_what_is_no_secret_stays_in_texts(text: str) -> None:
    assert masked(text) == text


def test_a_cut_parts_no_secret_from_its_name() -> None:
    text = "password=hunter2hunter2 " + "x" * (ERRORS_MAX - 20)
    assert "hunter2" not in written_error(ValueError(text))


@pytest.mark.parametrize("secret", ["postgres://app:hunter2-hunter2@db/shop", "password='hunter2 hunter2'"])
def test_a_cut_in_the_middle_of_a_secret_shows_none_of_it(secret: str) -> None:
    text = f"{' ' * REASON_MAX}{secret}"[secret.index("2") + 3 :]
    assert "hunter2" not in written_reason("Not enqueued", text)
