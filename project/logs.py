"""How the project's log is written: what strangers put into it forges no line and does nothing to a terminal."""

import copy
import logging

from monitoring.values.text import plain_lines


class LineFormatter(logging.Formatter):
    """A record is one line; where it has more, as a traceback has, these are indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.startswith("django.security."):  # somebody's odd request, and no fault of ours
            record = copy.copy(record)
            record.exc_info = record.exc_text = None
        return plain_lines(super().format(record)).replace("\n", "\n    ")
