"""What mail templates are given."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import NoReverseMatch, get_script_prefix, reverse

from monitoring.alerting.words import (
    MARKS,
    error_of,
    evidence_rows,
    fact_rows,
    run_tone,
    short_time,
    since_of,
    stands_of,
    summary_of,
    took_of,
    zone_of,
)
from monitoring.conf import conf
from monitoring.values.cause import cause_of
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.facts import AlertKind, Facts
from monitoring.values.text import head, one_line

LISTED_MAX = 50  # dependent tasks named in one mail
PROBLEM_MAX = 300  # characters

_SUBJECTS = {
    AlertKind.STATUS_MISMATCH: "[ALERT] {name} Status Check Failed",
    AlertKind.NOT_EXECUTED: "[ALERT] {name} Has Not Executed",
    AlertKind.NOT_JUDGED: "[ALERT] {name} Could Not Be Checked",
    AlertKind.RESOLVED: "[RESOLVED] {name} Is As Expected Again",
    AlertKind.MONITOR_DOWN: "[ALERT] Monitoring Was Down",
}


def subject_of(facts: Facts) -> str:
    return _SUBJECTS[facts.kind].format(name=one_line(facts.task_name))


def template_context(facts: Facts, evidence: Evidence = NOTHING) -> dict[str, Any]:
    """The template's whole contract; the first nine have the names and types of the original description.

    All others are text, numbers or lists of text, in the order in which both parts of the mail show them:
    - `kind` and `cause`, an AlertKind and a Cause by their values; `subject`; `preheader`, which a list of mails shows;
    - `summary`, one sentence, and `since`, since when and what depends on it;
    - `rows`, the facts, and `evidence_rows`, what else is known: pairs of label and value;
    - `listed_dependent_tasks`, the first LISTED_MAX names, and `more_dependent_tasks`, how many are left; `dependents`
      pairs those names with where their newest runs stand, if that is known;
    - `error_line`, what went wrong, and `traceback`, the lines before it;
    - `runs`, the last ones, the newest first, each with `mark`, `tone` (a key of MARKS), `status`, `started` and
      `took`; `strip`, the same from the oldest on; `run_lines`, the same as lines of columns; `zone`, which their times
      are in;
    - `links`, pairs of label and URL into the admin; `evidence_problem`, why there is no evidence;
    - `context_type`, `reason`, `site_url`;
    - added when it is rendered: `notice`, that it is a sample; where the built-in template had to take a project's
      place, `template_error`.
    """
    dependent_tasks = list(facts.dependent_tasks)
    listed = [one_line(name) for name in dependent_tasks[:LISTED_MAX]]
    error_line, traceback = error_of(facts, evidence)
    runs = _runs(facts, evidence)
    summary = summary_of(facts, evidence)
    return {
        "task_name": facts.task_name,
        "current_status": facts.current_status,
        "expected_statuses": ", ".join(facts.expected_statuses),
        "lookback_hours": float(facts.lookback_hours),
        "started_at": facts.started_at,
        "finished_at": facts.finished_at,
        "check_time": facts.check_time,
        "has_dependent_tasks": bool(dependent_tasks),
        "dependent_tasks": dependent_tasks,
        "kind": facts.kind.value,
        "cause": cause_of(facts, evidence).value,
        "subject": subject_of(facts),
        "preheader": error_line or head(one_line(facts.reason), PROBLEM_MAX) or summary,
        "summary": summary,
        "since": since_of(facts, evidence),
        "rows": fact_rows(facts),
        "listed_dependent_tasks": listed,
        "more_dependent_tasks": max(0, len(dependent_tasks) - LISTED_MAX),
        "dependents": _dependents(facts, evidence),
        "error_line": error_line,
        "traceback": traceback,
        "runs": runs,
        "strip": runs[::-1],
        "run_lines": _columns(runs, str(zone_of(facts))),
        "zone": str(zone_of(facts)),
        "evidence_rows": evidence_rows(facts, evidence),
        "evidence_problem": problem_of(facts, evidence),
        "links": links_of(evidence) or _board_link(facts),
        "context_type": facts.context_type,
        "reason": facts.reason,
        "site_url": conf().SITE_URL,
    }


def links_of(evidence: Evidence) -> list[tuple[str, str]]:
    """Links to those admin pages that this site has; none if SITE_URL is not set, and none to a sample's rows."""
    pages = (
        ("Open incident", "incident_change", evidence.incident_id),
        ("Open monitor", "monitor_overview", evidence.monitor_id),
        ("Open run", "backgroundtask_change", evidence.run.id if evidence.run else None),
    )
    return [(label, url) for label, page, key in pages if key and (url := admin_url(page, key))]


def _board_link(facts: Facts) -> list[tuple[str, str]]:
    """An outage of the monitor itself has no page of its own."""
    url = admin_url("board") if facts.kind is AlertKind.MONITOR_DOWN else ""
    return [("Open the board", url)] if url else []


def admin_url(page: str, *keys: object) -> str:
    """Empty if there is no such page, or SITE_URL is not set."""
    site = conf().SITE_URL.rstrip("/")
    if site and not urlsplit(site).path:
        site += (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    try:
        path = reverse(f"admin:monitoring_{page}", args=keys)
    except NoReverseMatch:
        return ""
    # Django prefixes the script's name only in requests and in a process's main thread, not in a worker's threads.
    return f"{site}/{path.removeprefix(get_script_prefix())}" if site else ""


def problem_of(facts: Facts, evidence: Evidence) -> str:
    """Empty for a task that could not be checked: its reason already says why."""
    if not evidence.problem or facts.kind is AlertKind.NOT_JUDGED:
        return ""
    return head(one_line(evidence.problem), PROBLEM_MAX)


def _dependents(facts: Facts, evidence: Evidence) -> list[tuple[str, str]]:
    zone = zone_of(facts)
    stands = {name: stands_of(run, zone) for name, run in evidence.dependents}
    return [(one_line(name), stands.get(name, "")) for name in facts.dependent_tasks[:LISTED_MAX]]


def _runs(facts: Facts, evidence: Evidence) -> list[dict[str, str]]:
    zone = zone_of(facts)
    shown = []
    for run in evidence.runs:
        tone = run_tone(run.status)
        submitted = f"submitted {short_time(run.submitted_at, zone)}" if run.submitted_at else "not started"
        shown.append(
            {
                "mark": MARKS[tone],
                "tone": tone,
                "status": one_line(run.status) + (f", attempt {run.attempts}" if run.attempts > 1 else ""),
                "started": short_time(run.started_at, zone) if run.started_at else submitted,
                "took": took_of(run, evidence),
            }
        )
    return shown


def _columns(runs: Sequence[Mapping[str, str]], zone: str) -> list[str]:
    rows = [(f"Started, {zone}", "Status", "Took")]
    rows += [(run["started"], f"{run['mark']} {run['status']}", run["took"]) for run in runs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
