"""A monitor's time drawn as SVG, on the server: classes and attributes only, so that any content policy allows it.

Horizontal places are in per cent, vertical ones in pixels, so that letters keep their size and lines stay sharp at
every width. A stroke keeps shapes visible that would be too short to see.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitoring.admin.times import exact
from monitoring.alerting.words import MARKS, run_tone
from monitoring.checking.probe import place_in_time
from monitoring.checking.timeline import Bar, Durations, Span, Timeline, Window
from monitoring.models import Alert, Incident
from monitoring.values.facts import AlertKind
from monitoring.values.outcome import RunFacts
from monitoring.values.text import written_span

# From the top of the timeline, in pixels.
ALERT_LINE = 11
INCIDENT_TOP = 16
BASE = 66  # the line on which runs stand
WINDOW_TOPS = (72, 78)  # alternating, since a window often reaches back beyond the previous check
WINDOW_HEIGHT = 4
TICK_END = 86
LABEL_LINE = 99
TIMELINE_HEIGHT = 104
# By tone: the worse, the taller. They are drawn in this order, so that the worst is on top.
HEIGHTS = {"good": 18, "idle": 9, "busy": 26, "bad": 34}

# And from the top of the durations.
LEVELS_LINE = 11
LONGEST_TOP = 22
ZERO = 110
DURATIONS_LABEL_LINE = 125
DURATIONS_HEIGHT = 130

MARKS_APART = 1.5  # per cent: closer ones would overlap
EDGE = 5.0  # per cent at either end, where no label has room
WHOLE = 100.0

Link = Callable[[object], str]  # the URL of a row's page; empty if there is none


@dataclass(frozen=True, slots=True)
class Scale:
    """Turns instants into per cent of the width; those outside the span are put on its edge."""

    since: datetime
    until: datetime

    def at(self, instant: datetime) -> float:
        place = (instant - self.since) / (self.until - self.since) * WHOLE
        return round(min(max(place, 0.0), WHOLE), 3)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the width, in per cent."""

    x: float
    width: float


def stretch(scale: Scale, began: datetime, ended: datetime | None) -> Stretch:
    """Cut off at the edges of the span; without an end it reaches to the end of the span."""
    left = scale.at(began)
    return Stretch(left, round(max(scale.at(ended or scale.until) - left, 0.0), 3))


def tone_of(bar: Bar) -> str:
    return run_tone(bar.status)


def worst_last(bars: Iterable[Bar]) -> list[Bar]:
    return sorted(bars, key=lambda bar: list(HEIGHTS).index(tone_of(bar)))


def ticks(span: Span, since: datetime, until: datetime, zone: tzinfo) -> list[tuple[datetime, str]]:
    """Round hours or midnights of the zone, with their labels; right on days of 23 or 25 hours too."""
    day, last = since.astimezone(zone).date(), until.astimezone(zone).date()
    found = []
    while day <= last:
        for hour in (0, 6, 12, 18) if span is Span.DAY else (0,) if span is Span.WEEK or day.weekday() == 0 else ():
            local = datetime(day.year, day.month, day.day, hour, tzinfo=zone)
            label = f"{local:%H:%M}" if span is Span.DAY else f"{local:%a} {day.day}"
            found.append((local.astimezone(UTC), label if span is not Span.MONTH else f"{day.day} {local:%b}"))
        day += timedelta(days=1)
    return [(instant, label) for instant, label in found if since < instant < until]


def spread(places: Iterable[float]) -> list[float]:
    """From left to right, the places at least MARKS_APART from the one kept before."""
    kept: list[float] = []
    for place in sorted(places):
        if not kept or place - kept[-1] >= MARKS_APART:
            kept.append(place)
    return kept


def draw_timeline(shown: Timeline, span: Span, zone: tzinfo, link: Link) -> SafeString:
    scale = Scale(shown.since, shown.until)
    parts = [
        *_ticks(scale, span, zone, INCIDENT_TOP, TICK_END, LABEL_LINE),
        *(_unknown(scale, shown.known_since, zone) if shown.known_since and not shown.is_sampled else ()),
        *(_incident(scale, incident, zone, link) for incident in shown.incidents),
        format_html('<line class="mon-base" x1="0" x2="100%" y1="{0}" y2="{0}"/>', BASE),
        *(_window(scale, number, window, zone) for number, window in enumerate(shown.windows or ())),
        *(_bar(scale, bar, shown.until, zone, link) for bar in worst_last(shown.bars)),
        *_marks(scale, shown.bars),
        *(_alert(scale, alert, zone, link) for alert in shown.alerts),
    ]
    return _svg("timeline", TIMELINE_HEIGHT, "What happened when", described(shown, zone), parts)


