from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from monitoring.models import Heartbeat, Message
from tests.factories import ago, make_monitor


def test_healthz_answers_without_a_database(client: Client) -> None:
    """pytest-django refuses the database to a test that does not ask for it."""
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


@pytest.mark.django_db
def test_readyz_is_ready_while_a_consumer_ticks(client: Client, django_assert_max_num_queries: Any) -> None:
    Heartbeat.objects.create(name="tick", beat_at=timezone.now())
    with django_assert_max_num_queries(8):
        response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True})
    assert "no-cache" in response["Cache-Control"]


@pytest.mark.django_db
def test_readyz_says_each_reason_and_names_no_monitor(client: Client) -> None:
    make_monitor("secret project", due_at=ago(days=1))
    Heartbeat.objects.create(name="tick", beat_at=ago(days=1))
    response = client.get("/readyz")
    assert response.status_code == 503
    body = response.json()
    assert body["ready"] is False
    assert [reason.split()[:2] for reason in body["reasons"]] == [["No", "worker"], ["1", "monitor"]]
    assert b"secret project" not in response.content


def stuck() -> None:
    made = {"address": "ops@example.com", "subject": "s", "text": "t", "html": "h"}
    long_ago = timezone.now() - timedelta(minutes=31)
    Message.objects.create(**made, created_at=long_ago, next_attempt_at=long_ago)


def dropped() -> None:
    Heartbeat.objects.create(name="secret-host:1:a", beat_at=timezone.now(), dropped=2, trouble_at=timezone.now())


REASONS: dict[str, tuple[Callable[[], object], str]] = {
    "tick": (
        lambda: Heartbeat.objects.update(beat_at=timezone.now() - timedelta(minutes=4)),
        "No worker has run checks",
    ),
    "overdue": (lambda: make_monitor("secret project", due_at=ago(days=1)), "1 monitor is overdue by more than 5 min"),
    "stuck": (stuck, "1 mail is still not sent after 30 minutes"),
    "dropped": (dropped, "2 events of runs were dropped because too many were waiting"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("reason", REASONS)
def test_readyz_is_red_for_each_reason_alone_says_it_and_names_nothing(client: Client, reason: str) -> None:
    Heartbeat.objects.create(name="tick", beat_at=timezone.now())
    goes_wrong, words = REASONS[reason]
    goes_wrong()
    response = client.get("/readyz")
    assert response.status_code == 503
    (said,) = response.json()["reasons"]
    assert said.startswith(words)
    assert b"secret" not in response.content


@pytest.mark.django_db
def test_readyz_says_that_no_consumer_ever_ticked(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["No worker has run checks yet. Is `manage.py run_huey` running?"]


@pytest.mark.django_db
def test_readyz_says_that_the_database_is_away(client: Client) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("could not connect to server: 10.0.0.7")

    with connection.execute_wrapper(away):
        response = client.get("/readyz")
    assert (response.status_code, response.json()) == (
        503,
        {"ready": False, "reasons": ["Cannot query the database"]},
    )


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_they_are_only_read(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


def test_they_answer_without_https_to_who_probes_the_process(client: Client, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]
    assert client.get("/healthz").status_code == 200
    assert client.get("/admin/").status_code == 301
