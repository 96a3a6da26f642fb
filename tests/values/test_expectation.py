import json
import string
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from django.core.validators import validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.values.context_model import find_context_model
from monitoring.values.expectation import KEYS, ConfigError, Expectation, Problem, parse_config, parse_json
from monitoring.values.run_event import RunStatus

COMPLETED, RUNNING, STOPPED = RunStatus.COMPLETED, RunStatus.RUNNING, RunStatus.STOPPED
OK = ["Completed"]

# Every complete configuration of the documentation that the system was made from.
DOCUMENTED = {
    "configuration format": """
        {"task_name": {"expected_statuses": ["Completed"], "notify_to": ["admin@example.com"],
          "dependent_tasks": ["Task Y", "Task Z"], "lookback_hours": 1,
          "context_model": "gap.models.IngestorSession", "context_type": "Hourly Tomorrow.io"}}""",
    "hourly lookback": """
        {"hourly_data_sync": {"expected_statuses": ["Completed"], "lookback_hours": 1}}""",
    "daily lookback": """
        {"daily_report": {"expected_statuses": ["Completed"], "lookback_hours": 25}}""",
    "bi-hourly lookback": """
        {"data_processing": {"expected_statuses": ["Completed", "Running"], "lookback_hours": 2.5}}""",
    "arguments of a periodic task": """
        [{"task_name_1": {"expected_statuses": ["Completed"], "notify_to": ["admin@example.com"],
            "dependent_tasks": ["task_name_2"], "lookback_hours": 1},
          "task_name_2": {"expected_statuses": ["Completed"], "lookback_hours": 2}}]""",
    "example 1": """
        [{"hourly_data_sync": {"expected_statuses": ["Completed"], "notify_to": ["data-team@example.com"],
            "lookback_hours": 1}}]""",
    "example 2": """
        [{"data_collection": {"expected_statuses": ["Completed"], "notify_to": ["ops@example.com"],
            "dependent_tasks": ["data_processing", "data_export"], "lookback_hours": 1},
          "data_processing": {"expected_statuses": ["Completed", "Running"], "dependent_tasks": ["data_export"],
            "lookback_hours": 2},
          "data_export": {"expected_statuses": ["Completed"], "lookback_hours": 3}}]""",
    "example 3": """
        [{"daily_report_generation": {"expected_statuses": ["Completed"], "lookback_hours": 25},
          "daily_cleanup": {"expected_statuses": ["Completed"], "lookback_hours": 24}}]""",
    "example 4": """
        [{"ingestor_session": {"context_model": "gap.models.IngestorSession", "context_type": "Hourly Tomorrow.io",
            "expected_statuses": ["Completed"], "notify_to": ["weather-team@example.com"],
            "dependent_tasks": ["forecast_processing"], "lookback_hours": 2}}]""",
    "debug test": """
        {"test_task": {"expected_statuses": ["Completed"], "lookback_hours": 24}}""",
    "recipients added": """
        {"task_name": {"expected_statuses": ["Completed"], "notify_to": ["admin@example.com"]}}""",
    "context validation": """
        {"ingestor_session": {"context_model": "gap.models.IngestorSession", "context_type": "Hourly Tomorrow.io",
            "expected_statuses": ["Completed"], "lookback_hours": 2}}""",
    "start simple": """
        {"critical_task": {"expected_statuses": ["Completed"], "notify_to": ["admin@example.com"],
            "lookback_hours": 2}}""",
    "example workflow": """
        [{"generate_daily_report": {"expected_statuses": ["Completed"],
            "notify_to": ["reports-team@example.com", "management@example.com"],
            "dependent_tasks": ["send_report_emails", "update_dashboard"], "lookback_hours": 2}}]""",
}


