import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
LOCKS = sorted(TOP.glob("requirements*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_host_and_hashes_every_package(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "file:" not in text
    assert "index-url" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert packages
    assert all("--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_both_supported_djangos_are_locked(name: str) -> None:
    versions = re.findall(r"^django==(\d+\.\d+)", (TOP / name).read_text(), re.MULTILINE)
    assert versions == ["5.2", "6.1"]
