"""An incident's page: the finding in its mail's words, the failed run, what differs in it, and the story."""

import json
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from django.contrib.humanize.templatetags.humanize import ordinal
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import get_default_timezone

from monitoring.admin.display import link, run_badge, url_of
from monitoring.admin.parts import (
    facts_found,
    frame,
    incident_badge,
    lasted,
    listed,
    message_badge,
    overview_link,
    overview_url,
    pairs,
    pre,
    table,
    zone_of,
)
from monitoring.admin.times import at, by_weekday, exact, exactly, to_the_minute
from monitoring.alerting.states import state_of
from monitoring.alerting.story import Happened, Moment, Story, story_of
from monitoring.alerting.variables import template_context
from monitoring.checking.evidence import gather_of
from monitoring.checking.incidents import found_by
from monitoring.checking.story import Difference, Runs, runs_of_story
from monitoring.models import BackgroundTask, Incident, Message, MonitorState
from monitoring.values.evidence import Evidence
from monitoring.values.facts import AlertKind, Facts
from monitoring.values.text import head, one_line

ERROR_SHOWN = 100  # characters of what the mail server said
FRAMED_MAX = 5  # mails; each is loaded when it is opened
NAMED_MAX = 5  # addresses of one moment
TONES = {
    Happened.FOUND: "bad",
    Happened.FAILED_AGAIN: "bad",
    Happened.RECOVERED: "good",
    Happened.NOT_SENT: "bad",
    Happened.DELIVERED: "good",
    Happened.REJECTED: "bad",
    Happened.BOUNCED: "bad",
    Happened.COMPLAINED: "bad",
    Happened.GAVE_UP: "bad",
}


class _ShownIn(NamedTuple):
    """Where and for whom the page is made."""

    zone: tzinfo
    now: datetime
    site: str
    may_see_mails: bool


def incident_page(incident: Incident, request: HttpRequest, now: datetime, site: str) -> dict[str, Any]:
    """What the page's template shows, in a constant number of statements; unreadable facts are shown as stored."""
    state = MonitorState.objects.filter(monitor=incident.monitor_id).first() if incident.monitor_id else None
    snoozed_until = state.snoozed_at(now) if state else None
    story = story_of(incident, state.snoozed_until if state else None)
    zone = zone_of(incident.monitor) if incident.monitor else get_default_timezone()
    may_see_mails = request.user.has_perm("monitoring.view_message")
    shown_in = _ShownIn(zone, now, site, may_see_mails)
    shown = {
        "badge": incident_badge(incident),
        "opened": to_the_minute(incident.opened_at, zone),
        "closed": _closed(incident, now, zone),
        "snoozed_until": by_weekday(snoozed_until, now, zone) if snoozed_until else "",
        "monitor_url": overview_url(incident.monitor, site),
        "is": pairs(_is(incident, story, shown_in)),
        "story": _story(story, incident, shown_in),
        "mails": list(_mails(story.messages[:FRAMED_MAX], zone, site)) if may_see_mails else [],
        "more_mails": max(0, len(story.messages) - FRAMED_MAX),
    }
    facts = found_by(incident)
    if facts is None:
        return {**shown, "found": facts_found(incident.facts)}
    evidence = gather_of(incident, facts, now)
    shown |= _in_the_words_of_its_mail(facts, evidence)
    if evidence.run and request.user.has_perm("monitoring.view_backgroundtask"):
        runs = runs_of_story(facts, evidence.run.task_id)
        shown |= _run_shown(runs, zone, site)
        # Of a task that did not execute the run before is shown, which may well have been a good one itself.
        shown["differs"] = _differs(runs, zone, site) if shown["failed"] else ""
    return shown


