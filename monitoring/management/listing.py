"""How list_status shows monitors: a table with what was found, one in full, as JSON and as CSV."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from monitoring.alerting.variables import template_context
from monitoring.alerting.words import MARKS, run_tone
from monitoring.checking.lately import Lately
from monitoring.checking.standing import Standing, Stands
from monitoring.management.plugin import as_csv, columns, iso, run_as_json, tells, width_of, written
from monitoring.management.terminal import INDENT, Terminal, ago, from_now
from monitoring.models import Incident, Monitor
from monitoring.values.schedule import InvalidSchedule

HEADER = ("NAME", "STANDS", "SINCE", "LAST RUNS", "LAST RUN", "NEXT CHECK", "NOTIFIES")
STANDS, RUNS = 1, 3  # columns
CSV_FIELDS = (
    "name",
    "task_name",
    "stands",
    "since",
    "found",
    "summary",
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


def counted(found: Sequence[Standing]) -> str:
    """`2 failing, 12 fine`; empty without monitors."""
    times = Counter(each.stands for each in found)
    return ", ".join(f"{times[stands]} {stands}" for stands in Stands if times[stands])


def as_table(shown: Sequence[Lately], superusers: Sequence[str], now: datetime, terminal: Terminal) -> Iterator[str]:
    """A line per monitor and, under it, what was found; whom it tells goes there too if lines would get too long."""
    header, *rows = columns([HEADER, *(_row(each, superusers, now, terminal) for each in shown)])
    is_narrow = terminal.width is not None and any(width_of("  ".join(row)) > terminal.width for row in rows)
    shown_columns = len(HEADER) - is_narrow
    yield "  ".join(header[:shown_columns]).rstrip()
    for each, cells in zip(shown, rows, strict=True):
        is_failing = each.standing.stands is Stands.FAILING
        cells[STANDS] = terminal.painted(cells[STANDS], each.standing.stands.tone)
        cells[RUNS] = terminal.strip(each.evidence.runs, len(cells[RUNS]))
        yield "  ".join(cells[:shown_columns]).rstrip()
        for note in [*_notes(each, now), *[f"notifies {cells[-1]}"] * is_narrow]:
            yield from terminal.wrapped(note)
        if is_failing and each is not shown[-1]:
            yield ""


def in_full(shown: Lately, superusers: Sequence[str], now: datetime, terminal: Terminal) -> Iterator[str]:
    """Everything known about one monitor, in the order and the words of its mail."""
    standing, mail = shown.standing, template_context(shown.facts, shown.evidence)
    since = f" since {written(standing.since, shown.facts.time_zone)}" if standing.since else ""
    yield terminal.spelt(standing.monitor.name)
    yield terminal.painted(f"{standing.stands}{since}", standing.stands.tone)
    if shown.failed:
        yield from ("", *terminal.wrapped(mail["summary"], ""))
        yield from terminal.wrapped(mail["error_line"], INDENT * 2)
        yield from terminal.wrapped(mail["since"], "")
    yield ""
    for label, value in columns(list(_facts_in_full(shown, mail, superusers, now))):
        yield terminal.spelt(f"{label}  {value}")
    if mail["dependents"]:
        yield from ("", "Dependent tasks")
        more = mail["more_dependent_tasks"]
        for cells in columns([*mail["dependents"], *[(f"and {more} more", "")] * bool(more)]):
            yield INDENT + terminal.spelt("  ".join(cells).rstrip())
    if mail["runs"]:
        yield from ("", f"Last runs: oldest {terminal.strip(shown.evidence.runs)} newest")
        yield from (INDENT + terminal.spelt(line) for line in mail["run_lines"])
    if mail["traceback"]:
        yield from ("", "Where it went wrong")
        yield from (INDENT + terminal.spelt(line) for line in mail["traceback"].splitlines())
    if mail["evidence_problem"]:
        yield from ("", *terminal.wrapped(f"Its runs could not be looked up: {mail['evidence_problem']}", ""))
    if mail["links"]:
        yield from ("", *(f"{label}: {url}" for label, url in mail["links"]))


def as_json(shown: Lately, superusers: Sequence[str], now: datetime) -> dict[str, Any]:
    """For programs; `schema` goes up when a key changes its meaning. Times are ISO 8601 with an offset.

    `evidence` is what the mail says; None unless the monitor fails or was named.
    """
    standing = shown.standing
    monitor, state, incident = standing.monitor, standing.state, standing.incident
    return {
        "name": monitor.name,
        "task_name": monitor.task_name,
        "stands": standing.stands,
        "since": iso(standing.since),
        "found": standing.found.current_status if standing.found else None,
        "last_run": run_as_json(standing.last_run),
        "last_runs": [run_as_json(run) for run in shown.evidence.runs],
        "schedule": monitor.schedule,
        "time_zone": monitor.time_zone,
        "last_checked_at": iso(state.last_checked_at),
        "next_check_at": iso(standing.next_check_at),
        "snoozed_until": iso(standing.state.snoozed_at(now)),
        "acknowledged_by": incident.acknowledged_by if incident and incident.acknowledged_at else None,
        "tells": list(monitor.addresses or superusers),
        "incident": _incident_as_json(incident) if incident else None,
        "evidence": _evidence_as_json(shown),
    }


def monitors_as_csv(monitors: Sequence[dict[str, Any]]) -> str:
    """A line per monitor, with what as_json says; several addresses are joined by spaces."""
    return as_csv(CSV_FIELDS, map(_csv_row, monitors))


def _csv_row(monitor: dict[str, Any]) -> dict[str, Any]:
    run = monitor["last_run"] or {}
    ran = {"last_run_status": run.get("status"), "last_run_started_at": run.get("started_at")}
    said = {"summary": (monitor["evidence"] or {}).get("summary"), "tells": " ".join(monitor["tells"])}
    return monitor | ran | said


def _row(shown: Lately, superusers: Sequence[str], now: datetime, terminal: Terminal) -> tuple[str, ...]:
    standing, run = shown.standing, shown.standing.last_run
    return (
        terminal.spelt(standing.monitor.name),
        standing.stands,
        ago(standing.since, now),
        "".join(MARKS[run_tone(run.status)] for run in shown.evidence.runs) or "-",
        ago(run.started_at if run else None, now),
        from_now(standing.next_check_at, now),
        terminal.spelt(tells(standing.monitor.addresses, superusers)),
    )


def _notes(shown: Lately, now: datetime) -> list[str]:
    """What was found, in the words of its mail, and what people did about it."""
    incident, snoozed_until = shown.standing.incident, shown.standing.state.snoozed_at(now)
    zone = shown.facts.time_zone  # as in what was found
    done = [
        f"acknowledged by {incident.acknowledged_by}" if incident and incident.acknowledged_at else "",
        f"snoozed until {written(snoozed_until, zone)}" if snoozed_until else "",
    ]
    notes = [*_found(shown), ", ".join(filter(None, done)), shown.evidence.problem]
    return [note for note in notes if note]


def _found(shown: Lately) -> list[str]:
    if not shown.failed:
        return []
    mail = template_context(shown.facts, shown.evidence)
    said = {label: f"{label}: {value}" for label, value in mail["evidence_rows"]}
    # The summary is of the last check, the error of now.
    return [mail["summary"], said.get("Since the check", ""), mail["error_line"], said.get("Last success", "")]


def _facts_in_full(
    shown: Lately, mail: dict[str, Any], superusers: Sequence[str], now: datetime
) -> Iterator[tuple[str, str]]:
    standing, incident, zone = shown.standing, shown.standing.incident, shown.facts.time_zone
    # For a monitor that does not fail, these are about the newest run, which no check has looked at.
    yield from (row for row in mail["rows"] if shown.failed or row[0] != "Checked")
    yield from (row for row in mail["evidence_rows"] if row[0] != "Next check")
    yield "Schedule", _schedule(standing.monitor)
    yield "Last check", written(standing.state.last_checked_at, zone)
    yield "Next check", written(standing.next_check_at, zone)
    if incident:
        by = f", acknowledged by {incident.acknowledged_by}" if incident.acknowledged_at else ""
        yield "Incident", f"{incident.pk}, failing checks in a row: {incident.failing_checks}{by}"
    if snoozed_until := standing.state.snoozed_at(now):
        yield "Snoozed until", written(snoozed_until, zone)
    yield "Notifies", tells(standing.monitor.addresses, superusers)


def _incident_as_json(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.pk,
        "opened_at": iso(incident.opened_at),
        "failing_checks": incident.failing_checks,
    }


def _evidence_as_json(shown: Lately) -> dict[str, Any] | None:
    if not shown.in_full:
        return None
    mail, evidence = template_context(shown.facts, shown.evidence), shown.evidence
    return {
        **{key: mail[key] if shown.failed else None for key in ("cause", "summary", "since")},
        "error_line": mail["error_line"],
        "traceback": mail["traceback"],
        "last_success": run_as_json(evidence.last_success),
        "usual_seconds": evidence.usual.total_seconds() if evidence.usual is not None else None,
        "dependent_tasks": [{"task_name": name, "stands": stands} for name, stands in mail["dependents"]],
        "problem": mail["evidence_problem"],
        "links": dict(mail["links"]),
    }


def _schedule(monitor: Monitor) -> str:
    try:
        return f"{monitor.parsed_schedule().words}, {monitor.time_zone}"
    except InvalidSchedule as error:
        return str(error)
