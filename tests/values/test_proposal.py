import random
import timeit
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.values.habit import habit_of
from monitoring.values.outcome import RunFacts
from monitoring.values.proposal import Proposal, propose
from monitoring.values.run_event import RunStatus

BERLIN = ZoneInfo("Europe/Berlin")
TUESDAY = date(2026, 9, 1)
MINUTE = timedelta(minutes=1)
COMPLETED, RUNNING = RunStatus.COMPLETED, RunStatus.RUNNING


def wall(days: int, hours: float, minutes: float = 0) -> datetime:
    """On Berlin's clocks, which change within these months."""
    midnight = datetime.combine(TUESDAY, datetime.min.time()) + timedelta(days=days)
    return (midnight + timedelta(hours=hours, minutes=minutes)).replace(tzinfo=BERLIN).astimezone(UTC)


def runs_of(
    starts: Iterable[datetime], took: timedelta = MINUTE, status: str = COMPLETED, late: timedelta = timedelta(0)
) -> list[RunFacts]:
    """The newest first; each starts up to `late` after its time."""
    rng = random.Random(1)
    starts = [start + late * rng.random() for start in starts]
    return [
        RunFacts(
            id=key,
            task_id=str(key),
            status=status,
            submitted_at=start,
            started_at=start,
            finished_at=start + took,
        )
        for key, start in enumerate(starts)
    ][::-1]


def proposed(runs: list[RunFacts], zone: str = "Europe/Berlin") -> Proposal:
    found = propose(habit_of("task", runs), zone)
    assert found
    return found


def is_weekday(days: int) -> bool:
    return (TUESDAY + timedelta(days=days)).isoweekday() < 6


LATE = timedelta(seconds=50)


@pytest.mark.parametrize(
    ("starts", "took", "schedule", "hours"),
    [
        pytest.param([wall(0, h) for h in range(200)], 0.3, "5 * * * *", 1, id="hourly"),
        pytest.param([wall(0, h, 40) for h in range(200)], 4, "50 * * * *", 1, id="hourly-at-40"),
        pytest.param([wall(0, h) for h in range(4)], 4, "10 * * * *", 1, id="hourly-for-four-hours"),
        pytest.param([wall(0, h) for h in range(0, 200, 2)], 0.3, "5 */2 * * *", 2, id="every-two-hours"),
        pytest.param([wall(0, h) for h in range(1, 201, 2)], 0.3, "5 1-23/2 * * *", 2, id="at-odd-hours"),
        pytest.param([wall(0, h) for h in range(0, 300, 6)], 20, "25 */6 * * *", 6, id="every-six-hours"),
        pytest.param([wall(d, 8) for d in range(90)], 15, "20 8 * * *", 24, id="daily-across-the-clock-change"),
        pytest.param([wall(d, 8) for d in range(60)], 100, "45 9 * * *", 24, id="daily-and-long"),
        pytest.param([wall(d, 23, 55) for d in range(60)], 15, "15 0 * * *", 24, id="past-midnight"),
        pytest.param([wall(d, 7, 30) for d in range(60) if is_weekday(d)], 3, "40 7 * * 1-5", 24, id="on-weekdays"),
        pytest.param(
            [wall(d, 23, 55) for d in range(60) if is_weekday(d)], 15, "15 0 * * 2-6", 24, id="after-weekdays"
        ),
        pytest.param(
            [wall(d, h) for d in range(30) for h in range(9, 18) if is_weekday(d)],
            3,
            "10 9-17 * * 1-5",
            1,
            id="in-office-hours",
        ),
        pytest.param([wall(d, h) for d in range(30) for h in (8, 18)], 5, "10 8,18 * * *", 10, id="twice-a-day"),
        pytest.param([wall(7 * n, 4) for n in range(8)], 30, "35 4 * * 2", 168, id="weekly"),
        pytest.param([wall(d, 6) for d in range(70) if d % 7 in (0, 3)], 5, "10 6 * * 2,5", 72, id="twice-a-week"),
        pytest.param(
            [datetime(2026, m, 1, 3, tzinfo=BERLIN) for m in range(1, 12)], 5, "10 3 1 * *", 672, id="monthly"
        ),
        pytest.param([wall(0, 0, 30 * n) for n in range(200)], 1, "5,35 * * * *", 0.75, id="half-hourly"),
        pytest.param([wall(0, 0, 15 * n) for n in range(200)], 1, "5,20,35,50 * * * *", 0.5, id="quarter-hourly"),
        pytest.param([wall(0, 0, 5 * n) for n in range(200)], 0.3, "3-59/5 * * * *", 0.25, id="every-five-minutes"),
    ],
)
def test_a_task_that_keeps_to_the_clock_is_checked_a_little_after_its_usual_end(
    starts: list[datetime], took: float, schedule: str, hours: float
) -> None:
    found = proposed(runs_of(starts, timedelta(minutes=took), late=LATE if took > 1 else timedelta(0)))
    assert (found.schedule.text, found.schedule.zone) == (schedule, "Europe/Berlin")
    assert found.lookback_hours == hours
    assert found.expected_statuses == (COMPLETED,)


