"""What rounds do after the clock was set; `make outages` sets a real one."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from monitoring.models import Alert, Heartbeat, Incident, Message, MonitorState, Outage
from monitoring.models.heartbeat import TICK
from monitoring.tick import tick
from monitoring.values.facts import AlertKind
from monitoring.values.outage import Period
from tests.factories import NOW, ago, make_monitor, make_run

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
STEP = Period(ago(hours=1), NOW)


@pytest.fixture(autouse=True)
def superuser() -> None:
    """Would hear that monitoring was down."""
    User.objects.create_superuser("root", "root@example.com")


def kinds() -> list[str]:
    return list(Alert.objects.order_by("id").values_list("kind", flat=True))


def test_nobody_hears_of_a_clock_that_was_set_forwards() -> None:
    Heartbeat.objects.create(name=TICK, beat_at=ago(hours=1, seconds=30))
    make_run(started_at=ago(hours=1, minutes=3))
    make_monitor(due_at=ago(minutes=40), schedule="*/10 * * * *", lookback_hours=1 / 6)
    assert len(tick(NOW, [STEP]).judged) == 1
    assert (kinds(), Outage.objects.count()) == ([], 0)


def test_a_task_that_did_not_run_before_either_is_told() -> None:
    Heartbeat.objects.create(name=TICK, beat_at=ago(hours=1, seconds=30))
    make_run(started_at=ago(hours=1, minutes=11))
    make_monitor(due_at=ago(minutes=40), schedule="*/10 * * * *", lookback_hours=1 / 6)
    tick(NOW, [STEP])
    assert kinds() == [AlertKind.NOT_EXECUTED]


def test_a_clock_that_was_set_back_keeps_nothing_waiting_until_it_comes_there_again() -> None:
    monitor = make_monitor(due_at=NOW + HOUR, schedule="* * * * *", lookback_hours=1)
    tick(NOW + HOUR)
    Message.objects.create(address="ops@example.com", created_at=NOW + HOUR, next_attempt_at=NOW + HOUR, attempts=1)
    tick(NOW)
    state = MonitorState.objects.get(monitor=monitor)
    assert (state.next_check_at, state.last_checked_at) == (NOW + timedelta(minutes=1), NOW)
    assert Message.objects.get().next_attempt_at == NOW
    assert kinds() == [AlertKind.NOT_EXECUTED], "the same is not told again"
    tick(NOW + timedelta(minutes=1))
    assert kinds() == 2 * [AlertKind.NOT_EXECUTED], "but that it fails again is"
    assert Incident.objects.get().failing_checks == 2


def test_a_daily_check_that_was_made_too_early_is_made_when_its_time_comes() -> None:
    make_monitor(due_at=NOW, schedule="35 8 * * *")
    make_run(started_at=ago(minutes=90))
    assert len(tick(NOW + timedelta(minutes=5)).judged) == 1
    assert tick(ago(minutes=55)).judged == ()
    assert [len(tick(NOW + timedelta(minutes=minutes)).judged) for minutes in (-1, 0, 1)] == [0, 1, 0]
