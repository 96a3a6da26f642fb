"""The project's settings with one recorder, or none: BENCH_RECORDER names it."""

import os

from project.settings import *  # noqa: F403
from project.settings import HUEY as PROJECT_HUEY
from project.settings import INSTALLED_APPS, VAR

LOGGING = {"version": 1, "disable_existing_loggers": True}
STATS = "huey.contrib.djhuey.stats"
RECORDERS = {
    "plain": [],
    "ours": ["monitoring"],
    STATS: [STATS],
    "django-huey-monitor": ["bx_django_utils", "huey_monitor.apps.HueyMonitorConfig"],
}
INSTALLED_APPS = [
    "bench",
    *RECORDERS[os.environ["BENCH_RECORDER"]],
    *(app for app in INSTALLED_APPS if app not in ("monitoring", "project.demo")),
]
HUEY = PROJECT_HUEY
HUEY_STATS = {"filename": str(VAR / "huey-stats.db")}  # the default is a SQLite file beside the project
