import contextlib
import timeit
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitoring.models import Monitor
from monitoring.values.schedule import LONGEST_TEXT, MACROS, InvalidSchedule, Schedule, parse_schedule
from tests.factories import NOW

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NAMED_ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
    "UTC",
]
# Clocks that skip midnight, repeat it, or change by two hours, by three, or by half an hour for good.
ODD_ZONES = [
    "Africa/Cairo",
    "America/Caracas",
    "America/Havana",
    "America/Sao_Paulo",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Pyongyang",
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def due(text: str, zone: str, start: datetime, number: int) -> list[str]:
    """The first due moments from the start on, as a clock there shows them."""
    moments = islice(parse_schedule(text, zone).upcoming(start - timedelta(microseconds=1)), number)
    return [moment.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for moment in moments]


# What people write


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("5 * * * *", ["22 00:05", "22 01:05", "22 02:05"]),
        ("5 */2 * * *", ["22 00:05", "22 02:05", "22 04:05"]),
        ("5 10 * * *", ["22 10:05", "23 10:05", "24 10:05"]),
        ("*/30 * * * *", ["22 00:00", "22 00:30", "22 01:00"]),
        ("0 9 * * 1", ["23 09:00", "30 09:00", "07 09:00"]),
        ("every 30 minutes", ["22 00:00", "22 00:30", "22 01:00"]),
        ("every 2 hours", ["22 00:00", "22 02:00", "22 04:00"]),
    ],
)
def test_the_tables_of_the_seed_come_at_the_times_they_say(text: str, times: list[str]) -> None:
    assert due(text, "UTC", utc("2026-11-22 00:00"), 3) == [f"{time}+0000" for time in times]


def test_a_monday_of_the_seed_is_a_monday() -> None:
    mondays = islice(parse_schedule("0 9 * * 1", "UTC").upcoming(NOW), 60)
    assert {moment.isoweekday() for moment in mondays} == {1}


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("35 8 * * *", ["23 08:35", "24 08:35"]),
        ("0 9-11/2 * * *", ["22 09:00", "22 11:00", "23 09:00"]),
        ("10,20 9,17 * * *", ["22 09:10", "22 09:20", "22 17:10"]),
        ("50/4 8 * * *", ["22 08:50", "22 08:54", "22 08:58", "23 08:50"]),
        ("0 0 * * 0", ["29 00:00", "06 00:00"]),
        ("0 0 * * 7", ["29 00:00", "06 00:00"]),
        ("0 0 * * sun", ["29 00:00", "06 00:00"]),
        ("0 0 1 jan,Feb *", ["01 00:00", "01 00:00"]),
        ("0 0 L * *", ["30 00:00", "31 00:00", "31 00:00", "28 00:00"]),
        ("0 0 LW * *", ["30 00:00", "31 00:00", "29 00:00", "26 00:00"]),
        ("0 0 * * 5L", ["27 00:00", "25 00:00", "29 00:00"]),
        ("0 0 * * MON#1", ["07 00:00", "04 00:00", "01 00:00"]),
    ],
)
def test_crontab_is_read_as_cron_reads_it(text: str, times: list[str]) -> None:
    moments = due(text, "UTC", NOW + MINUTE, len(times))
    assert moments == [f"{time}+0000" for time in times]


def test_a_day_of_month_and_a_weekday_are_alternatives() -> None:
    assert due("0 0 13 12 5", "UTC", NOW, 5) == [f"{day} 00:00+0000" for day in ("04", "11", "13", "18", "25")]


def test_a_star_among_the_days_leaves_both_to_be_met() -> None:
    assert due("0 0 */2 12 5", "UTC", NOW, 3) == [f"{day} 00:00+0000" for day in ("11", "25", "03")]


def test_a_leap_day_is_waited_for() -> None:
    schedule = parse_schedule("0 0 29 2 *", "UTC")
    assert schedule.next_after(NOW) == utc("2028-02-29 00:00")
    assert schedule.latest_until(NOW) == utc("2024-02-29 00:00")
    assert schedule.next_after(utc("2096-03-01 00:00")) == utc("2104-02-29 00:00")


