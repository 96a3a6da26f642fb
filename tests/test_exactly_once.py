"""Several real consumers tick the same monitors. Time is moved through the due column, not slept."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from threading import Event, Thread, current_thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from monitoring import tick as story
from monitoring.models import Delivery, Incident, Monitor, MonitorState, Repeat
from monitoring.tasks import tick_monitors
from monitoring.tick import check_monitors, remind
from tests.consumer import Consumer, consumer, wait_for
from tests.factories import make_monitor
from tests.locks import is_waited_for

pytestmark = pytest.mark.django_db(transaction=True)

MONITORS = 60
ROUNDS = 20
# On SQLite all of them wait for one write lock anyway.
CONSUMERS = 3 if os.environ.get("TEST_WITH") == "servers" else 2


@pytest.fixture(autouse=True)
def monitors() -> None:
    """Each always fails, so that the failing checks of its incident count its checks; none is due by itself today."""
    HUEY.flush()
    in_half_a_year = timezone.now() + timedelta(days=183)
    for number in range(MONITORS):
        yearly = f"0 0 1 {in_half_a_year.month} *"
        make_monitor(f"monitor {number}", task_name=f"never_{number}", schedule=yearly, repeat=Repeat.ONCE)
    MonitorState.objects.update(next_check_at=in_half_a_year)


@pytest.fixture
def crew() -> Iterator[Any]:
    """Starts one consumer more with each call; all of them are ended after the test, and shown if it failed."""
    with ExitStack() as running:
        started: list[Consumer] = []

        def start() -> Consumer:
            started.append(running.enter_context(consumer(EMAIL_URL="memory:")))
            return started[-1]

        yield start
        for each in started:
            print(f"--- A consumer said:\n{each.output()}")  # noqa: T201


def make_all_due() -> datetime:
    now = timezone.now()
    MonitorState.objects.update(next_check_at=now - timedelta(seconds=1))
    return now


def none_is_due() -> bool:
    return not MonitorState.objects.filter(next_check_at__lte=timezone.now()).exists()


def checks_of_each_monitor() -> set[int]:
    assert Incident.objects.filter(closed_at=None).count() == Monitor.objects.count() == MONITORS
    return set(Incident.objects.values_list("failing_checks", flat=True))


def test_each_due_check_happens_exactly_once_however_many_consumers_tick(crew: Any) -> None:
    for _ in range(CONSUMERS):
        crew()
    for _ in range(ROUNDS):
        make_all_due()
        for _ in range(CONSUMERS):
            tick_monitors()
        wait_for(none_is_due, 20)
    wait_for(lambda: HUEY.pending_count() == 0, 20)
    assert checks_of_each_monitor() == {ROUNDS}


def test_kills_and_restarts_skip_no_check_and_double_none(crew: Any) -> None:
    consumers: list[Consumer] = [crew() for _ in range(CONSUMERS)]
    for number in range(ROUNDS):
        make_all_due()
        for _ in range(2 * CONSUMERS):
            tick_monitors()
        if number % 5 == 2:
            consumers.pop(0).kill()
            consumers.append(crew())
        # A task that a killed consumer had taken is gone: the next tick does its work.
        wait_for(lambda: none_is_due() or (HUEY.pending_count() == 0 and tick_monitors() and False), 30)
    assert checks_of_each_monitor() == {ROUNDS}


def test_a_check_waits_for_a_reminder_of_its_incident_and_does_not_say_the_same_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two workers meet: one has owed a reminder and not yet committed it when the other checks the monitor."""
    now = timezone.now()
    Monitor.objects.update(repeat=Repeat.HOURS, repeat_hours=1)
    monitor = Monitor.objects.order_by("id")[0]
    check_monitors([monitor], now)
    assert Delivery.objects.count() == 1

    later = now + timedelta(hours=1)
    has_owed, is_checked = Event(), Event()
    owe = story.owe

    def owe_and_linger(announcements: Any, at: datetime, using: str) -> None:
        owe(announcements, at, using)
        if current_thread() is reminding:
            has_owed.set()
            is_checked.wait(1)  # in vain where the check waits for this transaction, as it must

    def check() -> None:
        assert has_owed.wait(10)
        check_monitors([monitor], later)
        is_checked.set()

    monkeypatch.setattr(story, "owe", owe_and_linger)
    reminding, checking = (Thread(target=in_thread, args=[work]) for work in (lambda: remind(later, ()), check))
    reminding.start()
    checking.start()
    reminding.join()
    checking.join()
    assert is_checked.is_set()
    assert Delivery.objects.count() == 2


def test_a_check_that_waits_for_an_edit_judges_what_was_edited() -> None:
    monitor = Monitor.objects.order_by("id")[0]
    is_edited, judged = Event(), []

    def edit() -> None:
        monitor.task_name, monitor.lookback_hours = "renamed", 3
        with transaction.atomic():
            monitor.save()
            is_edited.set()
            wait_for(is_waited_for)

    def check() -> None:
        assert is_edited.wait(10)
        judged.extend(check_monitors([monitor], timezone.now()).judged)

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(in_thread, work) for work in (edit, check)]:
            done.result()
    (expectation,) = [each.outcome.check.expectation for each in judged]
    assert (expectation.task_name, expectation.lookback_hours) == ("renamed", 3)


def test_an_edit_waits_for_a_check_of_its_monitor_instead_of_both_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new incident needs its monitor's row to stay, and an edit that renames the monitor takes that row."""
    now = make_all_due()
    monitor = Monitor.objects.order_by("id")[0]
    is_judged, is_edited = Event(), Event()
    note_tracked = story.note_tracked

    def linger_and_note(*found: Any) -> None:
        is_judged.set()
        is_edited.wait(1)  # in vain where the edit waits for this transaction, as it must
        note_tracked(*found)

    def edit() -> None:
        assert is_judged.wait(10)
        monitor.name, monitor.schedule = "renamed", "@hourly"
        with transaction.atomic():
            monitor.save()
        is_edited.set()

    monkeypatch.setattr(story, "note_tracked", linger_and_note)
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(in_thread, work) for work in (lambda: story.tick(now), edit)]:
            done.result()
    assert checks_of_each_monitor() == {1}
    assert Monitor.objects.filter(name="renamed").exists()


def in_thread(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        connection.close()
