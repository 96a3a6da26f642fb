from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from monitoring.alerting.recipients import superuser_addresses
from monitoring.checking.lately import Lately, lately
from monitoring.checking.lookup import all_monitors, monitors_named
from monitoring.checking.standing import Stands, standings
from monitoring.checking.suggestions import habits, unmonitored
from monitoring.management.listing import as_json, as_table, counted, in_full, monitors_as_csv
from monitoring.management.plugin import CouldNotTell, PluginCommand, add_monitor_option, named
from monitoring.management.terminal import terminal
from monitoring.management.unwatched import unwatched_as_csv, unwatched_as_json, unwatched_as_table
from monitoring.models import database_now


class Command(PluginCommand):
    help = (
        "Lists monitors: where they stand and since when, the last runs of their tasks, what was found if they fail, "
        "their next check and whom they notify. Those that are named are shown in full. It checks nothing: where a "
        "monitor stands is what its last check found. Exits with 0 whatever it shows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--failing", action="store_true", help="only monitors that are failing")
        add_monitor_option(parser, "this monitor in full, or all monitors of the task of that name")
        parser.add_argument(
            "--unmonitored", action="store_true", help="instead of monitors, the tasks that run and have none"
        )
        parser.add_argument("--format", choices=["text", "json", "csv"], default="text")

    def handle(self, **options: Any) -> None:
        now, names = database_now(), named(options)
        if options["unmonitored"]:
            if names or options["failing"]:
                raise CouldNotTell("--unmonitored lists tasks without a monitor: --monitor and --failing do not apply")
            self._list_unmonitored(now, options["format"])
            return
        found = standings(monitors_named(names) if names else all_monitors(), now)
        shown = [each for each in found if each.stands is Stands.FAILING or not options["failing"]]
        if not names:  # named ones stay in the order they were asked for
            shown.sort(key=lambda each: each.stands is not Stands.FAILING)
        listed = lately(shown, now, in_full=bool(names))
        superusers = superuser_addresses()
        match options["format"]:
            case "json":
                self.print_json({"schema": 1, "monitors": [as_json(each, superusers, now) for each in listed]})
            case "csv":
                self.stdout.write(monitors_as_csv([as_json(each, superusers, now) for each in listed]))
            case _ if names:
                self._print_in_full(listed, superusers, now)
            case _:
                self.stdout.write(counted(found) or NO_MONITORS)
                self._print_table(listed, superusers, now)

    def _print_table(self, listed: list[Lately], superusers: tuple[str, ...], now: datetime) -> None:
        if listed:
            self.stdout.write("")
            for line in as_table(listed, superusers, now, terminal(self.stdout, self.style)):
                self.stdout.write(line)

    def _print_in_full(self, listed: list[Lately], superusers: tuple[str, ...], now: datetime) -> None:
        for place, each in enumerate(listed):
            for line in ["", ""] * bool(place):
                self.stdout.write(line)
            for line in in_full(each, superusers, now, terminal(self.stdout, self.style)):
                self.stdout.write(line)

    def _list_unmonitored(self, now: datetime, format: str) -> None:
        found = habits(unmonitored())
        match format:
            case "json":
                self.print_json({"schema": 1, "tasks": [unwatched_as_json(each) for each in found]})
            case "csv":
                self.stdout.write(unwatched_as_csv([unwatched_as_json(each) for each in found]))
            case _:
                for line in unwatched_as_table(found, now, terminal(self.stdout, self.style)):
                    self.stdout.write(line)


NO_MONITORS = "There are no monitors; add one in the admin, or import some with `manage.py import_monitors`"