@pytest.mark.parametrize(
    ("macro", "moment"),
    [
        ("@hourly", "2026-11-22 09:00"),
        ("@daily", "2026-11-23 00:00"),
        ("@midnight", "2026-11-23 00:00"),
        ("@weekly", "2026-11-29 00:00"),
        ("@monthly", "2026-12-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        ("@annually", "2027-01-01 00:00"),
    ],
)
def test_a_macro_stands_for_its_crontab(macro: str, moment: str) -> None:
    assert parse_schedule(macro, "UTC").next_after(NOW) == utc(moment)
    assert parse_schedule(macro.upper(), "UTC").next_after(NOW) == utc(moment)


def test_every_macro_has_a_line_in_the_table_above() -> None:
    assert set(MACROS) == {"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("35 8 * * *", "At 08:35 every day"),
        ("5 * * * *", "At minute 5 of every hour"),
        ("0 9 * * 1", "At 09:00 on Monday"),
        ("0 0 13 * 5", "At 00:00 on the 13th day of month and on Friday"),
        ("0 0 * * 5L", "At 00:00 on the last Friday of the month"),
        ("@daily", "At 00:00 every day"),
        ("@HOURLY", "At the start of every hour"),
        ("every minute", "Every minute"),
        ("every 1 hours", "Every hour"),
        ("every 30 minutes", "Every 30 minutes"),
        ("Every 2 HOURS", "Every 2 hours"),
        ("every day", "Every day"),
        ("every 010 days", "Every 10 days"),
    ],
)
def test_a_schedule_in_words(text: str, words: str) -> None:
    assert parse_schedule(text, "Europe/Berlin").words == words


@pytest.mark.parametrize("text", ["35 8 * * *", "  35\t8  * * *\n", "35\N{NO-BREAK SPACE}8 * * *", "\r\n35 8 * * *"])
def test_space_around_and_between_the_fields_does_not_matter(text: str) -> None:
    assert parse_schedule(text, "UTC") == Schedule("35 8 * * *", "UTC")


def test_a_list_of_all_minutes_is_not_too_long() -> None:
    text = f"{','.join(map(str, range(60)))} 8 * * *"
    assert len(text) <= LONGEST_TEXT
    assert parse_schedule(text, "UTC").next_after(NOW) == NOW + MINUTE


# What is refused


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "enter a schedule: five crontab fields such as '35 8 * * *', @daily, or 'every 30 minutes'"),
        (" \n\t ", "enter a schedule"),
        ("* * * * * *", "has 6 fields instead of 5"),
        ("0 35 8 * * *", "has 6 fields instead of 5"),
        ("35 8 * *", "has 4 fields instead of 5"),
        ("daily", "has 1 field instead of 5; write five crontab fields"),
        ("every 30 seconds", "has 3 fields instead of 5"),
        ("every 1.5 hours", "has 3 fields instead of 5"),
        ("every -1 hours", "has 3 fields instead of 5"),
        ("60 * * * *", "has a bad minute"),
        ("0 24 * * *", "has a bad hour"),
        ("0 0 0 * *", "has a bad day-of-month"),
        ("0 0 32 * *", "has a bad day-of-month"),
        ("0 0 * 13 *", "has a bad month"),
        ("0 0 * * 8", "has a bad day-of-week"),
        ("0 0 * * MON#6", "has a bad day-of-week"),
        ("*/0 * * * *", "has a bad minute"),
        ("30-10 * * * *", "has a bad minute"),
        ("1,, * * * *", "has a bad minute"),
        ("-5 * * * *", "has a bad minute"),
        ("0 0 ? * *", "has a bad day-of-month"),
        ("0 0 30 2 *", "'0 0 30 2 *' never occurs: there is no such date"),
        ("0 0 31 2,4,6,9,11 *", "never occurs: there is no such date"),
        ("0 0 32 2 *", "has a bad day-of-month"),
        ("0 0 31 13 *", "has a bad month"),
        ("0 0 */31 2 MON#5", "never occurs"),
        ("@reboot", "'@reboot' is not a schedule; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly"),
        ("@every 5m", "is not a schedule; there are @hourly"),
        ("@", "is not a schedule"),
        ("@daily * * * *", "is not a schedule"),
        ("every 0 minutes", "is not between a minute and 3660 days"),
        ("every 000 days", "is not between a minute and 3660 days"),
        ("every 3661 days", "is not between a minute and 3660 days"),
        ("every 87841 hours", "is not between a minute and 3660 days"),
        (f"every {'9' * 150} minutes", "is not between a minute and 3660 days"),
        ("every ٣ minutes", "has characters that no schedule has"),
        ("٥ * * * *", "has characters that no schedule has"),
        ("5 8 * * ²L", "has characters that no schedule has"),
        ("0 0 * * ſun", "has characters that no schedule has"),
        ("every 5 minuteſ", "has characters that no schedule has"),
        ("0 8 * * *\n0 9 * * *", "is more than one line"),
        ("35 8 * *\n*", "is more than one line"),
        ("every\n30 minutes", "is more than one line"),
        ("@daily\r\n@hourly", "is more than one line"),
        ("0 8 * * *\0", "has a bad day-of-week"),
        ("x" * 10_000, "is longer than 200 characters"),
        ("9" * 10_000 + " * * * *", "is longer than 200 characters"),
        ("1," * 5_000 + "1 * * * *", "is longer than 200 characters"),
        ("* " * 5_000, "is longer than 200 characters"),
        ("\n" * 5_000 + "x\n" * 5_000, "is more than one line"),
        ("🧨" * 10_000, "is longer than 200 characters"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidSchedule) as refusal:
        parse_schedule(text, "UTC")
    assert reason in str(refusal.value)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize(
    "text", ["every 1 minute", "every 3660 days", "every 87840 hours", "every 5270400 minutes", "0 0 31 1 *"]
)
def test_the_greatest_and_the_least_are_taken(text: str) -> None:
    assert parse_schedule(text, "UTC").next_after(NOW)


