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
from monitoring.values.schedule import InvalidSchedule

TONES = {Stands.FAILING: "bad", Stands.FINE: "good", Stands.NOT_CHECKED: "idle", Stands.DISABLED: "idle"}
HEADER = ("NAME", "STANDS", "SINCE", "LAST RUNS", "LAST RUN", "NEXT CHECK", "TELLS")
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
    """A line a monitor and, under it, what was found; whom it tells stands there too where lines would get too long."""
    header, *rows = columns([HEADER, *(_row(each, superusers, now, terminal) for each in shown)])
    is_narrow = terminal.width is not None and any(width_of("  ".join(row)) > terminal.width for row in rows)
    shown_columns = len(HEADER) - is_narrow
    yield "  ".join(header[:shown_columns]).rstrip()
    for each, cells in zip(shown, rows, strict=True):
        is_failing = each.standing.stands is Stands.FAILING
        cells[STANDS] = terminal.painted(cells[STANDS], TONES[each.standing.stands])
        cells[RUNS] = terminal.strip(each.evidence.runs, len(cells[RUNS]))
        yield "  ".join(cells[:shown_columns]).rstrip()
        for note in [*_notes(each, now), *[f"tells {cells[-1]}"] * is_narrow]:
            yield from terminal.wrapped(note)
        if is_failing and each is not shown[-1]:
            yield ""


def in_full(shown: Lately, superusers: Sequence[str], now: datetime, terminal: Terminal) -> Iterator[str]:
    """All that is known of one monitor, in the order and the words of its mail."""
    standing = shown.standing
    mail = template_context(shown.facts, shown.evidence) if shown.facts else {}
    since = f" since {written(standing.since)}" if standing.since else ""
    yield terminal.spelt(standing.monitor.name)
    yield terminal.painted(f"{standing.stands}{since}", TONES[standing.stands])
    if standing.stands is Stands.FAILING and mail:
        yield ""
        yield from terminal.wrapped(mail["summary"], "")
        if mail["error_line"]:
            yield from terminal.wrapped(mail["error_line"], INDENT * 2)
        yield from terminal.wrapped(mail["since"], "")
    yield ""
    for label, value in columns(list(_facts_in_full(shown, mail, superusers, now))):
        yield terminal.spelt(f"{label}  {value}")
    if mail.get("dependents"):
        yield from ("", "Dependent tasks")
        more = mail["more_dependent_tasks"]
        dependents = [(f"{INDENT}{name}", stands) for name, stands in mail["dependents"]]
        for cells in columns(dependents + ([(f"{INDENT}and {more} more", "")] if more else [])):
            yield terminal.spelt("  ".join(cells).rstrip())
    if mail.get("runs"):
        yield ""
        yield f"Last runs: oldest {terminal.strip(shown.evidence.runs)} newest"
        yield from (INDENT + terminal.spelt(line) for line in mail["run_lines"])
    if mail.get("traceback"):
        yield from ("", "Where it went wrong")
        yield from (INDENT + terminal.spelt(line) for line in mail["traceback"].splitlines())
    if mail.get("evidence_problem"):
        yield from ("", *terminal.wrapped(f"Why it happened could not be looked up: {mail['evidence_problem']}", ""))
    if mail.get("links"):
        yield ""
        yield from (f"{label}: {url}" for label, url in mail["links"])


