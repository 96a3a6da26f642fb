"""How the project's log is written: text from strangers can neither forge a line nor act on a terminal."""

import copy
import json
import logging
from datetime import UTC, datetime

from monitoring.values.text import plain_lines

# Left out of JSON: what every record has, and the request that Django adds, which is no plain value.
_COMMON = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName", "request"}


class LineFormatter(logging.Formatter):
    """One line per record; its further lines, such as a traceback's, are indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.startswith("django.security."):  # an odd request, and no fault of ours
            record = copy.copy(record)
            record.exc_info = record.exc_text = None
        return plain_lines(super().format(record)).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """A line of JSON per record, for log collectors: what it was given as `extra` stands beside its message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _COMMON | line.keys()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