def _in_the_words_of_its_mail(facts: Facts, evidence: Evidence) -> dict[str, Any]:
    said = template_context(facts, evidence)
    never_started = evidence.run is not None and evidence.run.task_id == facts.waiting_task_id
    return {
        "failed": facts.kind is AlertKind.STATUS_MISMATCH or never_started,
        "summary": said["summary"],
        "error_line": said["error_line"],
        "since": said["since"],
        "traceback": said["traceback"],
        "evidence_problem": said["evidence_problem"],
        "found": pairs([*said["rows"], *said["evidence_rows"]]),
        "dependents": said["dependents"],
        "more_dependents": said["more_dependent_tasks"],
    }


def _run_shown(runs: Runs, zone: tzinfo, site: str) -> dict[str, Any]:
    """What the run's row holds, for users who may see runs."""
    run = runs.run
    if run is None:
        return {}
    return {
        "run": pairs(_run(run, zone, site)),
        "errors": pre(run.errors) if run.errors else "",
        "earlier_errors": pre(run.earlier_errors) if run.earlier_errors else "",
        "parameters": parameters_laid_out(run) if run.parameters else "",
    }


def _is(incident: Incident, story: Story, shown_in: _ShownIn) -> Iterator[tuple[str, Any]]:
    zone, site = shown_in.zone, shown_in.site
    gone = "" if incident.monitor_id else " (deleted)"
    yield "Monitor", overview_link(incident.monitor, f"{incident.monitor_name}{gone}", site)
    yield "Opened", exactly(incident.opened_at, zone)
    if incident.closed_at:
        spent = lasted(incident.opened_at, incident.closed_at)
        yield "Closed", format_html("{}, after {}", exactly(incident.closed_at, zone), spent)
    else:
        yield "Closed", "still open"
    yield "Failing checks", f"{incident.failing_checks} in a row"
    yield "Last alert raised", exactly(incident.told_at, zone) if incident.told_at else "none yet"
    yield "Last mail sent", _last_mail(story, shown_in)
    if incident.acknowledged_at:
        taken = exactly(incident.acknowledged_at, zone)
        yield "Acknowledged", format_html("by {}, {}", incident.acknowledged_by, taken)
    else:
        yield "Acknowledged", "by nobody yet"


def _closed(incident: Incident, now: datetime, zone: tzinfo) -> str:
    """`Closed Sun 23:28 CET after 2 h 52 min`; empty while it is open."""
    if not incident.closed_at:
        return ""
    return f"Closed {by_weekday(incident.closed_at, now, zone)} after {lasted(incident.opened_at, incident.closed_at)}"


def _last_mail(story: Story, shown_in: _ShownIn) -> SafeString | str:
    """When one was sent and, of each address that the newest has not reached, why not."""
    lines: list[SafeString | str] = []
    if story.last_sent_at or not story.not_sent:
        lines.append(exactly(story.last_sent_at, shown_in.zone) if story.last_sent_at else "none yet")
    for message in story.not_sent[:NAMED_MAX]:
        state = "given up" if message.gave_up_at else "not sent yet"
        whom = link(message, message.address, shown_in.site)
        lines.append(format_html('<span class="mon-bad">✗ {} to {}{}</span>', state, whom, _why(message, shown_in)))
    if (more := len(story.not_sent) - NAMED_MAX) > 0:
        lines.append(f"and {more} more")
    return listed(lines)


def _why(message: Message, shown_in: _ShownIn) -> str:
    """`: Connection refused, next try Sun 09:35 CET`; what the server said is for those who may see messages."""
    said = head(one_line(message.error.partition("\n")[0]), ERROR_SHOWN) if shown_in.may_see_mails else ""
    again = "" if message.gave_up_at else f"next try {by_weekday(message.next_attempt_at, shown_in.now, shown_in.zone)}"
    return f": {', '.join(filter(None, [said, again]))}" if said or again else ""


def _run(run: BackgroundTask, zone: tzinfo, site: str) -> Iterator[tuple[str, Any]]:
    yield "Run", link(run, run.task_id, site)
    yield "Status", run_badge(run.status)
    yield "Started", exactly(run.started_at, zone)
    yield "Took", lasted(run.started_at, run.finished_at)
    yield "Attempts", run.attempts
    if run.context_id is not None:
        yield "Context id", run.context_id
    if run.worker:
        yield "Worker", run.worker


