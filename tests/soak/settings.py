"""The project's settings as in production, tasks to watch, and history that is kept for as short as it may be."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS
from project.settings import MONITORING as PROJECT_MONITORING

INSTALLED_APPS = [*INSTALLED_APPS, "tests.soak"]
MONITORING = {**PROJECT_MONITORING, "KEEP_RUNS_DAYS": 1, "KEEP_INCIDENTS_DAYS": 1}
