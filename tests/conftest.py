from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """A test database in a file, not in memory: consumers and commands in processes of their own see it too."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database["TEST"]["NAME"] = str(Path(database["NAME"]).with_name("test.sqlite3"))


@pytest.fixture
def monitoring_settings(settings: Any) -> Any:
    """Sets keys of the MONITORING setting: `monitoring_settings(DIGEST_OVER=2)`."""

    def change(**changes: Any) -> None:
        settings.MONITORING = {**settings.MONITORING, **changes}

    return change
