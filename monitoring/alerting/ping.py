"""Pings an outside dead man's switch: another party's service that tells people when the pings stop."""

import logging
from http.client import HTTPException
from threading import Lock
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, build_opener

logger = logging.getLogger("monitoring")

TIMEOUT = 10  # seconds


class _Stays(HTTPRedirectHandler):
    """Treats a redirect as a failure: it may lead anywhere, so the configured address must be the final one."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None: ...


class Switch:
    """Requests its address and nothing else. A failure is logged when it begins, not every minute.

    The address is a secret: anyone who knows it can keep the switch quiet. It is never logged.
    """

    def __init__(self) -> None:
        self._opener = build_opener(_Stays)
        self._is_asking = Lock()
        self._fails = False

    def ping(self, url: str) -> bool:
        """Returns whether the switch took it. Never pings twice at once: a slow switch holds up one worker only."""
        if not self._is_asking.acquire(blocking=False):
            return False
        try:
            problem = self._ask(url)
            self._note(problem)
        finally:
            self._is_asking.release()
        return not problem

    def _ask(self, url: str) -> str:
        """What went wrong; empty if nothing did."""
        try:
            self._opener.open(url, timeout=TIMEOUT).close()
        except HTTPError as error:
            error.close()
            return f"it answered {error.code}"
        except URLError as error:
            return str(error.reason)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: an impossible host name
            return type(error).__name__
        return ""

    def _note(self, problem: str) -> None:
        if problem and not self._fails:
            event = {"event": "ping-failed", "problem": problem}
            logger.warning("The address PING_URL was not told that all is well: %s", problem, extra=event)
        elif self._fails and not problem:
            logger.info("The address PING_URL is told that all is well again", extra={"event": "ping-recovered"})
        self._fails = bool(problem)


ping = Switch().ping
