import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from monitoring.models import DependentTask, Monitor, MonitorState
from tests.factories import make_monitor, make_run
from tests.management.calling import ROOT, Called, Site, call

pytestmark = pytest.mark.django_db

EXAMPLES = sorted((ROOT / "project" / "demo" / "configs").glob("*.json"))
SCHEDULES = ("5 * * * *", "*/30 * * * *", "5 9 * * *", "5 */2 * * *")  # the seed's, one an example
DONE = {"expected_statuses": ["Completed"]}


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def write(**entries: Any) -> str:
        path = tmp_path / "config.json"
        path.write_text(json.dumps([entries]))
        return str(path)

    return write


def load(path: str | Path, *args: str) -> Called:
    return call("import_monitors", str(path), "--schedule=35 8 * * *", *args)


@pytest.mark.parametrize(("path", "schedule"), list(zip(EXAMPLES, SCHEDULES, strict=True)), ids=SCHEDULES)
def test_an_example_imports_shows_is_checked_and_exports_back_to_the_same_json(path: Path, schedule: str) -> None:
    User.objects.create_superuser("root", "root@example.com")
    config = json.loads(path.read_text())
    for task_name in config[0]:
        make_run(task_name, "Stopped", started_at=timezone.now(), context_id="no such session")
    assert call("import_monitors", str(path), schedule=schedule).code == 0
    assert set(Monitor.objects.values_list("schedule", flat=True)) == {schedule}
    listed = json.loads(call("list_status", "--format=json").out)["monitors"]
    assert {monitor["task_name"] for monitor in listed} == config[0].keys()
    by_config, by_monitors = (
        json.loads(call("check_task_status", "--dry-run", "--format=json", *args).out)["checks"]
        for args in ([f"--config={path}"], [])
    )
    for each in (*by_config, *by_monitors):
        del each["name"], each["checked_at"], each["decision"]
    assert by_monitors == by_config
    assert call("check_task_status").code == 2
    exported = call("export_monitors")
    assert (exported.code, json.loads(exported.out)) == (0, config)


def test_an_import_says_what_it_did(config: Any) -> None:
    path = config(one=DONE | {"notify_to": ["a@example.com"], "dependent_tasks": ["x", "y"]}, two=DONE)
    called = load(path, "--time-zone=Europe/Berlin")
    assert called.code == 0
    lines = called.out.splitlines()
    assert lines[:5] == [
        "Imported: 2 new",
        "",
        "CHANGE  NAME  TASK  EXPECTED   LAST  SCHEDULE    NOTIFIES       DEPENDENT TASKS",
        "new     one   one   Completed  1 h   35 8 * * *  a@example.com  x, y",
        "new     two   two   Completed  1 h   35 8 * * *  nobody         -",
    ]
    assert re.fullmatch(
        r"Schedule: At 08:35 every day, Europe/Berlin; next check \S+ 08:35:00 CES?T \(Europe/Berlin\)", lines[6]
    )
    assert set(Monitor.objects.values_list("time_zone", flat=True)) == {"Europe/Berlin"}
    assert load(path, "--time-zone=Europe/Berlin").out.startswith("Imported: 2 same\n")


def test_an_import_says_what_it_changes_and_who_watches_a_task_already(config: Any) -> None:
    load(config(one=DONE, two=DONE))
    make_monitor("Export of orders", task_name="export")
    path = config(one={"expected_statuses": ["Running"], "dependent_tasks": ["x"]}, two=DONE, export=DONE)
    called = call("import_monitors", path, "--schedule=@daily", "--dry-run")
    lines = [re.split(r"  +", line) for line in called.out.splitlines()]
    assert lines[3][:6] == ["changed", "one", "one", "Completed → Running", "1 h", "35 8 * * * → @daily"]
    assert lines[3][-1] == "– → x"
    assert lines[4][3:6] == ["Completed", "1 h", "35 8 * * * → @daily"]
    assert ["export: its task is already watched by Export of orders"] in lines


def test_a_dry_run_of_an_import_shows_and_changes_nothing(config: Any) -> None:
    load(config(old=DONE, same=DONE))
    before = [list(model.objects.values()) for model in (Monitor, MonitorState, DependentTask)]
    called = load(config(new=DONE, old=DONE | {"dependent_tasks": ["x"]}, same=DONE), "--dry-run")
    assert called.out.startswith("Would import: 1 new, 1 changed, 1 same\n")
    assert [list(model.objects.values()) for model in (Monitor, MonitorState, DependentTask)] == before


