"""One monitor's page: where it stands, what a check would find now, what happened lately, and its mail."""

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from monitoring.admin.board import may_see
from monitoring.admin.display import badge, link, run_badge
from monitoring.admin.parts import (
    facts_found,
    frame,
    framed,
    incident_badge,
    lasted,
    listed,
    pairs,
    table,
    zone_of,
)
from monitoring.admin.timeline import timeline_of
from monitoring.admin.times import exactly, to_the_minute
from monitoring.alerting.mail import render
from monitoring.alerting.recipients import superuser_addresses
from monitoring.alerting.words import error_of, summary_of, written_hours
from monitoring.checking.due import look_at
from monitoring.checking.health import problems
from monitoring.checking.runs import last_runs
from monitoring.checking.standing import Standing, standings
from monitoring.models import BackgroundTask, Incident, Monitor, database_alias, database_now
from monitoring.telling import Preview, preview
from monitoring.tick import judge
from monitoring.values.outcome import Outcome, RunFacts, Verdict
from monitoring.values.schedule import InvalidSchedule

RUNS = 20
INCIDENTS = 10


def warn(request: HttpRequest) -> None:
    """Shows users who may see monitors what is wrong with the monitor itself."""
    # A POST is answered by a redirect to a page that warns.
    if request.method == "GET" and may_see(request):
        found = [str(problem) for problem in problems(database_now())]
        if found:
            messages.warning(request, format_html("Monitoring itself needs attention: {}", listed(found)))


