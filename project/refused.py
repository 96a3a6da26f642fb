"""Requests on which Django fails before, or where, it could answer; no browser and no mail provider sends them."""

from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIRequest

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def refusing(application: Application) -> Application:
    """WSGI middleware around Django's application: answers 400 to what Django cannot take."""

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if why := refusal(environ):
            start_response("400 Bad Request", [("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff")])
            return [f"{why}\n".encode()]
        return application(environ, start_response)

    return respond


def refusal(environ: dict[str, Any]) -> str:
    """Why, or nothing."""
    try:
        WSGIRequest(dict(environ))  # a copy, for it writes into it
    except Exception:  # such as a charset that is a codec of Python's but no text: hex, zlib
        return "This is no request that could be read"
    # Django reads it as NUL, which PostgreSQL takes in no text: not as the key of a session either.
    if "\\000" in environ.get("HTTP_COOKIE", ""):
        return "A cookie holds a NUL"
    return ""
