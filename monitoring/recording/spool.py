"""Events that a short-lived process cannot wait for: each is kept as a small file until some process writes it."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any

from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connections

from monitoring.conf import conf
from monitoring.models import database_alias
from monitoring.recording.upsert import write_at_once
from monitoring.values.run_event import RunEvent, RunStatus
from monitoring.values.text import one_line

logger = logging.getLogger("monitoring")

_TIMES = ("submitted_at", "started_at", "finished_at")


class Writing:
    """An event on its way into the database, in a separate thread: if it hangs, it holds up nobody."""

    def __init__(self, event: RunEvent, after: Callable[[], object] = bool) -> None:
        """`after` is called first; the event is written once it returns."""
        self._event = event
        self._after = after
        self._is_settled = False
        self._thread = Thread(target=self._write, daemon=True)
        self._thread.start()

    def settle(self, deadline: float) -> None:
        """Waits until `time.monotonic()` reaches `deadline`; an event not written by then is kept on disk."""
        self._thread.join(max(0, deadline - time.monotonic()))
        if not self._is_settled:
            self._keep("the database did not answer in time")

    def _write(self) -> None:
        try:
            self._after()
            write_at_once(self._event)
        except Exception as error:
            if not self._is_settled:
                self._keep(str(error).strip())
        else:
            self._is_settled = True
            write_kept()  # the database can be reached
        finally:
            connections.close_all()

    def _keep(self, why: str) -> None:
        self._is_settled = True
        what = one_line(f"{self._event.task_name} {self._event.task_id} {self._event.status}")
        try:
            path = keep(self._event)
        except Exception:
            hint = "set MONITORING['SPOOL_DIR'] to a folder that can be written"
            logger.exception("Not recorded: %s (%s), and it could not be kept either; %s", what, why, hint)
        else:
            logger.warning("%s is written later, it is kept as %s: %s", what, path, why)


def keep(event: RunEvent) -> Path:
    """Keeps the event in a file for later, and returns the file. Raises OSError if it cannot be written."""
    folder = spool_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # nobody else may read what is in the files
    path = folder / f"{event.seq:019d}-{hashlib.sha256(event.task_id.encode()).hexdigest()[:16]}.json"
    new = path.with_suffix(f".new-{os.getpid()}")
    new.touch(mode=0o600)
    new.write_text(json.dumps(event._asdict(), default=datetime.isoformat))
    return new.replace(path)


def write_kept() -> None:
    """Writes the kept events, oldest first, and removes their files; several processes may do so at once. Never raises.

    An event that can never be written is set aside, a file that cannot be read or moved is skipped; both are logged.
    Each event is written alone, since it may have been written before.
    """
    try:
        for path in sorted(spool_folder().glob("*.json")):
            try:
                _write_file(path)
            except OSError as error:
                hint = "let record_run and the worker run as the same user, or remove it"
                logger.error("What is kept of a run as %s cannot be read or moved: %s; %s", path, error.strerror, hint)
    except (InterfaceError, OperationalError):
        return  # the database is away again, so the rest stays
    except Exception:
        logger.exception("What is kept of runs could not be written")


def spool_folder() -> Path:
    """The folder named in the settings, or else this user's folder for this database."""
    if given := conf().SPOOL_DIR:
        return Path(given)
    database = connections[database_alias()].settings_dict
    identity = repr([str(database.get(key)) for key in ("ENGINE", "HOST", "PORT", "NAME")])
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state, "task-status-monitoring", hashlib.sha256(identity.encode()).hexdigest()[:16])


def _write_file(path: Path) -> None:
    try:
        write_at_once(_event_in(path))
    except FileNotFoundError:
        return  # another process was quicker
    except (ValueError, TypeError, KeyError, DataError, IntegrityError):
        aside = path.replace(path.with_suffix(".bad"))
        logger.exception("Not recorded: what was kept of a run cannot be written and is set aside as %s", aside)
        return
    path.unlink(missing_ok=True)


def _event_in(path: Path) -> RunEvent:
    said: dict[str, Any] = json.loads(path.read_text())
    times = {name: datetime.fromisoformat(said[name]) for name in _TIMES if said[name]}
    return RunEvent(**said | times | {"status": RunStatus(said["status"])})