def test_the_zone_is_the_sites_when_none_is_named(config: Any, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    load(config(one=DONE))
    assert Monitor.objects.get().time_zone == "Asia/Tokyo"


def test_a_configuration_can_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps({"one": DONE}).encode())))
    assert load("-").code == 0
    assert Monitor.objects.get().name == "one"


def test_a_configuration_with_a_mistake_is_refused_whole(config: Any) -> None:
    called = load(config(good=DONE, bad={"expected_statuses": ["Complete"]}))
    assert (called.code, called.out) == (3, "")
    assert called.said.startswith("The configuration is refused; nothing was imported:\n")
    assert "bad.expected_statuses[0]: 'Complete' is not a task status; did you mean 'Completed'?" in called.said
    assert Monitor.objects.count() == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--schedule=0 35 8 * * *"], "has 6 fields instead of 5"),
        (["--schedule=0 0 30 2 *"], "never occurs: there is no such date"),
        (["--schedule=@daily", "--time-zone=Berlin"], "'Berlin' is not a time zone"),
    ],
)
def test_a_schedule_that_is_none_is_refused(config: Any, args: list[str], said: str) -> None:
    called = call("import_monitors", config(one=DONE), *args)
    assert called.code == 3
    assert called.said.startswith("Nothing was imported: ")
    assert said in called.said
    assert Monitor.objects.count() == 0


def test_an_import_without_a_schedule_or_a_file_ends_with_3(config: Any, tmp_path: Path) -> None:
    assert call("import_monitors", config(one=DONE)).code == 3
    called = load(tmp_path / "absent.json")
    assert called.code == 3
    assert "absent.json: No such file or directory; FILE takes a JSON file, or - for standard input" in called.said


def test_named_monitors_are_exported(config: Any) -> None:
    load(config(one=DONE, two=DONE, three=DONE))
    out = call("export_monitors", "--monitor=one", "--monitor=three").out
    assert json.loads(out)[0].keys() == {"one", "three"}
    assert call("export_monitors", "--monitor=four").code == 3


def test_monitors_of_one_task_are_refused_named_and_the_way_out_said() -> None:
    for name in ("hourly", "daily"):
        make_monitor(name, task_name="sync")
    called = call("export_monitors")
    assert (called.code, called.out) == (3, "")
    assert called.said == (
        "These monitors do not fit into one configuration; name one of each task with --monitor:\n"
        "sync: 'daily' and 'hourly' are all of this task, and a configuration has one entry a task"
    )
    assert call("export_monitors", "--monitor=hourly").code == 0


def test_without_monitors_there_is_nothing_to_export() -> None:
    called = call("export_monitors")
    assert (called.code, called.out, called.said) == (3, "", "There are no monitors to export")


def test_the_commands_work_together_in_processes_of_their_own(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.manage("migrate", "--verbosity=0").code == 0
    assert site.manage("check_task_status").code == 3
    assert site.manage("check_task_status", "--self").code == 2
    assert site.manage("check_task_status", "--self", "--monitor=x").code == 3
    assert site.manage("import_monitors", str(EXAMPLES[0]), "--schedule=nonsense").code == 3
    imported = site.manage("import_monitors", "-", "--schedule=5 * * * *", stdin=EXAMPLES[0].read_text())
    assert (imported.code, imported.said) == (0, "")
    checked = site.manage("check_task_status", "--monitor", "hourly_data_sync")
    assert checked.code == 2
    assert checked.out.startswith("TASKS CRITICAL - 1 not executed\n")
    assert len(site.mails()) == 1
    listed = site.manage("list_status", "--failing", "--format=csv")
    assert (listed.code, listed.out.count("hourly_data_sync")) == (0, 3)
    unknown = site.manage("list_status", "--monitor=hourly_data_sink")
    assert unknown.code == 3
    assert "did you mean 'hourly_data_sync'?" in unknown.said
    assert "Traceback" not in unknown.said
    exported = site.manage("export_monitors")
    assert json.loads(exported.out) == json.loads(EXAMPLES[0].read_text())
