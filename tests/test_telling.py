"""What is owed goes out with its evidence, and without it where that cannot be had."""

import logging
from typing import Any

import pytest
from django.core import mail as django_mail
from django.db import OperationalError, connection

from monitoring import telling
from monitoring.models import Alert, BackgroundTask, Message
from monitoring.telling import preview, tell
from monitoring.tick import check_config, check_monitors, judge_monitors
from monitoring.values.facts import AlertKind
from tests.factories import NOW, ago, make_expectation, make_monitor, make_run

pytestmark = pytest.mark.django_db(transaction=True)

OPS = ("ops@example.com",)


def test_a_mail_says_why() -> None:
    make_run(started_at=ago(days=1), finished_at=ago(days=1))
    run = make_run(status="Stopped", started_at=ago(minutes=5), errors="OSError: gone")
    check_config([make_expectation(notify_to=OPS)], NOW)
    (message,) = tell(NOW).sent
    assert "OSError: gone" in message.text
    assert "Last success: 2026-11-21 08:35:00 UTC: the data was 1 d old at the check" in message.text
    assert f"https://monitor.example.org/admin/monitoring/backgroundtask/{run.pk}/change/" in message.html


def test_the_mail_that_was_sent_is_the_one_with_the_evidence() -> None:
    make_run(status="Stopped", errors="OSError: gone")
    check_config([make_expectation(notify_to=OPS)], NOW)
    tell(NOW)
    assert "OSError: gone" in django_mail.outbox[0].body


def test_evidence_is_gathered_outside_any_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(*args: Any) -> Any:
        seen.append(connection.in_atomic_block)
        return gather(*args)

    gather = telling.gather
    monkeypatch.setattr(telling, "gather", look)
    make_run(status="Stopped")
    check_config([make_expectation(notify_to=OPS)], NOW)
    tell(NOW)
    assert seen == [False]


@pytest.mark.parametrize("many", [1, 12])
def test_evidence_that_cannot_be_gathered_delays_no_alert(caplog: pytest.LogCaptureFixture, many: int) -> None:
    check_config([make_expectation(f"task_{number}", notify_to=OPS) for number in range(many)], NOW)

    def away(execute: Any, sql: str, *args: Any) -> Any:
        if BackgroundTask._meta.db_table in sql:
            raise OperationalError("the server closed the connection")
        return execute(sql, *args)

    with connection.execute_wrapper(away):
        (message,) = tell(NOW).sent
    for number in range(many):
        assert f"task_{number} has not executed" in message.text
    assert "could not be looked up: OperationalError" in message.text
    assert [record.levelno for record in caplog.records if record.name == "monitoring"] == [logging.ERROR]


def test_facts_alone_go_out_where_the_context_model_is_gone_since() -> None:
    check_config([make_expectation(notify_to=OPS)], NOW)
    alert = Alert.objects.get()
    alert.facts |= {"context_model": "gone.models.Session", "context_type": "x"}
    alert.save()
    tell(NOW)
    text = Message.objects.get().text
    assert "daily_report has not executed" in text
    assert "could not be looked up: context model 'gone.models.Session': no installed app" in text


def test_a_recovery_says_for_how_long_it_failed_and_that_the_data_is_fresh() -> None:
    monitor = make_monitor()
    check_monitors([monitor], ago(hours=1))
    make_run(task_id="good", started_at=ago(minutes=5), finished_at=ago(minutes=1))
    check_monitors([monitor], NOW)
    tell(NOW)
    text = Message.objects.order_by("id").last().text  # type: ignore[union-attr]
    assert text.startswith("daily_report is as expected again: it failed for 1 h.\n")
    assert "Run: good\n" in text
    assert "Last success: 2026-11-22 08:34:00 UTC: the data is fresh again" in text


# Previews


def test_a_preview_of_what_fails_has_its_evidence() -> None:
    monitor = make_monitor()
    make_run(status="Stopped", errors="OSError: gone")
    (judged,) = judge_monitors([monitor], NOW).judged
    shown = preview(monitor, judged.outcome, NOW)
    assert (shown.facts.kind, shown.evidence.errors) == (AlertKind.STATUS_MISMATCH, "OSError: gone")
    assert shown.evidence.monitor_id == monitor.pk


@pytest.mark.parametrize("kind", AlertKind)
def test_a_preview_of_what_does_not_fail_is_a_sample_with_evidence(kind: AlertKind) -> None:
    monitor = make_monitor()
    make_run()
    (judged,) = judge_monitors([monitor], NOW).judged
    shown = preview(monitor, judged.outcome, NOW, kind)
    assert shown.facts.kind is kind
    assert bool(shown.evidence.opened_at) is (kind is not AlertKind.MONITOR_DOWN)
    assert bool(shown.evidence.runs) is (kind not in (AlertKind.NOT_JUDGED, AlertKind.MONITOR_DOWN))