def as_json(shown: Lately, superusers: Sequence[str], now: datetime) -> dict[str, Any]:
    """For programs; `schema` grows when a key changes its meaning. Times are ISO 8601 with their zone.

    `evidence` is what the mail says, of a monitor that fails or that was named; else None.
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
        "snoozed_until": iso(_snoozed_until(standing, now)),
        "acknowledged_by": incident.acknowledged_by if incident and incident.acknowledged_at else None,
        "tells": list(monitor.notify_to or superusers),
        "incident": {
            "id": incident.pk,
            "opened_at": iso(incident.opened_at),
            "failing_checks": incident.failing_checks,
        }
        if incident
        else None,
        "evidence": _evidence_as_json(shown),
    }


def monitors_as_csv(monitors: Sequence[dict[str, Any]]) -> str:
    """A line a monitor, with what as_json says; several addresses are joined by spaces."""
    return as_csv(CSV_FIELDS, map(_csv_row, monitors))


def _csv_row(monitor: dict[str, Any]) -> dict[str, Any]:
    run = monitor["last_run"] or {}
    ran = {"last_run_status": run.get("status"), "last_run_started_at": run.get("started_at")}
    said = {"summary": (monitor["evidence"] or {}).get("summary"), "tells": " ".join(monitor["tells"])}
    return monitor | ran | said


def _row(shown: Lately, superusers: Sequence[str], now: datetime, terminal: Terminal) -> tuple[str, ...]:
    standing, run = shown.standing, shown.standing.last_run
    ran_at = run.started_at or run.submitted_at if run else None
    return (
        terminal.spelt(standing.monitor.name),
        standing.stands,
        ago(standing.since, now),
        "".join(MARKS[run_tone(run.status)] for run in shown.evidence.runs) or "-",
        ago(ran_at, now),
        from_now(standing.next_check_at, now),
        terminal.spelt(tells(standing.monitor.notify_to, superusers)),
    )


def _notes(shown: Lately, now: datetime) -> list[str]:
    """What was found, in the words of its mail, and what people did about it."""
    mail = template_context(shown.facts, shown.evidence) if shown.facts else {}
    incident, snoozed_until = shown.standing.incident, _snoozed_until(shown.standing, now)
    last_success = dict(mail.get("evidence_rows", ())).get("Last success")
    done = [
        f"acknowledged by {incident.acknowledged_by}" if incident and incident.acknowledged_at else "",
        f"snoozed until {written(snoozed_until)}" if snoozed_until else "",
    ]
    notes = [
        mail.get("summary"),
        mail.get("error_line"),
        f"Last success: {last_success}" if last_success else "",
        ", ".join(filter(None, done)),
        shown.evidence.problem,
    ]
    return [note for note in notes if note]


def _facts_in_full(
    shown: Lately, mail: dict[str, Any], superusers: Sequence[str], now: datetime
) -> Iterator[tuple[str, str]]:
    standing = shown.standing
    monitor, incident = standing.monitor, standing.incident
    # Of one that does not fail the newest run is told, which no check has looked at.
    yield from (row for row in mail["rows"] if row[0] != "Checked" or standing.stands is Stands.FAILING)
    yield from (row for row in mail["evidence_rows"] if row[0] != "Next check")
    if not mail["evidence_rows"] and shown.evidence.problem:
        yield "Last success", "not known"
    yield "Schedule", _schedule(standing)
    yield "Last check", written(standing.state.last_checked_at)
    yield "Next check", written(standing.next_check_at)
    if incident:
        by = f", acknowledged by {incident.acknowledged_by}" if incident.acknowledged_at else ""
        yield "Incident", f"{incident.pk}, failing checks in a row: {incident.failing_checks}{by}"
    if snoozed_until := _snoozed_until(standing, now):
        yield "Snoozed until", written(snoozed_until)
    yield "Tells", tells(monitor.notify_to, superusers)


def _evidence_as_json(shown: Lately) -> dict[str, Any] | None:
    if shown.facts is None:
        return None
    mail, evidence = template_context(shown.facts, shown.evidence), shown.evidence
    is_failing = shown.standing.stands is Stands.FAILING
    return {
        "cause": mail["cause"] if is_failing else None,
        "summary": mail["summary"] if is_failing else None,
        "since": mail["since"] if is_failing else None,
        "error_line": mail["error_line"],
        "traceback": mail["traceback"],
        "last_success": run_as_json(evidence.last_success),
        "usual_seconds": evidence.usual.total_seconds() if evidence.usual is not None else None,
        "dependent_tasks": [{"task_name": name, "stands": stands} for name, stands in mail["dependents"]],
        "problem": mail["evidence_problem"],
        "links": dict(mail["links"]),
    }


def _snoozed_until(standing: Standing, now: datetime) -> datetime | None:
    until = standing.state.snoozed_until
    return until if until and until > now else None


def _schedule(standing: Standing) -> str:
    monitor = standing.monitor
    try:
        words = monitor.parsed_schedule().words
    except InvalidSchedule as error:
        return str(error)
    return f"{words}, {monitor.time_zone}"
