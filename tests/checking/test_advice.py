import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import ModuleType
from typing import Any

import pytest

from monitoring.checking.advice import advice
from monitoring.checking.history import context_types, ever_ran, near_names, seen_names
from monitoring.checking.suggestions import suggest
from monitoring.models import Monitor
from monitoring.values.schedule import parse_schedule
from tests.app.models import Customer, Warehouse
from tests.factories import NOW, make_run

pytestmark = pytest.mark.django_db


def advice_of(
    registered: tuple[str, ...] = (), superusers: tuple[str, ...] = ("a@example.com",), **over: Any
) -> list[str]:
    monitor = Monitor(
        **{"name": "m", "task_name": "ran", "expected_statuses": ["Completed"], "schedule": "@hourly"} | over
    )
    return advice(monitor, NOW, registered, superusers)


@pytest.mark.parametrize(
    ("schedule", "hours", "words"),
    [
        ("@hourly", 1, None),
        ("@hourly", 1.5, None),
        ("@hourly", 0.5, "up to 1 hour apart and each looks back 30 minutes: runs that start in the other 30 minutes"),
        ("35 8 * * *", 2, "up to 24 hours apart and each looks back 2 hours: runs that start in the other 22 hours"),
        ("0 9 * * 1-5", 25, "up to 72 hours apart and each looks back 25 hours: runs that start in the other 47 hours"),
        (
            "every 90 minutes",
            1,
            "up to 1.5 hours apart and each looks back 1 hour: runs that start in the other 30 min",
        ),
        ("@yearly", 24, "up to 8,784 hours apart"),
        ("spoilt", 1, None),
    ],
)
def test_runs_that_no_window_covers_are_told_with_numbers(schedule: str, hours: float, words: str | None) -> None:
    make_run("ran")
    said = advice_of(schedule=schedule, time_zone="UTC", lookback_hours=hours)
    assert [words in sentence for sentence in said if words] == ([True] if words else [])
    assert bool(said) is bool(words)


@pytest.mark.parametrize("hours", [8, 9])
def test_hours_between_windows_are_no_worry_where_no_run_starts_in_them(hours: int) -> None:
    def said() -> list[str]:
        return advice_of(schedule="35 8 * * *", time_zone="UTC", lookback_hours=2)

    for day in range(3):
        make_run("ran", started_at=NOW.replace(hour=8, minute=0) - timedelta(days=day))
    assert len(said()) == 1, "too few runs to say"
    make_run("ran", started_at=NOW.replace(hour=hours, minute=0) - timedelta(days=3))
    assert len(said()) == (hours == 9)


def test_runs_at_the_end_of_the_calendar_leave_the_advice_as_it_is() -> None:
    for hour in range(4):
        make_run("ran", started_at=datetime(9999, 12, 31, 20 + hour, tzinfo=UTC))
    assert len(advice_of(schedule="35 8 * * *", time_zone="Asia/Tokyo", lookback_hours=2)) == 1


@pytest.mark.parametrize("schedule", ["2 * * * *", "20 8 * * *", "20 8 * * 1-5", "20 8 * * 1", "20 8 1 * *"])
def test_what_is_suggested_is_not_advised_against(schedule: str) -> None:
    ran = parse_schedule(schedule, "Europe/Berlin")
    runs = list(islice(ran.upcoming(NOW - timedelta(days=400)), 12))
    for start in runs:
        make_run("ran", started_at=start, finished_at=start + timedelta(minutes=1))
    (suggestion,) = suggest(["ran"], "Europe/Berlin")
    proposal = suggestion.proposal
    assert proposal
    assert (
        advice_of(schedule=proposal.schedule.text, time_zone="Europe/Berlin", lookback_hours=proposal.lookback_hours)
        == []
    )


@pytest.mark.parametrize(("schedule", "hours"), [("0 9 * * *", 24), ("0 9 * * 1", 168)])
def test_the_hour_that_the_clocks_add_in_autumn_is_no_gap(schedule: str, hours: float) -> None:
    make_run("ran")
    assert advice_of(schedule=schedule, time_zone="Europe/Berlin", lookback_hours=hours) == []


@pytest.mark.parametrize(
    ("registered", "words"),
    [
        (("other",), "Huey knows no task of that name. That is fine if"),
        (("daily_reports", "other"), "Did you mean “daily_reports”?"),
        (("Daily_Report",), "Did you mean “Daily_Report”?"),
        (("daily_report",), "Huey knows a task of that name, so its first run will be seen."),
    ],
)
def test_a_name_that_never_ran_is_told_with_names_like_it(registered: tuple[str, ...], words: str) -> None:
    (sentence,) = advice_of(registered, task_name="daily_report")
    assert sentence.startswith("No run of “daily_report” is known")
    assert words in sentence


def test_a_name_that_is_never_recorded_is_told_whether_or_not_it_ran() -> None:
    for _ in range(2):
        monitor = Monitor(task_name="tick_monitors", schedule="@hourly")
        (sentence,) = advice(monitor, NOW, (), ("a@example.com",), {"tick_monitors"})
        assert sentence.startswith("Runs of “tick_monitors” are never recorded, so every check of it fails")
        make_run("tick_monitors")


def test_where_celery_is_used_it_is_told_that_its_tasks_are_known_once_they_have_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = "Celery's tasks are known once they have run, by their whole name"
    monkeypatch.delitem(sys.modules, "celery", raising=False)
    assert words not in advice_of(task_name="bake")[0]
    monkeypatch.setitem(sys.modules, "celery", ModuleType("celery"))
    assert words in advice_of(task_name="bake")[0]
    assert words not in advice_of(("bake",), task_name="bake")[0]


def test_names_of_the_history_are_near_names_too() -> None:
    make_run("daily_reports")
    (sentence,) = advice_of(task_name="daily_report")
    assert "Did you mean “daily_reports”?" in sentence


def test_nobody_to_tell_is_told_unless_somebody_is_named_or_there_is_a_superuser() -> None:
    make_run("ran")
    (sentence,) = advice_of(superusers=())
    assert sentence.startswith("Nobody would be told")
    assert advice_of(superusers=(), notify_to=["ops@example.com"]) == []
    assert advice_of() == []


def test_each_name_of_the_history_is_seen_once() -> None:
    for name in ("b", "a", "b", " a"):
        make_run(name)
    assert seen_names() == [" a", "a", "b"]
    assert (ever_ran("a"), ever_ran("A")) == (True, False)


def test_a_run_that_never_started_is_a_run_too() -> None:
    make_run("waits", "Queued", started_at=None)
    assert ever_ran("waits")


def test_a_name_is_not_near_itself() -> None:
    assert near_names("a_task", ["a_task", "b_task"]) == ["b_task"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("bake", ["orders.tasks.bake"]),
        ("Bakes", ["orders.tasks.bake"]),
        ("shop.tasks.Sync", ["sync"]),
        ("orders.tasks.bak", ["orders.tasks.bake"]),
        ("orders", []),
        ("bill.", ["BILL", "Bill"]),
    ],
)
def test_a_name_is_near_without_its_module_and_in_other_capitals(name: str, near: list[str]) -> None:
    assert near_names(name, ["orders.tasks.bake", "sync", "BILL", "Bill"]) == near


def test_types_come_from_the_data_of_the_installed_models(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"shop.Warehouse": "kind", "shop.Closing": "kind", "nowhere.Thing": "kind"})
    Customer.objects.create()
    for code, kind in (("a", "cold"), ("b", "cold"), ("c", "bonded"), ("d", "")):
        Warehouse.objects.create(code=code, kind=kind)
    assert context_types() == ["bonded", "cold"]
