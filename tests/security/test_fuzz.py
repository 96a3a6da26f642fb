"""A part of `make fuzz`, so that it cannot rot."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.security.fuzz import fuzz, requests

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


def _raises(environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError("past all handling")


def _fails(environ: Any, start_response: Any) -> list[bytes]:
    start_response("500 Internal Server Error", [])
    return [b"sorry"]


def _shows(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return [b"Traceback (most recent call last):"]


def _logs(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    try:
        raise ValueError("seen by nobody")
    except ValueError:
        logging.getLogger("monitoring").exception("It broke")
    return [b"ok"]


def _lets_headers_in(environ: Any, start_response: Any) -> list[bytes]:
    start_response("302 Found", [("Location", "/\r\nSet-Cookie: a=b")])
    return [b""]


@pytest.mark.parametrize("application", [_raises, _fails, _shows, _logs, _lets_headers_in])
def test_what_is_wrong_is_seen(application: Callable[..., Any]) -> None:
    tally = fuzz(application, 20, seed=1)
    assert len(tally.wrong) == tally.statuses.total() == 20
