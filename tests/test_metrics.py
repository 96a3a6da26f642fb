import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from monitoring.checks import check_metrics
from monitoring.models import Message, database_now
from monitoring.tick import tick
from monitoring.views import metrics
from tests.factories import make_monitor, make_run
from tests.services import PROMTOOL

pytestmark = pytest.mark.django_db

TOKEN = "the-token-of-prometheus"
NAMES = {
    "monitors", "monitors_overdue", "incidents_open", "runs_last_hour", "mails_unsent", "mail_unsent_age_seconds",
    "mails_given_up_last_day", "tick_age_seconds", "round_duration_seconds", "recorders_alive", "events_dropped",
    "events_refused",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _token(monitoring_settings: Any) -> None:
    monitoring_settings(METRICS_TOKEN=TOKEN)


def ask(client: Client, **headers: str) -> HttpResponse:
    return client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"} | headers)


def busy_site() -> None:
    make_monitor("secret project", task_name="secret_task", due_at=timezone.now(), notify_to=["secret@example.com"])
    make_run("another_secret_task", submitted_at=timezone.now())
    tick(database_now())


def test_prometheus_own_tool_has_nothing_to_complain_of(client: Client) -> None:
    busy_site()
    content = ask(client).content
    checked = subprocess.run([PROMTOOL.path(), "check", "metrics"], input=content, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b""), content


def test_every_figure_is_there_and_nothing_of_the_sites_is_named(client: Client) -> None:
    busy_site()
    response = ask(client)
    assert (response.status_code, response["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "no-cache" in response["Cache-Control"]
    assert b"secret" not in response.content
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }
    assert found["monitoring_monitors", "failing"] == found["monitoring_incidents_open",] == 1
    assert found["monitoring_runs_last_hour", "Completed"] == 1
    assert found["monitoring_mails_unsent",] == 1
    assert 0 <= found["monitoring_tick_age_seconds",] < 60
    assert 0 < found["monitoring_round_duration_seconds",] < 60
    assert {name.removeprefix("monitoring_") for name, *_ in found} == NAMES


def test_who_wants_openmetrics_gets_it(client: Client) -> None:
    response = ask(client, Accept="application/openmetrics-text; version=1.0.0")
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.endswith(b"# EOF\n")


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_without_the_token_it_says_what_it_wants_and_nothing_else(client: Client, given: dict[str, str]) -> None:
    busy_site()
    response = client.get("/metrics", headers=given)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert response.content == b"Send the token METRICS_TOKEN as 'Authorization: Bearer TOKEN', or log in as staff\n"


@pytest.mark.parametrize(
    "given", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}, {"Authorization": ""}]
)
def test_where_no_token_is_set_none_is_right(client: Client, monitoring_settings: Any, given: dict[str, str]) -> None:
    monitoring_settings(METRICS_TOKEN="")
    assert client.get("/metrics", headers=given).status_code == 401


@pytest.mark.parametrize(("rights", "status"), [({"is_staff": True}, 200), ({}, 401)])
def test_staff_who_are_logged_in_need_no_token(client: Client, rights: dict[str, bool], status: int) -> None:
    user = User.objects.create_user("person", **rights)
    client.force_login(user)
    assert client.get("/metrics").status_code == status
    user.is_active = False
    user.save()
    assert client.get("/metrics").status_code == 401


def test_a_project_without_sessions_knows_the_token_alone() -> None:
    requests = RequestFactory()
    assert metrics(requests.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 200
    assert metrics(requests.get("/metrics")).status_code == 401


def test_a_database_that_is_away_is_said(client: Client) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("could not connect to server: 10.0.0.7")

    with connection.execute_wrapper(away):
        response = ask(client)
    assert (response.status_code, response.content) == (503, b"Cannot query the database\n")


def test_it_is_only_read(client: Client) -> None:
    assert client.post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405
    assert Message.objects.count() == 0


@pytest.fixture
def without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed."""
    for name in [name for name in sys.modules if name.split(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "monitoring.metrics", raising=False)

    class Nowhere:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> None:
            if name.split(".")[0] == "prometheus_client":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Nowhere, *sys.meta_path])


@pytest.mark.usefixtures("without_prometheus_client")
def test_without_the_extra_the_answer_says_what_to_install_to_who_may_know(client: Client) -> None:
    response = ask(client)
    assert response.status_code == 404
    assert response.content == b"There are no metrics without prometheus-client; install the extra 'metrics'\n"
    assert client.get("/metrics").status_code == 401
    assert client.get("/healthz").status_code == 200


def test_a_token_without_the_extra_is_a_warning_at_start(
    monkeypatch: pytest.MonkeyPatch, monitoring_settings: Any
) -> None:
    assert check_metrics() == []
    monkeypatch.setattr("monitoring.checks.find_spec", lambda name: None)
    (warning,) = check_metrics()
    assert (warning.id, "METRICS_TOKEN" in warning.msg) == ("monitoring.W006", True)
    monitoring_settings(METRICS_TOKEN="")
    assert check_metrics() == []
