"""What the first round says and judges after a time in which the monitor itself did not work."""

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import DatabaseError
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from monitoring import tick as story
from monitoring.models import Alert, Heartbeat, Incident, Outage
from monitoring.models.heartbeat import TICK
from monitoring.telling import tell
from monitoring.tick import tick
from monitoring.values.facts import AlertKind
from tests.alerting.reading import words_of_html
from tests.consumer import START_DEADLINE, consumer, launched, wait_for
from tests.factories import NOW, ago, make_monitor, make_run
from tests.faults.world import pass_time

pytestmark = pytest.mark.django_db

DOWN_SINCE = ago(hours=6)
DUE = ago(hours=1)


@pytest.fixture(autouse=True)
def superuser() -> None:
    User.objects.create_superuser("root", "root@example.com")


@pytest.fixture
def was_down() -> None:
    """Until a minute ago, when a consumer came up: both the rounds and the recording."""
    Heartbeat.objects.create(name=TICK, beat_at=DOWN_SINCE)
    Heartbeat.objects.create(name="host:1:new", beat_at=NOW, unbroken_since=ago(minutes=1))


def kinds() -> list[str]:
    return list(Alert.objects.order_by("id").values_list("kind", flat=True))


@pytest.mark.usefixtures("was_down")
def test_the_superusers_hear_once_that_monitoring_was_down() -> None:
    make_monitor(due_at=DUE, lookback_hours=24)
    make_run(started_at=ago(hours=8))
    tick(NOW)
    tick(NOW + timedelta(minutes=1))
    tell(NOW)
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["root@example.com"], "[ALERT] Monitoring Was Down")
    html, _ = message.alternatives[0]
    for part in (message.body, words_of_html(str(html))):
        assert "Monitoring was down for 6 h: no task was checked." in part
        assert "2026-11-22 02:35:00 UTC" in part
        assert "2026-11-22 08:35:00 UTC" in part
        assert "1 monitor was due and will be checked once now" in part
        assert "Please find out why no worker was checking tasks" in part
        assert "tick_monitors" not in part


@pytest.mark.usefixtures("was_down")
@pytest.mark.parametrize(
    "monitor",
    [
        {"due_at": NOW},
        {"due_at": ago(minutes=5)},  # as late as a deploy may make it
        {"due_at": DUE, "enabled": False},
        None,
    ],
)
def test_an_outage_in_which_nothing_was_to_be_checked_is_nobodys_mail(monitor: dict[str, object] | None) -> None:
    make_run()
    if monitor:
        make_monitor(**monitor)
    tick(NOW)
    assert kinds() == []
    assert Outage.objects.get().silent_until == ago(minutes=1), "but it is known"


@pytest.mark.parametrize("beat_at", [None, ago(minutes=5)])
def test_a_first_round_and_a_late_one_are_no_outage(beat_at: datetime | None) -> None:
    make_run()
    if beat_at:
        Heartbeat.objects.create(name=TICK, beat_at=beat_at)
    make_monitor(due_at=DUE)
    tick(NOW)
    assert (kinds(), Outage.objects.count()) == ([], 0)


def test_a_round_that_took_long_was_no_outage() -> None:
    make_run()
    Heartbeat.objects.create(name=TICK, beat_at=ago(minutes=9), took=500)
    make_monitor(due_at=DUE)
    tick(NOW)
    assert Outage.objects.count() == 0


@pytest.mark.usefixtures("was_down")
def test_a_second_worker_and_a_round_that_failed_say_it_no_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    make_monitor(due_at=DUE, lookback_hours=24)
    make_run(started_at=ago(hours=8))

    def fails(*_: object, **__: object) -> None:
        raise DatabaseError

    with monkeypatch.context() as broken:
        broken.setattr(story, "check_due_batch", fails)
        for minutes in (0, 10):
            with pytest.raises(DatabaseError):
                tick(NOW + timedelta(minutes=minutes))
    tick(NOW + timedelta(minutes=20))
    assert kinds() == [AlertKind.MONITOR_DOWN]
    outage = Outage.objects.get()
    assert outage.ended_at == NOW + timedelta(minutes=20), "it went on until a round succeeded"


