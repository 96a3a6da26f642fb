from collections.abc import Iterator
from typing import Any

import pytest
from django.core import checks
from django.db import connection
from huey.contrib.djhuey import task

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


def test_a_wrong_setting_is_an_error_at_start(settings: Any) -> None:
    settings.MONITORING = {"SITE_ULR": "https://example.org"}
    (error,) = found("monitoring.E001")
    assert "MONITORING has no setting 'SITE_ULR'" in error.msg


def test_a_context_field_that_the_model_lacks_is_an_error_at_start(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"gap.models.IngestorSession": "kind", "absent.models.Thing": "kind"})
    (error,) = found("monitoring.E003")
    assert "gap.IngestorSession has no field 'kind'" in error.msg


def test_a_database_that_runs_cannot_be_judged_on_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "oracle")
    (error,) = found("monitoring.E002")
    assert "The database 'default' is oracle" in error.msg