def draw_durations(shown: Timeline, span: Span, zone: tzinfo) -> SafeString | str:
    """Empty if no run has a duration yet."""
    longest = max((taken for bar in shown.bars for run in bar.runs if (taken := lasts(run, shown.until))), default=None)
    if not longest:
        return ""
    scale = Scale(shown.since, shown.until)
    parts = [
        *_ticks(scale, span, zone, LONGEST_TOP, ZERO, DURATIONS_LABEL_LINE),
        format_html('<line class="mon-base" x1="0" x2="100%" y1="{0}" y2="{0}"/>', ZERO),
        *(_dot(scale, bar, longest, shown.until, zone) for bar in worst_last(shown.bars)),
        *(_levels(shown.durations, longest) if shown.durations else ()),
    ]
    return _svg("durations", DURATIONS_HEIGHT, "How long runs took", figures(shown.durations), parts)


def height_of(taken: timedelta, longest: timedelta) -> float:
    """Where on the plot a duration lies, in pixels from the top."""
    return round(ZERO - taken / longest * (ZERO - LONGEST_TOP), 1)


def lasts(run: RunFacts, until: datetime) -> timedelta | None:
    """How long it took, or has taken so far."""
    if run.took is None and run.started_at and run.finished_at is None and run_tone(run.status) == "busy":
        return max(until - run.started_at, timedelta(0))
    return run.took


def described(shown: Timeline, zone: tzinfo) -> str:
    """The picture in a few words; the table below it has everything."""
    statuses = Counter(run.status for bar in shown.bars for run in bar.runs)
    runs = ", ".join(f"{number:,} {status}" for status, number in statuses.most_common()) or "none"
    said = f"From {exact(shown.since, zone)} to {exact(shown.until, zone)}. Runs: {runs}."
    return f"{said} Incidents: {len(shown.incidents)}. Alerts: {len(shown.alerts)}."


def figures(durations: Durations | None) -> str:
    if durations is None:
        return "No run that completed is known in this time."
    runs = "One run" if durations.count == 1 else f"{durations.count:,} runs"
    return (
        f"{runs} completed: half within {written_span(durations.median)} (the median), 95 of 100 within "
        f"{written_span(durations.p95)}, the longest in {written_span(durations.longest)}."
    )


def bar_in_words(bar: Bar, until: datetime, zone: tzinfo) -> str:
    if run := bar.alone:
        taken = lasts(run, until)
        spent = f", {'took' if run.finished_at else 'so far'} {written_span(taken)}" if taken is not None else ""
        verb = "started" if run.started_at else "submitted"
        others = "; the newest of its time, others are not drawn" if bar.stands_for_others else ""
        return f"{run.status}, {verb} {exact(bar.began, zone)}{spent}{others}"
    last = place_in_time(bar.runs[-1])[0]
    return f"{len(bar.runs)} {bar.status}, started {exact(bar.began, zone)} to {exact(last, zone)}"


def _svg(name: str, height: int, title: str, description: str, parts: Iterable[SafeString]) -> SafeString:
    return format_html(
        '<svg class="mon-{0}" width="100%" height="{1}" role="group" aria-labelledby="mon-{0}-title" '
        'aria-describedby="mon-{0}-desc"><title id="mon-{0}-title">{2}</title><desc id="mon-{0}-desc">{3}</desc>'
        "{4}</svg>",
        name,
        height,
        title,
        description,
        format_html_join("", "{}", ((part,) for part in parts)),
    )


def _ticks(scale: Scale, span: Span, zone: tzinfo, top: int, bottom: int, label_line: int) -> Iterator[SafeString]:
    for instant, label in ticks(span, scale.since, scale.until, zone):
        x = scale.at(instant)
        yield format_html('<line class="mon-tick" x1="{0}%" x2="{0}%" y1="{1}" y2="{2}"/>', x, top, bottom)
        if EDGE < x < WHOLE - EDGE:  # otherwise it would be cut off
            yield format_html('<text class="mon-label" x="{}%" y="{}">{}</text>', x, label_line, label)


def _unknown(scale: Scale, known_since: datetime, zone: tzinfo) -> Iterator[SafeString]:
    yield format_html(
        '<rect class="mon-unknown" x="0" width="{}%" y="{}" height="{}"><title>Runs before {} are not drawn</title>'
        "</rect>",
        scale.at(known_since),
        INCIDENT_TOP,
        BASE - INCIDENT_TOP,
        exact(known_since, zone),
    )


