"""What `uv build --wheel` packs; tests/foreign installs it into a project that is not ours."""

import shutil
import subprocess
import sys
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    left_out = shutil.ignore_patterns("__pycache__")
    for name in ("monitoring", "project", "tests"):
        shutil.copytree(TOP / name, source / name, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, source)
    command = [UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", folder, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return ZipFile(built)


def packed(wheel: ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_the_whole_app_is_in_it_and_nothing_else(wheel: ZipFile) -> None:
    files = [path for path in (TOP / "monitoring").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert packed(wheel) == {str(path.relative_to(TOP)) for path in files}


@pytest.mark.parametrize("part", ["templates/emails/", "templates/admin/", "static/", "migrations/0001_"])
def test_what_is_no_module_is_in_it_too(wheel: ZipFile, part: str) -> None:
    assert any(name.startswith(f"monitoring/{part}") for name in packed(wheel))


def test_its_license_and_its_description_are_in_it(wheel: ZipFile) -> None:
    (license_file,) = (name for name in wheel.namelist() if name.endswith("/licenses/LICENSE"))
    assert wheel.read(license_file) == (TOP / "LICENSE").read_bytes()
    (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    said = message_from_string(wheel.read(metadata).decode())
    assert (said["Name"], said["License-Expression"]) == ("django-task-status-monitoring", "MIT")
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_payload().strip().startswith("# Task status monitor")
    assert "Framework :: Django" in said.get_all("Classifier")
    assert set(said.get_all("Provides-Extra")) >= {"site", "postgres", "celery"}
