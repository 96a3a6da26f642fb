"""What our commands share: exit codes of the monitoring-plugin convention, and columns.

0 all is as expected, 2 something is not, 3 could not tell; 1, a warning, is not used. Source: the Monitoring Plugins
Development Guidelines, "Plugin Return Codes". `CommandError.returncode` carries them, so `call_command` sees them too.
"""

import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from monitoring.values.expectation import ConfigError

OK, CRITICAL, UNKNOWN = 0, 2, 3


class NotAsExpected(CommandError):
    def __init__(self, said: str):
        super().__init__(said, returncode=CRITICAL)


class CouldNotTell(CommandError):
    def __init__(self, said: str):
        super().__init__(said, returncode=UNKNOWN)


class NobodyToTell(CouldNotTell, ValueError):
    """A ValueError too, as `monitor_task_status` raises for the same."""


class PluginCommand(BaseCommand):
    """A command that ends with 3 whatever kept it from telling: bad usage, a bad config, the database away."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)

        def refuse(message: str) -> NoReturn:
            if parser.called_from_command_line:
                parser.print_usage(sys.stderr)
                parser.exit(UNKNOWN, f"{parser.prog}: {message}\n")
            raise CouldNotTell(message)

        parser.error = refuse  # type: ignore[method-assign] # argparse would end with 2, which means "critical"
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except ConfigError as error:
            raise CouldNotTell(f"The configuration is refused, nothing was checked:\n{error}") from None
        except DatabaseError as error:
            raise CouldNotTell(f"The database could not be asked: {error}") from error
        except CommandError as error:
            if error.returncode != CRITICAL:
                error.returncode = UNKNOWN
            raise


def columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells padded to their columns' widths; the last column stays as it is, and nothing is ever cut."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)][:-1]
    return [
        [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False)] + [row[-1]]
        for row in rows
    ]


def _width(text: str) -> int:
    """The terminal cells that a text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
