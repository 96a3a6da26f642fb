import io
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler

from project.refused import refusal, refusing

# Django opens and closes connections around each request.
pytestmark = pytest.mark.django_db


def environ(**given: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/healthz",
        "SERVER_NAME": "monitor.example.org",
        "SERVER_PORT": "443",
        "HTTP_HOST": "monitor.example.org",
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "https",
        "wsgi.errors": io.StringIO(),
        **given,
    }


ODD = {
    "a codec that is no text": {"CONTENT_TYPE": "text/plain; charset=hex", "QUERY_STRING": "a=b"},
    "a codec of Python's own": {"CONTENT_TYPE": "text/plain; charset=undefined", "QUERY_STRING": "a=b"},
    "a charset with a NUL": {"CONTENT_TYPE": "text/plain; charset*=utf-8''%00"},
    "too many parameters in a charset": {"CONTENT_TYPE": "text/plain; charset=utf-8", "QUERY_STRING": "a=&" * 2_000},
    "a cookie with a NUL": {"HTTP_COOKIE": r'sessionid="\000aaaaaaaaaaaa"'},
    "a parameter with a NUL": {"QUERY_STRING": "name=%00"},
}


def asked(application: Any, request: dict[str, Any]) -> str:
    statuses: list[str] = []
    b"".join(application(request, lambda status, *rest: statuses.append(status)))
    return statuses[0]


@pytest.mark.parametrize("given", ODD.values(), ids=ODD)
def test_what_django_fails_on_is_answered_with_400(given: dict[str, str]) -> None:
    assert asked(refusing(WSGIHandler()), environ(**given)) == "400 Bad Request"


@pytest.mark.parametrize(
    "what", [what for what in ODD if what not in ("a cookie with a NUL", "a parameter with a NUL")]
)
def test_django_still_fails_on_it_itself(what: str) -> None:
    """Where it no longer does, this can go; these two take PostgreSQL to fail."""
    given = ODD[what]
    with pytest.raises(Exception, match=r".+"):
        asked(WSGIHandler(), environ(**given))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"CONTENT_TYPE": "application/json; charset=UTF-8"},
        {"CONTENT_TYPE": "multipart/form-data; boundary=B"},
        {"HTTP_COOKIE": 'sessionid=abc; messages="a\\054b"'},
        {"QUERY_STRING": "a=&" * 2_000},
        {"PATH_INFO": "/\xe2\x98\x83"},
    ],
)
def test_all_else_reaches_django_as_it_came(given: dict[str, str]) -> None:
    request = environ(**given)
    before = dict(request)
    assert refusal(request) == ""
    assert request == before
    assert asked(refusing(WSGIHandler()), request)
