"""A line of JSON for each log record, for programs that collect logs."""

import json
import logging
from datetime import UTC, datetime

# What every record has is no news; the request that Django adds is no value.
_COMMON = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName", "request"}


class JsonFormatter(logging.Formatter):
    """What a record was given as `extra` stands beside its time, level, logger and message."""

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
