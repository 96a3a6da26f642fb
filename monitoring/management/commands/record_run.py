import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from monitoring.management.plugin import PluginCommand
from monitoring.recording.job import CannotStart, record_job
from monitoring.values.text import plain_lines


class Command(PluginCommand):
    help = (
        "Runs a command and records it as a run: `record_run nightly_backup -- pg_dump -f backup.sql shop`. The run is "
        "Completed if the command exits with 0, else Stopped. Its output, its exit status and the signals TERM, INT "
        "and HUP are passed on. It runs even if the database is away: what cannot be written now is written later."
    )
    requires_system_checks = ()  # a problem of the site is no reason not to run the job

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parse_own = parser.parse_args

        def parse_args(args: Sequence[str] | None = None, namespace: Any = None) -> Any:
            """Everything after the first -- is the command's; argparse would drop a second -- from it."""
            given = list(args or ())
            mark = given.index("--") if "--" in given else len(given)
            found = parse_own(given[:mark], namespace)
            found.command = given[mark + 1 :]
            if not found.command:
                parser.error("the command to run is missing; put it after --")
            if not found.name.strip():
                parser.error("the run's name is empty; monitors know it by that")
            return found

        parser.parse_args = parse_args  # type: ignore[method-assign, assignment] # it is what Django calls
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.usage = "%(prog)s [--context-id ID] NAME -- COMMAND [ARGUMENT ...]"
        parser.add_argument("name", metavar="NAME", help="the run's task name, by which monitors know it")
        parser.add_argument("--context-id", metavar="ID", help="the business object that the run is about")

    def handle(self, *, name: str, context_id: str | None, command: list[str], **options: Any) -> None:
        try:
            status = record_job(name, command, context_id)
        except CannotStart as failure:
            raise CommandError(plain_lines(str(failure)), returncode=failure.status) from failure
        sys.exit(status)