@pytest.mark.parametrize(
    ("starts", "schedule", "hours"),
    [
        pytest.param([wall(0, 0, n) for n in range(200)], "every 5 minutes", 0.25, id="each-minute"),
        pytest.param([wall(0, 0, 7 * n) for n in range(200)], "every 5 minutes", 0.25, id="every-seven-minutes"),
        pytest.param([wall(0, 0, 90 * n) for n in range(99)], "every hour", 2, id="every-ninety-minutes"),
        pytest.param([wall(2 * n, 5) for n in range(40)], "every 2 days", 60, id="every-other-day"),
        pytest.param([wall(0, n * n * 0.01) for n in range(200)], "every 3 hours", 5, id="less-and-less-often"),
    ],
)
def test_one_that_does_not_is_checked_by_an_interval_and_may_be_at_work(
    starts: list[datetime], schedule: str, hours: float
) -> None:
    found = proposed(runs_of(starts))
    assert (found.schedule.text, found.lookback_hours) == (schedule, hours)
    assert found.expected_statuses == (COMPLETED, RUNNING)
    assert "Running is expected too" in " ".join(found.reasons)
    assert ("A single missed run may go unnoticed" in found.reasons[-1]) is (hours > 2)


@pytest.mark.parametrize(
    ("starts", "why"),
    [
        ([wall(2 * n, 5) for n in range(40)], "checks come at other intervals than runs"),
        ([wall(0, n * n * 0.01) for n in range(200)], "the task starts too irregularly for a shorter window"),
    ],
)
def test_why_a_missed_run_may_go_unnoticed_is_said_as_it_is(starts: list[datetime], why: str) -> None:
    assert proposed(runs_of(starts)).reasons[-1] == f"A single missed run may go unnoticed: {why}."


def test_hours_are_those_of_the_zone() -> None:
    runs = runs_of([wall(d, 8) for d in range(30)])
    assert proposed(runs, "Europe/Berlin").schedule.text == "5 8 * * *"
    assert proposed(runs, "Asia/Kolkata").schedule.text == "35 11 * * *"


def test_a_run_that_outlasts_the_interval_makes_running_expected_and_the_window_longer() -> None:
    found = proposed(runs_of([wall(0, h) for h in range(200)], timedelta(minutes=70)))
    assert (found.schedule.text, found.lookback_hours) == ("15 * * * *", 2.5)
    assert found.expected_statuses == (COMPLETED, RUNNING)
    said = "Look back 2.5 h, though the guidelines say 1–2 h for a task that runs every hour: a run may take that much"
    assert f"{said} longer." in found.reasons


def test_some_runs_by_hand_and_some_that_are_missing_do_not_hide_the_schedule() -> None:
    starts = [wall(d, 8) for d in range(60) if d not in (11, 12, 40)] + [wall(5, 14, 12), wall(9, 3, 1)]
    assert proposed(runs_of(sorted(starts))).schedule.text == "5 8 * * *"


