import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections

from monitoring.models import BackgroundTask, database_alias
from monitoring.recording import spool
from monitoring.recording.code import Run
from monitoring.recording.spool import keep, spool_folder, write_kept
from monitoring.tasks import tick_monitors
from monitoring.values.run_event import RunEvent, RunStatus
from tests.factories import NOW, ago

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monitoring_settings: Any) -> Path:
    monitoring_settings(SPOOL_DIR=str(tmp_path / "spool"))
    return tmp_path / "spool"


def events(name: str = "backup") -> tuple[RunEvent, RunEvent]:
    run = Run(name, ago(minutes=3), context_id="Süd\n7")
    return run.started(), run.ended(RunStatus.STOPPED, "Exit status 3", NOW)


def test_what_is_kept_is_written_as_it_was_and_removed(folder: Path) -> None:
    start, end = events()
    keep(end)
    keep(start)
    write_kept()
    run = BackgroundTask.objects.get()
    assert (run.task_id, run.task_name, run.context_id) == (start.task_id, "backup", "Süd\n7")
    assert (run.status, run.attempts, run.errors) == ("Stopped", 1, "Exit status 3")
    assert (run.started_at, run.finished_at) == (ago(minutes=3), NOW)
    assert list(folder.iterdir()) == []


def test_what_was_written_already_may_be_written_again() -> None:
    start, end = events()
    for event in (start, end, start, end):
        keep(event)
        write_kept()
    run = BackgroundTask.objects.get()
    assert (run.status, run.attempts) == ("Stopped", 1)


def test_each_event_is_written_alone_so_that_no_attempt_counts_twice() -> None:
    start, end = events()
    keep(start)
    write_kept()
    keep(start)
    keep(end)
    write_kept()
    assert BackgroundTask.objects.get().attempts == 1


def test_nobody_else_may_read_it(folder: Path) -> None:
    path = keep(events()[0])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_stays_while_the_database_is_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("the database is away")

    keep(events()[0])
    with monkeypatch.context() as patch:
        patch.setattr(spool, "write_at_once", away)
        write_kept()
    assert len(list(folder.glob("*.json"))) == 1
    write_kept()
    assert BackgroundTask.objects.get().status == "Running"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"status": "Lost"}', '{"surprise": 1}'])
def test_what_cannot_be_read_is_set_aside_and_reported_and_holds_up_nothing(
    text: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(events()[0])
    (folder / "0.json").write_text(text)
    with caplog.at_level(logging.ERROR):
        write_kept()
    assert BackgroundTask.objects.count() == 1
    assert [path.name for path in folder.iterdir()] == ["0.bad"]
    assert f"is set aside as {folder / '0.bad'}" in caplog.text


def test_what_cannot_be_read_is_passed_over_and_said_in_a_line(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep(events()[0])
    (folder / "0.json").mkdir()
    with caplog.at_level(logging.ERROR):
        write_kept()
    assert BackgroundTask.objects.get().status == "Running"
    assert [path.name for path in folder.iterdir()] == ["0.json"]
    [record] = caplog.records
    assert f"as {folder / '0.json'} cannot be read or moved: Is a directory" in record.getMessage()
    assert record.exc_info is None


def test_what_the_database_refuses_for_ever_is_set_aside(folder: Path) -> None:
    start, end = events()
    keep(start._replace(task_name=None))  # type: ignore[arg-type]
    keep(end)
    write_kept()
    assert [path.suffix for path in folder.iterdir()] == [".bad"]
    assert BackgroundTask.objects.get().status == "Stopped"


def test_a_folder_that_is_not_there_or_is_none_breaks_nothing(folder: Path) -> None:
    write_kept()
    folder.write_text("a file")
    write_kept()


def test_the_tick_writes_what_is_kept() -> None:
    keep(events()[0])
    tick_monitors.call_local()
    assert BackgroundTask.objects.get().status == "Running"


def test_without_the_setting_each_database_has_a_folder_of_its_own_in_the_users_home(
    monitoring_settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monitoring_settings(SPOOL_DIR="")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    here = spool_folder()
    assert here.parent == tmp_path / ".local" / "state" / "task-status-monitoring"
    monkeypatch.setitem(connections[database_alias()].settings_dict, "NAME", "another")
    assert spool_folder() != here
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert spool_folder().parent == tmp_path / "state" / "task-status-monitoring"


def test_a_file_is_whole_or_not_there(folder: Path) -> None:
    """What is being written has another name; a half of it is never taken for an event."""
    path = keep(events()[0])
    path.rename(path.with_suffix(f".new-{os.getpid()}"))
    write_kept()
    assert not BackgroundTask.objects.exists()
    assert json.loads(next(folder.iterdir()).read_text())["task_name"] == "backup"
