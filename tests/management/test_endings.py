"""How commands end as processes: their exit codes, what they say of an error, and what they do if nobody reads on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import services
from tests.management.calling import ROOT, Site, call

CONFIG = '{"daily_report": {"expected_statuses": ["Completed"], "notify_to": ["ops@example.com"]}}'


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.manage("migrate", "--verbosity=0")
    return site


@pytest.mark.parametrize(
    ("args", "buffering", "code"),
    [
        (["list_status"], {}, 0),  # the output fits into the buffer: the command comes to its end
        (["list_status", "--help"], {}, 0),
        (["check_task_status", "--self"], {}, 2),
        (["list_status"], {"PYTHONUNBUFFERED": "1"}, 3),
    ],
)
def test_if_nobody_reads_its_output_a_command_ends_without_a_word(
    site: Site, args: list[str], buffering: dict[str, str], code: int
) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "manage.py", *args]
    environment = site.environment | buffering
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=writes, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize(("args", "code"), [("list_status", 0), ("check_task_status --self", 2)])
def test_a_command_that_was_started_without_its_streams_ends_as_ever(site: Site, args: str, code: int) -> None:
    for closed, is_silent in (("<&- >&- 2>&-", True), (">&-", True), ("2>&-", False)):
        done = _shell(site, f"{args} {closed}")
        assert (done.returncode, done.stdout == "", done.stderr) == (code, is_silent, ""), closed


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_if_its_output_cannot_be_written_a_command_says_so_and_ends_with_3(
    site: Site, buffering: dict[str, str]
) -> None:
    done = _shell(site, "check_task_status --self > /dev/full", **buffering)
    assert (done.returncode, done.stderr) == (3, "Error: the output cannot be written: No space left on device\n")
    assert _shell(site, "list_status > /dev/full 2>&1", **buffering).returncode == 3


def _shell(site: Site, args: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    script = f"{sys.executable} manage.py {args}"
    return subprocess.run(
        script, shell=True, cwd=ROOT, env=site.environment | environment, capture_output=True, text=True, check=False
    )


def test_an_error_is_said_in_a_sentence_after_the_word_error(site: Site) -> None:
    called = site.manage("preview_alert", "--to=foo")
    assert (called.code, called.said) == (3, "Error: --to: 'foo' is not an e-mail address\n")
    called = site.manage("record_run", "backup", "--", "no-such-thing")
    assert called.code == 127
    assert called.said.endswith("Error: no-such-thing: command not found\n")


def test_what_the_report_says_is_not_repeated_as_an_error(site: Site) -> None:
    checked = site.manage("check_task_status", "--config=-", "--dry-run", stdin=CONFIG)
    assert (checked.code, checked.said) == (2, "")
    assert checked.out.startswith("TASKS CRITICAL - 1 not executed\n")
    itself = site.manage("check_task_status", "--self")
    assert (itself.code, itself.said) == (2, "")
    assert itself.out.startswith("MONITORING CRITICAL - 1 problem\n")
    tried = site.manage("check_task_status", "--config=-", "--since=30d", "--schedule=@daily", stdin=CONFIG)
    assert (tried.code, tried.said) == (3, "")
    assert "no run of “daily_report” is recorded" in tried.out


def test_a_name_that_the_terminal_cannot_write_stops_no_command(site: Site) -> None:
    config = CONFIG.replace("daily_report", "\N{SNOWMAN}")
    checked = site.manage("check_task_status", "--config=-", stdin=config, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (checked.code, checked.said) == (2, "")
    assert "\n\\u2603     not executed" in checked.out
    assert len(site.mails()) == 1


@pytest.mark.parametrize("args", [["list_status"], ["prune_history"], ["check_task_status", "--self"]], ids=str)
def test_without_tables_an_error_names_the_way_out(tmp_path: Path, args: list[str]) -> None:
    called = Site(tmp_path).manage(*args)
    assert (called.code, called.out) == (3, "")
    assert called.said.startswith("Error: Cannot query the database: no such table: monitoring_")
    assert called.said.endswith(". Has `manage.py migrate` been run?\n")
    assert called.said.count("\n") == 1


def test_without_tables_on_postgresql_it_is_the_same_sentence(tmp_path: Path) -> None:
    with services.postgres_server() as url:
        called = Site(tmp_path).manage("list_status", DATABASE_URL=url)
    said = 'relation "monitoring_monitor" does not exist. Has `manage.py migrate` been run?'
    assert (called.code, called.out, called.said) == (3, "", f"Error: Cannot query the database: {said}\n")


@pytest.mark.parametrize("command", [["prune_history", "--older-than=0"], ["record_run", "backup"]], ids=str)
def test_bad_usage_ends_with_3(tmp_path: Path, command: list[str]) -> None:
    called = Site(tmp_path).manage(*command)
    assert (called.code, called.out) == (3, "")
    assert called.said.startswith("usage: manage.py ")
    assert "\nError: " in called.said


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("preview_alert", "kind"),
        ("preview_alert", "format"),
        ("list_status", "format"),
        ("check_task_status", "format"),
    ],
)
def test_what_is_none_of_an_option_s_choices_is_refused_alike_when_code_calls(command: str, option: str) -> None:
    called = call(command, **{option: "bogus"})
    assert called == call(command, f"--{option}=bogus")
    assert called.code == 3
    assert called.said.startswith(f"argument --{option}: invalid choice: 'bogus' (choose from ")
