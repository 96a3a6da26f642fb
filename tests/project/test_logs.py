import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from project.logs import JsonFormatter


def formatted(message: str = "Sent to %s", *args: Any, extra: dict[str, Any] | None = None, **over: Any) -> str:
    logger = logging.getLogger("monitoring")
    record = logger.makeRecord(
        "monitoring", logging.INFO, __file__, 1, message, args, over.get("exc_info"), extra=extra
    )
    return JsonFormatter().format(record)


def test_a_record_is_one_line_with_its_words_and_its_figures() -> None:
    line = formatted("Sent to %s\nand\u2028others", "ops@example.com", extra={"event": "mail-sent", "attempts": 2})
    assert len(line.splitlines()) == 1
    said = json.loads(line)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(said.pop("time"))).total_seconds() < 60
    assert said == {
        "level": "INFO",
        "logger": "monitoring",
        "message": "Sent to ops@example.com\nand\u2028others",
        "event": "mail-sent",
        "attempts": 2,
    }


def test_a_traceback_stays_in_the_line() -> None:
    try:
        raise OSError("gone")
    except OSError:
        line = formatted("It failed", exc_info=sys.exc_info())
    assert len(line.splitlines()) == 1
    assert json.loads(line)["exception"].endswith("OSError: gone")


def test_what_is_no_json_is_written_as_text_and_a_figure_never_takes_the_words_place() -> None:
    said = json.loads(
        formatted("words", extra={"level": "high", "since": datetime(2026, 11, 22, tzinfo=UTC), "x": "\ud800"})
    )
    assert (said["level"], said["since"], said["x"]) == ("INFO", "2026-11-22 00:00:00+00:00", "\ud800")
