"""What our commands share: exit codes of the monitoring-plugin convention, options, and how they print.

0: all is as expected; 2: something is not; 3: could not tell; 1, a warning, is not used. Source: the Monitoring Plugins
Development Guidelines, "Plugin Return Codes". `CommandError.returncode` carries them, so `call_command` sees them too.
"""

import argparse
import csv
import errno
import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper, SystemCheckError
from django.db import Error as DatabaseError

from monitoring.alerting.words import written_time
from monitoring.checking.lookup import UnknownMonitors
from monitoring.management.terminal import is_unicode
from monitoring.values.expectation import ConfigError, Expectation, parse_json
from monitoring.values.outcome import RunFacts
from monitoring.values.text import one_line, plain_lines
from monitoring.values.zone import zone_named

OK, WARNING, CRITICAL, UNKNOWN = range(4)
# As SQLite and PostgreSQL say it.
_NOT_MIGRATED = re.compile(r"no such (table|column)|has no column named|(relation|column) \S+( of \S+)? does not exist")
_NOT_PLAIN = re.compile(r"[^\n -~]")


class Reported(CommandError):
    """What the report on standard output says too: on the command line it is not repeated."""


class NotAsExpected(Reported):
    def __init__(self, said: str):
        super().__init__(plain_lines(said), returncode=CRITICAL)


class CouldNotTell(CommandError):
    def __init__(self, said: str):
        super().__init__(plain_lines(said), returncode=UNKNOWN)


class NobodyToTell(CouldNotTell, ValueError):
    """Also a ValueError, which `monitor_task_status` raises in the same case."""


class PluginCommand(BaseCommand):
    """A command that ends with 3 if anything kept it from telling: bad usage, a bad config, no database, no reader."""

    refused = "The configuration is refused; nothing was checked:"

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)

        def refuse(message: str) -> NoReturn:
            if parser.called_from_command_line:
                parser.print_usage(sys.stderr)
                parser.exit(UNKNOWN, f"Error: {message}\n")
            raise CouldNotTell(message)

        parser.error = refuse  # type: ignore[method-assign] # argparse would end with 2, which means "critical"
        self._parser = parser
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # it was closed when Python started, as by `>&-`
                stream = open(os.devnull, "w")  # noqa: SIM115 # for as long as the process lives
                setattr(sys, name, stream)
                setattr(self, name, OutputWrapper(stream))
            if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot write must not stop a command
                stream.reconfigure(errors="backslashreplace")
        try:
            super().run_from_argv(argv)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ENOSPC):
                raise
            _end_unread(error)
        finally:
            for stream in (sys.stdout, sys.stderr):
                _flush_quietly(stream)

    def execute(self, *args: Any, **options: Any) -> str | None:
        if os.environ.get("NO_COLOR") and not options["force_color"]:  # https://no-color.org
            options["no_color"] = True
        try:
            return self._execute(*args, **options)
        except SystemCheckError:
            raise
        except CommandError as error:
            if not self._called_from_command_line or options["traceback"]:  # type: ignore[attr-defined] # not in stubs
                raise
            if not isinstance(error, Reported):
                self.stderr.write(f"Error: {error}")  # Django would begin with the name of the class
            sys.exit(error.returncode)

    def _execute(self, *args: Any, **options: Any) -> str | None:
        self._refuse_unknown(options)
        try:
            return super().execute(*args, **options)
        except ConfigError as error:
            raise CouldNotTell(f"{self.refused}\n{error}") from None
        except UnknownMonitors as error:
            raise CouldNotTell(str(error)) from None
        except DatabaseError as error:
            raise CouldNotTell(_why_not_queried(error)) from error
        except CommandError as error:
            if error.returncode == WARNING:  # which is Django's default
                error.returncode = UNKNOWN
            raise

    def _refuse_unknown(self, options: dict[str, Any]) -> None:
        """What is none of an option's choices: the command line refuses it, `call_command` would take anything."""
        for action in self._parser._actions:
            if action.choices and (given := options[action.dest]) != action.default:
                try:
                    self._parser._check_value(action, given)
                except argparse.ArgumentError as error:
                    raise CouldNotTell(str(error)) from None

    def print_table(self, rows: Sequence[Sequence[str]]) -> None:
        for cells in columns(rows):
            self.stdout.write("  ".join(cells).rstrip())

    def print_json(self, document: object) -> None:
        self.stdout.write(as_json(document, is_ascii=not is_unicode(self.stdout)))


