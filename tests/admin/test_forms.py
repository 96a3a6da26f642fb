from typing import Any

import pytest
from django.forms import model_to_dict

from monitoring.admin.forms import EXPLAINED_STATUSES, AddressesField, ImportForm, MonitorForm
from monitoring.models import Monitor
from monitoring.values.expectation import ConfigError, parse_expectation
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import InvalidSchedule, parse_schedule
from monitoring.values.text import sentence

pytestmark = pytest.mark.django_db

GIVEN = {
    "name": "Daily report",
    "enabled": "on",
    "task_name": "daily_report",
    "expected_statuses": ["Completed"],
    "lookback_hours": "25",
    "schedule": "35 8 * * *",
    "time_zone": "Europe/Berlin",
    "notify_to": "",
    "alert_after": "1",
    "repeat": "every-check",
    "repeat_hours": "",
    "tell_recovery": "on",
    "context_model": "",
    "context_type": "",
}


def form_of(instance: Monitor | None = None, **given: Any) -> MonitorForm:
    return MonitorForm(GIVEN | given, instance=instance)


def errors_of(**given: Any) -> dict[str, list[str]]:
    return {field: [str(problem) for problem in problems] for field, problems in form_of(**given).errors.items()}


def test_what_is_typed_is_what_is_stored() -> None:
    form = form_of(
        expected_statuses=["Completed", "Running"], notify_to="a@example.com, b@example.com\r\nc@example.com\r\n"
    )
    monitor = Monitor.objects.get(pk=form.save().pk)
    assert monitor.expected_statuses == ["Completed", "Running"]
    assert monitor.notify_to == ["a@example.com", "b@example.com", "c@example.com"]
    assert (monitor.lookback_hours, monitor.schedule, monitor.time_zone) == (25.0, "35 8 * * *", "Europe/Berlin")


