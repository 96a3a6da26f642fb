"""Refuses requests on which Django would fail instead of answering; no browser or mail provider sends them."""

from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIRequest

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def refusing(application: Application) -> Application:
    """WSGI middleware around Django's application: answers 400 to requests that Django cannot handle."""

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if why := refusal(environ):
            start_response("400 Bad Request", [("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff")])
            return [f"{why}\n".encode()]
        return application(environ, start_response)

    return respond


def refusal(environ: dict[str, Any]) -> str:
    """Why the request is refused; empty if it is not."""
    try:
        WSGIRequest(dict(environ))  # a copy, since WSGIRequest writes into it
    except Exception:  # such as a charset that is a Python codec but no text encoding: hex, zlib
        return "This request cannot be read"
    # Django reads these as NUL, which PostgreSQL accepts in no text, not even in the session key it is asked for.
    if "\\000" in environ.get("HTTP_COOKIE", ""):
        return "A cookie contains a NUL character"
    if "%00" in environ.get("QUERY_STRING", ""):
        return "A parameter contains a NUL character"
    return ""