def _flush_quietly(stream: TextIO) -> None:
    """Python flushes once more when it ends, and would complain that nobody reads."""
    try:
        stream.flush()
    except OSError as error:
        _forget(stream)
        if error.errno != errno.EPIPE:  # else the command has come to its end, and its reader had seen enough
            _end_unread(error)


def _end_unread(error: OSError) -> NoReturn:
    """Whoever stopped reading, such as `head`, needs no word."""
    _forget(sys.stdout)
    if error.errno != errno.EPIPE:
        try:
            sys.stderr.write(f"Error: the output cannot be written: {error.strerror}\n")
            sys.stderr.flush()
        except OSError:
            _forget(sys.stderr)
    sys.exit(UNKNOWN)


def _forget(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _why_not_queried(error: DatabaseError) -> str:
    said = f"Cannot query the database: {error}"
    if not _NOT_MIGRATED.search(said):
        return said
    return f"{said.splitlines()[0]}. Has `manage.py migrate` been run?"


def as_json(document: object, *, is_ascii: bool = False) -> str:
    """Escapes what would act on a terminal or turn a line's direction; programs read the escape as the same."""
    text = json.dumps(document, indent=2, ensure_ascii=is_ascii)
    return _NOT_PLAIN.sub(lambda found: found[0] if one_line(found[0]) == found[0] else f"\\u{ord(found[0]):04x}", text)


def as_csv(fields: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    """A line per row with these of its fields, for spreadsheets."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in fields} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Text on one line, quoted if a spreadsheet would take it for a formula (OWASP, "CSV Injection")."""
    if not isinstance(value, str):
        return value
    line = one_line(value)
    return f"'{line}" if line.lstrip().startswith(("=", "+", "-", "@")) else line


def add_monitor_option(parser: argparse._ActionsContainer, what: str) -> None:
    parser.add_argument("--monitor", metavar="NAME", action="append", default=[], help=f"{what}; may be repeated")


def named(options: dict[str, Any]) -> list[str]:
    """The names given as --monitor; `call_command(..., monitor="x")` passes one as a plain string."""
    given = options["monitor"] or []
    return [given] if isinstance(given, str) else list(given)


def read_config(path: str, option: str) -> tuple[Expectation, ...]:
    """The configuration in that file, or on standard input when it is `-`."""
    if path == "-":
        return parse_json(sys.stdin.buffer.read())
    try:
        return parse_json(Path(path).read_bytes())
    except OSError as error:
        given = path or "''"
        raise CouldNotTell(f"{given}: {error.strerror}; {option} takes a JSON file, or - for standard input") from None


def written(instant: datetime | None, time_zone: str = "") -> str:
    """In a monitor's time zone, or else the site's, with its name."""
    return written_time(instant, zone_named(time_zone)) if instant else "-"


def tells(notify_to: Sequence[str], superusers: Sequence[str]) -> str:
    """Whom a monitor tells, in words."""
    if notify_to:
        return ", ".join(notify_to)
    return f"superusers: {', '.join(superusers)}" if superusers else "nobody"


def iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None


def run_as_json(run: RunFacts | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "task_id": run.task_id,
        "status": run.status,
        "submitted_at": iso(run.submitted_at),
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
    }


def columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells on one line each, all but the last padded to their column's width; nothing is ever cut."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)][:-1]
    return [
        [cell + " " * (width - width_of(cell)) for cell, width in zip(row, widths, strict=False)] + [row[-1]]
        for row in rows
    ]


def width_of(text: str) -> int:
    """How many terminal cells a text takes."""
    if text.isascii():  # a hundred times faster, and a table may have thousands of lines
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
