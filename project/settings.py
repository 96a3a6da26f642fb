"""Everything comes from the environment, or from a `.env` file beside manage.py; docs/settings.md lists the variables.

DEBUG=1 and a SECRET_KEY are enough to run the project: SQLite, Huey on SQLite, mails as files, all in var/. All missing
or wrong variables are reported at once, not one per start.
"""

import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvValidationError, validate

from project import checked, mailurl, queueurl

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env(eager=False)
env.read_env(BASE_DIR / ".env", recurse=False)
env.add_parser("mail_url", mailurl.parse)
env.add_parser("queue_url", queueurl.parse)
env.add_parser("database_url", checked.database_url)
env.add_parser("not_empty", checked.not_empty)
env.add_parser("site_url", checked.site_url)
env.add_parser("sender", checked.sender)
env.add_parser("time_zone", checked.time_zone)
env.add_parser("webhook_secret", checked.webhook_secret)
env.add_parser("ping_url", checked.ping_url)
env.add_parser("token", checked.token)

DEBUG = env.bool("DEBUG", False)
VAR = env.path("VAR_DIR", BASE_DIR / "var")


def unless_production(default: str) -> dict[str, Any]:
    """A default for development only: in production, mails would reach nobody or links would lead nowhere."""
    return {"default": default} if DEBUG else {}


SECRET_KEY = env.not_empty("SECRET_KEY")
SITE_URL = env.site_url("SITE_URL", **unless_production("http://127.0.0.1:8000"))
DEFAULT_FROM_EMAIL = env.sender("DEFAULT_FROM_EMAIL", **unless_production("Task monitor <monitor@localhost>"))
_mailer = env.mail_url("EMAIL_URL", **unless_production(f"file:{VAR / 'mail'}"))
# For the provider's reports on what became of a mail; without a secret there is no webhook for them.
_webhook_secret: str = env.webhook_secret("ANYMAIL_WEBHOOK_SECRET", "")
_signs = bool(_webhook_secret) and getattr(_mailer, "provider", "") in mailurl.ALWAYS_SIGNED
_unless_signing: dict[str, Any] = {} if _signs else {"default": ""}
_signing_key: str = env.str("ANYMAIL_SIGNING_KEY", **_unless_signing)
_database = env.database_url(
    "DATABASE_URL", f"sqlite:///{VAR / 'db.sqlite3'}", conn_max_age=600, conn_health_checks=True
)
# Heroku sets REDIS_URL, and its certificates are self-signed.
_redis_url = env.str("REDIS_URL", f"sqlite:{VAR / 'huey.sqlite3'}")
_queue = env.queue_url("HUEY_URL", _redis_url, verify=not env.bool("REDIS_SELF_SIGNED", False))
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", [])
BEHIND_PROXY = env.bool("BEHIND_PROXY", False)
HTTPS = env.bool("HTTPS", not DEBUG)
LOG_LEVEL = env.log_level("LOG_LEVEL", logging.INFO)
LOG_FORMAT: str = env.str("LOG_FORMAT", "text", validate=validate.OneOf(["text", "json"]))
_ping_url: str = env.ping_url("PING_URL", "")
_metrics_token: str = env.token("METRICS_TOKEN", "")

try:
    env.seal()
except EnvValidationError as error:
    found: dict[str, list[str]] = dict(error.error_messages)  # type: ignore[arg-type] # environs hints a list too
    problems = "".join(f"\n  {name}: {' '.join(said)}" for name, said in found.items())
    raise ImproperlyConfigured(
        f"These environment variables are missing or wrong:{problems}\n"
        f"Set them in the environment or in {BASE_DIR / '.env'}; docs/settings.md says what each means."
    ) from None

VAR.mkdir(parents=True, exist_ok=True)

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"

INSTALLED_APPS = [
    *(["project.demo"] if DEBUG else []),
    "monitoring",
    "anymail",
    "huey.contrib.djhuey",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "project.csp.content_security_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

if _database["ENGINE"].endswith("sqlite3"):
    # Web and worker write the same file. WAL lets them read meanwhile. A transaction that takes the write lock at its
    # start waits for it; one that takes it later would fail with "database is locked". Indexes of millions of runs need
    # more than SQLite's default cache of 2 MB.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
    }
elif _database["ENGINE"].endswith("postgresql"):
    # Compiling a statement takes up to half a second, answering it a few milliseconds. A pooler may refuse the option;
    # docs/scaling.md says what to do then.
    _database.setdefault("OPTIONS", {}).setdefault("options", "-c jit=off")
DATABASES = {"default": _database}

# If not set, `immediate` would follow DEBUG, and tasks would then run inside the web process.
HUEY = {**_queue, "immediate": False, "results": False}

MAIL_PROVIDER = _mailer.provider
globals().update(_mailer.settings(django.VERSION))
ANYMAIL: dict[str, Any] = _mailer.anymail(_webhook_secret, _signing_key)
SERVER_EMAIL = DEFAULT_FROM_EMAIL

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

ALLOWED_HOSTS = ALLOWED_HOSTS or [urlsplit(SITE_URL).hostname or "localhost"]
CSRF_TRUSTED_ORIGINS = [SITE_URL]
if BEHIND_PROXY:
    # Only behind a proxy that sets the header itself: otherwise any client that claims https would be believed.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
if HTTPS:
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]  # probes reach a process directly, not through the proxy
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "class": "project.logs.LineFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "project.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    # With these handlers, Huey's consumer adds none of its own, which would log everything twice.
    "loggers": {"huey": {"handlers": ["console"], "level": LOG_LEVEL, "propagate": False}},
}

MONITORING = {
    "SITE_URL": SITE_URL,
    "SPOOL_DIR": str(VAR / "spool"),
    "PING_URL": _ping_url,
    "METRICS_TOKEN": _metrics_token,
}