def problems_of(parse: Callable[[Any], object], config: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(config)
    return [str(problem) for problem in caught.value.problems]


def settings_of(**given: object) -> dict[str, dict[str, object]]:
    return {"report": {"expected_statuses": OK, **given}}


# --- what is accepted


@pytest.mark.parametrize("text", DOCUMENTED.values(), ids=DOCUMENTED)
def test_every_documented_configuration_is_read(text: str) -> None:
    config = json.loads(text)
    expectations = parse_json(text)
    assert parse_json(text.encode()) == parse_config(config) == expectations
    tasks = config[0] if isinstance(config, list) else config
    assert [expectation.task_name for expectation in expectations] == list(tasks)
    for expectation, given_settings in zip(expectations, tasks.values(), strict=True):
        assert list(expectation.expected_statuses) == given_settings["expected_statuses"]
        assert list(expectation.notify_to) == given_settings.get("notify_to", [])
        assert list(expectation.dependent_tasks) == given_settings.get("dependent_tasks", [])
        assert expectation.lookback_hours == given_settings.get("lookback_hours", 1)
        assert expectation.context_model == given_settings.get("context_model")
        assert expectation.context_type == given_settings.get("context_type")


def test_all_six_keys_are_read() -> None:
    config = json.loads(DOCUMENTED["configuration format"])
    assert parse_config(config) == (
        Expectation(
            task_name="task_name",
            expected_statuses=(COMPLETED,),
            notify_to=("admin@example.com",),
            dependent_tasks=("Task Y", "Task Z"),
            lookback_hours=1.0,
            context_model="gap.models.IngestorSession",
            context_type="Hourly Tomorrow.io",
        ),
    )


def test_a_list_that_holds_the_dictionary_is_the_same_as_the_dictionary() -> None:
    config = settings_of()
    assert parse_config([config]) == parse_config((config,)) == parse_config(config)


def test_any_mapping_is_a_dictionary() -> None:
    frozen = MappingProxyType({"report": MappingProxyType({"expected_statuses": ("Completed",)})})
    assert parse_config(frozen) == parse_config(settings_of())


def test_tasks_keep_the_order_they_are_given_in() -> None:
    config = {name: {"expected_statuses": OK} for name in ("zulu", "alpha", "mike")}
    assert [expectation.task_name for expectation in parse_config(config)] == ["zulu", "alpha", "mike"]


def test_only_the_expected_statuses_are_needed() -> None:
    (expectation,) = parse_config(settings_of())
    assert expectation == Expectation(task_name="report", expected_statuses=(COMPLETED,))
    assert (expectation.notify_to, expectation.dependent_tasks) == ((), ())
    assert (expectation.context_model, expectation.context_type) == (None, None)
    assert expectation.lookback == timedelta(hours=1)


@pytest.mark.parametrize("key", [key for key in KEYS if key != "expected_statuses"])
def test_an_optional_key_that_is_null_is_as_if_absent(key: str) -> None:
    assert parse_config(settings_of(**{key: None})) == parse_config(settings_of())
    assert parse_json(json.dumps(settings_of(**{key: None}))) == parse_config(settings_of())


def test_a_null_context_type_leaves_the_context_model_alone() -> None:
    (expectation,) = parse_config(settings_of(context_model="shop.Customer", context_type=None))
    assert (expectation.context_model, expectation.context_type) == ("shop.Customer", None)


def test_null_expected_statuses_are_missing() -> None:
    assert problems_of(parse_config, settings_of(expected_statuses=None)) == [
        "report.expected_statuses: required: name at least one status"
    ]


@pytest.mark.parametrize("status", RunStatus.values)
def test_every_status_is_known_in_any_case(status: str) -> None:
    for written in (status, status.lower(), status.upper(), status.swapcase()):
        (expectation,) = parse_config(settings_of(expected_statuses=[written]))
        assert expectation.expected_statuses == (RunStatus(status),)


def test_statuses_keep_their_order_and_count_once() -> None:
    config = settings_of(expected_statuses=["RUNNING", "completed", "Running", "sTopped"])
    assert parse_config(config)[0].expected_statuses == (RUNNING, COMPLETED, STOPPED)


def test_an_address_given_twice_is_told_once_as_first_written() -> None:
    config = settings_of(notify_to=["Ops@example.com", "data@example.com", "ops@EXAMPLE.com", " data@example.com\n"])
    assert parse_config(config)[0].notify_to == ("Ops@example.com", "data@example.com")


def test_a_dependent_task_given_twice_is_named_once() -> None:
    assert parse_config(settings_of(dependent_tasks=["b", "a", "b", "B"]))[0].dependent_tasks == ("b", "a", "B")


def test_empty_lists_of_addresses_and_dependent_tasks_are_fine() -> None:
    assert parse_config(settings_of(notify_to=[], dependent_tasks=[])) == parse_config(settings_of())


@pytest.mark.parametrize(
    ("hours", "window"),
    [
        (1, timedelta(hours=1)),
        (1.5, timedelta(minutes=90)),
        (0.25, timedelta(minutes=15)),
        (87_600, timedelta(days=3650)),
        (87_600.0, timedelta(days=3650)),
    ],
)
def test_the_lookback_may_be_whole_or_decimal(hours: float, window: timedelta) -> None:
    (expectation,) = parse_config(settings_of(lookback_hours=hours))
    assert expectation.lookback == window
    assert type(expectation.lookback_hours) is float


def test_the_lookback_is_a_float_also_when_nobody_gives_it() -> None:
    assert type(parse_config(settings_of())[0].lookback_hours) is float


@pytest.mark.parametrize(
    "name", [" report ", "Rapport 'été'", "🧨", "a.b[0]", "x" * 255, "line\nbreak", "\u2066rtl", '"']
)
def test_a_task_name_may_hold_any_characters(name: str) -> None:
    (expectation,) = parse_config({name: {"expected_statuses": OK, "dependent_tasks": [name]}})
    assert (expectation.task_name, expectation.dependent_tasks) == (name, (name,))


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_name_that_no_database_can_hold_is_kept_as_the_run_table_keeps_it(name: str) -> None:
    (expectation,) = parse_config({name: {"expected_statuses": OK, "dependent_tasks": [name]}})
    assert expectation.task_name == expectation.dependent_tasks[0]
    assert expectation.task_name.encode().decode().replace("\N{REPLACEMENT CHARACTER}", "?") == "a?b"


def test_two_names_that_differ_in_case_are_two_tasks() -> None:
    config = {name: {"expected_statuses": OK} for name in ("report", "Report")}
    assert len(parse_config(config)) == 2


@pytest.mark.parametrize("address", ["a@example.com", "a+b@sub.example.co", "root@localhost", "o'hara@example.com"])
def test_valid_addresses_are_kept_as_they_are(address: str) -> None:
    assert parse_config(settings_of(notify_to=[address]))[0].notify_to == (address,)


# --- what is refused, in which words and where


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "the configuration is empty: name at least one task"),
        ([{}], "the configuration is empty: name at least one task"),
        ([], "the list must hold exactly one dictionary, not 0 entries"),
        ([{"a": {}}, {"b": {}}], "the list must hold exactly one dictionary, not 2 entries"),
        ([["a"]], "a dictionary from task name to settings is wanted, not ['a']"),
        (["a"], "a dictionary from task name to settings is wanted, not 'a'"),
        (None, "a dictionary from task name to settings is wanted, not None"),
        (7, "a dictionary from task name to settings is wanted, not 7"),
        ("{}", "a dictionary from task name to settings is wanted, not '{}'"),
        ({"": {"expected_statuses": OK}}, "the task name is empty"),
        ({" \n": {"expected_statuses": OK}}, "the task name is empty"),
        ({7: {"expected_statuses": OK}}, "the task name must be text, not 7"),
        ({None: {"expected_statuses": OK}}, "the task name must be text, not None"),
        (
            {"x" * 256: {"expected_statuses": OK}},
            f"the task name '{'x' * 39}…' is longer than 255 characters",
        ),
        ({"report": OK}, "report: must be a dictionary of settings, not ['Completed']"),
        ({"report": None}, "report: must be a dictionary of settings, not None"),
        ({"re\nport": 1}, "re port: must be a dictionary of settings, not 1"),
        ({"x" * 200: 1}, f"{'x' * 79}…: must be a dictionary of settings, not 1"),
        ({"report": {}}, "report.expected_statuses: required: name at least one status"),
    ],
)
def test_what_is_no_configuration_is_refused(config: object, said: str) -> None:
    assert problems_of(parse_config, config) == [said]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("expected_statuses", [], ": is empty: name at least one status"),
        ("expected_statuses", "Completed", ": must be a list of task statuses, not 'Completed'"),
        ("expected_statuses", {"Completed": 1}, ": must be a list of task statuses, not {'Completed': 1}"),
        (
            "expected_statuses",
            ["Complete"],
            "[0]: 'Complete' is not a task status; did you mean 'Completed'?",
        ),
        (
            "expected_statuses",
            ["Completed", "canceled"],
            "[1]: 'canceled' is not a task status; did you mean 'Cancelled'?",
        ),
        ("expected_statuses", ["COMPLETED "], "[0]: 'COMPLETED ' is not a task status; did you mean 'Completed'?"),
        (
            "expected_statuses",
            ["Success"],
            "[0]: 'Success' is not a task status; the statuses are Pending, Queued, Running, Completed, Stopped, "
            "Cancelled, Invalidated",
        ),
        (
            "expected_statuses",
            [None],
            "[0]: None is not a task status; the statuses are Pending, Queued, Running, Completed, Stopped, Cancelled,"
            " Invalidated",
        ),
        (
            "expected_statuses",
            [["Completed"]],
            "[0]: ['Completed'] is not a task status; the statuses are Pending, Queued, Running, Completed, Stopped,"
            " Cancelled, Invalidated",
        ),
        ("notify_to", "ops@example.com", ": must be a list of e-mail addresses, not 'ops@example.com'"),
        ("notify_to", ["ops@example.com", "ops"], "[1]: 'ops' is not an e-mail address"),
        ("notify_to", [""], "[0]: '' is not an e-mail address"),
        ("notify_to", [None], "[0]: None is not an e-mail address"),
        ("notify_to", ["Ops <ops@example.com>"], "[0]: 'Ops <ops@example.com>' is not an e-mail address"),
        ("notify_to", ["a@example.com, b@example.com"], "[0]: 'a@example.com, b@example.com' is not an e-mail address"),
        ("notify_to", ["a@example.com\nBcc: b@x.org"], r"[0]: 'a@example.com\nBcc: b@x.org' is not an e-mail address"),
        ("notify_to", ['"\x01"@example.com'], r"""[0]: '"\x01"@example.com' is not an e-mail address"""),
        ("notify_to", ["a@\ud800.com"], r"[0]: 'a@\ud800.com' is not an e-mail address"),
        ("dependent_tasks", "export", ": must be a list of task names, not 'export'"),
        ("dependent_tasks", ["export", ""], "[1]: is empty"),
        ("dependent_tasks", [7], "[0]: must be text, not 7"),
        ("dependent_tasks", ["x" * 256], f"[0]: '{'x' * 39}…' is longer than 255 characters"),
        ("lookback_hours", "1", ": must be a number of hours, not '1'"),
        ("lookback_hours", True, ": must be a number of hours, not True"),
        ("lookback_hours", [1], ": must be a number of hours, not [1]"),
        ("lookback_hours", Decimal(1), ": must be a number of hours, not Decimal('1')"),
        ("lookback_hours", 0, ": must be above 0 and at most 87600 hours, not 0"),
        ("lookback_hours", -0.5, ": must be above 0 and at most 87600 hours, not -0.5"),
        ("lookback_hours", 87_600.01, ": must be above 0 and at most 87600 hours, not 87600.01"),
        ("lookback_hours", float("nan"), ": must be above 0 and at most 87600 hours, not nan"),
        ("lookback_hours", float("inf"), ": must be above 0 and at most 87600 hours, not inf"),
        ("context_model", 5, ": must be text, not 5"),
        ("context_model", "", ": is empty"),
        (
            "context_model",
            "IngestorSession",
            ": 'IngestorSession' is not the path of a model, such as 'gap.models.IngestorSession'",
        ),
        (
            "context_model",
            "gap..IngestorSession",
            ": 'gap..IngestorSession' is not the path of a model, such as 'gap.models.IngestorSession'",
        ),
        (
            "context_model",
            "gap.models.\n.IngestorSession",
            r": 'gap.models.\n.IngestorSession' is not the path of a model, such as 'gap.models.IngestorSession'",
        ),
        ("context_model", "gone.models.Session", ": no installed app has the label or module 'gone'"),
        ("context_model", "gap.models.Session", ": the app 'gap' has no model 'Session'"),
        ("context_type", "Hourly", ": needs a context_model too"),
        ("context_type", "", ": is empty"),
        ("context_type", 5, ": must be text, not 5"),
        ("context_type", ["Hourly"], ": must be text, not ['Hourly']"),
        (
            "lookback",
            1,
            ": unknown key; did you mean 'lookback_hours'?",
        ),
        ("Notify_To", [], ": unknown key; did you mean 'notify_to'?"),
        (
            "mode",
            1,
            ": unknown key; the keys are expected_statuses, notify_to, dependent_tasks, lookback_hours, context_model,"
            " context_type",
        ),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(key: str, value: object, said: str) -> None:
    assert problems_of(parse_config, settings_of(**{key: value})) == [f"report.{key}{said}"]


