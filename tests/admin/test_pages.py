"""Lists page by page: by keys, through their filters and searches, without counting or passing over rows."""

import re
from itertools import chain
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from monitoring.admin import pages
from monitoring.admin.records import Records
from monitoring.checking import runs
from monitoring.models import BackgroundTask
from tests.admin.people import logged_in
from tests.factories import NOW, ago, make_monitor, make_run

pytestmark = pytest.mark.django_db

RUNS = reverse("admin:monitoring_backgroundtask_changelist")


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Records, "list_per_page", 3)


@pytest.fixture
def client() -> Client:
    return logged_in(User.objects.create_superuser("admin"))


def page(client: Client, url: str = RUNS, **query: Any) -> Any:
    answer = client.get(url, query) if query else client.get(url)
    assert answer.status_code == 200, url
    return answer.context["cl"]


def names(changelist: Any) -> list[str]:
    return [run.task_name for run in changelist.result_list]


def walk(client: Client, changelist: Any, direction: str = "older") -> list[list[str]]:
    """The names on this page and on all that follow."""
    walked = [names(changelist)]
    while url := getattr(changelist, direction):
        changelist = page(client, f"{RUNS}{url}")
        walked.append(names(changelist))
        assert len(walked) < 20, "pages without end"
    return walked


def test_older_and_newer_lead_through_all_rows_and_back(client: Client) -> None:
    for number in range(8):
        make_run(f"run {number}")
    first = page(client)
    assert walk(client, first) == [
        ["run 7", "run 6", "run 5"],
        ["run 4", "run 3", "run 2"],
        ["run 1", "run 0"],
    ]
    assert (first.newer, first.newest) == ("", "")
    second = page(client, f"{RUNS}{first.older}")
    assert names(page(client, f"{RUNS}{second.newer}")) == names(first)
    assert names(page(client, f"{RUNS}{second.newest}")) == names(first)


def test_the_first_page_has_no_newer_one_and_the_last_no_older(client: Client) -> None:
    make_run()
    only = page(client)
    assert (only.older, only.newer, only.newest) == ("", "", "")


def test_rows_that_come_in_meanwhile_shift_no_page(client: Client) -> None:
    for number in range(6):
        make_run(f"run {number}")
    older = page(client).older
    make_run("meanwhile")
    assert names(page(client, f"{RUNS}{older}")) == ["run 2", "run 1", "run 0"]


@pytest.mark.parametrize("place", ["", "x", "-1", "9" * 30, "1.5"])
def test_a_place_that_is_none_shows_the_newest(client: Client, place: str) -> None:
    make_run()
    assert names(page(client, older_than=place)) == ["daily_report"]


