import gc
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail as django_mail
from django.db import connection
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from monitoring import tasks
from monitoring.alerting.owing import Announcement, owe
from monitoring.models import Alert, Delivery, Message, database_alias
from monitoring.tasks import dispatch_owed, monitor_task_status, prune_history, spare_what_stays, tick_monitors
from monitoring.values.expectation import ConfigError
from tests import smtp
from tests.factories import NOW, make_facts, make_run
from tests.smtp import MailServer, send_by, send_through

pytestmark = pytest.mark.django_db

GOOD = {"expected_statuses": ["Completed"], "notify_to": ["ops@example.com"]}
NOBODY = {"expected_statuses": ["Completed"]}


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    with smtp.mail_server() as server:
        send_through(f"smtp://127.0.0.1:{server.port}", settings)
        yield server


def sent() -> list[tuple[str, str]]:
    return sorted((message.to[0], message.subject) for message in django_mail.outbox)


# The start of a worker


def test_a_worker_that_starts_spares_the_garbage_collector_what_stays() -> None:
    assert spare_what_stays in HUEY._startup.values()
    try:
        spare_what_stays()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


# monitor_task_status


@pytest.mark.parametrize("wrap", [lambda config: config, lambda config: [config]], ids=["dictionary", "array"])
def test_it_returns_each_verdict_after_the_mails_were_sent(wrap: Any) -> None:
    make_run("fine", started_at=timezone.now())
    make_run("stopped", "Stopped", started_at=timezone.now())
    config = wrap({"fine": GOOD, "stopped": GOOD, "absent": GOOD})
    assert monitor_task_status.call_local(config) == {
        "fine": "as expected",
        "stopped": "status mismatch",
        "absent": "not executed",
    }
    assert sent() == [
        ("ops@example.com", "[ALERT] absent Has Not Executed"),
        ("ops@example.com", "[ALERT] stopped Status Check Failed"),
    ]
    assert not Message.objects.filter(sent_at=None).exists()


def test_it_looks_back_from_now() -> None:
    make_run("recent", started_at=timezone.now() - timedelta(minutes=89))
    make_run("old", started_at=timezone.now() - timedelta(minutes=91))
    window = {"expected_statuses": ["Completed"], "notify_to": ["ops@example.com"], "lookback_hours": 1.5}
    found = monitor_task_status.call_local({"recent": window, "old": window})
    assert found == {"recent": "as expected", "old": "not executed"}


def test_it_keeps_no_memory() -> None:
    for _ in range(2):
        monitor_task_status.call_local({"absent": GOOD})
    assert sent() == [("ops@example.com", "[ALERT] absent Has Not Executed")] * 2


def test_superusers_are_told_only_where_the_config_names_nobody() -> None:
    User.objects.create_superuser("root", "root@example.com")
    monitor_task_status.call_local({"absent": GOOD, "orphan": NOBODY, "waif": NOBODY | {"notify_to": []}})
    assert sent() == [
        ("ops@example.com", "[ALERT] absent Has Not Executed"),
        ("root@example.com", "[ALERT] orphan Has Not Executed"),
        ("root@example.com", "[ALERT] waif Has Not Executed"),
    ]