@pytest.mark.parametrize(
    "zone",
    ["", " ", "Mars/Olympus", "Berlin", "europe/berlin", "UTC ", "+02:00", "../etc/passwd", "/etc/localtime", "a\0b"],
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidSchedule) as refusal:
        parse_schedule("@daily", zone)
    said = f"{zone!r} is not a time zone; write" if zone else "enter a time zone:"
    assert str(refusal.value) == f"{said} an IANA name such as 'Europe/Berlin' or 'UTC'"


def test_a_wrong_zone_does_not_hide_a_wrong_schedule() -> None:
    with pytest.raises(InvalidSchedule) as refusal:
        parse_schedule("99 * * * *", "Mars")
    assert refusal.value.problems.keys() == {"schedule", "time_zone"}
    assert str(refusal.value).startswith("'99 * * * *' has a bad minute; write five crontab fields")
    assert "; 'Mars' is not a time zone" in str(refusal.value)


def test_a_schedule_that_is_taken_fits_its_column() -> None:
    assert Monitor._meta.get_field("schedule").max_length == LONGEST_TEXT


def test_a_time_that_the_clocks_always_skip_never_occurs() -> None:
    last_sundays_of_march = "*/30 2 * 3 0L"
    assert parse_schedule(last_sundays_of_march, "UTC")
    with pytest.raises(InvalidSchedule, match="never occurs"):
        parse_schedule(last_sundays_of_march, "Europe/Berlin")


def test_a_refusal_does_not_repeat_all_of_a_long_zone() -> None:
    with pytest.raises(InvalidSchedule, match="is not a time zone") as refusal:
        parse_schedule("@daily", "x" * 10_000)
    assert len(str(refusal.value)) < 250


_pieces = st.sampled_from(
    ["*", "0", "5", "31", "MON", "feb", "L", "LW", "5L", "#1", "#", "/", "/2", "-", "1-5", ",", ""]
)
_fieldlike = st.lists(_pieces, min_size=1, max_size=3).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(codec=None), max_size=40)
    | st.tuples(st.just("5"), st.just("2"), _fieldlike, _fieldlike, _fieldlike).map(" ".join)
    | st.tuples(st.just("every"), st.integers().map(str), st.sampled_from(["minute", "hours", "day"])).map(" ".join)
)
@example("0 0 L/2 * *")
@example("0 0 1,LW * 1,5L")
def test_any_text_is_refused_or_has_words_and_times(text: str) -> None:
    schedule = None
    with contextlib.suppress(InvalidSchedule):
        schedule = parse_schedule(text, "Europe/Berlin")
    assert schedule is None or (schedule.words and schedule.next_after(NOW))


# When the clocks change