def test_a_context_type_of_a_model_without_a_validation_field_is_refused() -> None:
    assert problems_of(parse_config, settings_of(context_model="shop.Customer", context_type="Hourly")) == [
        "report.context_type: shop.Customer has no validation field; name one in MONITORING['CONTEXT_FIELDS']"
    ]


def test_a_context_type_beside_a_refused_context_model_is_no_second_problem() -> None:
    assert problems_of(parse_config, settings_of(context_model="gap.Gone", context_type="Hourly")) == [
        "report.context_model: the app 'gap' has no model 'Gone'"
    ]


def test_a_validation_field_that_the_model_does_not_have_is_refused(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"shop.Shipment": "kind"})
    assert problems_of(parse_config, settings_of(context_model="shop.Shipment", context_type="sea")) == [
        "report.context_model: shop.Shipment has no field 'kind', which MONITORING['CONTEXT_FIELDS'] names"
    ]


def test_a_value_that_cannot_even_be_printed_is_refused_with_its_type() -> None:
    assert problems_of(parse_config, settings_of(lookback_hours=10**5000)) == [
        "report.lookback_hours: must be above 0 and at most 87600 hours, not something of type int"
    ]


def test_a_key_that_is_no_text_is_shown_and_refused() -> None:
    config: dict[object, object] = {"expected_statuses": OK, 7: 1, 10**5000: 2}
    seven, huge = problems_of(parse_config, {"report": config})
    assert seven.startswith("report.7: unknown key; the keys are expected_statuses")
    assert huge.startswith("report.something of type int: unknown key; the keys are expected_statuses")


