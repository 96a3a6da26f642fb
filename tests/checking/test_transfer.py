import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError

from monitoring.checking.transfer import Change, apply_import, export_config, plan_import
from monitoring.models import DependentTask, Monitor, MonitorState
from monitoring.values.expectation import ConfigError, parse_config
from monitoring.values.schedule import Schedule, parse_schedule
from tests.factories import NOW

pytestmark = pytest.mark.django_db

DAILY = parse_schedule("35 8 * * *", "UTC")
EXAMPLES = sorted(Path("project/demo/configs").glob("*.json"))
DONE = {"expected_statuses": ["Completed"]}


def plan(config: object, schedule: Schedule = DAILY) -> list[Change]:
    return plan_import(parse_config(config), schedule)


def load(config: object, schedule: Schedule = DAILY) -> None:
    apply_import(plan(config, schedule))


def verbs(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.name, change.verb) for change in changes]


def dependents(name: str) -> list[tuple[int, int, str]]:
    rows = DependentTask.objects.filter(monitor__name=name)
    return list(rows.values_list("id", "position", "task_name"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_comes_out_as_it_went_in(path: Path) -> None:
    config = json.loads(path.read_text())
    load(config)
    exported = export_config(Monitor.objects.all())
    assert [exported] == config
    assert all(type(entry["lookback_hours"]) is int for entry in exported.values())


@pytest.mark.parametrize(
    ("settings", "out"),
    [
        ({}, {"lookback_hours": 1}),
        ({"lookback_hours": 1.5}, {}),
        ({"lookback_hours": 25.0}, {"lookback_hours": 25}),
        ({"notify_to": [], "dependent_tasks": []}, {"notify_to": None, "dependent_tasks": None, "lookback_hours": 1}),
        ({"context_model": "gap.models.IngestorSession"}, {"lookback_hours": 1}),
        ({"dependent_tasks": ["b", "a", "c"], "notify_to": ["b@x.org", "a@x.org"]}, {"lookback_hours": 1}),
    ],
)
def test_what_says_nothing_is_left_out_and_what_says_something_is_kept(
    settings: dict[str, Any], out: dict[str, Any]
) -> None:
    load({"daily_report": DONE | settings})
    wanted = {key: value for key, value in (DONE | settings | out).items() if value is not None}
    assert export_config(Monitor.objects.all()) == {"daily_report": wanted}


def test_a_new_monitor_is_enabled_named_after_its_task_and_planned_from_now() -> None:
    load({"daily_report": DONE})
    monitor = Monitor.objects.get()
    assert (monitor.name, monitor.task_name, monitor.enabled) == ("daily_report", "daily_report", True)
    assert (monitor.schedule, monitor.time_zone) == ("35 8 * * *", "UTC")
    assert MonitorState.objects.get().next_check_at is None


def test_the_name_holds_the_context_type() -> None:
    load(json.loads(EXAMPLES[3].read_text()))
    assert Monitor.objects.get().name == "ingestor_session [Hourly Tomorrow.io]"


def test_a_plan_writes_nothing_and_says_what_is_new_changed_and_the_same() -> None:
    load({"same": DONE, "changed": DONE, "dependents": DONE | {"dependent_tasks": ["a", "b"]}})
    changes = plan(
        {
            "same": DONE,
            "changed": DONE | {"lookback_hours": 2},
            "dependents": DONE | {"dependent_tasks": ["b", "a"]},
            "new": DONE,
        }
    )
    assert verbs(changes) == [("same", "same"), ("changed", "changed"), ("dependents", "changed"), ("new", "new")]
    assert changes[1].monitor.lookback_hours == 2
    assert Monitor.objects.get(name="changed").lookback_hours == 1
    assert Monitor.objects.count() == 3


def test_a_new_monitor_names_those_that_ask_the_same_already() -> None:
    others = plan({"sync": DONE})
    load({"sync": DONE})
    Monitor.objects.update(name="Sync of stock")
    again, of_a_context = (
        plan({"sync": DONE | more})[0] for more in ({}, {"context_model": "gap.models.IngestorSession"})
    )
    assert (again.verb, again.watched_by) == ("new", ("Sync of stock",))
    assert (others[0].watched_by, of_a_context.watched_by) == ((), ())


@pytest.mark.parametrize("schedule", [parse_schedule("@daily", "UTC"), parse_schedule("35 8 * * *", "Asia/Tokyo")])
def test_another_schedule_is_a_change_and_is_planned_anew(schedule: Schedule) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    load({"daily_report": DONE})
    MonitorState.objects.update(next_check_at=NOW)
    Monitor.objects.update(changed_at=long_ago)
    load({"daily_report": DONE}, schedule)
    monitor = Monitor.objects.get()
    assert monitor.parsed_schedule() == schedule
    assert monitor.state.next_check_at is None
    assert monitor.changed_at > long_ago, "else a moment that is long over would be its first due one"


def test_the_same_again_touches_nothing() -> None:
    load({"daily_report": DONE | {"dependent_tasks": ["a"]}})
    MonitorState.objects.update(next_check_at=NOW)
    before = Monitor.objects.get().changed_at, dependents("daily_report")
    changes = plan({"daily_report": DONE | {"dependent_tasks": ["a"]}})
    apply_import(changes)
    assert verbs(changes) == [("daily_report", "same")]
    assert (Monitor.objects.get().changed_at, dependents("daily_report")) == before
    assert MonitorState.objects.get().next_check_at == NOW


def test_a_changed_monitor_keeps_its_other_settings() -> None:
    load({"daily_report": DONE | {"notify_to": ["ops@example.com"]}})
    Monitor.objects.update(enabled=False, repeat="hours", repeat_hours=4, tell_recovery=False, alert_after=3)
    load({"daily_report": {"expected_statuses": ["Running"]}})
    monitor = Monitor.objects.get()
    assert (monitor.expected_statuses, monitor.notify_to) == (["Running"], [])
    others = (monitor.enabled, monitor.repeat, monitor.repeat_hours, monitor.tell_recovery, monitor.alert_after)
    assert others == (False, "hours", 4, False, 3)


def test_what_a_form_saved_between_plan_and_import_is_kept() -> None:
    load({"daily_report": DONE})
    changes = plan({"daily_report": DONE | {"lookback_hours": 2}})
    Monitor.objects.update(alert_after=3)
    apply_import(changes)
    assert Monitor.objects.values_list("lookback_hours", "alert_after").get() == (2, 3)


def test_dependent_tasks_are_replaced_only_where_they_differ_and_stand_in_order() -> None:
    load({"daily_report": DONE | {"dependent_tasks": ["a", "b", "c"]}})
    (a, *_), (b, *_), _ = dependents("daily_report")
    load({"daily_report": DONE | {"dependent_tasks": ["a", "x"]}})
    assert dependents("daily_report") == [(a, 0, "a"), (b, 1, "x")]
    load({"daily_report": DONE | {"dependent_tasks": ["z", "x", "a"]}})
    assert [name for _, _, name in dependents("daily_report")] == ["z", "x", "a"]
    load({"daily_report": DONE})
    assert dependents("daily_report") == []


def test_an_import_is_whole_or_nothing() -> None:
    load({"second": DONE})
    changes = plan({"first": DONE, "second": DONE | {"lookback_hours": 2}, "third": DONE})
    Monitor.objects.get(name="second").delete()
    with pytest.raises(DatabaseError):
        apply_import(changes)
    assert Monitor.objects.count() == 0


def test_more_dependent_tasks_than_a_form_can_show_are_refused() -> None:
    most = list(map(str, range(150)))
    plan({"a": DONE | {"dependent_tasks": most}})
    with pytest.raises(ConfigError, match=r"^a.dependent_tasks: names 151 tasks; a monitor can have at most 150$"):
        plan({"a": DONE | {"dependent_tasks": [*most, "one more"]}})


def test_two_monitors_that_would_have_one_name_are_refused() -> None:
    context = {"context_model": "gap.models.IngestorSession", "context_type": "b"}
    with pytest.raises(ConfigError, match=r"two monitors would be named 'a \[b\]'") as caught:
        plan({"a": DONE | context, "a [b]": DONE})
    assert [problem.task for problem in caught.value.problems] == ["a", "a [b]"]


def test_monitors_of_one_task_are_not_exported_together_and_are_named() -> None:
    load({"a": DONE, "b": DONE, "c": DONE})
    Monitor.objects.exclude(name="c").update(task_name="shared")
    with pytest.raises(ConfigError) as caught:
        export_config(Monitor.objects.all())
    assert str(caught.value) == ("shared: 'a' and 'b' are all of this task, and a configuration has one entry a task")
    assert export_config(Monitor.objects.filter(name="a")) == {"shared": DONE | {"lookback_hours": 1}}


def test_an_export_asks_the_same_number_of_statements_for_any_number(django_assert_num_queries: Any) -> None:
    load({f"task {number}": DONE | {"dependent_tasks": ["x"]} for number in range(20)})
    monitors = list(Monitor.objects.all())
    with django_assert_num_queries(1):
        export_config(monitors)