@pytest.mark.parametrize(
    ("text", "zone", "start", "times"),
    [
        # 02:00 becomes 03:00 on March 29, and 03:00 becomes 02:00 on October 25
        ("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", ["29 03:00+0200", "30 02:30+0200"]),
        ("15,30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", ["29 03:00+0200", "30 02:15+0200"]),
        ("30 2,3 * * *", "Europe/Berlin", "2026-03-28 12:00", ["29 03:00+0200", "29 03:30+0200", "30 02:30+0200"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-28 12:00", ["29 03:00+0200", "30 02:00+0200"]),
        ("30 2 29 3 *", "Europe/Berlin", "2026-03-28 12:00", ["29 03:00+0200", "29 02:30+0200"]),
        ("0 * * * *", "Europe/Berlin", "2026-03-29 01:00", ["29 01:00+0100", "29 03:00+0200", "29 04:00+0200"]),
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29 01:30", ["29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]),
        ("5 */2 * * *", "Europe/Berlin", "2026-03-29 00:05", ["29 00:05+0100", "29 04:05+0200", "29 06:05+0200"]),
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-28 02:40", ["28 02:40+0100", "30 02:00+0200"]),
        ("every 30 minutes", "Europe/Berlin", "2026-03-29 01:30", ["29 01:30+0100", "29 03:00+0200"]),
        ("every 2 hours", "Europe/Berlin", "2026-03-29 00:00", ["29 00:00+0100", "29 03:00+0200", "29 05:00+0200"]),
        ("every day", "Europe/Berlin", "2026-03-28 12:00", ["29 00:00+0100", "30 00:00+0200"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", ["25 02:30+0200", "26 02:30+0100"]),
        ("15,30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", ["25 02:15+0200", "25 02:30+0200", "26 02:15+0100"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-25 01:00", ["25 01:00+0200", "25 02:00+0200", "25 02:00+0100"]),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25 02:00",
            ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"],
        ),
        ("5 */2 * * *", "Europe/Berlin", "2026-10-25 00:05", ["25 00:05+0200", "25 02:05+0200", "25 02:05+0100"]),
        ("*/30 2 25 10 *", "Europe/Berlin", "2026-10-25 02:30", ["25 02:30+0200", "25 02:00+0100", "25 02:30+0100"]),
        ("every 2 hours", "Europe/Berlin", "2026-10-25 01:00", ["25 01:00+0200", "25 02:00+0100", "25 04:00+0100"]),
        ("every day", "Europe/Berlin", "2026-10-24 12:00", ["25 00:00+0200", "26 00:00+0100"]),
        # 02:00 becomes 03:00 on March 8, and 02:00 becomes 01:00 on November 1
        ("30 2 * * *", "America/New_York", "2026-03-07 12:00", ["08 03:00-0400", "09 02:30-0400"]),
        ("0 * * * *", "America/New_York", "2026-03-08 01:00", ["08 01:00-0500", "08 03:00-0400"]),
        ("*/30 * * * *", "America/New_York", "2026-03-08 01:30", ["08 01:30-0500", "08 03:00-0400"]),
        ("30 1 * * *", "America/New_York", "2026-10-31 12:00", ["01 01:30-0400", "02 01:30-0500"]),
        ("30 2 * * *", "America/New_York", "2026-10-31 12:00", ["01 02:30-0500", "02 02:30-0500"]),
        ("0 * * * *", "America/New_York", "2026-11-01 01:00", ["01 01:00-0400", "01 01:00-0500", "01 02:00-0500"]),
        ("every 3 days", "America/New_York", "2026-10-31 12:00", ["01 00:00-0400", "04 00:00-0500"]),
        # 02:00 becomes 01:30 on April 5, and 02:00 becomes 02:30 on October 4
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 12:00", ["04 02:30+1100", "05 02:15+1100"]),
        ("30 2 * * *", "Australia/Lord_Howe", "2026-10-03 12:00", ["04 02:30+1100", "05 02:30+1100"]),
        ("0 * * * *", "Australia/Lord_Howe", "2026-10-04 01:00", ["04 01:00+1030", "04 03:00+1100"]),
        ("*/30 * * * *", "Australia/Lord_Howe", "2026-10-04 01:30", ["04 01:30+1030", "04 02:30+1100"]),
        ("*/20 3 * * *", "Australia/Lord_Howe", "2026-10-04 00:00", ["04 03:00+1100", "04 03:20+1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04 12:00", ["05 01:45+1100", "06 01:45+1030"]),
        ("30 2 * * *", "Australia/Lord_Howe", "2026-04-04 12:00", ["05 02:30+1030", "06 02:30+1030"]),
        ("0 * * * *", "Australia/Lord_Howe", "2026-04-05 01:00", ["05 01:00+1100", "05 02:00+1030"]),
        ("45 * * * *", "Australia/Lord_Howe", "2026-04-05 01:45", ["05 01:45+1100", "05 01:45+1030", "05 02:45+1030"]),
        (
            "*/30 * * * *",
            "Australia/Lord_Howe",
            "2026-04-05 01:30",
            ["05 01:30+1100", "05 01:30+1030", "05 02:00+1030"],
        ),
        ("every 20 minutes", "Australia/Lord_Howe", "2026-04-05 01:40", ["05 01:40+1100", "05 01:30+1030"]),
        # the clocks never change
        ("30 2 * * *", "Asia/Kolkata", "2026-03-28 12:00", ["29 02:30+0530", "30 02:30+0530"]),
        ("0 * * * *", "Asia/Kolkata", "2026-03-29 01:00", ["29 01:00+0530", "29 02:00+0530"]),
        ("*/30 * * * *", "Asia/Kolkata", "2026-03-29 01:30", ["29 01:30+0530", "29 02:00+0530"]),
        ("every hour", "Asia/Kolkata", "2026-03-29 01:00", ["29 01:00+0530", "29 02:00+0530"]),
        ("every day", "Asia/Kolkata", "2026-03-28 12:00", ["29 00:00+0530", "30 00:00+0530"]),
        ("30 2 * * *", "UTC", "2026-03-28 12:00", ["29 02:30+0000", "30 02:30+0000"]),
        ("0 * * * *", "UTC", "2026-10-25 01:00", ["25 01:00+0000", "25 02:00+0000", "25 03:00+0000"]),
        ("every 2 hours", "UTC", "2026-10-25 00:00", ["25 00:00+0000", "25 02:00+0000", "25 04:00+0000"]),
        # after December 29 came December 31
        ("30 2 * * *", "Pacific/Apia", "2011-12-29 00:00", ["29 02:30-1000", "31 00:00+1400", "31 02:30+1400"]),
        ("0 0 * * *", "Pacific/Apia", "2011-12-29 00:00", ["29 00:00-1000", "31 00:00+1400", "01 00:00+1400"]),
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-29 00:00", ["31 00:00+1400", "30 09:00+1400"]),
        ("0 * * * *", "Pacific/Apia", "2011-12-29 23:00", ["29 23:00-1000", "31 00:00+1400", "31 01:00+1400"]),
        ("*/30 9 30 12 *", "Pacific/Apia", "2011-12-29 00:00", ["30 09:00+1400", "30 09:30+1400"]),
        ("every 3 hours", "Pacific/Apia", "2011-12-29 22:00", ["29 22:00-1000", "31 01:00+1400"]),
        ("every day", "Pacific/Apia", "2011-12-29 00:00", ["29 00:00-1000", "31 00:00+1400", "01 00:00+1400"]),
        # a day without a midnight, and one with two
        ("@daily", "Africa/Cairo", "2026-04-23 12:00", ["24 01:00+0300", "25 00:00+0300"]),
        ("every day", "Africa/Cairo", "2026-04-23 12:00", ["24 01:00+0300", "25 00:00+0300"]),
        ("@daily", "America/Havana", "2026-10-31 12:00", ["01 00:00-0400", "02 00:00-0500"]),
        ("every day", "America/Havana", "2026-10-31 12:00", ["01 00:00-0400", "02 00:00-0500"]),
        ("@hourly", "America/Havana", "2026-11-01 00:00", ["01 00:00-0400", "01 00:00-0500", "01 01:00-0500"]),
    ],
)
def test_a_change_of_the_clocks(text: str, zone: str, start: str, times: list[str]) -> None:
    assert due(text, zone, local(start, zone), len(times)) == times


@pytest.mark.parametrize("zone", [zone for zone in NAMED_ZONES + ODD_ZONES if zone != "Pacific/Apia"])
@pytest.mark.parametrize("text", ["0 0 * * *", "45 1 * * *", "30 2 * * *", "0 3 * * *", "every day"])
def test_a_time_of_the_day_comes_once_on_every_day_of_the_year(text: str, zone: str) -> None:
    start = local("2026-01-01 00:00", zone)
    moments = takewhile(lambda moment: moment < start + timedelta(days=365), parse_schedule(text, zone).upcoming(start))
    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in moments]
    assert len(days) == len(set(days)) == 365 - (text in {"0 0 * * *", "every day"})


@pytest.mark.parametrize(
    ("text", "zone", "instant", "latest"),
    [
        # after the gap: what was skipped came at its end, what comes by the star did not come
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 01:10", "2026-03-29 01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 00:59", "2026-03-28 01:30"),
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-29 12:00", "2026-03-28 01:40"),
        ("*/20 2 29 3 *", "Europe/Berlin", "2026-03-29 12:00", "2025-03-29 01:40"),
        ("30 2 * 3 0L", "Europe/Berlin", "2026-04-01 00:00", "2026-03-29 01:00"),
        ("0 9 * * *", "Pacific/Apia", "2011-12-30 10:30", "2011-12-30 10:00"),
        # in the first pass of an hour that comes twice, in the second, and after it
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:10", "2026-10-24 00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", "2026-10-25 00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 02:10", "2026-10-25 00:30"),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25 00:40", "2026-10-25 00:30"),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", "2026-10-25 01:00"),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25 02:10", "2026-10-25 01:30"),
        ("45 * * * *", "Australia/Lord_Howe", "2026-04-04 15:20", "2026-04-04 15:15"),
        # late on a day of 25 hours, and on one that follows a day that never was
        ("every day", "Europe/Berlin", "2026-10-25 22:30", "2026-10-24 22:00"),
        ("every day", "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00"),
        ("every day", "Pacific/Apia", "2011-12-30 09:59", "2011-12-29 10:00"),
        ("every 2 hours", "Europe/Berlin", "2026-03-29 00:59", "2026-03-28 23:00"),
    ],
)
def test_the_latest_near_a_change_of_the_clocks(text: str, zone: str, instant: str, latest: str) -> None:
    assert parse_schedule(text, zone).latest_until(utc(instant)) == utc(latest)


# Intervals stand on the clock


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("every minute", MINUTE),
        ("every 7 minutes", 7 * MINUTE),
        ("every 90 minutes", 90 * MINUTE),
        ("every hour", HOUR),
        ("every 5 hours", 5 * HOUR),
        ("every day", DAY),
        ("every 3 days", 3 * DAY),
        ("every 3660 days", 3660 * DAY),
    ],
)
def test_an_interval_counts_from_the_year_2000_and_not_from_the_last_check(text: str, step: timedelta) -> None:
    schedule = parse_schedule(text, "UTC")
    slot = schedule.latest_until(NOW)
    assert slot is not None
    assert (slot - utc("2000-01-01 00:00")) % step == timedelta(0)
    assert slot <= NOW < slot + step
    for late in (timedelta(0), timedelta(microseconds=1), step / 3, step - timedelta(microseconds=1)):
        assert schedule.next_after(slot + late) == slot + step
        assert schedule.latest_until(slot + late) == slot


