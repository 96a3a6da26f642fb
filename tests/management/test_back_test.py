"""check_task_status --since: what monitors, or a configuration at some times, would have told."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from monitoring.models import Alert, Heartbeat, Incident, MonitorState
from tests.factories import make_monitor, make_run
from tests.management.calling import Called, Site, call

pytestmark = pytest.mark.django_db


def back_test(*args: str, since: str = "2d", **options: Any) -> Called:
    return call("check_task_status", *args, since=since, **options)


def make_history(task_name: str = "daily_report", bad: int = 0) -> None:
    """A run at the end of each of the last 60 hours, of which so many ended in an error a day ago."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for hours in range(60):
        ended = hour - timedelta(hours=hours)
        status = "Stopped" if 24 < hours <= 24 + bad else "Completed"
        make_run(task_name, status, started_at=ended - timedelta(minutes=5), finished_at=ended)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., str]:
    def write(*tasks: str) -> str:
        path = tmp_path / "config.json"
        path.write_text(json.dumps({task: {"expected_statuses": ["Completed"]} for task in tasks}))
        return str(path)

    return write


def test_what_would_not_have_alerted_ends_with_0() -> None:
    make_history()
    make_monitor(schedule="@hourly")
    called = back_test()
    assert called.code == 0
    assert called.out.startswith("BACK-TEST OK - 0 of 1 would have alerted\n")
    assert "\ndaily report would not have alerted in the last 2 days\n" in called.out


def test_what_would_have_alerted_ends_with_2_and_lists_the_mails() -> None:
    make_history(bad=2)
    make_monitor(schedule="@hourly")
    called = back_test("--monitor=daily report")
    assert (called.code, called.said) == (2, "1 of 1 would have alerted")
    _, _, mails = called.out.partition("\ndaily report would have alerted 2 times in the last 2 days\n")
    kinds = [line.split("UTC")[1].split("daily_report")[0].strip() for line in mails.splitlines()[:3]]
    assert kinds == ["alert", "alert again", "recovery"]
    assert "Of a run that was retried only the last attempt is known" in mails


def test_it_writes_and_sends_nothing_and_leaves_the_plan_alone() -> None:
    make_history(bad=2)
    monitor = make_monitor(schedule="@hourly")
    assert back_test().code == 2
    assert (Incident.objects.count(), Alert.objects.count(), Heartbeat.objects.count(), mail.outbox) == (0, 0, 0, [])
    assert MonitorState.objects.get(monitor=monitor).last_checked_at is None


def test_of_a_task_without_history_nobody_can_tell_which_is_3() -> None:
    make_history()
    make_monitor(schedule="@hourly")
    make_monitor("other", task_name="other")
    called = back_test()
    assert (called.code, called.said) == (3, "other: no run of “other” is recorded")
    assert called.out.startswith("BACK-TEST UNKNOWN - 0 of 2 would have alerted, 1 could not be tried\n")


def test_what_would_have_alerted_weighs_more_than_what_nobody_can_tell() -> None:
    make_history(bad=1)
    make_monitor(schedule="@hourly")
    make_monitor("other", task_name="other")
    assert back_test().code == 2


def test_a_configuration_is_tried_at_the_times_of_a_schedule(config: Callable[..., str]) -> None:
    make_history("a", bad=2)
    make_history("b")
    called = back_test(config=config("a", "b"), schedule="0 * * * *")
    assert (called.code, called.said) == (2, "1 of 2 would have alerted")
    assert "recovery" not in called.out


def test_json_says_the_same() -> None:
    make_history(bad=2)
    make_monitor(schedule="@hourly", time_zone="Europe/Berlin")
    called = back_test("--format=json")
    document = json.loads(called.out)
    assert (called.code, document["schema"], document["would_have_alerted"]) == (2, 1, True)
    (found,) = document["back_tests"]
    assert (found["name"], found["schedule"], found["time_zone"]) == ("daily report", "@hourly", "Europe/Berlin")
    assert (found["checks"], found["alerts"], found["recoveries"], found["problem"]) == (48, 2, 1, "")
    assert [said["decision"] for said in found["mails"]] == ["opened", "reminded", "recovered"]
    assert found["mails"][0]["run"]["status"] == "Stopped"
    assert [each["checks"] for each in found["failing"]] == [2]
    assert "last attempt" in document["left_out"]


def test_of_many_mails_the_last_are_printed_and_the_others_counted() -> None:
    make_history(bad=30)
    make_monitor(schedule="@hourly", expected_statuses=["Cancelled"])
    called = back_test()
    assert "  28 earlier mails are left out: --format json lists all\n" in called.out
    assert called.out.count("alert again") == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"since": "30"}, "--since '30' is not a number of minutes, hours, days or weeks up to 366 days"),
        ({"since": "0d"}, "--since '0d' is not"),
        ({"since": "367d"}, "--since '367d' is not"),
        ({"since": ""}, "--since '' is not"),  # as `--since "$UNSET"` says: nothing is checked, nobody is told
        ({"since": "3d", "itself": True}, "--self checks whether the monitor works now: it takes no --since"),
        ({"since": "3d", "config": "f"}, "--config with --since needs --schedule"),
        ({"since": "3d", "schedule": "@daily"}, "--schedule needs --config: monitors have schedules of their own"),
        ({"schedule": "@daily", "config": "f"}, "--schedule needs --since"),
        ({"since": "3d", "monitor": "daily report", "config": "f", "schedule": "@daily"}, "exclude each other"),
    ],
)
def test_nonsense_is_refused_in_words(options: dict[str, Any], said: str) -> None:
    make_monitor()
    called = call("check_task_status", **options)
    assert (called.code, called.out) == (3, "")
    assert said in called.said
    assert Incident.objects.count() == 0


def test_a_schedule_that_is_none_is_refused_in_its_own_words(config: Callable[..., str]) -> None:
    called = back_test(config=config("a"), schedule="nonsense")
    assert called.code == 3
    assert called.said.startswith("Nothing was tried: 'nonsense' has 1 field instead of 5")


def test_it_ends_so_as_a_process_too(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.manage("migrate", "--verbosity=0")
    config = json.dumps({"a": {"expected_statuses": ["Completed"]}})
    called = site.manage("check_task_status", "--config=-", "--since=30d", "--schedule=@daily", stdin=config)
    assert called.code == 3
    assert "no run of “a” is recorded" in called.out
