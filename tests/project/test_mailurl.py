import re
from pathlib import Path
from typing import Any

import django
import pytest
from anymail import backends as anymail_backends
from anymail import webhooks as anymail_webhooks
from django.core.mail.backends import smtp
from environs import EnvError

from project.mailurl import ANYMAIL_KEYS, SIGNING_KEYS, Mailer, parse

# sendinblue is what brevo was called before, kept by Anymail for old settings.
NO_PROVIDERS = {"__init__", "base", "base_requests", "console", "test", "sendinblue"}
CORE = "django.core.mail.backends"


@pytest.mark.parametrize(
    ("url", "backend", "options"),
    [
        ("console:", f"{CORE}.console.EmailBackend", {}),
        ("memory:", f"{CORE}.locmem.EmailBackend", {}),
        ("file:", "project.mailfiles.EmailBackend", {"file_path": "var/mail"}),
        ("file:var/post", "project.mailfiles.EmailBackend", {"file_path": "var/post"}),
        ("file:///srv/my%20mail", "project.mailfiles.EmailBackend", {"file_path": "/srv/my mail"}),
        ("smtp://localhost", f"{CORE}.smtp.EmailBackend", {"host": "localhost", "port": 25, "timeout": 10}),
        (
            "smtp://user:p%23a%2Fs%3Fs%40@mx.example.org/",
            f"{CORE}.smtp.EmailBackend",
            {"host": "mx.example.org", "port": 25, "timeout": 10, "username": "user", "password": "p#a/s?s@"},
        ),
        (
            "smtps://me%40x.org:p%3Aw@mx.example.org",
            f"{CORE}.smtp.EmailBackend",
            {"host": "mx.example.org", "port": 465, "timeout": 10, "username": "me@x.org", "password": "p:w"}
            | {"use_ssl": True},
        ),
        (
            "smtp+tls://mx.example.org:2525?timeout=30",
            f"{CORE}.smtp.EmailBackend",
            {"host": "mx.example.org", "port": 2525, "timeout": 30, "use_tls": True},
        ),
        (
            "anymail+mailgun://KEY@mg.example.org",
            "anymail.backends.mailgun.EmailBackend",
            {"api_key": "KEY", "sender_domain": "mg.example.org"},
        ),
        ("anymail+postmark://TOKEN@", "anymail.backends.postmark.EmailBackend", {"server_token": "TOKEN"}),
        ("anymail+amazon-ses:", "anymail.backends.amazon_ses.EmailBackend", {}),
        (
            "anymail+mailjet://KEY:SECRET@",
            "anymail.backends.mailjet.EmailBackend",
            {"api_key": "KEY", "secret_key": "SECRET"},
        ),
        (
            "anymail+postal://KEY@?api_url=https://postal.example.org",
            "anymail.backends.postal.EmailBackend",
            {"api_key": "KEY", "api_url": "https://postal.example.org"},
        ),
    ],
)
def test_a_url_says_backend_and_options(url: str, backend: str, options: dict[str, Any]) -> None:
    assert parse(url) == Mailer(backend, options)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no scheme before ':'; use console:, memory:, file:FOLDER"),
        ("foo", "no scheme before ':'; use "),
        ("http://x", "unknown scheme 'http'; use console:, "),
        ("smtp://x?tls=1", "unknown option 'tls'; an SMTP URL takes only 'timeout'"),
        ("smtp://x:port", "not a URL: host or port cannot be read"),
        ("smtp://x?timeout=soon", "timeout must be a whole number of seconds, not 'soon'"),
        ("anymail+pigeon://KEY@", "Anymail has no provider 'pigeon'; it has amazon-ses, brevo"),
        ("anymail+mailjet://KEY@", "the secret_key is missing"),
        ("anymail+sendgrid://apikey:s3cret@", "2 keys before the @, but anymail+sendgrid takes api_key"),
        ("anymail+amazon-ses://KEY@", "1 key before the @, but anymail+amazon-ses takes none"),
        ("smtp://[::1", "not a URL"),
        ("smtp://", "no host where it belongs; write smtp://user:password@host:port"),
        ("smtp:/user:s3cret@mx.example.org", "no host where it belongs"),
        ("smtp://user:12/s3cret@mx.example.org", "no host where it belongs"),
        ("smtp://user:12?s3cret@mx.example.org", "no host where it belongs"),
        ("smtp://user:s3@s3cret#1@mx.example.org:25", "it ends at the first #; in a password, write %23 for #"),
        ("smtp://user:s3#cret@mx.example.org", "cannot be read; in a password, write %23 for #, %2F for /"),
        ("anymail+mailgun://", "the api_key is missing; write anymail+mailgun://?api_key="),
    ],
)
def test_a_wrong_url_is_refused_with_the_way_out(url: str, said: str) -> None:
    with pytest.raises(EnvError) as caught:
        parse(url)
    assert said in str(caught.value)
    assert "s3" not in str(caught.value)