def test_an_interval_reaches_back_before_its_anchor() -> None:
    assert parse_schedule("every 2 days", "UTC").latest_until(utc("1999-12-31 12:00")) == utc("1999-12-30 00:00")
    assert parse_schedule("every 5 hours", "UTC").next_after(utc("1999-12-31 18:59")) == utc("1999-12-31 19:00")


def test_an_interval_begins_at_midnight_of_its_zone() -> None:
    assert parse_schedule("every 6 hours", "Asia/Kolkata").next_after(NOW) == utc("2026-11-22 12:30")
    assert parse_schedule("every day", "Asia/Kolkata").next_after(NOW) == utc("2026-11-22 18:30")


# What is asked of a schedule


def test_next_is_after_and_latest_may_be_now() -> None:
    schedule = parse_schedule("35 8 * * *", "UTC")
    assert schedule.next_after(NOW) == NOW + DAY
    assert schedule.next_after(NOW - timedelta(microseconds=1)) == NOW
    assert schedule.latest_until(NOW) == NOW
    assert schedule.latest_until(NOW - timedelta(microseconds=1)) == NOW - DAY


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    schedule = parse_schedule("35 8 * * *", "UTC")
    there = NOW.astimezone(ZoneInfo("America/New_York"))
    assert schedule.latest_until(there) == NOW
    assert schedule.next_after(there) == NOW + DAY


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("*/30 * * * *", timedelta(minutes=30)),
        ("every 2 hours", timedelta(hours=2)),
        ("35 8 * * *", timedelta(hours=25)),
        ("0 9 * * 1-5", timedelta(days=3, hours=1)),
        ("0 9 * * 1", timedelta(days=7, hours=1)),
        ("0 0 29 2 *", timedelta(days=4 * 365 + 1)),
    ],
)
def test_the_longest_gap_knows_of_weekends_and_of_changes_of_the_clocks(text: str, gap: timedelta) -> None:
    assert parse_schedule(text, "Europe/Berlin").longest_gap(NOW) == gap


