import shlex
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser

from monitoring.checking.history import near_names
from monitoring.checking.suggestions import (
    Suggestion,
    as_config,
    how_many_said,
    known_names,
    suggest,
    unmonitored,
)
from monitoring.management.plugin import CouldNotTell, PluginCommand
from monitoring.management.terminal import INDENT, terminal
from monitoring.models.monitor import default_time_zone
from monitoring.values.schedule import InvalidSchedule, Schedule, parse_schedule
from monitoring.values.text import one_line

NAMES_AT_ONCE = 20  # in one command line


class Command(PluginCommand):
    help = (
        "Suggests monitors for tasks by their last runs, as the JSON configuration that import_monitors and "
        "check_task_status read. It leaves out schedules: the reasons go to standard error, and after them, for each "
        "schedule, the line that imports its monitors. Tasks with too few runs are named there and left out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "names", metavar="NAME", nargs="*", help="a task, by the name under which its runs are recorded"
        )
        parser.add_argument("--unmonitored", action="store_true", help="all tasks that have run and have no monitor")
        parser.add_argument(
            "--time-zone", metavar="ZONE", help="the zone of the schedules, such as Europe/Berlin; default: the site's"
        )

    def handle(self, **options: Any) -> None:
        names = list(dict.fromkeys([*options["names"], *(unmonitored() if options["unmonitored"] else [])]))
        if not names:
            raise CouldNotTell(how_many_said(0) if options["unmonitored"] else "Name tasks, or use --unmonitored")
        found = list(suggest(names, _zone(options["time_zone"])))
        runless = [each.habit.task_name for each in found if not each.habit.runs]
        known = known_names() if runless else []
        if unknown := [name for name in runless if name not in known]:
            raise CouldNotTell("\n".join(_unknown_said(name, known) for name in unknown))
        self._say_why(found)
        if not (config := as_config(found)):
            raise CouldNotTell("Too little is known of these tasks to suggest a monitor")
        self._say_how(found)
        self.print_json([config])

    def _say_why(self, found: Sequence[Suggestion]) -> None:
        shown = terminal(self.stderr, self.style)
        for each in found:
            lines = each.proposal.reasons if each.proposal else (f"{each.problem[0].upper()}{each.problem[1:]}.",)
            self.stderr.write(shown.spelt(each.habit.task_name), str)
            for line in lines:
                for part in shown.wrapped(line):
                    self.stderr.write(part, str)

    def _say_how(self, found: Sequence[Suggestion]) -> None:
        groups: dict[Schedule, list[str]] = {}
        for each in found:
            if each.proposal:
                groups.setdefault(each.proposal.schedule, []).append(each.habit.task_name)
        self.stderr.write("\nTo make monitors of them, with their schedules:", str)
        for schedule, names in groups.items():
            for start in range(0, len(names), NAMES_AT_ONCE):
                self.stderr.write(_line_to_run(names[start : start + NAMES_AT_ONCE], schedule), str)
        self.stderr.write("", str)


def _line_to_run(names: Sequence[str], schedule: Schedule) -> str:
    zone = [] if schedule.zone == default_time_zone() else ["--time-zone", schedule.zone]
    suggested = shlex.join(["manage.py", "suggest_monitors", *zone, "--", *names])
    imported = shlex.join(["manage.py", "import_monitors", "-", "--schedule", schedule.text, *zone])
    return one_line(f"{INDENT}{suggested} | {imported}")


def _zone(name: str | None) -> str:
    try:
        return parse_schedule("@daily", name or default_time_zone()).zone
    except InvalidSchedule as error:
        raise CouldNotTell(f"--time-zone: {error}") from None


def _unknown_said(name: str, known: list[str]) -> str:
    near = near_names(name, known)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "list_status --unmonitored shows what runs"
    return f"No run of a task named {name!r} is known; {hint}"