def overview(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """Takes a constant number of statements, and changes nothing."""
    monitor = _visible_monitor(model_admin, request, object_id)
    now, site = database_now(), model_admin.admin_site.name
    (standing,) = standings([monitor], now)
    outcome = _judged(monitor, now)
    mail = preview(monitor, outcome, now)
    warn(request)
    request.current_app = site
    context = {
        **model_admin.admin_site.each_context(request),
        "title": monitor.name,
        "subtitle": None,
        "opts": Monitor._meta,
        "original": monitor,
        "monitor": monitor,
        "can_change": model_admin.has_change_permission(request, monitor),
        "stands": _stands_since(standing),
        "timeline": timeline_of(monitor, request, now, site),
        "standing": pairs(_standing(standing, now, site)),
        "found": facts_found(standing.incident.facts) if standing.incident else "",
        "if_checked_now": _finding(outcome, mail, zone_of(monitor), site),
        "wants": pairs(_wants(monitor)),
        "runs": _runs(monitor, site),
        "incidents": _incidents(monitor, site),
        "mail": render(mail.facts, mail.evidence),
        "mail_is_real": not outcome.is_as_expected,
        "frame": frame(reverse(f"{site}:monitoring_monitor_mail", args=[monitor.pk]), "The mail as HTML"),
    }
    return TemplateResponse(request, "admin/monitoring/overview.html", context)


def mail_preview(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """The HTML part of the mail that the overview shows, for its frame."""
    monitor = _visible_monitor(model_admin, request, object_id)
    now = database_now()
    mail = preview(monitor, _judged(monitor, now), now)
    return framed(render(mail.facts, mail.evidence).html)


def _visible_monitor(model_admin: Any, request: HttpRequest, object_id: str) -> Monitor:
    monitor = model_admin.get_object(request, object_id)
    if not model_admin.has_view_permission(request, monitor):
        raise PermissionDenied
    if monitor is None:
        raise Http404(f"There is no monitor {object_id}; it may have been deleted.")
    return monitor


def _judged(monitor: Monitor, now: datetime) -> Outcome:
    (outcome,) = judge(look_at([monitor], now, database_alias()))
    return outcome


def stands_badge(standing: Standing) -> SafeString:
    return badge(standing.stands.value, standing.stands.tone)


def _stands_since(standing: Standing) -> SafeString:
    if not standing.since:
        return stands_badge(standing)
    return format_html("{} since {}", stands_badge(standing), exactly(standing.since, zone_of(standing.monitor)))


def _standing(standing: Standing, now: datetime, site: str) -> Iterator[tuple[str, Any]]:
    monitor, state, incident = standing.monitor, standing.state, standing.incident
    zone = zone_of(monitor)
    yield "Status", stands_badge(standing)
    if standing.since:
        yield "Since", exactly(standing.since, zone)
    if incident:
        yield "Incident", link(incident, f"failing checks in a row: {incident.failing_checks}", site)
        yield "Acknowledged", f"by {incident.acknowledged_by}" if incident.acknowledged_by else "not yet"
    if snoozed_until := state.snoozed_at(now):
        yield "Snoozed until", exactly(snoozed_until, zone)
    yield "Last check", exactly(state.last_checked_at, zone)
    if monitor.enabled:
        yield "Next check", exactly(standing.next_check_at, zone)


def _wants(monitor: Monitor) -> Iterator[tuple[str, Any]]:
    yield "Task", monitor.task_name
    yield "Expected", ", ".join(monitor.statuses)
    yield "Looks back", f"{written_hours(monitor.lookback_hours)} h"
    if monitor.context_model:
        yield "Context", " ".join(filter(None, [monitor.context_model, monitor.context_type]))
    yield "Schedule", _schedule_in_words(monitor)
    yield "Notifies", _recipients(monitor)
    yield "Sends alerts", monitor.get_repeat_display()


def _schedule_in_words(monitor: Monitor) -> SafeString:
    try:
        words = monitor.parsed_schedule().words
    except InvalidSchedule as error:
        words = str(error)
    written = "" if words.lower() == monitor.schedule.lower() else f"{monitor.schedule}, "
    return format_html('{} <span class="mon-quiet">({}{})</span>', words, written, monitor.time_zone)


def _recipients(monitor: Monitor) -> str:
    if monitor.addresses:
        return ", ".join(monitor.addresses)
    superusers = ", ".join(superuser_addresses())
    return (
        f"the superusers {superusers}" if superusers else "nobody: it has no addresses, and no active superuser has one"
    )


def _finding(outcome: Outcome, mail: Preview, zone: tzinfo, site: str) -> SafeString:
    tone = "good" if outcome.verdict is Verdict.AS_EXPECTED else "bad"
    run = outcome.run
    shown_run = link(BackgroundTask(pk=run.id), run.task_id, site) if run else "no run in the window"
    rows: list[tuple[str, Any]] = [("Finding", badge(outcome.verdict.value, tone)), ("Run", shown_run)]
    if run:
        rows += [("Status", run_badge(run.status)), ("Started", exactly(run.started_at, zone))]
    if not outcome.is_as_expected:
        rows.append(("In words", outcome.reason or summary_of(mail.facts, mail.evidence)))
        if error := error_of(mail.facts, mail.evidence)[0]:
            rows.append(("Error", error))
    return pairs(rows)


def _runs(monitor: Monitor, site: str) -> SafeString:
    last, zone = last_runs(monitor, RUNS), zone_of(monitor)
    return table(
        ["Started", "Status", "Took", "Task id"],
        [
            [
                link(BackgroundTask(pk=run.id), _started(run, zone), site),
                run_badge(run.status),
                lasted(run.started_at, run.finished_at),
                run.task_id,
            ]
            for run in last.runs
        ],
        empty=last.problem or f"No run by the name {monitor.task_name!r} was ever recorded.",
    )


def _started(run: RunFacts, zone: tzinfo) -> str:
    if run.started_at:
        return to_the_minute(run.started_at, zone)
    said = "never" if run.finished_at else "not yet"
    return f"{said}; submitted {to_the_minute(run.submitted_at, zone)}" if run.submitted_at else said


def _incidents(monitor: Monitor, site: str) -> SafeString:
    zone = zone_of(monitor)
    newest = Incident.objects.filter(monitor=monitor).order_by("-opened_at", "-id")[:INCIDENTS]
    return table(
        ["Opened", "State", "Lasted", "Failing checks", "Acknowledged by"],
        [
            [
                link(incident, to_the_minute(incident.opened_at, zone), site),
                incident_badge(incident),
                lasted(incident.opened_at, incident.closed_at),
                incident.failing_checks,
                incident.acknowledged_by or "–",
            ]
            for incident in newest
        ],
        empty="It has never failed.",
    )
