"""The project's settings with the demo's tasks and models, which are not installed without DEBUG."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS

INSTALLED_APPS = ["project.demo", *INSTALLED_APPS]