def test_a_filter_looks_through_so_many_rows_a_page_and_says_so(client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(pages, "LOOKED_AT", 5)
    for number in range(13):
        make_run(f"run {number}", "Stopped" if number in (12, 11, 1) else "Completed", started_at=ago(days=20 - number))
    first = page(client, status__exact="Stopped")
    assert names(first) == ["run 12", "run 11"]
    assert "2026-11-09" in first.looked_until, "where the next page begins"
    assert walk(client, first) == [["run 12", "run 11"], [], ["run 1"]]
    assert "status__exact=Stopped" in first.older
    text = client.get(RUNS, {"status__exact": "Stopped"}).content.decode()
    assert "Looked through runs back to" in text
    assert 'rel="next">Older</a>' in text


@pytest.mark.parametrize("place", [{}, {"older_than": "10"}, {"newer_than": "1"}])
def test_what_lies_beyond_a_filtered_page_is_looked_for_from_there(
    client: Client, monkeypatch: Any, place: dict[str, str]
) -> None:
    """By one bound: of two SQLite may take the nearer one, and pass over all rows up to the other."""
    monkeypatch.setattr(pages, "LOOKED_AT", 3)
    for number in range(12):
        make_run(f"run {number}")
    with CaptureQueriesContext(connection) as asked:
        page(client, status__exact="Stopped", **place)
    key = f'"{BackgroundTask._meta.db_table}"."id"'
    said = [each["sql"] for each in asked if f'SELECT {key} AS "pk"' in each["sql"]]
    (beyond,) = [each for each in said if "WHERE" in each]
    assert len(re.findall(f"{re.escape(key)} [<>]", beyond)) == 1, beyond


def test_a_filtered_page_that_is_full_goes_on_at_its_last_row(client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(pages, "LOOKED_AT", 6)
    for number in range(9):
        make_run(f"run {number}", "Stopped")
    first = page(client, status__exact="Stopped")
    assert first.looked_until == ""
    assert walk(client, first) == [
        ["run 8", "run 7", "run 6"],
        ["run 5", "run 4", "run 3"],
        ["run 2", "run 1", "run 0"],
    ]
    last = page(client, f"{RUNS}{page(client, f'{RUNS}{first.older}').older}")
    assert names(page(client, f"{RUNS}{last.newer}")) == ["run 5", "run 4", "run 3"]


def test_changing_a_filter_begins_anew(client: Client) -> None:
    for _ in range(5):
        make_run()
    second = client.get(f"{RUNS}{page(client).older}").content.decode()
    assert 'href="?status__exact=Stopped"' in second
    assert '<input type="hidden" name="older_than"' not in second


def test_a_search_follows_the_start_of_the_runs_of_all_names_that_begin_so(client: Client) -> None:
    for number in range(4):
        make_run("daily_report", started_at=ago(hours=2 * number))
        make_run("daily_sync", started_at=ago(hours=2 * number + 1))
    make_run("daily_sync", "Queued", started_at=None, submitted_at=ago(minutes=1))
    make_run("hourly", started_at=NOW)
    pages_of_runs = walk(client, page(client, q="daily"))
    assert list(chain(*pages_of_runs)) == ["daily_report", "daily_sync"] + ["daily_sync", "daily_report"] * 3 + [
        "daily_sync"
    ]
    stopped = page(client, q="daily", status__exact="Queued")
    assert names(stopped) == ["daily_sync"]


def test_a_search_ends_where_the_runs_of_a_frequent_name_are_not_known_further(
    client: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(runs, "LOOKED_AT", 8)
    monkeypatch.setattr(runs, "LOOKED_AT_OF_EACH", 4)
    for number in range(20):
        make_run("a often", started_at=ago(minutes=number))
    make_run("a seldom", started_at=ago(minutes=10, seconds=30))
    walked = list(chain(*walk(client, page(client, q="a "))))
    assert walked == ["a often"] * 11 + ["a seldom"] + ["a often"] * 9


def test_a_search_for_a_task_that_only_a_monitor_names_finds_none_and_no_other(client: Client) -> None:
    make_monitor(task_name="never_ran")
    make_run("hourly")
    assert names(page(client, q="never")) == []


def test_what_there_is_is_counted_only_so_far(client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(pages, "COUNTED", 4)
    for expected in ("1 run", "2 runs", "3 runs", "4 runs", "more than 4 runs", "more than 4 runs"):
        make_run()
        assert page(client).counted() == expected


def test_a_filtered_list_says_how_many_rows_it_shows_and_of_how_many(client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(pages, "LOOKED_AT", 5)
    for number in range(8):
        make_run(f"run {number}", "Stopped" if number in (6, 0) else "Completed")
    assert page(client, q="run 6").how_many() == "1 shown of 8 runs in all"
    assert page(client, q="zzz").how_many() == "No runs match."
    assert "No runs match." in client.get(RUNS, {"q": "zzz"}).content.decode()
    stopped = page(client, status__exact="Stopped")
    assert stopped.how_many() == "1 shown of 8 runs in all"
    assert page(client, status__exact="Queued").how_many() == "0 shown of 8 runs in all", "it goes on with older ones"
    older = page(client, f"{RUNS}{page(client, status__exact='Queued').older}")
    assert (older.how_many(), older.older) == ("No more runs match.", "")


@pytest.mark.parametrize(
    "query", [{}, {"status__exact": "Stopped"}, {"q": "daily"}, {"older_than": "999"}, {"newer_than": "1"}]
)
def test_no_statement_counts_all_runs_or_passes_over_some_and_their_number_is_constant(
    client: Client, query: dict[str, str]
) -> None:
    statements = []
    for more in (4, 30):
        for _ in range(more):
            make_run("daily_report", "Stopped")
        with CaptureQueriesContext(connection) as asked:
            client.get(RUNS, query)
        statements.append([each["sql"] for each in asked])
    assert len(statements[0]) == len(statements[1])
    table = BackgroundTask._meta.db_table
    for statement in statements[1]:
        assert "OFFSET" not in statement
        assert f'COUNT(*) AS "__count" FROM "{table}"' not in statement
        if f'FROM "{table}"' in statement:
            assert "LIMIT" in statement or f'"{table}"."id" IN' in statement, statement
