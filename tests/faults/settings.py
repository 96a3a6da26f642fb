"""The tests' settings, and what the harness makes consumers do that the product knows nothing of."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, TEMPLATES

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults"]

# A folder of templates that override the app's, as a project's do.
if "FAULT_TEMPLATES" in os.environ:
    TEMPLATES = [{**TEMPLATES[0], "DIRS": [os.environ["FAULT_TEMPLATES"]]}]
