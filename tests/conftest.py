import os
from pathlib import Path
from typing import Any

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What breaks a server is no test where there is none; `make test` runs it in its second half, on servers."""
    if os.environ.get("TEST_WITH") == "servers":
        return
    left_out = [item for item in items if item.get_closest_marker("on_servers")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


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
