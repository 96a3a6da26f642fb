"""A real SMTP server in a thread, and backends that do what no server can be told to do."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import django
from aiosmtpd.controller import Controller
from django.core.mail.backends.base import BaseEmailBackend

from project import mailurl


@dataclass
class MailServer:
    """Keeps what it takes, as (recipients, mail); refuses the addresses in `refused`, puts off those in `busy`.

    It puts off the mails too whose subject is `unwanted`.
    """

    port: int
    received: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)
    connections: int = 0

    @property
    def recipients(self) -> list[str]:
        return [address for addresses, _ in self.received for address in addresses]

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: Any) -> Any:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return "550 5.1.1 There is nobody of that name"
        if address in self.busy:
            return "450 4.2.1 Try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        if mail["Subject"] in self.unwanted:
            return "451 4.7.1 Not now"
        self.received.append((list(envelope.rcpt_tos), mail))
        return "250 Taken"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server = MailServer(free_port())
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def send_through(url: str, settings: Any) -> None:
    """Makes Django send by an EMAIL_URL, whatever settings this version of Django spells that with."""
    use(mailurl.parse(url), settings)


def send_by(backend: type[BaseEmailBackend], settings: Any) -> None:
    use(mailurl.Mailer(f"{backend.__module__}.{backend.__qualname__}", {}), settings)


def use(mailer: mailurl.Mailer, settings: Any) -> None:
    for name, value in mailer.settings(django.VERSION).items():
        setattr(settings, name, value)
    settings.ANYMAIL = mailer.anymail()


class Killed(BaseEmailBackend):
    """The process ends while it sends."""

    def send_messages(self, messages: Any) -> int:
        raise SystemExit


class Watching(BaseEmailBackend):
    """Calls `look` at the moment of sending."""

    look: Any = None

    def send_messages(self, messages: Any) -> int:
        type(self).look()
        return len(messages)