def test_all_problems_of_all_tasks_are_told_at_once() -> None:
    config = {
        "daily_report": {
            "expected_statuses": ["Complete", "Completed", 7],
            "notify_to": ["ops", "ops@example.com", "@"],
            "lookback_hours": 0,
            "context_type": "Hourly",
            "retries": 1,
        },
        "": {"expected_statuses": OK},
        "fine": {"expected_statuses": OK},
        "export": {"dependent_tasks": "report"},
    }
    with pytest.raises(ConfigError) as caught:
        parse_config(config)
    found = [str(problem).partition(": ")[0] for problem in caught.value.problems]
    assert found == [
        "daily_report.retries",
        "daily_report.expected_statuses[0]",
        "daily_report.expected_statuses[2]",
        "daily_report.notify_to[0]",
        "daily_report.notify_to[2]",
        "daily_report.lookback_hours",
        "daily_report.context_type",
        "the task name is empty",
        "export.dependent_tasks",
        "export.expected_statuses",
    ]
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]


def test_a_config_error_is_a_value_error() -> None:
    assert issubclass(ConfigError, ValueError)


# --- JSON


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON: Expecting value at line 1, column 1"),
        ("{'a': 1}", "not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        ('{\n"a" 1}', "not JSON: Expecting ':' delimiter at line 2, column 5"),
        ('{"a": 1} x', "not JSON: Extra data at line 1, column 10"),
        (b'{"a": "\xff"}', "not UTF-8: invalid start byte at byte 7"),
        ("{}".encode("utf-16"), "not UTF-8: invalid start byte at byte 0"),
        ("[" * 100_000, "not a configuration: lists or dictionaries are nested too deep"),
        ('{"a":' * 100_000, "not a configuration: lists or dictionaries are nested too deep"),
        ("9" * 5_000, "not a configuration: a number in it has thousands of digits"),
        ("NaN", "a dictionary from task name to settings is wanted, not nan"),
        ("[-Infinity]", "a dictionary from task name to settings is wanted, not -inf"),
        ("null", "a dictionary from task name to settings is wanted, not None"),
        (r'"\ud800"', r"a dictionary from task name to settings is wanted, not '\ud800'"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_text_that_is_no_configuration_is_refused(text: str | bytes, said: str) -> None:
    assert problems_of(parse_json, text) == [said]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "0", "1e-999", "9" * 400])
