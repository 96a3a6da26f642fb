"""A mail provider on loopback: Postmark's API, as far as Anymail uses it, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "the-right-token"
TIMEOUT = 10  # seconds that a consumer waits for it

# Postmark's words: https://postmarkapp.com/developer/api/overview#error-codes
_WORDS = {
    401: {"ErrorCode": 10, "Message": "No Account or Server API tokens were supplied in the HTTP headers."},
    429: {"ErrorCode": 429, "Message": "Too many requests."},
    500: {"ErrorCode": 500, "Message": "Internal Server Error"},
}


@dataclass
class Provider:
    """Keeps what it takes, as (recipients, mail), as a mail server does. How it behaves is set from outside."""

    port: int = 0
    received: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    status: dict[str, int] = field(default_factory=dict)
    """The HTTP status that mails to an address are answered with."""
    inactive: set[str] = field(default_factory=set)
    """Addresses that it does not send to any more, and says so at once."""
    is_mute: bool = False
    """Takes requests and answers none."""
    requests: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def url(self, token: str = TOKEN) -> str:
        return f"anymail+postmark://{token}@?api_url=http://127.0.0.1:{self.port}/&timeout={TIMEOUT}"

    def answer(self, token: str, mail: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        (address,) = (to.strip() for to in mail["To"].split(","))
        if token != TOKEN:
            return 401, _WORDS[401]
        if address in self.status:
            return self.status[address], _WORDS[self.status[address]]
        if address in self.inactive:
            return 422, {
                "ErrorCode": 406,
                "Message": "You tried to send to a recipient that has been marked as inactive.\n"
                f"Found inactive addresses: {address}.\n"
                "Inactive recipients are ones that have generated a hard bounce or a spam complaint. ",
            }
        self.received.append(([address], _as_mail(mail)))
        return 200, {"ErrorCode": 0, "Message": "OK", "MessageID": f"accepted-{self.requests}", "To": address}


def _as_mail(posted: dict[str, Any]) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["To"] = posted["Subject"], posted["To"]
    for header in posted.get("Headers", []):
        if header["Name"] not in mail:
            mail[header["Name"]] = header["Value"]
    mail.set_content(posted["TextBody"])
    mail.add_alternative(posted["HtmlBody"], subtype="html")
    return mail


@contextmanager
def provider() -> Iterator[Provider]:
    running = Provider()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            running.requests += 1
            posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if running.is_mute:
                running.is_over.wait(TIMEOUT * 2)
                return
            status, words = running.answer(self.headers["X-Postmark-Server-Token"], posted)
            body = json.dumps(words).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        running.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            running.is_over.set()
            server.shutdown()
            thread.join()