@pytest.mark.usefixtures("was_down")
def test_nobody_to_tell_is_logged_and_the_round_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    User.objects.all().delete()
    make_run()
    make_monitor(due_at=DUE)
    assert len(tick(NOW).judged) == 1
    assert "Subject: [ALERT] Monitoring Was Down" in caplog.text
    assert Alert.objects.get().deliveries.count() == 0


@pytest.mark.usefixtures("was_down")
def test_a_run_that_nobody_could_record_is_told_as_not_judged_and_later_as_recovered() -> None:
    monitor = make_monitor(due_at=DUE, schedule="35 * * * *", lookback_hours=1)
    tick(NOW - timedelta(minutes=1))
    assert kinds() == [AlertKind.MONITOR_DOWN, AlertKind.NOT_JUDGED]
    incident = Incident.objects.get(monitor=monitor)
    assert incident.facts["reason"].startswith("no run could be recorded from 2026-11-22 02:35 UTC to ")
    tell(NOW)
    assert [m.subject for m in mail.outbox if "ops" in m.to[0]] == ["[ALERT] daily_report Could Not Be Checked"]
    make_run(started_at=NOW)
    tick(NOW + timedelta(hours=1))
    assert kinds()[-1] == AlertKind.RESOLVED


@pytest.mark.parametrize(
    "sign_of_life",
    [
        pytest.param(
            lambda: Heartbeat.objects.create(name="host:2:celery", beat_at=NOW, unbroken_since=ago(days=1)),
            id="a process that recorded all the time",
        ),
        pytest.param(lambda: make_run("another", started_at=ago(hours=2)), id="a run that was recorded meanwhile"),
        pytest.param(lambda: Heartbeat.objects.exclude(name=TICK).delete(), id="nothing that says it records"),
    ],
)
@pytest.mark.usefixtures("was_down")
def test_where_runs_could_be_recorded_a_missing_one_is_missing(sign_of_life: object) -> None:
    assert callable(sign_of_life)
    sign_of_life()
    make_monitor(due_at=DUE, lookback_hours=1)
    tick(NOW)
    assert kinds() == [AlertKind.MONITOR_DOWN, AlertKind.NOT_EXECUTED]


@pytest.mark.usefixtures("was_down")
def test_a_run_that_waits_since_then_is_known_not_to_have_run() -> None:
    make_run(status="Queued", started_at=None, submitted_at=ago(days=1))
    make_monitor(due_at=DUE, lookback_hours=1)
    tick(NOW)
    assert kinds() == [AlertKind.MONITOR_DOWN, AlertKind.NOT_EXECUTED]


@pytest.mark.usefixtures("was_down")
def test_a_run_that_was_found_decides_whatever_was_down() -> None:
    make_run(status="Stopped", started_at=NOW)
    make_monitor(due_at=DUE, lookback_hours=1)
    tick(NOW)
    assert kinds() == [AlertKind.MONITOR_DOWN, AlertKind.STATUS_MISMATCH]


@pytest.mark.django_db(transaction=True)
def test_two_consumers_that_come_up_after_a_night_say_it_once() -> None:
    HUEY.flush()
    with consumer():
        wait_for(lambda: Heartbeat.objects.filter(name=TICK).exists())
    pass_time(hours=6)
    make_monitor(due_at=timezone.now() - timedelta(hours=1), schedule="35 * * * *", lookback_hours=1)
    with launched() as first, launched() as second:
        for each in (first, second):
            wait_for(lambda each=each: each.is_ready() and "tick_monitors: " in each.output(), START_DEADLINE)
        wait_for(lambda: Alert.objects.count() == 2)
    assert sorted(kinds()) == [AlertKind.MONITOR_DOWN, AlertKind.NOT_JUDGED]
    outage = Outage.objects.get()
    assert outage.silent_from is not None
    assert outage.ended_at - outage.began_at > timedelta(hours=5)