def parameters_laid_out(run: BackgroundTask) -> SafeString | str:
    """As indented JSON; as stored if it was cut off."""
    try:
        return pre(json.dumps(json.loads(run.parameters), indent=2, ensure_ascii=False))
    except ValueError:
        return pre(run.parameters)


def _differs(runs: Runs, zone: tzinfo, site: str) -> SafeString | str:
    """Empty if there is no good run to compare with."""
    if runs.run is None or runs.good is None:
        return ""
    good = format_html("{}, {}", link(runs.good, runs.good.task_id, site), exactly(runs.good.started_at, zone))
    if not runs.differences:
        return format_html("<p>Apart from the outcome, nothing recorded differs from the last good run, {}.</p>", good)
    lines = format_html_join("", "<li>{}</li>", ((_in_words(each),) for each in runs.differences))
    return format_html('<p>Compared with the last good run, {}:</p><ul class="mon-differs">{}</ul>', good, lines)


def _in_words(difference: Difference) -> SafeString:
    parts = (difference.what, difference.failed or "none", difference.good or "none")
    return format_html('{}: <strong>{}</strong> <span class="mon-quiet">(was {})</span>', *parts)


def _story(story: Story, incident: Incident, shown_in: _ShownIn) -> SafeString:
    return table(
        ["When", "What", "Who and which"],
        [
            [_at(moment, shown_in), _what(moment, incident.failing_checks), _which(moment, shown_in)]
            for moment in story.moments
        ],
    )


def _at(moment: Moment, shown_in: _ShownIn) -> SafeString:
    to_come = " (to come)" if moment.at > shown_in.now else ""
    return format_html("{}{}", at(moment.at, shown_in.zone), to_come)


def _what(moment: Moment, failing_checks: int) -> SafeString | str:
    tone = TONES.get(moment.happened)
    word = moment.happened.value.capitalize()
    if moment.happened is Happened.FAILED_AGAIN:
        word = f"{ordinal(moment.failing_check)} failing check in a row"
    elif moment.failing_check:
        word = f"{word} (failing check {moment.failing_check} of {failing_checks})"
    return format_html('<span class="mon-{}">{}</span>', tone, word) if tone else word


def _which(moment: Moment, shown_in: _ShownIn) -> SafeString | str:
    site = shown_in.site
    if moment.messages:
        says_why = moment.happened in (Happened.NOT_SENT, Happened.GAVE_UP)
        mails = [(link(each, each.address, site), _why(each, shown_in) if says_why else "") for each in moment.messages]
        return _joined([format_html("{}{}", *mail) for mail in mails])
    match moment.happened:
        case Happened.OWED if moment.alert:
            kind = link(moment.alert, str(moment.alert.get_kind_display()), site)
            no_mail = dict.fromkeys(moment.unwritten, " (no mail yet)")
            whom = [f"{address}{no_mail.get(address, '')}" for address in moment.addresses]
            return format_html("{} to {}", kind, _joined(whom) if whom else "nobody: no address was known")
        case Happened.ACKNOWLEDGED:
            return f"by {moment.by}"
        case Happened.LEFT_OUT:
            return "not listed here"
    return ""


def _joined(parts: Any) -> SafeString:
    shown = format_html_join(", ", "{}", ((part,) for part in parts[:NAMED_MAX]))
    more = len(parts) - NAMED_MAX
    return format_html("{} and {} more", shown, more) if more > 0 else shown


def _mails(messages: tuple[Message, ...], zone: tzinfo, site: str) -> Iterator[dict[str, Any]]:
    for message in messages:
        if not url_of(message, site):  # an admin that shows no messages
            continue
        url = reverse(f"{site}:monitoring_message_html", args=[message.pk])
        yield {
            "link": link(message, message.subject, site),
            "address": message.address,
            "at": exact(message.sent_at or message.created_at, zone),
            "state": message_badge(state_of(message)),
            "frame": frame(url, f"The mail to {message.address} as HTML"),
        }
