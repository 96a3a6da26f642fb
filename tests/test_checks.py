from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import checks
from django.db import OperationalError, ProgrammingError, connection
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.db.migrations.recorder import MigrationRecorder
from huey.contrib.djhuey import HUEY, task

from monitoring.checks import (
    _consumer_never_seen,
    _nobody_to_tell,
    _where_the_database_answers,
    check_consumer_was_seen,
    check_database_answers,
    check_isolation,
    check_queue_answers,
    check_somebody_is_told,
    check_stored_times,
    check_transaction_mode,
)
from monitoring.models import Monitor
from monitoring.tick import tick
from project import mailurl
from tests.factories import NOW, Wordless, make_monitor
from tests.smtp import send_through, use

pytestmark = pytest.mark.django_db  # Django's own checks may ask the database what it can do


def found(*ids: str) -> list[checks.CheckMessage]:
    return [message for message in checks.run_checks() if message.id in ids]


@pytest.fixture
def second_data_export() -> Iterator[None]:
    """Another task under a name that one of the demo has."""

    @task(name="data_export")
    def data_export() -> None:
        pass

    yield
    data_export.unregister()


def test_the_project_itself_has_nothing_to_complain_of() -> None:
    assert [message for message in checks.run_checks() if str(message.id).startswith("monitoring.")] == []


@pytest.mark.usefixtures("second_data_export")
def test_two_tasks_of_one_name_are_a_warning_that_names_it() -> None:
    (warning,) = found("monitoring.W001")
    assert warning.level == checks.WARNING
    assert "2 Huey tasks are registered under the name 'data_export'" in warning.msg
    assert "name='...'" in str(warning.hint)


def test_each_wrong_setting_is_an_error_at_start(settings: Any) -> None:
    settings.MONITORING = {"SITE_ULR": "https://example.org", "NOT_RECORDED": [3, 4], "DIGEST_OVER": "a\nb"}
    key, *names, number = found("monitoring.E001")
    assert "MONITORING has no key 'SITE_ULR'; its keys are SITE_URL, CONTEXT_FIELDS" in key.msg
    assert [error.msg[-1] for error in names] == ["3", "4"]
    assert number.msg == "MONITORING['DIGEST_OVER'] must be a whole number, not 'a\\nb'"


def test_a_context_field_that_the_model_lacks_is_an_error_at_start(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"gap.models.IngestorSession": "kind", "absent.models.Thing": "kind"})
    (error,) = found("monitoring.E003")
    assert "gap.IngestorSession has no field 'kind'" in error.msg


def test_times_without_zones_are_an_error_at_start(settings: Any) -> None:
    settings.USE_TZ = False
    (error,) = found("monitoring.E004")
    assert error.hint == "Set USE_TZ = True."


def test_a_database_that_runs_cannot_be_judged_on_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "oracle")
    (error,) = found("monitoring.E002")
    assert "The database 'default' is oracle" in error.msg


def found_in_the_database(*ids: str) -> list[checks.CheckMessage]:
    messages = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    return [message for message in messages if message.id in ids]


def test_a_monitor_that_nobody_would_hear_of_is_a_warning_that_names_it() -> None:
    make_monitor("told")
    assert found_in_the_database("monitoring.W002") == []
    make_monitor("mute", notify_to=[])
    make_monitor("off", notify_to=[], enabled=False)
    (warning,) = found_in_the_database("monitoring.W002")
    assert warning.level == checks.WARNING
    assert "about 'mute': no recipients" in warning.msg
    User.objects.create_superuser("root", "no address")
    assert found_in_the_database("monitoring.W002")
    User.objects.update(email="root@example.com")
    assert found_in_the_database("monitoring.W002") == []


@pytest.mark.parametrize(
    ("huey", "immediate", "is_said"),
    [
        ({"name": "tasks"}, True, True),
        ({"name": "tasks"}, False, False),
        ({"name": "tasks", "immediate": True}, True, False),
    ],
)
def test_a_queue_that_became_immediate_by_debug_is_a_warning(
    settings: Any, monkeypatch: pytest.MonkeyPatch, huey: dict[str, Any], immediate: bool, is_said: bool
) -> None:
    settings.HUEY = huey
    monkeypatch.setattr(HUEY, "_immediate", immediate)
    assert [str(message.hint)[:29] for message in found("monitoring.W008")] == [
        "Set HUEY['immediate'] = False"
    ] * is_said


def test_a_project_without_the_worker_command_gets_a_warning(settings: Any) -> None:
    assert found("monitoring.W007") == []
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "huey.contrib.djhuey"]
    (warning,) = found("monitoring.W007")
    assert "'huey.contrib.djhuey'" in str(warning.hint)


@pytest.mark.parametrize("applied", [["0001_initial"], []])
def test_migrations_that_are_not_applied_are_a_warning_that_names_them(applied: list[str]) -> None:
    assert found_in_the_database("monitoring.W009") == []
    recorder = MigrationRecorder(connection)
    recorder.migration_qs.filter(app="monitoring").exclude(name__in=applied).delete()
    (warning,) = found_in_the_database("monitoring.W009")
    assert "0007_storm" in warning.msg
    assert ("0001_initial" in warning.msg) is not applied
    assert warning.hint == "Run `manage.py migrate`."


