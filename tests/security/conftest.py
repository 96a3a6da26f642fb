"""The whole site, with the provider's webhook, a row of everything, and each kind of person."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from monitoring.alerting.owing import Announcement, owe
from monitoring.models import Delivery, Incident, Message, Monitor, MonitorState, database_alias
from tests.admin.people import logged_in, staff
from tests.factories import make_facts, make_monitor, make_run
from tests.provider import webhook_of
from tests.security.pages import PEOPLE


@pytest.fixture
def webhook(settings: Any) -> Iterator[None]:
    with webhook_of(settings, "mailgun:" + "x" * 20):
        yield


@pytest.fixture
def _empty_queue() -> Any:
    yield
    HUEY.storage.flush_all()


def client_of(person: str) -> Client:
    if person == "anonymous":
        return Client()
    if person == "boss":
        return logged_in(User.objects.create_superuser("boss", "boss@example.com"))
    client = staff(*PEOPLE[person])
    User.objects.filter(email="").update(email="someone@example.com")
    return client


def make_rows(text: str = "nightly") -> dict[str, Any]:
    """By model, a row that every action can do something with; `text` stands wherever a stranger's words may."""
    now = timezone.now()
    monitor = make_monitor(f"{text} monitor"[:500], task_name=text, context_type="", dependent_tasks=[text])
    MonitorState.objects.filter(monitor=monitor).update(
        snoozed_until=now + timedelta(minutes=30), next_check_at=now - timedelta(hours=1)
    )
    run = make_run(
        text, "Stopped", task_id=f"{text} id"[:255], context_id=text, worker=text[:100], errors=text,
        earlier_errors=text, parameters=text, started_at=now - timedelta(minutes=1),
    )  # fmt: skip
    facts = make_facts(
        task_name=text,
        context_type=text,
        reason=text,
        task_id=run.task_id,
        current_status=text,
        dependent_tasks=(text,),
    )
    incident = Incident.objects.create(
        monitor=monitor, monitor_name=monitor.name, task_name=text, opened_at=now, last_failed_at=now,
        facts=facts.to_json(),
    )  # fmt: skip
    (alert,) = owe([Announcement(facts, ["ops@example.com"], incident)], now, database_alias())
    message = Message.objects.create(
        address="ops@example.com", subject=text, text=text, html="<p>hello</p>", created_at=now, next_attempt_at=now,
        gave_up_at=now, error=text, provider_said=text, bounced_at=now, attempts=1,
    )  # fmt: skip
    Delivery.objects.filter(alert=alert).update(message=message)
    return {"monitor": monitor, "backgroundtask": run, "incident": incident, "alert": alert, "message": message}


@pytest.fixture
def rows() -> dict[str, Any]:
    user = User.objects.create_user("somebody", "somebody@example.com")
    return make_rows() | {"user": user, "group": Group.objects.create(name="a group")}


def address_of(route: str, rows: dict[str, Any]) -> str:
    """The route, with the row of its model in its place."""
    model = route.split("/")[2] if route.count("/") > 2 else ""
    content_type = ContentType.objects.get_for_model(Monitor).pk
    places = {
        "<path:content_type_id>": content_type,
        "<path:object_id>": rows[model].pk if model in rows else rows["monitor"].pk,
        "<id>": rows[model].pk if model in rows else "",
        "^(?P<app_label>…)/$": "monitoring/",
        "(?P<url>.*)$": "nowhere",
    }
    for place, value in places.items():
        route = route.replace(place, str(value))
    return f"/{route}"
