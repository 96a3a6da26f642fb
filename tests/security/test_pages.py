"""What holds for every address of the site, ours and the admin's, whoever asks: headers, forms, forged posts."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from monitoring.admin.parts import FRAME_HEADERS
from project.csp import HEADER, POLICY
from tests.security.conftest import address_of, client_of
from tests.security.pages import PAGES

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("webhook", "_empty_queue")]

# A mail's HTML part, in a frame of its own.
FRAMES = {
    "admin/monitoring/monitor/<path:object_id>/mail/",
    "admin/monitoring/message/<path:object_id>/html/",
}
# Django lets browsers keep these.
WITHOUT_DATA = {"admin/jsi18n/", "admin/password_change/", "admin/password_change/done/"}
# Who posts there is no browser: the webhook knows a secret instead.
WITHOUT_TOKEN = {"anymail/mailgun/tracking/"}


@pytest.fixture
def _production(settings: Any) -> None:
    """As project/settings.py has it without DEBUG; `check --deploy` in tests/project/test_deploy.py holds that."""
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 365 * 24 * 3600
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True


class Markup(HTMLParser):
    """What a policy without 'unsafe-inline' would block, and forms that post without a token."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.unguarded: list[str] = []
        self._form: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_data = (given.get("type") or "").startswith("application/json")
        if tag == "style" or (tag == "script" and "src" not in given and not is_data):
            self.inline.append(tag)
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        self.inline += [
            f"{tag} {name}" for name, value in attrs if (value or "").strip().lower().startswith("javascript:")
        ]
        if tag == "form" and (given.get("method") or "").lower() == "post":
            self._form = str(attrs)
        if tag == "input" and given.get("name") == "csrfmiddlewaretoken":
            self._form = None

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._form:
            self.unguarded.append(self._form)
            self._form = None


@pytest.mark.usefixtures("_production")
@pytest.mark.parametrize("route", PAGES)
@pytest.mark.parametrize("person", ["anonymous", "boss"])
def test_every_answer_has_the_headers_that_a_browser_heeds(person: str, route: str, rows: dict[str, Any]) -> None:
    response = client_of(person).get(address_of(route, rows), secure=True)
    if route in FRAMES and response.status_code == 200:
        assert response[HEADER] == FRAME_HEADERS[HEADER]
        assert response["X-Frame-Options"] == "SAMEORIGIN"
    else:
        assert response[HEADER] == POLICY
        assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "Access-Control-Allow-Origin" not in response
    for cookie in response.cookies.values():
        assert cookie["secure"], cookie
        assert cookie["samesite"] == "Lax", cookie
    if person == "boss" and response.status_code == 200 and route.startswith("admin/") and route not in WITHOUT_DATA:
        assert "no-store" in response["Cache-Control"], "no browser or proxy keeps a page with the site's data"


@pytest.mark.usefixtures("_production")
def test_a_session_is_no_scripts_business(rows: dict[str, Any]) -> None:
    rows["user"].set_password("correct horse battery")
    rows["user"].is_staff = True
    rows["user"].save()
    credentials = {"username": "somebody", "password": "correct horse battery"}
    response = Client().post("/admin/login/", credentials, secure=True)
    assert response.status_code == 302
    cookie = response.cookies["sessionid"]
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Lax")


def test_frames_of_mails_run_no_script_send_no_form_and_load_no_style_of_others() -> None:
    policy = FRAME_HEADERS[HEADER]
    assert policy.startswith("default-src 'none';")
    assert policy.endswith("sandbox")
    assert not re.search(r"script-src|allow-|form-action", policy)


@pytest.mark.parametrize("route", sorted(set(PAGES) - FRAMES))
def test_a_page_has_nothing_inline_and_a_token_in_each_form(route: str, rows: dict[str, Any]) -> None:
    response = client_of("boss").get(address_of(route, rows), follow=True)
    markup = Markup(response.content.decode())
    assert markup.inline == []
    assert markup.unguarded == []


@pytest.mark.parametrize("route", PAGES)
def test_a_post_without_a_token_is_refused_before_anything_looks_at_it(route: str, rows: dict[str, Any]) -> None:
    client = client_of("boss")
    client.handler.enforce_csrf_checks = True
    url, body = address_of(route, rows), PAGES[route].body
    assert client.post(url, body).status_code == (400 if route in WITHOUT_TOKEN else 403)
    evil = {"HTTP_ORIGIN": "https://evil.example", "HTTP_REFERER": "https://evil.example/"}
    assert client.post(url, body, secure=True, **evil).status_code == (400 if route in WITHOUT_TOKEN else 403)


EVIL = ["https://evil.example/", "//evil.example", "\\\\evil.example", "javascript:alert(1)", "https:///evil.example"]


@pytest.mark.parametrize("target", EVIL)
def test_no_next_leads_away_from_the_site(target: str, rows: dict[str, Any], settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # only since it is quick
    rows["user"].set_password("correct horse battery")
    rows["user"].is_staff = True
    rows["user"].save()
    credentials = {"username": "somebody", "password": "correct horse battery", "next": target}
    asked = [
        Client().post("/admin/login/", credentials),
        client_of("boss").post("/admin/logout/", {"next": target}),
        Client().get("/", {"next": target}),
        Client().get(f"/{target}"),
        Client().get(f"/{target}/"),
    ]
    for response in asked:
        assert response.status_code in (200, 302, 301, 404)
        assert "evil" not in response.headers.get("Location", "").partition("?")[0]


@pytest.mark.parametrize("target", EVIL)
def test_no_action_heeds_where_it_is_told_to_lead(target: str, rows: dict[str, Any]) -> None:
    body = {"action": "snooze_hour", "index": "0", "_selected_action": rows["monitor"].pk, "next": target}
    response = client_of("boss").post("/admin/monitoring/monitor/", body, HTTP_REFERER=target)
    assert (response.status_code, response.url) == (302, "/admin/monitoring/monitor/")


BIG = 3_000_000  # bytes; Django reads 2.5 MB at most


@pytest.mark.parametrize("path", ["/admin/login/", "/anymail/mailgun/tracking/", "/healthz", "/readyz", "/"])
def test_what_is_too_big_is_not_read(path: str) -> None:
    body = b"username=" + b"x" * BIG
    many = "&".join(f"field{number}=1" for number in range(5_000))
    for body in (b"username=" + b"x" * BIG, many):
        response = Client().post(path, body, content_type="application/x-www-form-urlencoded")
        assert response.status_code == {"/healthz": 405, "/readyz": 405, "/": 302}.get(path, 400)
