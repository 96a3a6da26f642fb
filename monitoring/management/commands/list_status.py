import csv
import io
from collections import Counter
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from monitoring.alerting.recipients import superuser_addresses
from monitoring.checking.lookup import all_monitors, monitors_named
from monitoring.checking.standing import Standing, Stands, standings
from monitoring.management.plugin import PluginCommand, add_monitor_option, iso, named, run_as_json, tells, written
from monitoring.models import database_now
from monitoring.values.text import one_line

CSV_FIELDS = (
    "name",
    "task_name",
    "stands",
    "since",
    "found",
    "last_run_status",
    "last_run_started_at",
    "schedule",
    "time_zone",
    "last_checked_at",
    "next_check_at",
    "snoozed_until",
    "acknowledged_by",
    "tells",
)


class Command(PluginCommand):
    help = (
        "Lists monitors with where they stand and since when, their task's last run, their next check and whom they "
        "tell. It judges nothing: where a monitor stands is what its last check found. Ends with 0, whatever it shows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--failing", action="store_true", help="only those that are failing")
        add_monitor_option(parser, "only this monitor, or all monitors of the task of that name")
        parser.add_argument("--format", choices=["text", "json", "csv"], default="text")

    def handle(self, **options: Any) -> None:
        now, names = database_now(), named(options)
        found = standings(monitors_named(names) if names else all_monitors(), now)
        shown = [each for each in found if each.stands is Stands.FAILING or not options["failing"]]
        superusers = superuser_addresses()
        match options["format"]:
            case "json":
                monitors = [_as_json(each, superusers, now) for each in shown]
                self.print_json({"schema": 1, "monitors": monitors})
            case "csv":
                self.stdout.write(_as_csv([_as_json(each, superusers, now) for each in shown]))
            case _:
                self._print(found, shown, superusers, now)

    def _print(self, found: list[Standing], shown: list[Standing], superusers: tuple[str, ...], now: datetime) -> None:
        times = Counter(each.stands for each in found)
        counted = ", ".join(f"{times[stands]} {stands}" for stands in Stands if times[stands])
        self.stdout.write(counted or "There are no monitors: add one in the admin, or with import_monitors")
        if not shown:
            return
        self.stdout.write("")
        header = ("NAME", "STANDS", "SINCE", "LAST RUN", "NEXT CHECK", "TELLS", "NOTE")
        self.print_table([header, *(_row(each, superusers, now) for each in shown)])


def _row(standing: Standing, superusers: tuple[str, ...], now: datetime) -> tuple[str, ...]:
    run = standing.last_run
    return (
        standing.monitor.name,
        standing.stands,
        written(standing.since),
        f"{run.status} {written(run.started_at or run.submitted_at)}" if run else "-",
        written(standing.next_check_at),
        tells(standing.monitor.notify_to, superusers),
        _note(standing, now),
    )


def _note(standing: Standing, now: datetime) -> str:
    found, incident, snoozed_until = standing.found, standing.incident, standing.state.snoozed_until
    notes = [
        f"found: {found.current_status}" if found and standing.stands is Stands.FAILING else "",
        f"acknowledged by {incident.acknowledged_by}" if incident and incident.acknowledged_at else "",
        f"snoozed until {written(snoozed_until)}" if snoozed_until and snoozed_until > now else "",
    ]
    return ", ".join(note for note in notes if note)


def _as_json(standing: Standing, superusers: tuple[str, ...], now: datetime) -> dict[str, Any]:
    """For programs; `schema` grows when a key changes its meaning. Times are ISO 8601 with their zone."""
    monitor, state, incident = standing.monitor, standing.state, standing.incident
    return {
        "name": monitor.name,
        "task_name": monitor.task_name,
        "stands": standing.stands,
        "since": iso(standing.since),
        "found": standing.found.current_status if standing.found else None,
        "last_run": run_as_json(standing.last_run),
        "schedule": monitor.schedule,
        "time_zone": monitor.time_zone,
        "last_checked_at": iso(state.last_checked_at),
        "next_check_at": iso(standing.next_check_at),
        "snoozed_until": iso(state.snoozed_until) if state.snoozed_until and state.snoozed_until > now else None,
        "acknowledged_by": incident.acknowledged_by if incident and incident.acknowledged_at else None,
        "tells": list(monitor.notify_to or superusers),
    }


def _as_csv(monitors: list[dict[str, Any]]) -> str:
    """A line a monitor, with what _as_json says, for spreadsheets; several addresses are joined by spaces."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for monitor in monitors:
        run = monitor["last_run"] or {}
        ran = {"last_run_status": run.get("status"), "last_run_started_at": run.get("started_at")}
        row = monitor | ran | {"tells": " ".join(monitor["tells"])}
        writer.writerow({name: _cell(row[name]) for name in CSV_FIELDS})
    return text.getvalue()


def _cell(value: str | None) -> str:
    """One line, and text to a spreadsheet, which would calculate what begins so (OWASP, "CSV Injection")."""
    text = one_line(value or "")
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text