def test_json_numbers_that_are_no_hours_are_refused(number: str) -> None:
    (said,) = problems_of(
        parse_json, f'{{"report": {{"expected_statuses": ["Completed"], "lookback_hours": {number}}}}}'
    )
    assert said.startswith("report.lookback_hours: must be above 0 and at most 87600 hours, not ")


def test_bytes_may_start_with_a_byte_order_mark() -> None:
    assert parse_json(json.dumps(settings_of()).encode("utf-8-sig")) == parse_config(settings_of())


def test_a_task_given_twice_in_json_is_refused() -> None:
    text = '{"report": {"expected_statuses": ["Completed"]}, "report": {"expected_statuses": ["Running"]}}'
    assert problems_of(parse_json, text) == ["report: this task is given twice"]
    assert problems_of(parse_json, f"[{text}]") == ["report: this task is given twice"]


def test_a_key_given_twice_in_json_is_refused() -> None:
    text = '{"report": {"expected_statuses": ["Completed"], "lookback_hours": 1, "lookback_hours": 1}}'
    assert problems_of(parse_json, text) == ["report.lookback_hours: this key is given twice"]


def test_problems_inside_what_a_second_key_overwrites_are_told_too() -> None:
    text = """{"report": {"expected_statuses": ["Done"], "expected_statuses": ["Completed"]},
               "report": {"expected_statuses": ["Completed"], "lookback_hours": 0, "lookback_hours": null}}"""
    assert [said.partition(";")[0] for said in problems_of(parse_json, text)] == [
        "report: this task is given twice",
        "report.expected_statuses: this key is given twice",
        "report.expected_statuses[0]: 'Done' is not a task status",
        "report.lookback_hours: this key is given twice",
        "report.lookback_hours: must be above 0 and at most 87600 hours, not 0",
    ]