def _incident(scale: Scale, incident: Incident, zone: tzinfo, link: Link) -> SafeString:
    part = stretch(scale, incident.opened_at, incident.closed_at)
    closed = f"closed {exact(incident.closed_at, zone)}" if incident.closed_at else "still open"
    return _linked(
        link(incident),
        format_html(
            '<g class="mon-incident"><title>Incident: opened {0}, {1}</title>'
            '<rect class="mon-band" x="{2}%" width="{3}%" y="{4}" height="{5}"/>'
            '<rect class="mon-edge" x="{2}%" width="{3}%" y="{4}" height="2"/></g>',
            exact(incident.opened_at, zone),
            closed,
            part.x,
            part.width,
            INCIDENT_TOP,
            BASE - INCIDENT_TOP,
        ),
    )


def _window(scale: Scale, number: int, window: Window, zone: tzinfo) -> SafeString:
    part = stretch(scale, window.since, window.until)
    return format_html(
        '<g class="mon-window"><title>Check due {0}: looks back to {1}</title>'
        '<rect x="{2}%" width="{3}%" y="{4}" height="{5}"/>'
        '<line x1="{6}%" x2="{6}%" y1="{7}" y2="{8}"/></g>',
        exact(window.until, zone),
        exact(window.since, zone),
        part.x,
        part.width,
        WINDOW_TOPS[number % 2],
        WINDOW_HEIGHT,
        scale.at(window.until),
        BASE,
        WINDOW_TOPS[number % 2] + WINDOW_HEIGHT,
    )


def _bar(scale: Scale, bar: Bar, until: datetime, zone: tzinfo, link: Link) -> SafeString:
    part, tone = stretch(scale, bar.began, bar.ended), tone_of(bar)
    return _linked(
        link(bar.alone) if bar.alone else "",
        format_html(
            '<rect class="mon-run mon-{}{}" x="{}%" width="{}%" y="{}" height="{}"><title>{}</title></rect>',
            tone,
            " mon-sample" if bar.stands_for_others else "",
            part.x,
            part.width,
            BASE - HEIGHTS[tone],
            HEIGHTS[tone],
            bar_in_words(bar, until, zone),
        ),
    )


def _marks(scale: Scale, bars: Sequence[Bar]) -> Iterator[SafeString]:
    """Marks above bad and busy runs; the height alone tells the others apart."""
    for tone in ("bad", "busy"):
        parts = [stretch(scale, bar.began, bar.ended) for bar in bars if tone_of(bar) == tone]
        for x in spread(part.x + part.width / 2 for part in parts):
            yield format_html(
                '<text class="mon-mark mon-{}" x="{}%" y="{}" aria-hidden="true">{}</text>',
                tone,
                round(min(max(x, 0.6), 99.4), 3),
                BASE - HEIGHTS[tone] - 3,
                MARKS[tone],
            )


def _alert(scale: Scale, alert: Alert, zone: tzinfo, link: Link) -> SafeString:
    good = alert.kind == AlertKind.RESOLVED
    mark = format_html(
        '<text class="mon-mark mon-{}" x="{}%" y="{}">{}<title>Alert: {}, {}</title></text>',
        "good" if good else "bad",
        min(max(scale.at(alert.created_at), 0.6), 99.4),
        ALERT_LINE,
        "△" if good else "▼",
        alert.get_kind_display(),
        exact(alert.created_at, zone),
    )
    return _linked(link(alert), mark)


def _dot(scale: Scale, bar: Bar, longest: timedelta, until: datetime, zone: tzinfo) -> SafeString:
    """One run, or a line from the shortest to the longest of those drawn together."""
    taken = [each for run in bar.runs if (each := lasts(run, until)) is not None]
    if not taken:
        return SafeString()
    shape = '<line class="mon-dot mon-{}{}" x1="{x}%" x2="{x}%" y1="{}" y2="{}"><title>{}</title></line>'
    return format_html(
        shape,
        tone_of(bar),
        " mon-sample" if bar.stands_for_others else "",
        height_of(max(taken), longest),
        height_of(min(taken), longest),
        bar_in_words(bar, until, zone),
        x=scale.at(bar.began),
    )


def _levels(durations: Durations, longest: timedelta) -> Iterator[SafeString]:
    """Two lines, labelled above the plot: a label beside its line could hit the other line, runs or what is below."""
    for name, taken in (("median", durations.median), ("p95", durations.p95)):
        y = height_of(taken, longest)
        yield format_html('<line class="mon-level mon-{0}" x1="0" x2="100%" y1="{1}" y2="{1}"/>', name, y)
    yield format_html(
        '<text class="mon-level-label" x="0" y="{}">— median {}<tspan dx="16">– – p95 {}</tspan></text>',
        LEVELS_LINE,
        written_span(durations.median),
        written_span(durations.p95),
    )


def _linked(url: str, shape: SafeString) -> SafeString:
    """A link for the mouse only: the table under the picture has the same links for the keyboard."""
    return format_html('<a href="{}" tabindex="-1">{}</a>', url, shape) if url else shape
