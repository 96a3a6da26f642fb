"""Many alerts in one mail: what a reader must know of an alert storm, each monitor named, none twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, starmap, zip_longest
from typing import Any

from monitoring.alerting.variables import LISTED_MAX, admin_url, links_of, problem_of
from monitoring.alerting.words import REASON_MAX, error_of, short_time, span_of, summary_of, written_time, zone_of
from monitoring.conf import conf
from monitoring.values.cause import Cause, cause_of
from monitoring.values.evidence import Evidence
from monitoring.values.facts import AlertKind, Facts
from monitoring.values.text import head, one_line

DETAILED_MAX = 25  # failures shown in detail
# Some mail programs cut a mail off after 102 kB. The failures not shown in detail may take this much.
LINES_MAX = 55_000  # characters
LINE_OF_MARKUP = 10  # characters around each of their lines
HINT_MAX, HINT_MIN = 80, 12  # characters of the hint beside a name; with less room there is none


@dataclass(frozen=True, slots=True)
class Told:
    """An alert as a digest tells it."""

    facts: Facts
    evidence: Evidence

    @property
    def name(self) -> str:
        context_type = f" [{self.facts.context_type}]" if self.facts.context_type else ""
        return one_line(f"{self.facts.task_name}{context_type}")

    @property
    def group(self) -> str:
        """What the digest groups failures by."""
        cause = cause_of(self.facts, self.evidence)
        return f"ended as {one_line(self.facts.current_status)}" if cause is Cause.ENDED else cause.value

    @property
    def hint(self) -> str:
        """What the group does not say: the error, or for how long."""
        match cause_of(self.facts, self.evidence):
            case Cause.WAITING | Cause.STILL_RUNNING:
                return f"for {span}" if (span := span_of(self.facts, self.evidence)) else ""
            case Cause.OUTSIDE_WINDOW:
                return f"{span_of(self.facts, self.evidence)} before the check"
            case Cause.NOT_JUDGED:
                return one_line(self.facts.reason)
        return error_of(self.facts, self.evidence)[0]


def digest_context(alerts: Sequence[Facts], evidence: Sequence[Evidence]) -> dict[str, Any]:
    """What the digest's templates are given; lists are in the mail's order.

    `subject`, `summary` and `preheader` are sentences. `groups` are the failures by cause, each with its `cause`,
    `count`, `cards` (those shown in detail) and `lines`: pairs of a hint that several share, or "", and the names under
    it. `counts` are pairs of count and cause, without outages. `resolved` are sentences. `links` pairs labels with URLs
    into the admin. `evidence_problem` and `site_url` are text, as in a single alert.
    """
    told = sorted(starmap(Told, zip(alerts, evidence, strict=True)), key=lambda each: each.name)
    failing, resolved = _paired(told)
    groups = _grouped(failing)
    # An outage is in the groups too, but it is no task check.
    outages = [summary_of(each.facts, each.evidence) for each in failing if each.facts.kind is AlertKind.MONITOR_DOWN]
    checks = len(failing) - len(outages)
    sentences = (
        (checks, "task check failed.", "task checks failed."),
        (len(resolved), "task is as expected again.", "tasks are as expected again."),
    )
    counted = [f"{count} {one if count == 1 else many}" for count, one, many in sentences if count]
    summary = " ".join([*outages, *counted])
    # An outage is said before them, and is not a number of anything.
    counts = [(len(group), cause) for cause, group in groups.items() if cause != Cause.MONITOR_DOWN.value]
    url = admin_url("board")
    return {
        "subject": _subject(checks, len(resolved), bool(outages)),
        "summary": summary,
        "preheader": ", ".join(f"{count} {cause}" for count, cause in counts) or summary,
        "counts": counts,
        "groups": list(_shown(groups)),
        "resolved": resolved,
        "links": [("Open the board", url)] if url and failing else [],
        "evidence_problem": next(filter(None, (problem_of(each.facts, each.evidence) for each in failing)), ""),
        "site_url": conf().SITE_URL,
    }


def _subject(failing: int, resolved: int, was_down: bool) -> str:
    if failing:
        return f"[ALERT] {failing} Task {'Check' if failing == 1 else 'Checks'} Failed"
    if was_down:
        return "[ALERT] Monitoring Was Down"
    return f"[RESOLVED] {resolved} {'Task Is' if resolved == 1 else 'Tasks Are'} As Expected Again"


def _paired(told: Sequence[Told]) -> tuple[list[Told], list[str]]:
    """The failures that go on, each incident's newest only, and a sentence for each recovery and what failed before."""
    over = {key for each in told if (key := each.evidence.incident_id) and each.facts.kind is AlertKind.RESOLVED}
    failed_first: dict[int, Told] = {}
    newest: dict[int, Told] = {}
    for each in sorted(told, key=lambda each: each.facts.check_time):
        if (key := each.evidence.incident_id) and each.facts.kind is not AlertKind.RESOLVED:
            failed_first.setdefault(key, each)
            newest[key] = each
    failing = [
        each
        for each in told
        if each.facts.kind is not AlertKind.RESOLVED
        and each.evidence.incident_id not in over
        and newest.get(each.evidence.incident_id or 0, each) is each
    ]
    resolved = [
        _recovery(each, failed_first.get(each.evidence.incident_id or 0))
        for each in told
        if each.facts.kind is AlertKind.RESOLVED
    ]
    return failing, resolved