def test_every_provider_of_the_installed_anymail_is_known() -> None:
    modules = {path.stem for path in Path(anymail_backends.__file__).parent.glob("*.py")}
    assert ANYMAIL_KEYS.keys() == modules - NO_PROVIDERS


def test_django_before_6_1_gets_settings_and_6_1_gets_mailers() -> None:
    mailer = parse("smtp+tls://user:secret@mx.example.org")
    assert mailer.settings((5, 2)) == {
        "EMAIL_BACKEND": f"{CORE}.smtp.EmailBackend",
        "EMAIL_HOST": "mx.example.org",
        "EMAIL_PORT": 587,
        "EMAIL_TIMEOUT": 10,
        "EMAIL_HOST_USER": "user",
        "EMAIL_HOST_PASSWORD": "secret",
        "EMAIL_USE_TLS": True,
    }
    assert mailer.settings((6, 1)) == {"MAILERS": {"default": {"BACKEND": mailer.backend, "OPTIONS": mailer.options}}}


def test_the_smtp_options_are_those_of_the_backend() -> None:
    options = parse("smtp+tls://user:secret@mx.example.org").options
    named = {"alias": "default"} if django.VERSION >= (6, 1) else {}
    backend = smtp.EmailBackend(**options, **named)
    assert (backend.host, backend.port, backend.username, backend.use_tls) == ("mx.example.org", 587, "user", True)


def test_anymail_options_become_anymail_settings() -> None:
    mailer = parse("anymail+mailgun://KEY@mg.example.org")
    assert mailer.settings((5, 2)) == {"EMAIL_BACKEND": "anymail.backends.mailgun.EmailBackend"}
    assert mailer.anymail() == {
        "MAILGUN_API_KEY": "KEY",
        "MAILGUN_SENDER_DOMAIN": "mg.example.org",
        "WEBHOOK_SECRET": "",
        "REQUESTS_TIMEOUT": 10,
        "IGNORE_UNSUPPORTED_FEATURES": True,
    }
    assert parse("anymail+mailgun://KEY@mg.example.org?timeout=3").anymail()["REQUESTS_TIMEOUT"] == 3
    assert "API_KEY" not in str(parse("smtp://mx.example.org").anymail("user:password"))


@pytest.mark.parametrize("provider", sorted(ANYMAIL_KEYS))
def test_a_signing_key_stands_under_the_name_that_the_providers_webhook_reads(provider: str) -> None:
    keys = "&".join(f"{name}=x" for name in ANYMAIL_KEYS[provider])
    settings = parse(f"anymail+{provider.replace('_', '-')}://?{keys}").anymail(signing_key="SIGNED")
    named = [name for name, value in settings.items() if value == "SIGNED"]
    webhook = Path(anymail_webhooks.__file__).parent / f"{provider}.py"
    read = {word.lower() for word in re.findall(r"\w+", webhook.read_text() if webhook.exists() else "")}
    assert len(named) == (1 if provider in SIGNING_KEYS else 0)
    assert all(name.removeprefix(f"{provider}_".upper()).lower() in read for name in named)
