from typing import Any

from django.core.management.base import CommandParser

from monitoring.checking.lookup import all_monitors, monitors_named
from monitoring.checking.transfer import export_config
from monitoring.management.plugin import CouldNotTell, PluginCommand, add_monitor_option, named


class Command(PluginCommand):
    help = (
        "Prints monitors as the JSON configuration that import_monitors and check_task_status read. It leaves out "
        "schedules and how often to notify; `manage.py dumpdata monitoring.Monitor monitoring.DependentTask` has all."
    )
    refused = "These monitors do not fit into one configuration; name one of each task with --monitor:"

    def add_arguments(self, parser: CommandParser) -> None:
        add_monitor_option(parser, "only this monitor, or all monitors of the task of that name")

    def handle(self, **options: Any) -> None:
        names = named(options)
        monitors = monitors_named(names) if names else all_monitors()
        if not monitors:
            raise CouldNotTell("There are no monitors to export")
        self.print_json([export_config(monitors)])
