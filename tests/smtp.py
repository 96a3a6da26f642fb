"""A real SMTP server in a thread, and backends that do what no server can be told to do."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import django
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from anymail.exceptions import AnymailUnsupportedFeature
from anymail.message import AnymailStatus
from django.core import mail as django_mail
from django.core.mail.backends.base import BaseEmailBackend

from project import mailurl


@dataclass
class MailServer:
    """Keeps what it takes, as (recipients, mail). How it behaves is set from outside, at any time."""

    port: int
    received: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    connections: int = 0
    begun: int = 0
    """Mails whose text it has read, answered or not."""
    refused: set[str] = field(default_factory=set)
    """Addresses that it does not know: 550."""
    busy: set[str] = field(default_factory=set)
    """Addresses that it takes no mail for at the moment: 450."""
    unwanted: set[str] = field(default_factory=set)
    """Subjects of mails that it does not want at the moment: 451."""
    is_mute: bool = False
    """Takes connections and says nothing."""
    closes_in_data: int = 0
    """So many mails it cuts off in the middle."""
    delay: Callable[[EmailMessage], float] = lambda mail: 0
    """The seconds that its answer to a mail takes. Who is gone by then has sent nothing..."""
    keeps_unheard: bool = False
    """...unless the server keeps the mail before it answers."""
    _controller: Controller | None = None

    @property
    def recipients(self) -> list[str]:
        return [address for addresses, _ in self.received for address in addresses]

    def start(self) -> None:
        self._controller = _Listening(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller:
            self._controller.stop()
            self._controller = None

    @contextmanager
    def is_down(self) -> Iterator[None]:
        """Nobody listens on its port meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def behave(self) -> None:
        """As it was at first; what it received is kept."""
        self.refused, self.busy, self.is_mute, self.closes_in_data = set(), set(), False, 0
        self.delay, self.keeps_unheard = lambda mail: 0, False

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: Any) -> Any:
        self.connections += 1
        while self.is_mute:
            await asyncio.sleep(0.05)
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return "550 5.1.1 There is nobody of that name"
        if address in self.busy:
            return "450 4.2.1 The mailbox is busy, try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        received = (list(envelope.rcpt_tos), mail)
        self.begun += 1
        if mail["Subject"] in self.unwanted:
            return "451 4.7.1 Not now"
        if self.keeps_unheard:
            self.received.append(received)
            await asyncio.sleep(self.delay(mail))
        else:
            await asyncio.sleep(self.delay(mail))  # ended here when the client is gone
            self.received.append(received)
        return "250 Taken"


class _Session(SMTP):
    async def smtp_DATA(self, arg: str) -> None:
        server = self.event_handler
        if not server.closes_in_data:
            await super().smtp_DATA(arg)
            return
        server.closes_in_data -= 1
        await self.push("354 Go on")
        await self._reader.readline()
        self.transport.abort()


class _Listening(Controller):
    def factory(self) -> SMTP:
        return _Session(self.handler, **self.SMTP_kwargs)


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server = MailServer(free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


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


class Plain(BaseEmailBackend):
    """A provider that can carry the words alone, and says so as Anymail does."""

    def send_messages(self, messages: Any) -> int:
        for message in messages:
            if message.extra_headers or hasattr(message, "tags"):
                raise AnymailUnsupportedFeature("extra_headers")
            message.anymail_status = AnymailStatus()
            message.anymail_status.message_id = "<bare@mg.example.org>"
            django_mail.outbox.append(message)
        return len(messages)
