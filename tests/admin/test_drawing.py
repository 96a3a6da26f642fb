"""Where things lie on the pictures of a monitor's time, and what is said of them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from monitoring.admin.drawing import (
    BASE,
    HEIGHTS,
    LONGEST_TOP,
    ZERO,
    Scale,
    Stretch,
    draw_durations,
    draw_timeline,
    height_of,
    spread,
    stretch,
    ticks,
)
from monitoring.checking.timeline import Bar, Span, Timeline, Window, durations_of
from monitoring.models import Alert, Incident
from monitoring.values.outcome import RunFacts
from tests.factories import NOW, ago

BERLIN = ZoneInfo("Europe/Berlin")
DAY = Scale(ago(hours=24), NOW)


def run(status: str = "Completed", key: int = 1, **over: Any) -> RunFacts:
    times = {"submitted_at": None, "started_at": ago(hours=6), "finished_at": ago(hours=5)}
    return RunFacts(**{"id": key, "task_id": f"run-{key}", "status": status, **times, **over})


def drawn(*bars: Bar, **over: Any) -> ElementTree.Element:
    shown = Timeline(**{"since": DAY.since, "until": DAY.until, "bars": bars, **over})
    return ElementTree.fromstring(draw_timeline(shown, Span.DAY, UTC, lambda row: f"/{getattr(row, 'id', '')}/"))


def runs_in(picture: ElementTree.Element) -> list[ElementTree.Element]:
    return [each for each in picture.iter("rect") if "mon-run" in each.get("class", "")]


# Along the time


@pytest.mark.parametrize(
    ("instant", "place"),
    [(ago(hours=24), 0), (ago(hours=12), 50), (NOW, 100), (ago(hours=25), 0), (NOW + timedelta(hours=1), 100)],
)
def test_an_instant_lies_where_it_belongs_or_on_the_edge(instant: datetime, place: float) -> None:
    assert DAY.at(instant) == place


def test_what_began_before_the_span_is_cut() -> None:
    assert stretch(DAY, ago(hours=30), ago(hours=18)) == Stretch(0, 25)


def test_what_goes_on_reaches_to_now() -> None:
    assert stretch(DAY, ago(hours=6), None) == Stretch(75, 25)


def test_an_end_before_the_start_as_skewed_clocks_tell_it_has_no_width() -> None:
    assert stretch(DAY, ago(hours=6), ago(hours=7)) == Stretch(75, 0)


def test_marks_do_not_lie_on_each_other() -> None:
    assert spread([10, 10.5, 50, 11.6, 11.4]) == [10, 11.6, 50]


@pytest.mark.parametrize(
    ("midnight", "hours"),
    [(datetime(2026, 10, 24, 22, tzinfo=UTC), [7, 6, 6, 6]), (datetime(2026, 3, 28, 23, tzinfo=UTC), [5, 6, 6, 6])],
)
def test_ticks_follow_the_clock_of_the_zone_also_when_it_changes(midnight: datetime, hours: list[int]) -> None:
    found = ticks(Span.DAY, midnight - timedelta(minutes=1), midnight + timedelta(hours=26), BERLIN)
    assert [label for _, label in found] == ["00:00", "06:00", "12:00", "18:00", "00:00"]
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(found)]
    assert gaps == [timedelta(hours=each) for each in hours]


def test_ticks_of_a_week_are_its_days_and_of_a_month_its_mondays() -> None:
    week = ticks(Span.WEEK, ago(days=7), NOW, BERLIN)
    assert [label for _, label in week] == ["Mon 16", "Tue 17", "Wed 18", "Thu 19", "Fri 20", "Sat 21", "Sun 22"]
    assert week[0][0] == datetime(2026, 11, 15, 23, tzinfo=UTC)
    assert [label for _, label in ticks(Span.MONTH, ago(days=30), NOW, UTC)] == ["26 Oct", "2 Nov", "9 Nov", "16 Nov"]


# What is drawn


def test_a_run_stands_at_its_time_with_its_length_its_tone_and_its_page() -> None:
    picture = drawn(Bar((run("Stopped"),)))
    (shape,) = runs_in(picture)
    assert (shape.get("x"), shape.get("width")) == ("75.0%", "4.167%")
    assert (shape.get("height"), shape.get("y")) == (str(HEIGHTS["bad"]), str(BASE - HEIGHTS["bad"]))
    assert "mon-bad" in shape.get("class", "")
    assert shape.findtext("title") == "Stopped, started 2026-11-22 02:35:00 UTC, took 1 h"
    assert [link.get("href") for link in picture.iter("a")] == ["/1/"]
    assert [text.text for text in picture.iter("text") if "mon-mark" in text.get("class", "")] == ["✗"]


def test_a_status_is_told_by_height_or_mark_not_by_colour_alone() -> None:
    assert len(set(HEIGHTS.values())) == len(HEIGHTS)


def test_a_run_of_no_length_is_still_seen_since_every_run_has_a_stroke() -> None:
    (shape,) = runs_in(drawn(Bar((run(finished_at=ago(hours=6)),))))
    assert shape.get("width") == "0.0%"
    assert "mon-run" in shape.get("class", "")


def test_what_is_bad_lies_over_what_is_good() -> None:
    bars = [Bar((run("Stopped", 1),)), Bar((run("Completed", 2),)), Bar((run("Running", 3, finished_at=None),))]
    tones = [shape.get("class", "").split("-")[-1] for shape in runs_in(drawn(*bars))]
    assert tones == ["good", "busy", "bad"]


def test_runs_that_are_drawn_together_say_how_many_they_are() -> None:
    (shape,) = runs_in(drawn(Bar((run(), run(key=2, started_at=ago(hours=5.5))))))
    assert shape.findtext("title") == "2 Completed, started 2026-11-22 02:35:00 UTC to 2026-11-22 03:05:00 UTC"


def test_a_run_that_stands_for_others_looks_and_says_so() -> None:
    (shape,) = runs_in(drawn(Bar((run(),), stands_for_others=True)))
    assert "mon-sample" in shape.get("class", "")
    assert "others are not drawn" in (shape.findtext("title") or "")


def test_where_runs_are_not_known_says_so_in_the_monitors_zone() -> None:
    shown = Timeline(since=DAY.since, until=DAY.until, known_since=ago(hours=6))
    assert "Runs before 2026-11-22 03:35:00 CET are not drawn" in draw_timeline(shown, Span.DAY, BERLIN, lambda _: "")


def test_windows_incidents_and_alerts_stand_at_their_times() -> None:
    incident = Incident(pk=7, opened_at=ago(hours=12), closed_at=ago(hours=6))
    alert = Alert(pk=8, kind="mismatch", created_at=ago(hours=12))
    picture = drawn(windows=(Window(ago(hours=26), ago(hours=18)),), incidents=(incident,), alerts=(alert,))
    (band,) = [each for each in picture.iter("rect") if each.get("class") == "mon-band"]
    assert (band.get("x"), band.get("width")) == ("50.0%", "25.0%")
    (window,) = [each.find("rect") for each in picture.iter("g") if each.get("class") == "mon-window"]
    assert window is not None
    assert (window.get("x"), window.get("width")) == ("0.0%", "25.0%")
    (mark,) = [each for each in picture.iter("text") if "mon-mark" in each.get("class", "")]
    assert (mark.get("x"), mark.text) == ("50.0%", "▼")
    assert [link.get("href") for link in picture.iter("a")] == ["/7/", "/8/"]


def test_a_picture_has_its_words_and_no_style_of_its_own() -> None:
    picture = drawn(Bar((run(),)))
    said = picture.findtext("desc") or ""
    assert "Runs: 1 Completed. Incidents: 0. Alerts: 0." in said
    assert all("style" not in each.attrib for each in picture.iter())


def test_what_strangers_wrote_is_escaped() -> None:
    picture = drawn(Bar((run("<b>&"),)))
    assert (runs_in(picture)[0].findtext("title") or "").startswith("<b>&")


# Durations


def test_a_duration_lies_between_nothing_and_the_longest() -> None:
    hour = timedelta(hours=1)
    assert [height_of(taken, hour) for taken in (0 * hour, hour / 2, hour)] == [
        ZERO,
        (ZERO + LONGEST_TOP) / 2,
        LONGEST_TOP,
    ]


def test_durations_show_each_run_and_the_levels_with_their_figures() -> None:
    runs = [run(key=key, finished_at=ago(hours=6) + timedelta(minutes=key)) for key in range(1, 21)]
    bars = tuple(Bar((each,)) for each in runs)
    shown = Timeline(since=DAY.since, until=DAY.until, bars=bars, durations=durations_of(runs))
    picture = ElementTree.fromstring(draw_durations(shown, Span.DAY, UTC))
    dots = [each for each in picture.iter("line") if "mon-dot" in each.get("class", "")]
    assert len(dots) == 20
    assert dots[-1].get("y1") == str(float(LONGEST_TOP))
    (label,) = [each for each in picture.iter("text") if each.get("class") == "mon-level-label"]
    assert list(label.itertext()) == ["— median 10 min 30 s", "– – p95 19 min"]
    assert float(label.get("y", "")) < LONGEST_TOP - 4, "over all lines and runs, wherever they lie"


def test_runs_that_are_drawn_together_reach_from_the_shortest_to_the_longest() -> None:
    runs = (run(finished_at=ago(hours=5.5)), run(key=2))
    shown = Timeline(since=DAY.since, until=DAY.until, bars=(Bar(runs),))
    picture = ElementTree.fromstring(draw_durations(shown, Span.DAY, UTC))
    (dot,) = [each for each in picture.iter("line") if "mon-dot" in each.get("class", "")]
    assert (dot.get("y1"), dot.get("y2")) == (str(float(LONGEST_TOP)), str((ZERO + LONGEST_TOP) / 2))


def test_one_that_still_runs_has_taken_the_time_until_now() -> None:
    running = Bar((run("Running", finished_at=None),))
    shown = Timeline(since=DAY.since, until=DAY.until, bars=(Bar((run(),)), running))
    picture = ElementTree.fromstring(draw_durations(shown, Span.DAY, UTC))
    dots = {each.get("class"): each.get("y1") for each in picture.iter("line") if "mon-dot" in each.get("class", "")}
    assert dots == {
        "mon-dot mon-busy": str(float(LONGEST_TOP)),
        "mon-dot mon-good": str(height_of(timedelta(hours=1), timedelta(hours=6))),
    }


def test_without_a_run_that_lasted_there_is_no_plot() -> None:
    assert draw_durations(Timeline(since=DAY.since, until=DAY.until), Span.DAY, UTC) == ""
