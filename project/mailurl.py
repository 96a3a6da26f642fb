"""One `EMAIL_URL` for every way to send: Django's own backends and Anymail's providers.

    console:   memory:   file:var/mail   file:///srv/mail
    smtp://user:password@host:25   smtps://…:465   smtp+tls://…:587
    anymail+mailgun://KEY@mg.example.org   anymail+postmark://TOKEN@   anymail+amazon-ses:

Query parameters become the backend's options: `smtp://host?timeout=30`, `anymail+mailgun://KEY@domain?api_url=…`. A
timeout is in seconds.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from environs import EnvError

CORE = "django.core.mail.backends"
SMTP_PORTS = {"smtp": 25, "smtps": 465, "smtp+tls": 587}
SMTP_TIMEOUT = 10  # seconds; Django's default is to wait for ever

# The options that each Anymail provider requires: the URL's user part fills the first, its password the second, a query
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

# Anymail's name for the key with which each provider signs its webhook calls. The calls of all others are authenticated
# by the webhook secret alone, or by the sending key. Source: Anymail 15.2, docs/esps.
SIGNING_KEYS = {
    "mailersend": "SIGNING_SECRET",
    "mailgun": "WEBHOOK_SIGNING_KEY",
    "mailtrap": "TRACKING_SECRET",
    "mandrill": "WEBHOOK_KEY",
    "postal": "WEBHOOK_KEY",
    "resend": "SIGNING_SECRET",
    "sendgrid": "TRACKING_WEBHOOK_VERIFICATION_KEY",
}
ALWAYS_SIGNED = frozenset({"mailersend", "mailgun", "mandrill", "postal"})  # by a key that no other setting gives
ENCODED = "in a password, write %23 for #, %2F for /, %3F for ? and %40 for @"
PROVIDER_TIMEOUT = 10  # seconds; Anymail's default is 30

# What Django before 6.1 calls the options of the MAILERS setting.
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

    @property
    def provider(self) -> str:
        """Anymail's name for the provider; empty for Django's own backends."""
        return self.backend.split(".")[2] if self.backend.startswith("anymail.") else ""

    def settings(self, django_version: tuple[Any, ...]) -> dict[str, Any]:
        """The Django settings that select this mailer, in the form that this version of Django wants.

        Anymail's options have a setting of their own; see `anymail`.
        """
        if django_version >= (6, 1):
            return {"MAILERS": {"default": {"BACKEND": self.backend, "OPTIONS": self.options}}}
        legacy = {} if self.provider else {LEGACY_SETTINGS[name]: value for name, value in self.options.items()}
        return {"EMAIL_BACKEND": self.backend} | legacy

    def anymail(self, webhook_secret: str = "", signing_key: str = "") -> dict[str, Any]:
        """The setting ANYMAIL, with the provider's options too, since its webhook may need the sending key."""
        options = dict(self.options) if self.provider else {}
        timeout = options.pop("timeout", PROVIDER_TIMEOUT)
        if signing_key and self.provider in SIGNING_KEYS:
            options[SIGNING_KEYS[self.provider]] = signing_key
        # A provider that does not support our tags or headers still sends the mail.
        common = {"WEBHOOK_SECRET": webhook_secret, "REQUESTS_TIMEOUT": timeout, "IGNORE_UNSUPPORTED_FEATURES": True}
        return common | {f"{self.provider}_{name}".upper(): value for name, value in options.items()}


def split(url: str) -> SplitResult:
    """Raises EnvError for what is not a URL at all, whose port is not a number, or which a # cuts short.

    The error repeats nothing of the URL, which may hold a password: Python takes one with a slash in it for a port.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise EnvError(f"not a URL: host or port cannot be read; {ENCODED}") from None
    if parts.fragment:
        raise EnvError(f"not a URL: it ends at the first #; {ENCODED}")
    return parts


def require_host(parts: SplitResult, form: str) -> None:
    """Raises EnvError, naming the right form, unless it names a host; one with a password behind it is none."""
    if not parts.hostname or "@" in parts.path + parts.query:
        raise EnvError(f"no host where it belongs; write {form}; {ENCODED}")


def require_slashes(url: str, parts: SplitResult, form: str) -> None:
    """Raises EnvError, naming the right form, unless what follows the scheme is read as user, host and path."""
    is_misread = parts.scheme != "sqlite" and "@" in parts.path + parts.query
    if not url.startswith(f"{parts.scheme}://") or is_misread:
        raise EnvError(f"must be {form}; {ENCODED}")


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
    ways = "console:, memory:, file:FOLDER, smtp://, smtps://, smtp+tls:// or anymail+PROVIDER:"
    raise EnvError(f"{complaint_about(parts.scheme)}; use {ways}")


def complaint_about(scheme: str) -> str:
    return f"unknown scheme {scheme!r}" if scheme else "no scheme before ':'"


def _smtp_options(parts: Any, query: dict[str, str]) -> dict[str, Any]:
    unknown = sorted(query.keys() - {"timeout"})
    if unknown:
        raise EnvError(f"unknown option {unknown[0]!r}; an SMTP URL takes only 'timeout'")
    require_host(parts, f"{parts.scheme}://user:password@host:port")
    port = parts.port or SMTP_PORTS[parts.scheme]
    options: dict[str, Any] = {"host": parts.hostname, "port": port, "timeout": SMTP_TIMEOUT}
    options |= _timeout(query)
    if parts.username:
        options |= {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    if parts.scheme != "smtp":
        options["use_ssl" if parts.scheme == "smtps" else "use_tls"] = True
    return options


def _timeout(query: dict[str, str]) -> dict[str, int]:
    timeout = query.get("timeout")
    if timeout is None:
        return {}
    if not timeout.isdecimal():
        raise EnvError(f"timeout must be a whole number of seconds, not {timeout!r}")
    return {"timeout": int(timeout)}


def _anymail(provider: str, parts: Any, query: dict[str, str]) -> Mailer:
    if provider not in ANYMAIL_KEYS:
        known = ", ".join(name.replace("_", "-") for name in ANYMAIL_KEYS)
        raise EnvError(f"Anymail has no provider {provider!r}; it has {known}")
    demanded = ANYMAIL_KEYS[provider]
    in_url = [unquote(part) for part in (parts.username, parts.password) if part]
    scheme = f"anymail+{provider.replace('_', '-')}"
    if (given := len(in_url)) > len(demanded):
        keys = "1 key" if given == 1 else f"{given} keys"
        raise EnvError(f"{keys} before the @, but {scheme} takes {' and '.join(demanded) or 'none'}")
    options: dict[str, Any] = dict(zip(demanded, in_url, strict=False)) | query
    for name in demanded:
        if name not in options:
            raise EnvError(f"the {name} is missing; write {scheme}://?{name}=…")
    if provider == "mailgun" and parts.hostname:
        options["sender_domain"] = parts.hostname
    options |= _timeout(query)
    return Mailer(f"anymail.backends.{provider}.EmailBackend", options)
