"""Filled tables of the oldest schema go through all migrations and back; `make upgrade` does so with many more rows."""

import os
import subprocess
import sys

DATABASE = {"sqlite": "sqlite", "servers": "postgres"}[os.environ.get("TEST_WITH", "sqlite")]


def test_full_tables_are_kept_by_all_migrations_and_by_the_way_back() -> None:
    command = [sys.executable, "-m", "tests.upgrade", "tables", "--runs", "2000", "--database", DATABASE]
    upgrade = subprocess.run(command, capture_output=True, text=True, check=False)
    assert upgrade.returncode == 0, upgrade.stdout + upgrade.stderr
    assert "and back to 0001_initial: 4 of 4 tables as before, 5,000 rows" in upgrade.stdout
    assert ": all is kept" in upgrade.stdout
