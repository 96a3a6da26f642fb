from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandParser

from monitoring.alerting.recipients import superuser_addresses
from monitoring.alerting.words import written_hours, written_time
from monitoring.checking.transfer import Change, Verb, apply_import, plan_import
from monitoring.management.plugin import CouldNotTell, PluginCommand, read_config, tells
from monitoring.management.terminal import terminal
from monitoring.models import database_now
from monitoring.models.monitor import default_time_zone
from monitoring.values.schedule import InvalidSchedule, Schedule, parse_schedule


class Command(PluginCommand):
    help = (
        "Adds a monitor for each task of a JSON configuration, or changes the one of its name. If anything is wrong, "
        "none is imported. What the configuration does not mention stays as it is."
    )
    refused = "The configuration is refused; nothing was imported:"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the JSON configuration; - reads standard input")
        parser.add_argument(
            "--schedule",
            required=True,
            metavar="S",
            help="when they are checked, such as '35 8 * * *', @daily or 'every 2 hours'",
        )
        parser.add_argument(
            "--time-zone", metavar="ZONE", help="the zone of that schedule, such as Europe/Berlin; default: the site's"
        )
        parser.add_argument("--dry-run", action="store_true", help="show what would change and change nothing")

    def handle(self, **options: Any) -> None:
        schedule = _schedule(options["schedule"], options["time_zone"] or default_time_zone())
        changes = plan_import(read_config(options["file"], "FILE"), schedule)
        if not options["dry_run"]:
            apply_import(changes)
        times = Counter(change.verb for change in changes)
        done = "Would import" if options["dry_run"] else "Imported"
        self.stdout.write(f"{done}: {', '.join(f'{times[verb]} {verb}' for verb in Verb if times[verb])}")
        self.stdout.write("")
        superusers = superuser_addresses()
        shown = terminal(self.stdout, self.style)
        header = ("CHANGE", "NAME", "TASK", "EXPECTED", "LAST", "SCHEDULE", "NOTIFIES", "DEPENDENT TASKS")
        rows = (_row(change, superusers) for change in changes)
        self.print_table([header, *([shown.spelt(cell) for cell in row] for row in rows)])
        self.stdout.write("")
        for change in changes:
            if change.watched_by:
                watching = ", ".join(change.watched_by)
                self.stdout.write(shown.spelt(f"{change.name}: its task is already watched by {watching}"))
        due = schedule.next_after(database_now())
        next_check = f"; next check {written_time(due, ZoneInfo(schedule.zone))}" if due else ""
        self.stdout.write(f"Schedule: {schedule.words}, {schedule.zone}{next_check}")


def _schedule(text: str, zone: str) -> Schedule:
    try:
        return parse_schedule(text, zone)
    except InvalidSchedule as error:
        raise CouldNotTell(f"Nothing was imported: {error}") from None


def _row(change: Change, superusers: tuple[str, ...]) -> tuple[str, ...]:
    return (
        change.verb,
        change.name,
        change.task,
        change.written("expected_statuses", ", ".join),
        change.written("lookback_hours", lambda hours: f"{written_hours(hours)} h"),
        change.schedule,
        change.written("notify_to", lambda addresses: tells(addresses, superusers)),
        change.written("dependent_tasks", ", ".join) or "-",
    )
