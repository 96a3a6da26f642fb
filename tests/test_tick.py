import gc
import logging
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail as django_mail
from django.db import connection, transaction

from monitoring.alerting.mail import render
from monitoring.alerting.outbox import dispatch
from monitoring.models import Alert, BackgroundTask, Delivery, Message
from monitoring.tick import Round, check_config, judge_config, uncollected
from monitoring.values.facts import Facts, facts_of
from monitoring.values.outcome import Verdict
from tests.alerting import overriding
from tests.alerting.overriding import ALERT_HTML, ALERT_TEXT, override
from tests.factories import NOW, ago, make_expectation, make_run

pytestmark = pytest.mark.django_db

OPS = ("ops@example.com",)


def owed() -> list[tuple[str, str]]:
    return sorted(Delivery.objects.values_list("alert__task_name", "address"))


def told(found: Round) -> list[tuple[str, tuple[str, ...]]]:
    return [(said.facts.task_name, said.recipients) for said in found.announcements]


# What is found and owed


def test_a_completed_run_in_the_window_owes_nothing() -> None:
    make_run()
    found = check_config([make_expectation(notify_to=OPS)], NOW)
    assert [judged.outcome.verdict for judged in found.judged] == [Verdict.AS_EXPECTED]
    assert (found.announcements, found.undeliverable, found.nobody_to_tell) == ((), (), "")
    assert Alert.objects.count() == 0


def test_each_failing_task_owes_an_alert_and_the_others_do_not() -> None:
    make_run("stopped", "Stopped")
    make_run("fine")
    expectations = [make_expectation(name, notify_to=OPS) for name in ("stopped", "fine", "absent")]
    found = check_config(expectations, NOW)
    assert [judged.outcome.verdict for judged in found.judged] == [
        Verdict.STATUS_MISMATCH,
        Verdict.AS_EXPECTED,
        Verdict.NOT_EXECUTED,
    ]
    assert told(found) == [("stopped", OPS), ("absent", OPS)]
    assert owed() == [("absent", *OPS), ("stopped", *OPS)]
    assert list(Alert.objects.order_by("id").values_list("kind", "created_at")) == [
        ("mismatch", NOW),
        ("not-executed", NOW),
    ]


def test_an_alert_holds_the_facts_of_the_outcome() -> None:
    run = make_run(status="Stopped", finished_at=NOW)
    expectation = make_expectation(notify_to=OPS, lookback_hours=1.5, dependent_tasks=("data_export",))
    (judged,) = check_config([expectation], NOW).judged
    facts = Facts.from_json(Alert.objects.get().facts)
    assert facts == facts_of(judged.outcome)
    assert (facts.current_status, facts.started_at, facts.finished_at) == ("Stopped", run.started_at, NOW)
    assert (facts.lookback_hours, facts.dependent_tasks, facts.check_time) == (1.5, ("data_export",), NOW)


def test_a_config_has_no_memory() -> None:
    """Two failing checks owe two alerts, and one that is fine owes no word of it."""
    for _ in range(2):
        check_config([make_expectation(notify_to=OPS)], NOW)
    assert owed() == [("daily_report", *OPS)] * 2
    make_run()
    check_config([make_expectation(notify_to=OPS)], NOW)
    assert len(owed()) == 2


def test_judging_alone_writes_logs_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    found = judge_config([make_expectation(notify_to=OPS), make_expectation("orphan")], NOW)
    assert told(found) == [("daily_report", OPS), ("orphan", ())]
    assert [model.objects.count() for model in (Alert, Delivery, Message)] == [0, 0, 0]
    assert caplog.records == []


def test_a_run_that_waits_is_told_as_evidence() -> None:
    make_run(status="Queued", started_at=None, submitted_at=ago(minutes=50))
    check_config([make_expectation(notify_to=OPS)], NOW)
    dispatch(NOW)
    (mail,) = django_mail.outbox
    assert "Current status: No execution found\n" in mail.body
    assert "Unstarted run: Queued, submitted 2026-11-22 07:45:00 UTC\n" in mail.body


# Who is told


