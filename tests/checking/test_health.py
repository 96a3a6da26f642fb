from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.alerting.owing import Announcement, owe
from monitoring.checking.health import (
    GAVE_UP_WITHIN,
    MAIL_STUCK_AFTER,
    NOT_RECORDED_WITHIN,
    OVERDUE_AFTER,
    TICK_LATE_AFTER,
    problems,
)
from monitoring.models import Heartbeat, Message, Monitor, MonitorState, database_alias
from monitoring.tick import tick
from monitoring.values.outage import DEAD_AFTER
from tests.factories import NOW, ago, make_facts, make_monitor, make_run

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture
def ticking() -> None:
    tick(NOW)


def said() -> list[tuple[str, str]]:
    return [(problem.code, str(problem)) for problem in problems(NOW)]


def make_message(**over: Any) -> Message:
    times = {"created_at": NOW, "next_attempt_at": NOW}
    return Message.objects.create(address="ops@example.com", subject="s", text="t", html="h", **{**times, **over})


def test_without_a_tick_ever_it_asks_for_a_consumer() -> None:
    assert said() == [("never-ticked", "No worker has run checks yet. Is `manage.py run_huey` running?")]


@pytest.mark.usefixtures("ticking")
def test_after_a_tick_all_is_well() -> None:
    assert problems(NOW) == []


@pytest.mark.parametrize(
    ("late_by", "codes"), [(timedelta(0), []), (TICK_LATE_AFTER, []), (TICK_LATE_AFTER + SECOND, ["tick-late"])]
)
def test_a_tick_that_is_late_is_said(late_by: timedelta, codes: list[str]) -> None:
    tick(NOW - late_by)
    assert [problem.code for problem in problems(NOW)] == codes


def test_a_late_tick_says_since_when() -> None:
    tick(ago(minutes=12))
    (problem,) = problems(NOW)
    assert (
        problem.text
        == "No worker has run checks since 2026-11-22 08:23 UTC (12 min ago). Is `manage.py run_huey` running?"
    )


@pytest.mark.parametrize(
    ("ticked_at", "since"), [(None, "yet"), (ago(minutes=12), "since 2026-11-22 08:23 UTC (12 min ago)")]
)
def test_without_ticks_from_a_living_worker_the_tasks_that_hold_its_threads_are_named(
    ticked_at: datetime | None, since: str
) -> None:
    if ticked_at:
        tick(ticked_at)
    Heartbeat.objects.create(name="host:1:ab", beat_at=NOW)
    Heartbeat.objects.create(name="host:2:cd", beat_at=NOW - DEAD_AFTER - SECOND)
    for name, status, minutes, worker in (
        ("hang", "Running", 11, "host:1:ab"),
        ("hang_too", "Running", 12, "host:1:ab"),
        ("has_just_begun", "Running", 1, "host:1:ab"),
        ("is_over", "Completed", 20, "host:1:ab"),
        ("is_lost", "Running", 20, "host:2:cd"),
    ):
        make_run(name, status, started_at=ago(minutes=minutes), worker=worker)
    (problem,) = problems(NOW)
    assert problem.text == (
        f"No worker has run checks {since}, though a worker is alive. Either `manage.py run_huey` is not running, or "
        "it needs more `--workers` than there are tasks that take long"
    )
    assert str(problem) == f"{problem.text}: hang_too, hang"


@pytest.mark.parametrize(("overdue_by", "is_said"), [(OVERDUE_AFTER, False), (OVERDUE_AFTER + SECOND, True)])
@pytest.mark.usefixtures("ticking")
def test_a_monitor_is_overdue_after_five_minutes(overdue_by: timedelta, is_said: bool) -> None:
    make_monitor(due_at=NOW - overdue_by)
    assert [code for code, _ in said()] == (["overdue"] if is_said else [])


@pytest.mark.usefixtures("ticking")
def test_a_monitor_that_nobody_plans_is_overdue_too() -> None:
    monitor = make_monitor()
    Monitor.objects.filter(pk=monitor.pk).update(changed_at=NOW)
    assert said() == []
    Monitor.objects.filter(pk=monitor.pk).update(changed_at=NOW - OVERDUE_AFTER - SECOND)
    assert [code for code, _ in said()] == ["overdue"]
    MonitorState.objects.all().delete()
    assert [code for code, _ in said()] == ["overdue"]


