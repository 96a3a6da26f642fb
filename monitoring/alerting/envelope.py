"""Turns a mail's words into one that Django sends, with headers for mail programs and marks for the provider.

A message keeps its Message-ID at every attempt, so that a mail repeated after a crash can be recognised as such.
"""

from email.utils import parseaddr
from hashlib import sha256
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from monitoring.alerting.mail import Mail
from monitoring.conf import conf
from monitoring.models import Incident, Message

TAG = "task-monitoring"
METADATA_KEY = "monitoring_message"
# No out-of-office answers (RFC 3834; Exchange heeds only its own header).
AUTOMATIC = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}


def message_to(address: str, mail: Mail) -> EmailMultiAlternatives:
    """The mail, sent from DEFAULT_FROM_EMAIL."""
    headers = AUTOMATIC | {"List-Id": f"Task monitor <task-monitor.{site_domain()}>"}
    email = EmailMultiAlternatives(mail.subject, mail.text, to=[address], headers=headers)
    email.attach_alternative(mail.html, "text/html")
    return email


def envelope(message: Message) -> EmailMultiAlternatives:
    """A stored message as a mail, the same at every attempt."""
    email = message_to(message.address, Mail(message.subject, message.text, message.html))
    email.extra_headers |= {"Message-ID": _id(f"message-{message.pk}.{_digest(message.text)}")}
    if message.thread:
        # Outlook needs both. The mail they name was never sent, but no mail program minds that.
        email.extra_headers |= {"References": message.thread, "In-Reply-To": message.thread}
    email.tags, email.metadata = [TAG], {METADATA_KEY: str(message.pk)}  # type: ignore[attr-defined] # Anymail's
    return email


def bare(email: EmailMultiAlternatives) -> EmailMultiAlternatives:
    """The same words without headers, tags and metadata, for a provider that cannot carry these."""
    plain = EmailMultiAlternatives(email.subject, email.body, email.from_email, email.to)
    plain.alternatives = email.alternatives
    return plain


def thread_of(incident: Incident | None) -> str:
    """What all mails about an incident refer to, so that mail programs show them as one conversation."""
    return _id(f"incident-{incident.pk}.{_digest(incident.opened_at.isoformat())}") if incident else ""


def site_domain() -> str:
    """The host of SITE_URL, else the sender's domain; in ASCII, as ids in headers must be (RFC 5322)."""
    host = urlsplit(conf().SITE_URL).hostname
    domain = host or parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    try:
        return domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:  # no such domain can exist, but that must hold back no mail
        return "localhost"


def _id(name: str) -> str:
    return f"<{name}@{site_domain()}>"


def _digest(text: str) -> str:
    """Keeps an id unique: row numbers start again in another database, this does not repeat."""
    return sha256(text.encode()).hexdigest()[:16]