def test_notify_to_is_told_and_superusers_are_not_added() -> None:
    User.objects.create_superuser("root", "root@example.com")
    found = check_config([make_expectation(notify_to=("a@example.com", "b@example.com"))], NOW)
    assert told(found) == [("daily_report", ("a@example.com", "b@example.com"))]
    assert owed() == [("daily_report", "a@example.com"), ("daily_report", "b@example.com")]


def test_without_notify_to_every_superuser_is_told() -> None:
    User.objects.create_superuser("root", "root@example.com")
    User.objects.create_superuser("boss", "boss@example.com")
    check_config([make_expectation("one"), make_expectation("two", notify_to=OPS)], NOW)
    assert owed() == [("one", "boss@example.com"), ("one", "root@example.com"), ("two", *OPS)]


def test_superusers_are_asked_for_once_and_only_if_something_failed(django_assert_num_queries: Any) -> None:
    make_run("fine")
    fine, failing = make_expectation("fine"), [make_expectation(f"absent_{number}") for number in range(5)]
    with django_assert_num_queries(1):
        judge_config([fine], NOW)
    with django_assert_num_queries(3):  # runs, outages, superusers
        judge_config([fine, *failing], NOW)


def test_nobody_to_tell_stops_no_other_is_logged_whole_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    expectations = [make_expectation("orphan"), make_expectation("other", notify_to=OPS), make_expectation("waif")]
    found = check_config(expectations, NOW)
    assert owed() == [("other", *OPS)]
    assert set(Alert.objects.filter(deliveries=None).values_list("task_name", flat=True)) == {"orphan", "waif"}
    assert found.nobody_to_tell == (
        "notify_to is empty but no superuser found for task 'orphan'; "
        "notify_to is empty but no superuser found for task 'waif'"
    )
    assert [(record.name, record.levelno) for record in caplog.records] == [("monitoring", logging.ERROR)] * 2
    for record, facts in zip(caplog.records, found.undeliverable, strict=True):
        mail = render(facts)
        assert mail.subject in record.getMessage()
        assert mail.text in record.getMessage()


def test_an_alert_that_nobody_could_be_told_about_is_not_sent_to_whom_came_later() -> None:
    check_config([make_expectation("orphan")], NOW)
    User.objects.create_superuser("root", "root@example.com")
    assert dispatch(NOW).sent == ()


# Nothing else happens in the transaction that judges


@pytest.mark.parametrize("name", [ALERT_HTML, ALERT_TEXT])
def test_a_template_that_fails_undoes_nothing(settings: Any, tmp_path: Path, name: str) -> None:
    override(settings, tmp_path, name, "{% if %}")
    found = check_config([make_expectation("other", notify_to=OPS), make_expectation("orphan")], NOW)
    assert len(found.announcements) == 2
    assert owed() == [("other", *OPS)]
    assert Alert.objects.count() == 2
    assert len(dispatch(NOW).sent) == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_rendered_in_a_transaction(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, int]] = []
    monkeypatch.setattr(overriding, "happens", lambda: seen.append((connection.in_atomic_block, Alert.objects.count())))
    override(settings, tmp_path, ALERT_HTML, "{% load overriding %}{% happen %}")
    check_config([make_expectation("orphan"), make_expectation("other", notify_to=OPS)], NOW)
    assert seen == [(False, 2)], "only what goes to the log, after all was written"
    dispatch(NOW)
    assert seen == [(False, 2)] * 2


@pytest.mark.django_db(transaction=True)
def test_a_check_is_never_part_of_another_transaction() -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        check_config([make_expectation(notify_to=OPS)], NOW)
    assert Alert.objects.count() == 0


def test_what_is_said_is_what_was_true_when_it_was_judged() -> None:
    run = make_run(status="Stopped")
    check_config([make_expectation(notify_to=OPS)], NOW)
    BackgroundTask.objects.filter(pk=run.pk).update(status="Completed")
    dispatch(NOW)
    assert "Current status: Stopped\n" in django_mail.outbox[0].body


def test_the_garbage_collector_rests_for_a_round_and_is_left_as_it_was() -> None:
    with uncollected():
        assert not gc.isenabled()
        with uncollected():  # two workers of one process
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