@pytest.mark.usefixtures("ticking")
def test_a_disabled_monitor_is_never_overdue() -> None:
    make_monitor(due_at=ago(days=1), enabled=False)
    assert problems(NOW) == []


@pytest.mark.usefixtures("ticking")
def test_overdue_monitors_are_counted_and_the_first_named_but_not_in_what_everybody_may_read() -> None:
    for number in range(7):
        make_monitor(f"monitor {number}", due_at=ago(hours=1))
    (problem,) = problems(NOW)
    assert problem.text == "7 monitors are overdue by more than 5 minutes"
    assert str(problem) == f"{problem.text}: monitor 0, monitor 1, monitor 2, monitor 3, monitor 4 and 2 more"


@pytest.mark.parametrize(
    ("times", "codes"),
    [
        ({"created_at": NOW - MAIL_STUCK_AFTER}, []),
        ({"created_at": NOW - MAIL_STUCK_AFTER - SECOND}, ["mail-stuck"]),
        ({"created_at": ago(hours=2), "sent_at": ago(hours=1)}, []),
        ({"created_at": ago(days=2), "gave_up_at": NOW - GAVE_UP_WITHIN}, ["mail-given-up"]),
        ({"created_at": ago(days=3), "gave_up_at": NOW - GAVE_UP_WITHIN - SECOND}, []),
    ],
)
@pytest.mark.usefixtures("ticking")
def test_mails_that_do_not_go_out_are_said(times: dict[str, datetime], codes: list[str]) -> None:
    make_message(**times)
    assert [problem.code for problem in problems(NOW)] == codes


@pytest.mark.usefixtures("ticking")
def test_an_alert_of_which_no_mail_was_made_is_stuck_too() -> None:
    owe([Announcement(make_facts(), ("ops@example.com",))], ago(hours=1), database_alias())
    owe([Announcement(make_facts(), ())], ago(hours=1), database_alias())
    assert said() == [("mail-stuck", "1 mail is still not sent after 30 minutes; the messages' pages say why")]


@pytest.mark.parametrize(
    ("counts", "code", "text"),
    [
        ({"dropped": 1}, "events-dropped", "1 event of a run was dropped"),
        ({"set_aside": 3}, "events-refused", "3 events of runs were refused by the database"),
    ],
)
@pytest.mark.usefixtures("ticking")
def test_what_could_not_be_recorded_is_said_for_a_day(counts: dict[str, int], code: str, text: str) -> None:
    beat = Heartbeat.objects.create(name="web-1:17:ab", beat_at=NOW, trouble_at=NOW - NOT_RECORDED_WITHIN, **counts)
    (problem,) = problems(NOW)
    assert problem.code == code
    assert problem.text.startswith(text)
    assert problem.names == ("web-1:17:ab",)
    beat.trouble_at -= SECOND
    beat.save()
    assert problems(NOW) == []


def test_problems_take_as_many_statements_for_many_rows(django_assert_num_queries: Any) -> None:
    Heartbeat.objects.create(name="tick", beat_at=ago(hours=1))
    for number in range(20):
        make_monitor(f"monitor {number}", due_at=ago(hours=1))
        make_message(created_at=ago(hours=1))
    with django_assert_num_queries(8):
        assert [problem.code for problem in problems(NOW)] == ["tick-late", "overdue", "mail-stuck"]


@pytest.mark.parametrize("how", ["bounced_at", "rejected_at"])
@pytest.mark.usefixtures("ticking")
def test_a_mail_that_came_back_is_said_for_a_day(how: str) -> None:
    make_message(sent_at=ago(days=3), **{how: NOW - GAVE_UP_WITHIN})
    assert said() == [("mail-returned", "1 mail came back in the last day; the messages' pages say why")]
    Message.objects.update(**{how: NOW - GAVE_UP_WITHIN - SECOND})
    assert said() == []
