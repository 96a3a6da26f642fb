"""A part of `make fuzz`, so that it cannot rot."""

import os
import subprocess
import sys
from pathlib import Path

from tests.security.fuzz import requests

TOP = Path(__file__).resolve().parent.parent.parent
DATABASE = "postgres" if os.environ.get("TEST_WITH") == "servers" else "sqlite"


def test_odd_requests_end_in_no_500_and_show_no_traceback() -> None:
    command = [sys.executable, "-m", "tests.security.fuzz", "--requests=1500", "--seed=7", f"--database={DATABASE}"]
    environment = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    assert "1,500 requests" in done.stdout


def test_a_seed_gives_the_same_requests_again() -> None:
    first, again, other = (list(zip(range(50), requests(seed), strict=False)) for seed in (1, 1, 2))
    assert first == again != other
