"""Loaded by `-p tests.early`, since pytest-django reads the settings before any conftest.py.

TEST_WITH says what the run stands on: "sqlite" (SQLite, and Huey on SQLite), or "servers" (PostgreSQL, and Huey on
Redis), which are then started for it.
"""

import contextlib
import os
import tempfile

from tests import services

_resources = contextlib.ExitStack()
_files = _resources.enter_context(tempfile.TemporaryDirectory(prefix="monitoring-tests-"))

os.environ.update(
    DEBUG="1",
    SECRET_KEY="only-for-the-tests",
    SITE_URL="https://monitor.example.org",
    VAR_DIR=_files,
    EMAIL_URL="memory:",
)
match os.environ.get("TEST_WITH", "sqlite"):
    case "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{_files}/db.sqlite3"
        os.environ["HUEY_URL"] = f"sqlite:{_files}/huey.sqlite3"
    case "servers":
        os.environ["DATABASE_URL"] = _resources.enter_context(services.postgres_server())
        os.environ["HUEY_URL"] = _resources.enter_context(services.redis_server())
    case unknown:
        raise SystemExit(f"TEST_WITH={unknown} is neither sqlite nor servers")


def pytest_unconfigure() -> None:
    _resources.close()