# --- whatever comes in, a ConfigError or valid expectations come out


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


_unprintable = st.builds(Unprintable) | st.builds(lambda: 10**5000)
_any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
_near_text = st.sampled_from(
    [
        *(*KEYS, "report", "Completed", "completed", "Complete", "Hourly", "ops@example.com", "x" * 300),
        *("gap.models.IngestorSession", "shop.Customer", "gap.\n", "..", "", " ", "\n", "\0", "\ud800", "\u2028"),
    ]
)
_texts = _near_text | _any_text
_json_leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | _texts | st.sampled_from([1, 1.5, 10**400, -(10**9)])
)
_leaves = (
    _json_leaves
    | st.binary(max_size=5)
    | st.decimals()
    | st.datetimes()
    | st.sampled_from([{1, 2}, Ellipsis, RunStatus.RUNNING, Unprintable])
    | _unprintable
)
_hashable_leaves = _texts | st.integers() | st.none() | _unprintable
_objects = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(_hashable_leaves, inner, max_size=4)
    ),
    max_leaves=12,
)
_json_values = st.recursive(
    _json_leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)
_VALID = [json.loads(text) for text in DOCUMENTED.values()]


@st.composite
def _mutated(draw: st.DrawFn, values: st.SearchStrategy[object]) -> object:
    """A documented configuration in which one to three places hold something else, or are gone, or have another key."""
    config = json.loads(json.dumps(draw(st.sampled_from(_VALID))))
    for _ in range(draw(st.integers(1, 3))):
        box = config
        while True:
            if not isinstance(box, dict | list) or not box:
                break
            places = list(box) if isinstance(box, dict) else list(range(len(box)))
            place = draw(st.sampled_from(places))
            if isinstance(box[place], dict | list) and draw(st.integers(0, 3)):
                box = box[place]
                continue
            match draw(st.sampled_from(["replace", "remove", "rename"])):
                case "replace":
                    box[place] = draw(values)
                case "remove":
                    del box[place]
                case "rename":
                    kept = box.pop(place)
                    if isinstance(box, dict):
                        box[draw(_texts)] = kept
                    else:
                        box += [kept, kept]
            break
    return config


