"""The part of a monitor's page that shows a span of time: two pictures, and the same as figures and a table."""

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from operator import itemgetter
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.admin.display import link, run_badge, url_of
from monitoring.admin.drawing import draw_durations, draw_timeline, figures, lasts
from monitoring.admin.parts import incident_badge, kind_badge, lasted, table, zone_of
from monitoring.admin.times import at, exact
from monitoring.alerting.words import written_hours
from monitoring.checking.timeline import Bar, Span, Timeline, suiting, timeline
from monitoring.models import BackgroundTask, Monitor
from monitoring.values.text import written_span

PARAMETER = "span"
NAMES = {Span.DAY: "24 hours", Span.WEEK: "7 days", Span.MONTH: "30 days"}


def timeline_of(monitor: Monitor, request: HttpRequest, now: datetime, site: str) -> dict[str, Any]:
    """What the page's template shows. The span comes from the URL, else it suits the monitor's schedule."""
    span = next((each for each in Span if each.value == request.GET.get(PARAMETER)), None) or suiting(monitor, now)
    shown, zone = timeline(monitor, now - span.length, now), zone_of(monitor)
    return {
        "spans": [(f"?{PARAMETER}={each.value}", NAMES[each], each is span) for each in Span],
        "span": NAMES[span],
        "zone": str(zone),
        "picture": draw_timeline(shown, span, zone, lambda row: url_of(_row(row), site)),
        "durations": draw_durations(shown, span, zone),
        "figures": figures(shown.durations),
        "notes": list(_notes(shown, monitor, zone)),
        "table": _table(shown, zone, site),
    }


def _row(shown: Any) -> Any:
    """Runs are plain values here, but a page's URL is looked up by row."""
    return shown if hasattr(shown, "_meta") else BackgroundTask(pk=shown.id)


def _notes(shown: Timeline, monitor: Monitor, zone: tzinfo) -> Iterator[str]:
    """What the pictures leave out, in words."""
    if shown.problem:
        yield f"The runs could not be read: {shown.problem}"
    if shown.known_since:
        older = "only the newest of each time slice" if shown.is_sampled else "none"
        yield f"Not all runs can be shown: since {exact(shown.known_since, zone)} every run is, before that {older}."
    if shown.windows is None:
        hours = written_hours(monitor.lookback_hours)
        yield f"Checks are due too often to draw their windows; each looks back {hours} h."


def _table(shown: Timeline, zone: tzinfo, site: str) -> SafeString:
    """Everything that is drawn, newest first."""
    rows = [*_runs(shown, zone, site), *_windows(shown, zone), *_incidents(shown, zone, site)]
    rows += [
        (alert.created_at, ["Alert", at(alert.created_at, zone), "–", link(alert, "", site), kind_badge(alert.kind)])
        for alert in shown.alerts
    ]
    newest_first = [cells for _, cells in sorted(rows, key=itemgetter(0), reverse=True)]
    return table(["What", "From", "Lasted", "Which", "How"], newest_first, empty="Nothing happened in this time.")


def _runs(shown: Timeline, zone: tzinfo, site: str) -> Iterator[tuple[datetime, list[Any]]]:
    for bar in shown.bars:
        if run := bar.alone:
            taken = lasts(run, shown.until)
            so_far = "" if taken is None or run.finished_at else " so far"
            name = "Run, the newest of its slice" if bar.stands_for_others else "Run"
            spent = "–" if taken is None else f"{written_span(taken)}{so_far}"
            which = link(BackgroundTask(pk=run.id), run.task_id, site)
            yield bar.began, [name, at(bar.began, zone), spent, which, run_badge(run.status)]
        else:
            cells = [f"{len(bar.runs)} runs", at(bar.began, zone), _from_to(bar), "–", run_badge(bar.status)]
            yield bar.began, cells


def _from_to(bar: Bar) -> str:
    took = [run.took for run in bar.runs if run.took is not None]
    shortest, longest = (written_span(each) for each in (min(took), max(took))) if took else ("–", "–")
    return shortest if shortest == longest else f"{shortest} to {longest}"


def _windows(shown: Timeline, zone: tzinfo) -> Iterator[tuple[datetime, list[Any]]]:
    for window in shown.windows or ():
        looks_back = written_span(max(window.until - window.since, timedelta(0)))
        yield window.until, ["Check due", at(window.until, zone), "–", "–", f"looks back {looks_back}"]


def _incidents(shown: Timeline, zone: tzinfo, site: str) -> Iterator[tuple[datetime, list[Any]]]:
    for incident in shown.incidents:
        spent = lasted(incident.opened_at, incident.closed_at)
        which = link(incident, "", site)
        yield incident.opened_at, ["Incident", at(incident.opened_at, zone), spent, which, incident_badge(incident)]
