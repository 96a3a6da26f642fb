import json
import subprocess
import sys
from pathlib import Path

import pytest

from project.demo.management.commands.demo import made_up_runs
from tests.factories import NOW


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo prints when it is run twice on a machine that has nothing, and where its files are."""
    var = tmp_path_factory.mktemp("demo")
    environment = {"DEBUG": "1", "SECRET_KEY": "x", "VAR_DIR": str(var), "EMAIL_URL": f"file:{var}/mail"}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "manage.py", "demo", "--no-color"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + (var / "demo-worker.log").read_text()
    return done.stdout, var


@pytest.mark.parametrize(
    ("task", "verdict", "status"),
    [
        ("hourly_data_sync", "as expected", "Completed"),
        ("data_collection", "as expected", "Completed"),
        ("data_processing", "as expected", "Running"),
        ("data_export", "status mismatch", "Stopped"),
        ("daily_report_generation", "as expected", "Completed"),
        ("daily_cleanup", "not executed", "-"),
        # The newest session of any type completed; the newest of the watched type did not.
        ("ingestor_session", "status mismatch", "Stopped"),
    ],
)
def test_the_seeds_examples_get_the_right_verdicts_on_real_runs(
    demo: tuple[str, Path], task: str, verdict: str, status: str
) -> None:
    configs, _ = demo[0].split("$ manage.py import_monitors")
    (line,) = [line for line in configs.splitlines() if line.startswith(f"{task} ")]
    cells = line.removeprefix(task).strip()
    assert cells.startswith(verdict)
    assert cells.removeprefix(verdict).strip().split()[0] == status


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("admin@example.com", "[ALERT] data_export Status Check Failed"),
        ("admin@example.com", "[ALERT] daily_cleanup Has Not Executed"),
        ("weather-team@example.com", "[ALERT] ingestor_session Status Check Failed"),
    ],
)
def test_the_mails_go_to_whom_the_examples_name_and_can_be_opened(
    demo: tuple[str, Path], address: str, subject: str
) -> None:
    shown = demo[0].split("The mails that went out")[1]
    lines = [line for line in shown.splitlines() if address in line and subject in line]
    assert lines
    for line in lines:
        assert "Task Status Alert" in Path(line.split()[-1]).read_text()


def test_no_more_mails_go_out_than_these(demo: tuple[str, Path]) -> None:
    """The failing export is told twice: as the configuration has no memory, and as the monitor that is made of it."""
    assert demo[0].split("The mails that went out")[1].count("[ALERT]") == 3 + 1
    assert len(list((demo[1] / "mail").glob("*.eml"))) == 2 * (3 + 1)


def test_the_monitors_that_are_made_stand_where_their_runs_left_them(demo: tuple[str, Path]) -> None:
    status = demo[0].split("$ manage.py list_status\n")[1]
    assert status.startswith("1 failing, 2 fine\n")
    assert "\ndata_export      failing " in status
    assert "  Last success: " in status
    assert "none is known" not in status


def test_the_made_up_week_is_recorded_as_it_passed() -> None:
    starts = [run.started_at for run in made_up_runs(NOW)]
    assert starts == sorted(starts)


def test_the_made_up_week_is_enough_to_suggest_a_monitor_of_what_nobody_watches(demo: tuple[str, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "suggest_monitors", "--unmonitored"],
        env={"DEBUG": "1", "SECRET_KEY": "x", "VAR_DIR": str(demo[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    (suggested,) = json.loads(done.stdout)
    assert {"hourly_data_sync", "daily_report_generation"} <= suggested.keys()
