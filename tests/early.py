"""Loaded by `-p tests.early`, since pytest-django reads the settings before any conftest.py."""

import os
import tempfile

_files = tempfile.TemporaryDirectory(prefix="monitoring-tests-")

os.environ.update(
    DEBUG="1",
    SECRET_KEY="only-for-the-tests",
    SITE_URL="https://monitor.example.org",
    DATABASE_URL=f"sqlite:///{_files.name}/db.sqlite3",
    HUEY_URL=f"sqlite:{_files.name}/huey.sqlite3",
    EMAIL_URL="memory:",
)


def pytest_unconfigure() -> None:
    _files.cleanup()
