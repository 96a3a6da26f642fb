"""Somebody else's project: its own users, admin site, Huey and time zone, and our tables in a database of their own."""

import os
from pathlib import Path

from huey import SqliteHuey

HERE = Path(os.environ["SITE_FOLDER"])
SECRET_KEY = "not a secret"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
ROOT_URLCONF = "urls"
AUTH_USER_MODEL = os.environ["SITE_USER_MODEL"]
DEFAULT_FROM_EMAIL = "nights@example.com"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "monitoring",
    "people",
    "nights",
    "huey.contrib.djhuey",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "site.sqlite3"},
    "runs": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HERE / "runs.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    },
}
DATABASE_ROUTERS = ["settings.Router"]
EMAIL = {"BACKEND": "django.core.mail.backends.filebased.EmailBackend", "OPTIONS": {"file_path": str(HERE / "mail")}}
EMAIL_SETTINGS = {"EMAIL_BACKEND": EMAIL["BACKEND"], "EMAIL_FILE_PATH": EMAIL["OPTIONS"]["file_path"]}
if os.environ["SITE_DJANGO"] >= "6.1":
    MAILERS = {"default": EMAIL}
else:
    globals().update(EMAIL_SETTINGS)

HUEY = SqliteHuey("nights", filename=str(HERE / "queue.sqlite3"), utc=False)


class Router:
    """Our app's tables, and no others, are in "runs"."""

    def db_for_read(self, model: type, **hints: object) -> str | None:
        return "runs" if model._meta.app_label == "monitoring" else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return (db == "runs") == (app_label == "monitoring")