@pytest.mark.parametrize(
    ("field", "given", "settings"),
    [
        ("expected_statuses", [], {"expected_statuses": []}),
        ("expected_statuses", ["Complete"], {"expected_statuses": ["Complete"]}),
        ("notify_to", ["nobody"], {"notify_to": ["nobody"]}),
        ("lookback_hours", "0", {"lookback_hours": 0.0}),
        ("lookback_hours", "87601", {"lookback_hours": 87601.0}),
        ("context_model", "nowhere.models.Thing", {"context_model": "nowhere.models.Thing"}),
        ("context_type", "sea", {"context_type": "sea"}),
    ],
)
def test_a_field_says_what_the_configuration_would_say_and_nothing_else(
    field: str, given: Any, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_expectation("daily_report", {"expected_statuses": ["Completed"], **settings})
    if field == "expected_statuses" and not given:
        words = ["required: name at least one status"]
    else:
        words = [problem.text for problem in refused.value.problems]
    words = [sentence(each) for each in words]
    typed = "\n".join(given) if field == "notify_to" else given
    assert errors_of(**{field: typed}) == {field: words}


@pytest.mark.parametrize(
    ("field", "schedule", "zone"),
    [
        ("schedule", "", "UTC"),
        ("schedule", "35 8 * * * *", "UTC"),
        ("schedule", "0 0 30 2 *", "UTC"),
        ("schedule", "every 300000000 days", "UTC"),
        ("schedule", "@fortnightly", "UTC"),
        ("schedule", "8" * 300, "UTC"),
        ("time_zone", "@daily", "Mars/Olympus"),
        ("time_zone", "@daily", ""),
    ],
)
def test_a_schedule_is_refused_in_its_own_words_at_the_field_that_is_wrong(
    field: str, schedule: str, zone: str
) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        parse_schedule(schedule, zone)
    assert errors_of(schedule=schedule, time_zone=zone) == {field: [sentence(str(refused.value))]}


def test_a_wrong_zone_does_not_hide_a_wrong_schedule() -> None:
    found = errors_of(schedule="99 * * * *", time_zone="Mars")
    assert found["schedule"][0].startswith("'99 * * * *' has a bad minute; ")
    assert found["time_zone"][0].startswith("'Mars' is not a time zone; ")
    assert found.keys() == {"schedule", "time_zone"}


def test_a_task_name_is_required_in_the_words_of_the_configuration() -> None:
    assert errors_of(task_name="") == {"task_name": ["The task name is empty."]}


def test_an_address_that_is_none_is_named_and_all_that_was_typed_stays() -> None:
    form = form_of(notify_to="ops@example.com\nnobody\n@, me")
    assert list(form.errors["notify_to"]) == [
        "'nobody' is not an e-mail address.",
        "'@' is not an e-mail address.",
        "'me' is not an e-mail address.",
    ]
    assert "ops@example.com\nnobody\n@, me" in str(form["notify_to"])


def test_every_so_many_hours_needs_the_hours() -> None:
    assert errors_of(repeat="hours") == {"repeat_hours": ["Enter the number of hours."]}


def test_every_so_many_hours_takes_up_to_a_year() -> None:
    assert errors_of(repeat="hours", repeat_hours="8760") == {}
    for hours in ("8761", "30000"):
        assert errors_of(repeat="hours", repeat_hours=hours) == {"repeat_hours": ["Must be at most 8760 hours."]}
    assert "Must be at most 8760 hours." in errors_of(repeat_hours="99999999")["repeat_hours"]


def test_blanks_around_a_task_name_are_part_of_it() -> None:
    form = form_of(task_name=" daily report ")
    assert form.save().task_name == " daily report "


def test_statuses_keep_the_order_that_an_import_gave_them() -> None:
    monitor = form_of().save(commit=False)
    monitor.expected_statuses = ["Running", "Completed"]
    monitor.save()
    form = form_of(monitor, expected_statuses=["Completed", "Running", "Stopped"])
    assert form.save().expected_statuses == ["Running", "Completed", "Stopped"]


def test_every_status_can_be_ticked_and_is_explained() -> None:
    assert {value for value, _ in EXPLAINED_STATUSES} == set(RunStatus.values)
    assert "Completed" in EXPLAINED_STATUSES[0][1]
    assert "task finished successfully" in EXPLAINED_STATUSES[0][1]


def test_saving_a_form_unchanged_changes_nothing() -> None:
    monitor = form_of(notify_to="a@example.com\nb@example.com").save()
    shown = MonitorForm(instance=monitor)
    typed = {name: shown[name].value() for name in shown.fields}
    form = MonitorForm({name: "" if value is None else value for name, value in typed.items()}, instance=monitor)
    assert form.is_valid(), form.errors
    assert form.changed_data == []
    before = model_to_dict(Monitor.objects.get(pk=monitor.pk))
    form.save()
    assert model_to_dict(Monitor.objects.get(pk=monitor.pk)) == before


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("", []),
        (" , ;\n", []),
        ("a@x.org", ["a@x.org"]),
        ("a@x.org,b@x.org;c@x.org\r\n d@x.org ", ["a@x.org", "b@x.org", "c@x.org", "d@x.org"]),
        ('"a,b"@x.org\nc@x.org', ['"a,b"@x.org', "c@x.org"]),
        ("Ops Team <ops@x.org>", ["Ops Team <ops@x.org>"]),
    ],
)
def test_addresses_are_read_one_a_line_or_between_commas(typed: str, read: list[str]) -> None:
    assert AddressesField().to_python(typed) == read


def test_an_import_that_is_refused_says_each_problem_with_its_place() -> None:
    text = '{"a": {"expected_statuses": ["Complete"], "notify_to": ["x"]}}'
    form = ImportForm({"config": text, "schedule": "@daily", "time_zone": "UTC"})
    assert list(form.errors["config"]) == [
        "a.expected_statuses[0]: 'Complete' is not a task status; did you mean 'Completed'?",
        "a.notify_to[0]: 'x' is not an e-mail address",
    ]


@pytest.mark.parametrize(
    ("schedule", "zone", "fields"),
    [
        ("tomorrow", "UTC", {"schedule"}),
        ("@daily", "Mars/Olympus", {"time_zone"}),
        ("99 * * * *", "Mars", {"schedule", "time_zone"}),
        ("99 * * * *", "", {"schedule", "time_zone"}),
        ("", "Mars", {"schedule", "time_zone"}),
    ],
)
def test_an_import_needs_a_schedule_and_a_zone_and_says_both_at_once(
    schedule: str, zone: str, fields: set[str]
) -> None:
    form = ImportForm({"config": '{"a": {"expected_statuses": []}}', "schedule": schedule, "time_zone": zone})
    assert set(form.errors) == {"config", *fields}
    assert all(len(form.errors[field]) == 1 for field in fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "The configuration is empty: name at least one task."), ('{"a": {}}', "a.expected_statuses: required: ")],
)
def test_a_problem_beside_the_json_is_a_sentence_unless_it_begins_with_a_tasks_name(text: str, said: str) -> None:
    form = ImportForm({"config": text, "schedule": "@daily", "time_zone": "UTC"})
    assert form.errors["config"][0].startswith(said)
