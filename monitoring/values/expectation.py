"""What is expected of one task, and the configuration dictionary that says so."""

import difflib
import json
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from monitoring.values.context_model import find_context_model
from monitoring.values.run_event import RunStatus
from monitoring.values.text import NAME_MAX, head, one_line, storable

DEFAULT_LOOKBACK_HOURS = 1.0
MAX_LOOKBACK_HOURS = 87_600  # ten years
ADDRESS_MAX = 320  # characters; Django's validator refuses longer ones
KEYS = ("expected_statuses", "notify_to", "dependent_tasks", "lookback_hours", "context_model", "context_type")

_STATUSES = {status.value.lower(): status for status in RunStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The most recent run of `task_name` within the lookback must have one of `expected_statuses`.

    With a `context_model`, only runs whose context id names an instance of it count; with a `context_type`, only those
    whose instance is of that type.
    """

    task_name: str
    expected_statuses: tuple[RunStatus, ...]
    notify_to: tuple[str, ...] = ()
    dependent_tasks: tuple[str, ...] = ()
    lookback_hours: float = DEFAULT_LOOKBACK_HOURS
    context_model: str | None = None
    context_type: str | None = None

    @property
    def lookback(self) -> timedelta:
        return timedelta(hours=self.lookback_hours)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration, and where: task, then key, then index in the key's list."""

    text: str
    task: str = ""
    key: str = ""
    index: int | None = None

    def __str__(self) -> str:
        place = ".".join(head(one_line(part), 80) for part in (self.task, self.key) if part)
        place += "" if self.index is None else f"[{self.index}]"
        return f"{place}: {self.text}" if place else self.text


class ConfigError(ValueError):
    """A configuration that is rejected as a whole; `problems` lists everything wrong with it."""

    def __init__(self, problems: list[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def parse_config(config: object) -> tuple[Expectation, ...]:
    """Reads a dictionary from task name to settings, or a list that holds that one dictionary.

    Raises ConfigError with every problem in it.
    """
    if isinstance(config, list | tuple):
        if len(config) != 1:
            raise ConfigError([Problem(f"the list must hold exactly one dictionary, not {len(config)} entries")])
        (config,) = config
    if not isinstance(config, Mapping):
        raise ConfigError([Problem(f"a dictionary from task name to settings is wanted, not {_shown(config)}")])
    if not config:
        raise ConfigError([Problem("the configuration is empty: name at least one task")])

    entries = _entries(config)
    problems = [Problem("this task is given twice", task=name) for name in _repeated(entries)]
    expectations = []
    for name, settings in entries:
        try:
            expectations.append(parse_expectation(name, settings))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tuple(expectations)


def parse_json(text: str | bytes) -> tuple[Expectation, ...]:
    """Reads the same from JSON. Raises ConfigError, also if a key is given twice."""
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        config = json.loads(text, object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        raise ConfigError([Problem(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(f"not UTF-8: {error.reason} at byte {error.start}")]) from None
    except RecursionError:
        raise ConfigError([Problem("not a configuration: lists or dictionaries are nested too deep")]) from None
    except ValueError:  # a bare ValueError from json.loads means only this
        raise ConfigError([Problem("not a configuration: a number in it has thousands of digits")]) from None
    return parse_config(config)


def parse_expectation(task_name: object, settings: object) -> Expectation:
    """Reads the settings of one task. Raises ConfigError with every problem in them."""
    problems = []
    try:
        name = _name(task_name)
    except _Refused as refusal:
        problems.append(Problem(f"the task name {refusal}"))
        name = task_name if isinstance(task_name, str) else ""
    if not isinstance(settings, Mapping):
        problems.append(Problem(f"must be a dictionary of settings, not {_shown(settings)}", task=name))
        raise ConfigError(problems)

    entries = _entries(settings)
    problems += [Problem("this key is given twice", name, key) for key in _repeated(entries)]
    problems += [Problem(_unknown(key), name, _shown_key(key)) for key, _ in entries if key not in KEYS]
    given = [(key, value) for key, value in entries if key in KEYS and value is not None]
    values: dict[str, Any] = {}
    for key, value in given:
        try:
            values[key] = _READERS[key](value)
        except _Refused as refusal:
            problems += [Problem(text, name, key, index) for text, index in refusal.found]
    named = {key for key, _ in given}
    if "expected_statuses" not in named:
        problems.append(Problem("required: name at least one status", name, "expected_statuses"))
    problems += _context_problems(name, named, values)
    if problems:
        raise ConfigError(problems)
    return Expectation(task_name=name, **values)


class _Object(dict[str, Any]):
    """A JSON object that keeps all its pairs, even those overwritten because their key was given again."""

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(pairs)
        self.pairs = pairs


def _entries(mapping: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return mapping.pairs if isinstance(mapping, _Object) else list(mapping.items())


def _repeated(entries: list[tuple[Any, Any]]) -> list[Any]:
    return [key for key, times in Counter(key for key, _ in entries).items() if times > 1]


class _Refused(Exception):
    """A value that cannot be read: what is wrong with it, and at which index of its list."""

    def __init__(self, *found: tuple[str, int | None]):
        super().__init__(found[0][0])
        self.found = found


def _refuse(text: str) -> _Refused:
    return _Refused((text, None))


def _shown(value: object) -> str:
    try:
        return head(one_line(repr(value)), 80)
    except Exception:
        return f"something of type {type(value).__name__}"  # it cannot even be printed, such as a huge int


def _shown_key(key: object) -> str:
    return key if isinstance(key, str) else _shown(key)


def _unknown(key: object) -> str:
    near = difflib.get_close_matches(_shown_key(key), KEYS, 1)
    return f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; the keys are {', '.join(KEYS)}"


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(f"must be text, not {_shown(value)}")
    if not value.strip():
        raise _refuse("is empty")
    if len(value) > NAME_MAX:
        raise _refuse(f"{head(one_line(value), 40)!r} is longer than {NAME_MAX} characters")
    return storable(value)


def name_problem(value: object) -> str:
    """What is wrong with the name of a task; empty if nothing is."""
    try:
        _name(value)
    except _Refused as refusal:
        return str(refusal)
    return ""


def _status(value: object) -> RunStatus:
    if isinstance(value, str) and value.lower() in _STATUSES:
        return _STATUSES[value.lower()]
    near = difflib.get_close_matches(value.capitalize(), RunStatus.values, 1) if isinstance(value, str) else []
    hint = f"did you mean {near[0]!r}?" if near else f"the statuses are {', '.join(RunStatus.values)}"
    raise _refuse(f"{_shown(value)} is not a task status; {hint}")


def _address(value: object) -> str:
    address = value.strip() if isinstance(value, str) else ""
    try:
        # The validator lets control characters and lone surrogates through.
        validate_email(address if address.isprintable() else "")
    except ValidationError:
        raise _refuse(f"{_shown(value)} is not an e-mail address") from None
    return address


def _list_of(read: Callable[[object], Hashable], what: str) -> Callable[[object], tuple[Any, ...]]:
    def reader(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise _refuse(f"must be a list of {what}, not {_shown(value)}")
        read_values, found = [], []
        for index, item in enumerate(value):
            try:
                read_values.append(read(item))
            except _Refused as refusal:
                found.append((str(refusal), index))
        if found:
            raise _Refused(*found)
        return tuple(dict.fromkeys(read_values))

    return reader


def _statuses(value: object) -> tuple[RunStatus, ...]:
    statuses = _list_of(_status, "task statuses")(value)
    if not statuses:
        raise _refuse("is empty: name at least one status")
    return statuses


def _addresses(value: object) -> tuple[str, ...]:
    return each_once(_list_of(_address, "e-mail addresses")(value))


def each_once(addresses: Iterable[str]) -> tuple[str, ...]:
    """Without those that were given before, in whatever case."""
    first: dict[str, str] = {}
    for address in addresses:
        first.setdefault(address.lower(), address)
    return tuple(first.values())


def _lookback_hours(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse(f"must be a number of hours, not {_shown(value)}")
    if not 0 < value <= MAX_LOOKBACK_HOURS:  # also refuses NaN
        raise _refuse(f"must be above 0 and at most {MAX_LOOKBACK_HOURS} hours, not {_shown(value)}")
    return float(value)


def _context_model(value: object) -> str:
    path = _name(value)
    try:
        find_context_model(path)
    except LookupError as error:
        raise _refuse(str(error)) from None
    return path


def _context_problems(name: str, named: Collection[str], values: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems that show only when both context keys are looked at together."""
    if "context_type" not in values:
        return
    if "context_model" not in named:
        yield Problem("needs a context_model too", name, "context_type")
    elif "context_model" in values and find_context_model(values["context_model"]).type_field is None:
        yield Problem(
            f"{values['context_model']} has no validation field; name one in MONITORING['CONTEXT_FIELDS']",
            name,
            "context_type",
        )


_READERS: dict[str, Callable[[object], Any]] = {
    "expected_statuses": _statuses,
    "notify_to": _addresses,
    "dependent_tasks": _list_of(_name, "task names"),
    "lookback_hours": _lookback_hours,
    "context_model": _context_model,
    "context_type": _name,
}
