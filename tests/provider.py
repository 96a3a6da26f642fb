"""A mail provider as Anymail meets it: Mailgun's sending API over real HTTP, and what Mailgun posts to a webhook."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import reload
from typing import Any
from urllib.parse import parse_qs

from django.urls import clear_url_caches

from project import mailurl

KEY = "key-of-the-account"
SIGNING_KEY = "key-of-the-signatures"


@dataclass
class Provider:
    """Keeps the fields of each mail that it takes; answers with `status`, or not before `muteness` is set."""

    port: int = 0
    status: int = 200
    taken: list[dict[str, list[str]]] = field(default_factory=list)
    muteness: threading.Event | None = None

    @property
    def url(self) -> str:
        return f"anymail+mailgun://{KEY}@mg.example.org?api_url=http://127.0.0.1:{self.port}/v3&timeout=1"

    def answer(self, fields: dict[str, list[str]]) -> tuple[int, dict[str, str]]:
        if self.muteness:
            self.muteness.wait(30)
        if self.status != 200:
            return self.status, {"message": f"the provider says {self.status}"}
        self.taken.append(fields)
        return 200, {"id": f"<{len(self.taken)}@mg.example.org>", "message": "Queued. Thank you."}


@contextmanager
def provider() -> Iterator[Provider]:
    state = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = state.answer(_fields(self.headers["Content-Type"], body))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield state
    finally:
        if state.muteness:
            state.muteness.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _fields(content_type: str, body: bytes) -> dict[str, list[str]]:
    if not content_type.startswith("multipart/"):
        return parse_qs(body.decode())
    form = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=policy.default)
    fields: dict[str, list[str]] = {}
    for part in form.iter_parts():
        fields.setdefault(part.get_param("name", header="Content-Disposition"), []).append(part.get_content())
    return fields


def event(name: str, recipient: str, message_id: str, at: float, metadata: dict[str, str], **more: Any) -> str:
    """The body of a webhook call, signed. Source of its form: Mailgun's documentation, "Webhooks"."""
    token = hashlib.sha256(f"{name} {recipient} {at}".encode()).hexdigest()
    signature = hmac.new(SIGNING_KEY.encode(), f"{at:.0f}{token}".encode(), hashlib.sha256).hexdigest()
    data = {
        "event": name,
        "timestamp": at,
        "id": token,
        "recipient": recipient,
        "message": {"headers": {"message-id": message_id.strip("<>")}},
        "user-variables": metadata,
        **more,
    }
    return json.dumps(
        {"signature": {"timestamp": f"{at:.0f}", "token": token, "signature": signature}, "event-data": data}
    )


@contextmanager
def webhook_of(settings: Any, secret: str) -> Iterator[None]:
    """The project as it is with EMAIL_URL=anymail+mailgun://… and this ANYMAIL_WEBHOOK_SECRET."""
    mailer = mailurl.parse("anymail+mailgun://KEY@mg.example.org")
    settings.MAIL_PROVIDER, settings.ANYMAIL = mailer.provider, mailer.anymail(secret, SIGNING_KEY)
    _load_urls()
    yield
    settings.MAIL_PROVIDER, settings.ANYMAIL = "", mailurl.parse("memory:").anymail()
    _load_urls()


def _load_urls() -> None:
    # Here, since whoever imports this module may not have set Django up yet.
    from project import urls

    reload(urls)
    clear_url_caches()
