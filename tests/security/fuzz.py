"""Odd requests, many of them, put to the application as it is deployed: none may end in a 500 or show a traceback.

    python -m tests.security.fuzz --requests 20000 --seed 1 --database postgres

What a server refuses before an application sees it (control characters in headers, lines without end) is left to it.
"""

import argparse
import base64
import contextlib
import io
import json
import logging
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from project.logs import LineFormatter
from tests.services import postgres_server

HOST = "monitor.example.org"
WEBHOOK = "/anymail/mailgun/tracking/"

PATHS = (
    "/healthz", "/readyz", "/", WEBHOOK, "/admin/login/", "/admin/", "/admin/logout/", "/admin/jsi18n/",
    "/admin/monitoring/monitor/", "/admin/monitoring/monitor/1/overview/", "/admin/monitoring/message/1/html/",
    "/admin/monitoring/monitor/import/", "/admin/r/1/1/", "/admin/nowhere", "/static/monitoring/admin.css",
    "/static/admin/css/base.css", "/static/nowhere.css", "/favicon.ico", "/.env", "/anymail/postmark/tracking/",
)  # fmt: skip
WORDS = (
    "", "x", "1", "-1", "9" * 40, "1e999", "NaN", "null", "[]", "é", "\u202e", "\U0001f6f0", "\0",
    "\r\nSet-Cookie: a=b", "..", "/../../etc/passwd", "//evil.example", "\\\\evil.example", "http://[::1", "https://evil.example/",
    "javascript:alert(1)", "' OR 1=1 --", "<script>alert(1)</script>", "{{ 7*7 }}", "{% debug %}", "%s%n", "%00",
    "\x1b[2J", "a" * 5_000,
)  # fmt: skip
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "GE-T",
    "",
)
ODD_HOSTS = (f"{HOST}:443", f"{HOST}.", "evil.example", "", "[::1", "a" * 300, "x y", "\xe9")
CHARSETS = ("utf-8", "latin-1", "utf-16", "utf-7", "rot13", "hex", "zlib", "base64", "idna", "undefined", "nowhere", "")
TYPES = (
    "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=B", "multipart/form-data",
    "multipart/form-data; boundary=\xe9", "multipart/mixed; boundary=B", "text/plain",
    "text/plain; charset*=utf-8''%00", "; ; =", "a" * 2_000, "",
)  # fmt: skip
COOKIES = (
    'sessionid="\\000aaaaaaaaaaaa"', "sessionid=x", "sessionid=" + "a" * 32, 'sessionid="\\355\\240\\200aaaaaaaaa"',
    "csrftoken=x", 'csrftoken="\\000"', "csrftoken=" + "a" * 32, "messages=x", 'messages="[[\\"__json_message\\"]]"',
    "a=b; a=c; =; ;;", "\xe9=\xe9",
)  # fmt: skip
DATES = ("Tue, 24 Nov 2026 08:35:00 GMT", "Tue, 99 Nov 99999 99:99:99 GMT", "x", "")
HEADERS: dict[str, tuple[str, ...]] = {
    "HTTP_COOKIE": COOKIES,
    "HTTP_RANGE": ("bytes=0-1", "bytes=-1", "bytes=9-1", "bytes=x", "bytes=" + "9" * 99 + "-", "lines=1", "bytes=0-,"),
    "HTTP_IF_MODIFIED_SINCE": DATES,
    "HTTP_IF_UNMODIFIED_SINCE": DATES,
    "HTTP_IF_NONE_MATCH": ('"x"', "*", "W/", "x", '"'),
    "HTTP_IF_MATCH": ('"x"', "*"),
    "HTTP_ACCEPT": ("text/html", "*/*;q=x", "\xe9", ";", "a/b;q=" + "9" * 99),
    "HTTP_ACCEPT_ENCODING": ("gzip", "br", "gzip;q=x", "\xe9", "*"),
    "HTTP_ACCEPT_LANGUAGE": ("de", "x" * 600, "../..", "\xe9"),
    "HTTP_AUTHORIZATION": (
        "Basic", "Basic =", "Basic /w==", "Basic " + base64.b64encode(b"\xff:\0").decode(), "Bearer x", "\xe9", " ",
    ),
    "HTTP_REFERER": ("http://[", f"https://{HOST}/", "https://evil.example/", "\xe9", "x" * 5_000),
    "HTTP_ORIGIN": ("http://[", "null", f"https://{HOST}", "https://evil.example", "\xe9"),
    "HTTP_X_FORWARDED_PROTO": ("http", "https, http", "x"),
    "HTTP_X_FORWARDED_HOST": ("evil.example",),
    "HTTP_X_FORWARDED_FOR": ("\xe9", "1.2.3.4, x"),
    "HTTP_X_HTTP_METHOD_OVERRIDE": ("DELETE",),
    "HTTP_X_CSRFTOKEN": ("x", "\xe9", "a" * 64),
    "HTTP_X_REQUESTED_WITH": ("XMLHttpRequest",),
    "HTTP_TRANSFER_ENCODING": ("chunked", "x"),
    "HTTP_CONTENT_ENCODING": ("gzip", "x"),
    "HTTP_EXPECT": ("100-continue",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """As a WSGI server hands it over: text in Latin-1, as the standard (PEP 3333) has it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def environ(self) -> dict[str, Any]:
        return {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **self.headers,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """`failure` is what came out of the application instead, a traceback."""

    status: int
    body: bytes
    failure: str = ""


@dataclass(slots=True)
class Tally:
    """What came of all requests; `wrong` are those that show a fault."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0


def requests(seed: int) -> Iterator[Request]:
    """Without end, and the same for the same seed."""
    chance = random.Random(seed)
    while True:
        body, length = _body(chance)
        yield Request(_method(chance), _path(chance), _query(chance), _headers(chance) | length, body)


def _method(chance: random.Random) -> str:
    return chance.choice(METHODS) if chance.random() < 0.3 else chance.choice(("GET", "POST", "HEAD"))


def _path(chance: random.Random) -> str:
    path = chance.choice(PATHS)
    match chance.randrange(10):
        case 0:
            path += chance.choice(WORDS)
        case 1:
            path = "/" + "/".join(chance.choice(WORDS) for _ in range(chance.randrange(1, 4)))
        case 2:
            place = chance.randrange(len(path))
            path = path[:place] + chance.choice(WORDS) + path[place:]
        case 3:
            return path + chance.randbytes(chance.randrange(1, 20)).decode("latin-1")
    return path.encode("utf-8", "surrogatepass").decode("latin-1")


def _query(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return ""
    if chance.random() < 0.2:
        return chance.randbytes(30).decode("latin-1").translate(dict.fromkeys((*range(33), 127)))
    names = ("next", "q", "p", "o", "all", "_popup", "_to_field", "x", "\0", "status__exact", "older_than")
    number = 1_500 if chance.random() < 0.02 else chance.randrange(1, 5)
    return "&".join(f"{quote(chance.choice(names))}={quote(chance.choice(WORDS))}" for _ in range(number))


def _headers(chance: random.Random) -> dict[str, str]:
    wanted = chance.sample(sorted(HEADERS), chance.randrange(5))
    headers = {"HTTP_X_FORWARDED_PROTO": "https"} | {name: chance.choice(HEADERS[name]) for name in wanted}
    if chance.random() < 0.2:
        headers[f"HTTP_{chance.choice(('X_ODD', 'VIA', 'TE', 'USER_AGENT'))}"] = _header(chance)
    return headers | {"HTTP_HOST": chance.choice(ODD_HOSTS) if chance.random() < 0.1 else HOST}


def _header(chance: random.Random) -> str:
    """Any characters but those that no server lets through."""
    return "".join(chr(chance.choice((*range(32, 127), *range(128, 256)))) for _ in range(chance.randrange(200)))


def _body(chance: random.Random) -> tuple[bytes, dict[str, str]]:
    """And what the headers say of it, which need not be so."""
    if chance.random() < 0.4:
        return b"", {}
    fields = {chance.choice(("username", "password", "next", "signature", "x")): chance.choice(WORDS) for _ in range(4)}
    body = chance.choice(
        (
            "&".join(f"{name}={quote(value)}" for name, value in fields.items()).encode(),
            json.dumps(
                chance.choice((fields, [fields], {"signature": fields, "event-data": fields}, None, 1))
            ).encode(),
            "".join(
                f'--B\r\nContent-Disposition: form-data; name="{name}"{chance.choice(("", "; filename=x"))}\r\n\r\n'
                f"{value}\r\n"
                for name, value in fields.items()
            ).encode("utf-8", "surrogatepass")
            + chance.choice((b"--B--\r\n", b"", b"--B")),
            chance.randbytes(chance.randrange(2_000)),
            b"x=" + b"a" * 3_000_000 if chance.random() < 0.05 else b"[" * 5_000,
        )
    )
    kind = chance.choice(TYPES)
    if chance.random() < 0.3:
        kind += f"; charset={chance.choice(CHARSETS)}"
    length = str(len(body)) if chance.random() < 0.9 else chance.choice(("-1", "x", "0", "9" * 30, str(len(body) + 9)))
    return body, {"CONTENT_TYPE": kind, "CONTENT_LENGTH": length}


def ask(application: Callable[..., Any], request: Request) -> Answer:
    """Reads all of the answer, as a server would."""
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        statuses.append(status)
        for name, value in headers:
            assert not set("\r\n\0") & set(name + value), f"header broken by a request: {name}: {value!r}"
            value.encode("latin-1")

    try:
        answer = application(request.environ(), start_response)
        with contextlib.closing(answer) if hasattr(answer, "close") else contextlib.nullcontext():
            body = b"".join(answer)
    except Exception:
        return Answer(0, b"", traceback.format_exc())
    return Answer(int(statuses[-1].split()[0]), body)


def fuzz(application: Callable[..., Any], number: int, seed: int) -> Tally:
    tally, logged, root = Tally(), _Logged(), logging.getLogger()
    handlers, root.handlers = root.handlers, [logged]
    for request, _ in zip(requests(seed), range(number), strict=False):
        logged.failures.clear()
        began = time.monotonic()
        answer = ask(application, request)
        tally.slowest = max(tally.slowest, time.monotonic() - began)
        tally.statuses[answer.status] += 1
        shown = "Traceback" if b"Traceback (most recent call last)" in answer.body else ""
        ready = request.path == "/readyz" and answer.status == 503  # no consumer ticks here
        fault = answer.failure or shown or "\n".join(logged.failures)
        if fault or (answer.status >= 500 and not ready):
            tally.wrong.append(f"{answer.status} for {request!r:.2000}\n{fault}")
    root.handlers = handlers
    return tally


class _Logged(logging.Handler):
    """Tracebacks that a request left in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "Traceback (most recent call last)" in (said := LineFormatter().format(record)):
            self.failures.append(said)


def production(folder: str, database: str) -> dict[str, str]:
    return {
        "DEBUG": "0",
        "SECRET_KEY": "".join(chr(33 + n * 7 % 90) for n in range(60)),
        "SITE_URL": f"https://{HOST}",
        "DEFAULT_FROM_EMAIL": f"monitor@{HOST}",
        "EMAIL_URL": "anymail+mailgun://KEY@mg.example.org",
        "ANYMAIL_WEBHOOK_SECRET": "mailgun:a-long-enough-password",
        "ANYMAIL_SIGNING_KEY": "a-signing-key",
        "BEHIND_PROXY": "1",
        "DATABASE_URL": database,
        "HUEY_URL": f"sqlite:{folder}/huey.sqlite3",
        "VAR_DIR": folder,
    }


def deployed() -> Callable[..., Any]:
    """The application that gunicorn serves, with its tables and its static files."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    from project.wsgi import application

    return application


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security.fuzz")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    with contextlib.ExitStack() as resources:
        folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="monitoring-fuzz-"))
        postgres = options.database == "postgres"
        database = resources.enter_context(postgres_server()) if postgres else f"sqlite:///{folder}/db.sqlite3"
        os.environ.update(production(folder, database))
        tally = fuzz(deployed(), options.requests, options.seed)
        from django.db import connections

        connections.close_all()
    counts = ", ".join(f"{number:,} times {status}" for status, number in sorted(tally.statuses.items()))
    print(f"{tally.statuses.total():,} requests on {options.database}, seed {options.seed}: {counts}")
    print(f"{len(tally.wrong)} faults; the slowest answer took {tally.slowest:.2f} s")
    for said in {said.splitlines()[-1][:40]: said for said in tally.wrong}.values():
        print(f"\n{said}")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
