"""One `EMAIL_URL` for every way to send: Django's own backends and Anymail's providers.

    console:   memory:   file:var/mail   file:///srv/mail
    smtp://user:password@host:25   smtps://…:465   smtp+tls://…:587
    anymail+mailgun://KEY@mg.example.org   anymail+postmark://TOKEN@   anymail+amazon-ses:

Query parameters become the backend's options: `smtp://host?timeout=30`,
`anymail+mailgun://KEY@domain?api_url=…&requests_timeout=10`.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from environs import EnvError

CORE = "django.core.mail.backends"
SMTP_PORTS = {"smtp": 25, "smtps": 465, "smtp+tls": 587}
SMTP_TIMEOUT = 10  # seconds; Django's default is to wait for ever

# The options that each Anymail provider demands: the URL's user part fills the first, its password the second, a query
# parameter any of them. Source: Anymail 15.2, docs/esps; Amazon SES takes its credentials from the AWS environment.
ANYMAIL_KEYS: dict[str, tuple[str, ...]] = {
    "amazon_ses": (),
    "brevo": ("api_key",),
    "mailersend": ("api_token",),
    "mailgun": ("api_key",),
    "mailjet": ("api_key", "secret_key"),
    "mailtrap": ("api_token",),
    "mandrill": ("api_key",),
    "postal": ("api_key", "api_url"),
    "postmark": ("server_token",),
    "resend": ("api_key",),
    "scaleway": ("secret_key", "project_id"),
    "sendgrid": ("api_key",),
    "sparkpost": ("api_key",),
    "unisender_go": ("api_key", "api_url"),
}

# Anymail's own option, and no provider's: it stands in ANYMAIL without a provider's name before it.
ANYMAIL_TIMEOUT = "requests_timeout"

# How Django before 6.1 spells the options that its MAILERS setting takes.
LEGACY_SETTINGS = {
    "file_path": "EMAIL_FILE_PATH",
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
}


@dataclass(frozen=True, slots=True)
class Mailer:
    """A mail backend's dotted path and its options, as Django 6.1's MAILERS names them."""

    backend: str
    options: dict[str, Any]

    def settings(self, django_version: tuple[Any, ...]) -> dict[str, Any]:
        """The Django settings that select this mailer, in the form that this version of Django wants."""
        if django_version >= (6, 1):
            return {"MAILERS": {"default": {"BACKEND": self.backend, "OPTIONS": self.options}}}
        if self.backend.startswith("anymail."):
            provider = self.backend.split(".")[2]
            options = {
                (name if name == ANYMAIL_TIMEOUT else f"{provider}_{name}").upper(): value
                for name, value in self.options.items()
            }
            return {"EMAIL_BACKEND": self.backend, "ANYMAIL": options}
        return {"EMAIL_BACKEND": self.backend} | {LEGACY_SETTINGS[name]: value for name, value in self.options.items()}


def split(url: str) -> SplitResult:
    """Raises EnvError for what is no URL at all, or has no number for its port."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise EnvError(f"not a URL: {error}") from None
    return parts


def parse(url: str) -> Mailer:
    """Raises EnvError (a ValueError), naming what is wrong and what would be right."""
    parts = split(url)
    query = dict(parse_qsl(parts.query))
    match parts.scheme:
        case "console":
            return Mailer(f"{CORE}.console.EmailBackend", {})
        case "memory":
            return Mailer(f"{CORE}.locmem.EmailBackend", {})
        case "file":
            folder = unquote(parts.netloc + parts.path) or "var/mail"
            return Mailer("project.mailfiles.EmailBackend", {"file_path": folder})
        case "smtp" | "smtps" | "smtp+tls":
            return Mailer(f"{CORE}.smtp.EmailBackend", _smtp_options(parts, query))
        case scheme if scheme.startswith("anymail+"):
            return _anymail(scheme.removeprefix("anymail+").replace("-", "_"), parts, query)
    raise EnvError(
        f"{parts.scheme or url!r} is no way to send mail; "
        "use console, file, memory, smtp, smtps, smtp+tls or anymail+PROVIDER"
    )


def _smtp_options(parts: Any, query: dict[str, str]) -> dict[str, Any]:
    unknown = sorted(query.keys() - {"timeout"})
    if unknown:
        raise EnvError(f"unknown option {unknown[0]!r}; an SMTP address takes only 'timeout'")
    timeout = _seconds(query.get("timeout", str(SMTP_TIMEOUT)))
    port = parts.port or SMTP_PORTS[parts.scheme]
    options: dict[str, Any] = {"host": parts.hostname or "localhost", "port": port, "timeout": timeout}
    if parts.username:
        options |= {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    if parts.scheme != "smtp":
        options["use_ssl" if parts.scheme == "smtps" else "use_tls"] = True
    return options


def _anymail(provider: str, parts: Any, query: dict[str, str]) -> Mailer:
    if provider not in ANYMAIL_KEYS:
        known = ", ".join(name.replace("_", "-") for name in ANYMAIL_KEYS)
        raise EnvError(f"Anymail has no provider {provider!r}; it has {known}")
    demanded = ANYMAIL_KEYS[provider]
    in_url = [unquote(part) for part in (parts.username, parts.password) if part]
    options: dict[str, Any] = dict(zip(demanded, in_url, strict=False)) | query
    for name in demanded:
        if name not in options:
            raise EnvError(f"the {name} is missing: anymail+{provider.replace('_', '-')}://?{name}=…")
    if ANYMAIL_TIMEOUT in options:
        options[ANYMAIL_TIMEOUT] = _seconds(options[ANYMAIL_TIMEOUT])
    if provider == "mailgun" and parts.hostname:
        options["sender_domain"] = parts.hostname
    return Mailer(f"anymail.backends.{provider}.EmailBackend", options)


def _seconds(text: str) -> int:
    if not text.isdecimal():
        raise EnvError(f"the timeout {text!r} is no number of seconds")
    return int(text)