def read(parse: Callable[[Any], tuple[Expectation, ...]], config: object) -> tuple[Expectation | Problem, ...]:
    try:
        return parse(config)
    except ConfigError as error:
        return error.problems


def assert_ends_well(parse: Callable[[Any], tuple[Expectation, ...]], config: object) -> None:
    found = read(parse, config)
    assert found
    for each in found:
        if isinstance(each, Problem):
            assert_is_a_sentence(str(each))
        else:
            assert_is_valid(each)


def assert_is_a_sentence(said: str) -> None:
    assert said.strip()
    assert len(said.splitlines()) == 1
    assert len(said) <= 1_000
    assert said.encode()  # it can be printed, stored and mailed


def assert_is_valid(expectation: Expectation) -> None:
    for name in (expectation.task_name, *expectation.dependent_tasks):
        assert name.strip()
        assert len(name) <= 255
        assert "\0" not in name.encode().decode()
    assert expectation.expected_statuses
    assert {type(status) for status in expectation.expected_statuses} == {RunStatus}
    assert len(set(expectation.expected_statuses)) == len(expectation.expected_statuses)
    assert len({address.lower() for address in expectation.notify_to}) == len(expectation.notify_to)
    for address in expectation.notify_to:
        validate_email(address)
        assert address.isprintable()
    assert type(expectation.lookback_hours) is float
    assert 0 < expectation.lookback_hours <= 87_600
    if expectation.context_type is not None:
        assert expectation.context_type.strip()
        assert expectation.context_model
        assert find_context_model(expectation.context_model).type_field


@settings(max_examples=1_000, deadline=None)
@given(_objects | _mutated(_objects))
def test_whatever_object_comes_ends_well(config: object) -> None:
    assert_ends_well(parse_config, config)


@settings(max_examples=1_000, deadline=None)
@given(_json_values | _mutated(_json_values))
def test_whatever_json_comes_ends_well(config: object) -> None:
    text = json.dumps(config)
    assert_ends_well(parse_json, text)
    assert_ends_well(parse_json, text.encode())


@settings(max_examples=1_000, deadline=None)
@given(st.data())
def test_whatever_text_comes_ends_well(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([*DOCUMENTED.values(), *map(json.dumps, _VALID)]))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        patch = data.draw(_any_text | st.text('{}[]",:\\u0123456789.eE-+ntf ', max_size=6) | st.text(string.printable))
        text = text[:start] + patch + text[end:]
    assert_ends_well(parse_json, text)
    assert_ends_well(parse_json, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_bytes_come_end_well(content: bytes) -> None:
    assert_ends_well(parse_json, content)


def test_an_entry_without_a_name_has_its_other_problems_said_too() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({" ": {"expected_statuses": ["Complete"]}})
    first, second = caught.value.problems
    assert str(first) == "the task name is empty"
    assert "'Complete' is not a task status" in str(second)