def test_nobody_to_tell_about_one_raises_after_everything_else_was_done(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="notify_to is empty") as raised:
        monitor_task_status.call_local({"test_task": NOBODY, "absent": GOOD})
    assert str(raised.value) == "notify_to is empty but no superuser found for task 'test_task'"
    assert not isinstance(raised.value, ConfigError)
    assert sent() == [("ops@example.com", "[ALERT] absent Has Not Executed")]
    assert Alert.objects.get(deliveries=None).task_name == "test_task"
    (logged,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "Subject: [ALERT] test_task Has Not Executed\n" in logged.getMessage()
    assert "Current status: No execution found\n" in logged.getMessage()


def test_nobody_to_tell_about_several_is_one_sentence_each() -> None:
    with pytest.raises(ValueError, match="notify_to is empty") as raised:
        monitor_task_status.call_local({"one": NOBODY, "absent": GOOD, "two": NOBODY})
    assert str(raised.value) == (
        "notify_to is empty but no superuser found for task 'one'; "
        "notify_to is empty but no superuser found for task 'two'"
    )
    assert len(sent()) == 1


def test_nobody_to_tell_is_no_error_while_all_is_as_expected() -> None:
    make_run("test_task", started_at=timezone.now())
    assert monitor_task_status.call_local({"test_task": NOBODY}) == {"test_task": "as expected"}


def test_a_bad_config_is_refused_before_anything_is_checked_written_or_sent(django_assert_num_queries: Any) -> None:
    owe([Announcement(make_facts(), ("ops@example.com",))], NOW, database_alias())
    bad = {"daily_report": {"expected_statuses": ["Complete"]}, "absent": GOOD}
    with django_assert_num_queries(0), pytest.raises(ConfigError) as raised:
        monitor_task_status.call_local(bad)
    assert str(raised.value) == (
        "daily_report.expected_statuses[0]: 'Complete' is not a task status; did you mean 'Completed'?"
    )
    assert isinstance(raised.value, ValueError)
    assert (Alert.objects.count(), Message.objects.count(), sent()) == (1, 0, [])


def test_a_task_that_cannot_be_judged_stops_no_other(settings: Any) -> None:
    context = {"context_model": "gap.models.IngestorSession", "context_type": "Hourly Tomorrow.io"}
    settings.DATABASE_ROUTERS = [f"{__name__}.{GapElsewhere.__name__}"]
    assert monitor_task_status.call_local({"ingestor_session": GOOD | context, "absent": GOOD}) == {
        "ingestor_session": "could not be checked",
        "absent": "not executed",
    }
    assert sent() == [
        ("ops@example.com", "[ALERT] absent Has Not Executed"),
        ("ops@example.com", "[ALERT] ingestor_session Could Not Be Checked"),
    ]


class GapElsewhere:
    """The demo's tables are in another database, where no statement about our runs reaches them."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "elsewhere" if model._meta.app_label == "gap" else None


def test_every_owed_mail_is_tried_once_and_a_refused_one_is_no_error(server: MailServer) -> None:
    server.refused = {"gone@example.com"}
    everyone = GOOD | {"notify_to": ["gone@example.com", "ops@example.com", "boss@example.com"]}
    assert monitor_task_status.call_local({"absent": everyone}) == {"absent": "not executed"}
    assert sorted(server.recipients) == ["boss@example.com", "ops@example.com"]
    assert set(Message.objects.values_list("address", "attempts")) == {
        ("boss@example.com", 1),
        ("gone@example.com", 1),
        ("ops@example.com", 1),
    }


def test_its_name_is_the_one_of_the_seed() -> None:
    assert monitor_task_status.task_class.__name__ == "monitor_task_status"


# dispatch_owed


def test_what_a_process_owed_before_it_died_is_sent_by_the_next_minute() -> None:
    owe([Announcement(make_facts(), ("ops@example.com",))], NOW, database_alias())
    dispatch_owed.call_local()
    assert sent() == [("ops@example.com", "[ALERT] daily_report Status Check Failed")]
    assert Delivery.objects.filter(message=None).count() == 0


def test_it_begins_no_mail_after_its_time_so_that_a_dead_server_does_not_take_every_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "SENDING_MAX", timedelta(0))
    owe([Announcement(make_facts(), ("ops@example.com",))], NOW, database_alias())
    dispatch_owed.call_local()
    assert sent() == []
    assert Message.objects.get().attempts == 0
    monitor_task_status.call_local({"absent": GOOD})
    assert len(sent()) == 2, "a check tries all that is owed"


def send_and_close() -> None:
    """As a worker's thread does."""
    try:
        dispatch_owed.call_local()
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_one_worker_of_a_process_sends_at_a_time_and_does_what_another_was_asked_for(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail server hangs; meanwhile another worker is asked to send, must not hang too, and nothing is left."""
    hangs, answers = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        assert answers.wait(10)

    monkeypatch.setattr(smtp.Watching, "look", hang)
    send_by(smtp.Watching, settings)
    owe([Announcement(make_facts(), ("ops@example.com",))], NOW, database_alias())
    first = threading.Thread(target=send_and_close)
    first.start()
    assert hangs.wait(10)
    owe([Announcement(make_facts(), ("boss@example.com",))], NOW, database_alias())
    dispatch_owed.call_local()
    assert not Message.objects.exclude(sent_at=None).exists()
    answers.set()
    first.join(10)
    assert set(Message.objects.exclude(sent_at=None).values_list("address", flat=True)) == {
        "ops@example.com",
        "boss@example.com",
    }


@pytest.mark.parametrize("minute", [0, 1, 30, 59])
def test_it_comes_each_minute(minute: int) -> None:
    assert dispatch_owed.task_class().validate_datetime(datetime(2026, 11, 22, 8, minute, tzinfo=UTC))


@pytest.mark.parametrize("task", [tick_monitors, dispatch_owed, prune_history])
def test_a_periodic_task_that_no_worker_took_is_gone_before_the_next_one_comes(task: Any) -> None:
    assert 0 < task.task_class.default_expires < 60