def test_a_run_by_hand_does_not_put_off_the_check_of_one_that_has_run_a_few_times() -> None:
    assert proposed(runs_of([*(wall(d, 9) for d in range(8)), wall(7, 18, 5)])).schedule.text == "5 9 * * *"


def test_the_reasons_say_what_was_seen_and_what_the_window_does_not_see() -> None:
    assert proposed(runs_of([wall(d, 8) for d in range(60)], timedelta(minutes=15))).reasons == (
        "Its last 60 runs started every day.",
        "A run usually takes 15 min, and 95 of 100 at most 15 min.",
        "Look back 24 h, as long as the time between two checks, so that a single missed run is noticed.",
        "Check at 08:20 every day, Europe/Berlin: 20 min after the usual start, past the usual end.",
    )


def test_a_run_that_came_too_late_for_a_shorter_window_leaves_it_long_and_the_reasons_say_what_that_does_not_see() -> (
    None
):
    starts = [wall(d, 8, 40 if d == 30 else 0) for d in range(60)]
    assert proposed(runs_of(starts, timedelta(minutes=15))).reasons[2:] == (
        "Look back 25 h, since the guidelines say 24–25 h for a task that runs every day; 1.25 times the interval "
        "would be 30 h.",
        "Check at 08:20 every day, Europe/Berlin: 20 min after the usual start, past the usual end.",
        "A single missed run goes unnoticed, since the one before it is still in the window; looking back "
        "24 h would notice it, and report runs that only start late.",
    )


def test_a_run_that_was_missed_once_does_not_make_the_window_longer() -> None:
    assert proposed(runs_of([wall(d, 8) for d in range(60) if d != 30])).lookback_hours == 24


def test_irregular_starts_are_called_so_with_how_far_apart_they_come() -> None:
    runs = runs_of([wall(0, n * n * 0.01) for n in range(200)], status="Stopped")
    assert habit_of("task", runs).how_often == "irregular, about every 1 h 59 min"
    assert proposed(runs).reasons[:2] == (
        "Its last 200 runs started irregularly: half of them within 1 h 59 min of the one before, 95 of 100 within "
        "3 h 47 min.",
        "How long a run takes is not known: too few have completed.",
    )


@pytest.mark.parametrize(("number", "often"), [(0, "0"), (2, "2"), (3, "3")])
def test_of_too_few_starts_no_interval_is_told(number: int, often: str) -> None:
    habit = habit_of("task", runs_of([wall(d, 8) for d in range(number)]))
    assert (habit.interval, habit.how_often) == (None, f"too few runs to say: {often}")
    assert propose(habit, "UTC") is None


def test_bursts_far_apart_are_no_schedule_and_take_no_time_to_look_through() -> None:
    starts = [wall(200 * burst, 0, 5 * n) for burst in range(20) for n in range(10)]
    found = proposed(runs_of(starts))
    assert found.expected_statuses == (COMPLETED, RUNNING)
    assert timeit.timeit(lambda: proposed(runs_of(starts)), number=1) < 2


@given(st.lists(st.integers(1, 400_000), min_size=3, max_size=60), st.integers(1, 100_000))
def test_whatever_the_history_a_window_by_no_clock_covers_the_usual_interval(gaps: list[int], took: int) -> None:
    start = wall(0, 0)
    starts = [start, *(start := start + timedelta(seconds=gap) for gap in gaps)]
    assert len({later - earlier for earlier, later in pairwise(starts)}) <= len(gaps)
    runs = runs_of(starts, timedelta(seconds=took))
    habit, found = habit_of("task", runs), proposed(runs)
    assert habit.interval
    assert timedelta(hours=found.lookback_hours) >= habit.interval or found.expected_statuses == (COMPLETED,)
    assert found.schedule.next_after(starts[-1])
