"""Each address and each action, tried by each kind of person; the tables are in pages.py."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core import mail
from django.test import Client, RequestFactory
from django.urls import get_resolver

from monitoring.models import Alert, Delivery, DependentTask, Incident, Message, Monitor, MonitorState
from tests.security.conftest import address_of, client_of
from tests.security.pages import ACTIONS, PAGES, PEOPLE, THE_MONITOR, routes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("webhook", "_empty_queue")]

CHANGEABLE = (Monitor, MonitorState, DependentTask, Incident, Alert, Delivery, Message, Group)
# What is not there, and what has no page of its own on the site.
MISSING = {"admin/(?P<url>.*)$", "admin/r/<path:content_type_id>/<path:object_id>/"}


def snapshot() -> Any:
    """All that a page of the site can change, and whether it left a trace or a mail."""
    rows = [list(model._default_manager.order_by("pk").values()) for model in CHANGEABLE]
    users = list(User.objects.order_by("pk").values_list("pk", "password", "is_superuser", "is_staff", "is_active"))
    return rows, users, LogEntry.objects.count(), len(mail.outbox)


def is_refused(person: str, response: Any) -> bool:
    if person == "anonymous":
        return response.status_code == 401 or (response.status_code == 302 and response.url.startswith("/admin/login/"))
    return response.status_code in (403, 404)


def test_every_address_is_in_the_table_and_nothing_else() -> None:
    known = set(routes(get_resolver().url_patterns))
    assert sorted(known - set(PAGES)) == [], "say in tests/security/pages.py who may open these"
    assert sorted(set(PAGES) - known) == [], "these are gone: take them out of tests/security/pages.py"


def test_every_action_is_in_the_table_and_nothing_else(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = User.objects.create_superuser("boss")
    offered = {
        (str(model._meta.model_name), name)
        for model, model_admin in admin.site._registry.items()
        for name in model_admin.get_actions(request)
    }
    assert offered == set(ACTIONS), "say in tests/security/pages.py who may do these"


@pytest.mark.parametrize("route", PAGES)
def test_a_page_is_opened_and_changed_by_those_whom_it_is_for_alone(route: str, rows: dict[str, Any]) -> None:
    url, page = address_of(route, rows), PAGES[route]
    body = {name: rows["monitor"].pk if value == THE_MONITOR else value for name, value in page.body.items()}
    clients = {person: client_of(person) for person in PEOPLE}
    before = snapshot()
    for person, client in clients.items():
        response = client.get(url)
        if person in page.opens:
            opened = (404,) if route in MISSING else (200, 301, 302, 405, 503)
            assert response.status_code in opened, (person, response.status_code)
            assert "/login/" not in response.headers.get("Location", ""), person
        else:
            assert is_refused(person, response), (person, response.status_code)
    for person in sorted(PEOPLE, key=lambda person: person in page.writes):
        assert snapshot() == before, "opening pages, and posting by those who may not, changes nothing"
        clients[person].post(url, body)
        if person in page.writes:
            break  # the others of them would find it done
    assert (snapshot() != before) is bool(page.writes), "who may did change something"


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_an_action_is_done_for_those_who_may_alone(model: str, action: str, rows: dict[str, Any]) -> None:
    monitor = rows["monitor"]
    Monitor.objects.filter(pk=monitor.pk).update(enabled=action != "enable")
    url = f"/admin/{rows[model]._meta.app_label}/{model}/"
    body = {"action": action, "index": "0", "_selected_action": str(rows[model].pk), "post": "yes"}
    for person in sorted(PEOPLE, key=lambda person: person in ACTIONS[model, action]):
        client = client_of(person)
        before = snapshot()
        client.post(url, body)
        if person in ACTIONS[model, action]:
            assert snapshot() != before, f"{person} may, and nothing was done"
            break  # the others of them would find it done
        assert snapshot() == before, person
        assert f'value="{action}"' not in client.get(url).content.decode(), person


def test_who_is_inactive_or_no_staff_is_as_anonymous(rows: dict[str, Any]) -> None:
    client = Client()
    client.force_login(User.objects.create_user("outsider", is_superuser=True, is_staff=False))
    assert is_refused("anonymous", client.get("/admin/monitoring/monitor/"))
    user = User.objects.create_superuser("gone")
    client.force_login(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert is_refused("anonymous", client.get("/admin/monitoring/monitor/"))