def test_what_migrates_is_not_told_to_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    MigrationRecorder(connection).migration_qs.filter(app="monitoring").delete()
    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
    assert found_in_the_database("monitoring.W009") == []


def test_a_database_that_is_away_is_an_error_and_only_that() -> None:
    make_monitor(notify_to=[])

    def fails(*args: Any) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(fails):
        (error,) = [
            *check_database_answers(databases=["default"]),
            *check_somebody_is_told(databases=["default"]),
            *check_consumer_was_seen(databases=["default"]),
        ]
    assert (error.id, error.msg) == (
        "monitoring.E005",
        "The database 'default' does not answer: connection refused",
    )
    assert check_database_answers(databases=["elsewhere"]) == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionError("connection refused"), "ConnectionError: connection refused"),
        (Wordless(), "Wordless: it cannot be put into words"),
    ],
    ids=["refused", "wordless"],
)
def test_a_queue_that_is_away_is_a_warning_that_says_why(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> int:
        raise error

    assert found_in_the_database("monitoring.W010") == []
    monkeypatch.setattr(HUEY, "pending_count", fails)
    (warning,) = found_in_the_database("monitoring.W010")
    assert warning.msg == f"Huey's queue does not answer: {why}"
    assert check_queue_answers(databases=["elsewhere"]) == []


def test_of_many_monitors_that_nobody_would_hear_of_the_first_are_named() -> None:
    for number in range(7):
        make_monitor(f"m{number}", notify_to=[])
    (warning,) = found_in_the_database("monitoring.W002")
    assert "'m0', 'm1', 'm2', 'm3', 'm4' and 2 more" in warning.msg


def test_monitors_without_a_consumer_that_ever_ticked_are_a_warning() -> None:
    assert found_in_the_database("monitoring.W003") == []
    make_monitor()
    (warning,) = found_in_the_database("monitoring.W003")
    assert "run_huey" in str(warning.hint)
    tick(NOW)
    assert found_in_the_database("monitoring.W003") == []


def test_a_plain_check_asks_the_database_nothing_of_ours() -> None:
    make_monitor(notify_to=[])
    MigrationRecorder(connection).migration_qs.filter(app="monitoring").delete()
    assert found("monitoring.W002", "monitoring.W003", "monitoring.W009") == []


def test_before_the_tables_are_there_and_without_a_database_nothing_is_said() -> None:
    make_monitor(notify_to=[])

    def fails(*args: Any) -> None:
        raise ProgrammingError('relation "monitoring_monitor" does not exist')

    with connection.execute_wrapper(fails):
        assert _where_the_database_answers(["default"], _nobody_to_tell) == []
        assert _where_the_database_answers(["default"], _consumer_never_seen) == []
    assert Monitor.objects.count() == 1


@pytest.mark.parametrize("mode", [None, "DEFERRED", "IMMEDIATE", "immediate", "EXCLUSIVE"])
def test_sqlite_that_locks_too_late_is_a_warning_that_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, mode: str | None
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"transaction_mode": mode} if mode else {})
    messages = check_transaction_mode()
    assert bool(messages) is (mode in (None, "DEFERRED"))
    for message in messages:
        assert message.id == "monitoring.W004"
        assert "'default'" in message.msg
        assert "DATABASES['default']['OPTIONS'] = {'transaction_mode': 'IMMEDIATE'" in str(message.hint)


@pytest.mark.parametrize("zone", [None, "UTC", "Etc/UTC", "Asia/Tokyo"])
def test_sqlite_with_times_of_another_zone_is_an_error(monkeypatch: pytest.MonkeyPatch, zone: str | None) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", zone)
    messages = check_stored_times()
    assert [message.id for message in messages] == ["monitoring.E006"] * (zone == "Asia/Tokyo")


@pytest.mark.parametrize("level", [None, *IsolationLevel, 99])
def test_postgresql_that_fails_instead_of_waiting_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, level: IsolationLevel | None
) -> None:
    monkeypatch.setattr(connection, "vendor", "postgresql")
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"isolation_level": level} if level else {})
    waits = level in (None, IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    assert [message.id for message in check_isolation()] == ["monitoring.W011"] * (not waits)


@pytest.mark.parametrize("url", ["smtp://mx.example.org", "memory:", "anymail+mailgun://KEY@mg.example.org"])
def test_a_way_to_send_that_ends_waiting_is_right(settings: Any, url: str) -> None:
    send_through(url, settings)
    assert found("monitoring.W005") == []


def test_a_mail_server_that_could_hang_for_ever_is_a_warning(settings: Any) -> None:
    mailer = mailurl.parse("smtp://mx.example.org")
    use(mailurl.Mailer(mailer.backend, mailer.options | {"timeout": None}), settings)
    (warning,) = found("monitoring.W005")
    assert "hold up a worker for ever" in warning.msg
    assert "EMAIL_TIMEOUT" in str(warning.hint)
