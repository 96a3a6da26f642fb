"""The board: what somebody woken by an alert sees first. Its head is on the admin's front page too."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitoring.admin.actions import BUTTONS
from monitoring.admin.display import badge, link
from monitoring.admin.pages import key_in
from monitoring.admin.parts import listed, overview_link, pairs, zone_of
from monitoring.admin.times import as_of, by_weekday, exact
from monitoring.alerting import words
from monitoring.alerting.variables import problem_of
from monitoring.checking.board import Failing, Head, board
from monitoring.checking.standing import Stands
from monitoring.checking.unusual import Unusual
from monitoring.models import BackgroundTask, Monitor, database_now
from monitoring.templatetags.monitoring_text import whole_dates
from monitoring.values.evidence import Evidence
from monitoring.values.facts import Facts
from monitoring.values.text import head, one_line, written_span

RENEWED_AFTER = 60  # seconds
UNUSUAL_SHOWN = 10
UNREADABLE = (
    "It is failing. Another version of this program stored what was found; after the next check it can be shown."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A failing monitor, laid out."""

    monitor: Monitor
    name: SafeString | str
    opened_at: datetime
    lasts: str
    summary: str
    since: str
    said: str
    rows: SafeString
    links: list[SafeString | str]
    is_acknowledged: bool
    is_snoozed: bool


def show_board(page: Any, request: HttpRequest) -> HttpResponse:
    """Takes a constant number of statements. A POST applies one of the list's actions to one monitor."""
    if not page.has_view_permission(request):
        raise PermissionDenied
    if request.method == "POST":
        return _do(page, request)
    shown, site = board(database_now()), page.admin_site.name
    request.current_app = site
    context = {
        **page.admin_site.each_context(request),
        "title": str(shown.head),
        "opts": Monitor._meta,
        "made_at": exact(shown.head.made_at),
        "is_paused": "paused" in request.GET,
        "may_act": page.has_snooze_permission(request),
        "cards": [_card(each, shown.head.made_at, site) for each in shown.failing],
        "counts": [(stands.value, getattr(shown.head, key), key) for stands in Stands if (key := stands.name.lower())],
        "may_add": page.has_add_permission(request),
        "unusual": [_unusual(each, site) for each in shown.unusual[:UNUSUAL_SHOWN]],
        "more_unusual": max(0, len(shown.unusual) - UNUSUAL_SHOWN),
        "more_failing": max(0, shown.head.failing - len(shown.failing)),
        **head_context(shown.head),
    }
    response = TemplateResponse(request, "admin/monitoring/board.html", context)
    if not context["is_paused"]:
        # A header, not an element of the page: nobody could stop that one.
        response["Refresh"] = str(RENEWED_AFTER)
    return response


def may_see(request: HttpRequest) -> bool:
    """The condition on which the admin shows a monitor."""
    return request.user.has_perm("monitoring.view_monitor") or request.user.has_perm("monitoring.change_monitor")


def head_context(of: Head) -> dict[str, Any]:
    """What the head's template is given."""
    tone = "late" if of.is_stale and of.enabled else "bad" if of.failing else "good" if of.fine else "idle"
    return {
        "head": of,
        "tone": tone,
        "mark": (words.MARKS | {"late": "!"})[tone],
        "ticked": as_of(of.ticked_at, of.made_at) if of.ticked_at else "",
        "problems": listed([str(problem) for problem in of.problems]) if of.problems else "",
    }


def _do(page: Any, request: HttpRequest) -> HttpResponse:
    if not page.has_snooze_permission(request):
        raise PermissionDenied
    for name, act in BUTTONS.items():
        if key := key_in(request.POST, name):
            act(page, request, Monitor.objects.filter(pk=key))
    return redirect(request.get_full_path())


def _card(failing: Failing, now: datetime, site: str) -> Card:
    incident, facts, evidence = failing.incident, failing.facts, failing.evidence
    said = words.error_of(facts, evidence)[0] or head(one_line(facts.reason), words.REASON_MAX) if facts else ""
    links = [link(incident, "Incident", site)]
    if evidence.run:
        links.append(link(BackgroundTask(pk=evidence.run.id), "Run and traceback" if said else "Run", site))
    return Card(
        monitor=failing.monitor,
        name=overview_link(failing.monitor, failing.monitor.name, site),
        opened_at=incident.opened_at,
        lasts=written_span(now - incident.opened_at),
        summary=words.summary_of(facts, evidence) if facts else UNREADABLE,
        since=words.since_of(facts, evidence) if facts else "",
        said=said,
        rows=pairs(_rows(failing, now, site)),
        links=links,
        is_acknowledged=incident.acknowledged_at is not None,
        is_snoozed=failing.snoozed_until is not None,
    )


def _rows(failing: Failing, now: datetime, site: str) -> Iterator[tuple[str, Any]]:
    incident, facts, evidence, zone = failing.incident, failing.facts, failing.evidence, zone_of(failing.monitor)
    if incident.acknowledged_at:
        yield "Acknowledged", format_html("by {}, {}", incident.acknowledged_by, as_of(incident.acknowledged_at, now))
    if failing.snoozed_until:
        yield "Snoozed", format_html("until {}", by_weekday(failing.snoozed_until, now, zone))
    if facts:
        known = dict(words.evidence_rows(facts, evidence))
        if said := _last_success(evidence, now, zone) or known.get("Last success"):
            yield "Last success", said
        if said := known.get("Since the check"):
            yield "Since the check", said
        if said := problem_of(facts, evidence):
            yield "Not known", said
        if facts.dependent_tasks:
            yield "Depends on it", _dependents(facts, evidence, site)
    if evidence.next_check_at:
        due = evidence.next_check_at <= now
        yield "Next check", "due now" if due else as_of(evidence.next_check_at, now, zone)


def _last_success(evidence: Evidence, now: datetime, zone: tzinfo) -> SafeString | str:
    """With its age as of now; a mail says how old the data was at the check instead."""
    run = evidence.last_success
    ended = run and (run.finished_at or run.started_at)
    return as_of(ended, now, zone) if ended else ""


def _dependents(facts: Facts, evidence: Evidence, site: str) -> SafeString:
    """The first dependent tasks and where each stands, in the mail's words."""
    zone = words.zone_of(facts)
    rows = [
        (
            link(BackgroundTask(pk=run.id), one_line(name), site) if run else one_line(name),
            badge(whole_dates(words.stands_of(run, zone)), words.run_tone(run.status) if run else "idle"),
        )
        for name, run in evidence.dependents
    ]
    more = len(facts.dependent_tasks) - len(rows)
    return format_html(
        '<ul class="mon-list">{}{}</ul>',
        format_html_join("", "<li>{} {}</li>", rows),
        format_html("<li>and {} more</li>", more) if more else "",
    )


def _unusual(unusual: Unusual, site: str) -> dict[str, Any]:
    return {"task": link(BackgroundTask(pk=unusual.run.id), one_line(unusual.task_name), site), "said": str(unusual)}