@pytest.mark.parametrize(
    ("ask", "seconds"),
    [(Schedule.next_after, 300e-6), (Schedule.latest_until, 1e-3)],
    ids=["next_after", "latest_until"],
)
def test_a_daily_schedule_is_asked_within_microseconds(
    ask: Callable[[Schedule, datetime], datetime | None], seconds: float
) -> None:
    schedule = parse_schedule("35 8 * * *", "Europe/Berlin")
    assert min(timeit.repeat(lambda: ask(schedule, NOW), number=20, repeat=10)) / 20 < seconds


# Whatever the schedule, the zone and the instant


@cache
def changes(zone: str) -> list[datetime]:
    """The instants at which the clocks of the zone were changed, or will be; a quiet one where there is none."""
    start = utc("2010-01-01 00:00")

    def offset(passed: timedelta) -> timedelta | None:
        return (start + passed).astimezone(ZoneInfo(zone)).utcoffset()

    days = [DAY * day for day in range(20 * 365)]
    found = [
        start
        + before
        + MINUTE * bisect_left(range(1440), True, key=lambda n, b=before: offset(b + MINUTE * n) != offset(b))
        for before, after in pairwise(days)
        if offset(before) != offset(after)
    ]
    return found or [NOW]


_fields = {
    "minute": st.sampled_from(["*", "*/5", "*/20", "*/30", "0", "0", "5", "15", "30", "45", "59", "0,30", "7-40/11"]),
    "hour": st.sampled_from(["*", "*", "*/2", "*/3", "0", "1", "2", "2", "3", "23", "1,2", "0-3", "0-23/2", "9-17"]),
    "day": st.sampled_from(["*", "*", "*", "*", "1", "15", "*/2", "1-7", "24-31"]),
    "month": st.sampled_from(["*", "*", "*", "*", "3,10", "4,11", "*/2", "10-12"]),
    "weekday": st.sampled_from(["*", "*", "*", "0", "7", "1-5", "6,0", "*/2"]),
}
_crontabs = st.tuples(*_fields.values()).map(" ".join)
_texts = (
    _crontabs
    | _crontabs
    | st.sampled_from(sorted(MACROS))
    | st.sampled_from(["30 2 L * *", "0 1 LW * *", "*/10 1-2 * * SUN#1", "30 2 * * 7L", "15 2 * oct sun", "0 0 29 2 *"])
    | st.builds("every {} minutes".format, st.integers(1, 200) | st.sampled_from([1440, 10_000]))
    | st.builds("every {} hours".format, st.integers(1, 50))
    | st.builds("every {} days".format, st.integers(1, 9) | st.just(3660))
)
_spans = st.one_of(
    st.builds(timedelta, minutes=st.integers(-200, 200)),
    st.builds(timedelta, minutes=st.integers(-3000, 3000), microseconds=st.integers(-1, 1)),
    st.builds(timedelta, days=st.integers(-200, 200), seconds=st.integers(0, 86_400)),
)
_zones = st.sampled_from(NAMED_ZONES) | st.sampled_from(ODD_ZONES)


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant that is often near one of its changes."""
    zone = draw(_zones)
    return zone, draw(st.sampled_from(changes(zone))) + draw(_spans)


properties = settings(max_examples=150, deadline=None)
_back = st.builds(timedelta, seconds=st.sampled_from([1, 60]) | st.integers(1, 100_000))


@properties
@given(_texts, places())
def test_what_comes_is_after_the_instant_and_strictly_increasing_whole_minutes_of_utc(
    text: str, place: tuple[str, datetime]
) -> None:
    zone, instant = place
    moments = list(islice(parse_schedule(text, zone).upcoming(instant), 12))
    assert moments[0] == parse_schedule(text, zone).next_after(instant)
    assert all(earlier < later for earlier, later in pairwise([instant, *moments]))
    assert all(moment.tzinfo is UTC and moment.second == moment.microsecond == 0 for moment in moments)


@properties
@given(_texts, places(), _back)
def test_a_later_start_never_finds_an_earlier_moment(text: str, place: tuple[str, datetime], back: timedelta) -> None:
    zone, instant = place
    schedule = parse_schedule(text, zone)
    assert schedule.next_after(instant - back) <= schedule.next_after(instant)
    assert schedule.latest_until(instant - back) <= schedule.latest_until(instant)


@properties
@given(_texts, places(), _back)
@example("45 * * * *", ("Australia/Lord_Howe", utc("2026-04-04 15:00")), HOUR)
@example("*/10 3 * * *", ("Australia/Lord_Howe", utc("2026-10-03 15:40")), 2 * HOUR)
def test_what_is_due_does_not_depend_on_where_one_starts(
    text: str, place: tuple[str, datetime], back: timedelta
) -> None:
    zone, instant = place
    schedule = parse_schedule(text, zone)
    moments = list(islice(schedule.upcoming(instant), 12))
    from_before = takewhile(lambda moment: moment <= moments[-1], schedule.upcoming(instant - back))
    assert [moment for moment in from_before if moment > instant] == moments


@properties
@given(_texts, places(), _back)
def test_the_latest_is_the_last_that_is_met_on_the_way(text: str, place: tuple[str, datetime], back: timedelta) -> None:
    zone, instant = place
    schedule = parse_schedule(text, zone)
    latest = schedule.latest_until(instant)
    assert latest is not None
    assert latest.tzinfo is UTC
    *_, met = takewhile(lambda moment: moment <= instant, schedule.upcoming(latest - back))
    assert met == latest <= instant < schedule.next_after(latest)
    assert schedule.latest_until(latest) == latest


def numbers(field: str, low: int, high: int) -> set[int]:
    """What a crontab field of plain numbers stands for."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def due_by_the_minute(crontab: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """As a cron would do it that looks at the clock each minute; the start is no time that comes again."""
    minute, hour, day, month, weekday = crontab.split()
    minutes, hours, months = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(month, 1, 12)
    days, weekdays = numbers(day, 1, 31), {number % 7 for number in numbers(weekday, 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")
    each_time = minute.startswith("*") or hour.startswith("*")

    def matches(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        by_date, by_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        return by_date and by_weekday if both else by_date or by_weekday

    found = []
    reached = start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for passed in range((end - start) // MINUTE):
        moment = start + MINUTE * (passed + 1)
        wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        newly_reached = [reached + MINUTE * (n + 1) for n in range((wall - reached) // MINUTE)]
        if matches(wall) if each_time else any(map(matches, newly_reached)):
            found.append(moment)
        reached = max(reached, wall)
    return found


@settings(max_examples=120, deadline=None)
@given(_crontabs, _zones.flatmap(lambda zone: st.tuples(st.just(zone), st.sampled_from(changes(zone)))), st.data())
def test_a_cron_that_looks_at_the_clock_each_minute_finds_the_same(
    crontab: str, place: tuple[str, datetime], data: st.DataObject
) -> None:
    zone, change = place
    start, end = change - 8 * HOUR, change + 8 * HOUR
    found = due_by_the_minute(crontab, zone, start, end)
    schedule = parse_schedule(crontab, zone)
    assert list(takewhile(lambda moment: moment <= end, schedule.upcoming(start))) == found
    instant = start + data.draw(st.builds(timedelta, seconds=st.integers(0, 57_600)))
    assert schedule.next_after(instant) == next((m for m in found if m > instant), schedule.next_after(end))
    assert schedule.latest_until(instant) == max(
        (m for m in found if m <= instant), default=schedule.latest_until(start)
    )