def _recovery(recovered: Told, failed: Told | None) -> str:
    if failed is None:
        return summary_of(recovered.facts, recovered.evidence)
    zone = zone_of(recovered.facts)
    first, over = written_time(failed.facts.check_time, zone), written_time(recovered.facts.check_time, zone)
    return f"{recovered.name} failed {first} and is as expected again {over}."


def _grouped(failing: Sequence[Told]) -> dict[str, list[Told]]:
    """By cause, the most common first."""
    groups: dict[str, list[Told]] = {}
    for each in failing:
        groups.setdefault(each.group, []).append(each)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _shown(groups: dict[str, list[Told]]) -> Iterator[dict[str, Any]]:
    """The groups take turns at details, so that the many failures of one cause do not crowd out the few of another."""
    by_turns = [each for each in chain.from_iterable(zip_longest(*groups.values())) if each]
    in_detail = set(map(id, by_turns[:DETAILED_MAX]))
    brief = by_turns[DETAILED_MAX:]
    room = LINES_MAX - sum(len(each.name) + LINE_OF_MARKUP for each in brief)
    hint_max = min(HINT_MAX, room // len(brief)) if brief else 0
    for cause, group in groups.items():
        yield {
            "cause": cause,
            "count": len(group),
            "cards": [_card(each) for each in group if id(each) in in_detail],
            "lines": _lines([each for each in group if id(each) not in in_detail], hint_max),
        }


def _lines(brief: Sequence[Told], hint_max: int) -> list[tuple[str, list[str]]]:
    """A hint that several share stands once above their names; any other stands in its failure's line."""
    named: dict[str, list[str]] = {}
    for each in brief:
        named.setdefault(each.hint, []).append(each.name)
    shared = [(head(hint, HINT_MAX), names) for hint, names in named.items() if hint and len(names) > 1]
    alone = [
        f"{names[0]}: {head(hint, hint_max)}" if hint and hint_max >= HINT_MIN else names[0]
        for hint, names in named.items()
        if hint and len(names) == 1
    ]
    rest = sorted([*alone, *named.get("", [])])
    return [*shared, ("", rest)] if rest else shared


def _card(told: Told) -> dict[str, Any]:
    facts, names = told.facts, [one_line(name) for name in told.facts.dependent_tasks]
    more = f" and {len(names) - LISTED_MAX} more" if len(names) > LISTED_MAX else ""
    return {
        "summary": summary_of(facts, told.evidence),
        "error_line": error_of(facts, told.evidence)[0],
        "facts": _in_short(facts, told.evidence),
        "depends": f"{', '.join(names[:LISTED_MAX])}{more}",
        "links": links_of(told.evidence)[:1],
    }


def _in_short(facts: Facts, evidence: Evidence) -> list[str]:
    zone = zone_of(facts)
    began = "down since" if facts.kind is AlertKind.MONITOR_DOWN else "started"
    failing = f"{evidence.failing_checks} checks in a row failed" if evidence.failing_checks > 1 else ""
    said = [
        f"{failing} since {short_time(evidence.opened_at, zone)}" if failing and evidence.opened_at else "",
        f"context type {one_line(facts.context_type)}" if facts.context_type else "",
        f"expected {', '.join(facts.expected_statuses)}" if facts.expected_statuses else "",
        f"{began} {short_time(facts.started_at, zone)}" if facts.started_at else "",
        head(one_line(facts.reason), REASON_MAX),
        f"checked {short_time(facts.check_time, zone)}",
        f"incident closed {short_time(evidence.closed_at, zone)}" if evidence.closed_at else "",
    ]
    return [each for each in said if each]
