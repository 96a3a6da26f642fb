import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
PRODUCTION = {
    "SECRET_KEY": "k" * 60,
    "SITE_URL": "https://monitor.example.org",
    "DEFAULT_FROM_EMAIL": "monitor@example.org",
    "EMAIL_URL": "smtp+tls://user:secret@mx.example.org",
}


def settings_with(tmp_path: Path, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Loads the project's settings in a process of their own, with this environment and no .env file."""
    program = f"import project.settings as s; {code}"
    return subprocess.run(
        [sys.executable, "-c", f"import environs; environs.Env.read_env = lambda *a, **k: None; {program}"],
        cwd=TOP,
        env={"VAR_DIR": str(tmp_path / "var"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_that_is_missing_or_wrong_is_said_at_once(tmp_path: Path) -> None:
    done = settings_with(tmp_path, DEBUG="banana", DATABASE_URL="x", HUEY_URL="amqp://x", EMAIL_URL="pigeon:")
    assert done.returncode == 1
    for name in ("DEBUG", "SECRET_KEY", "SITE_URL", "DEFAULT_FROM_EMAIL", "EMAIL_URL", "DATABASE_URL", "HUEY_URL"):
        assert f"  {name}: " in done.stderr, done.stderr
    assert "the README says what each means" in done.stderr


@pytest.mark.parametrize("name", PRODUCTION)
def test_production_demands_what_telling_people_needs(tmp_path: Path, name: str) -> None:
    done = settings_with(tmp_path, **{key: value for key, value in PRODUCTION.items() if key != name})
    assert done.returncode == 1
    assert f"  {name}: Environment variable not set." in done.stderr


def test_a_developer_needs_a_key_alone_and_no_services(tmp_path: Path) -> None:
    code = "print(s.DATABASES['default']['ENGINE'], s.HUEY['huey_class'], s.HUEY['immediate'])"
    done = settings_with(tmp_path, code, DEBUG="1", SECRET_KEY="x")
    assert done.stdout.split() == ["django.db.backends.sqlite3", "huey.SqliteHuey", "False"], done.stderr


def test_production_hosts_follow_from_the_site_url(tmp_path: Path) -> None:
    done = settings_with(tmp_path, "print(s.ALLOWED_HOSTS, s.CSRF_TRUSTED_ORIGINS, s.DEBUG)", **PRODUCTION)
    assert done.stdout.strip() == "['monitor.example.org'] ['https://monitor.example.org'] False", done.stderr


def test_the_database_of_the_queue_is_never_djangos_own(tmp_path: Path) -> None:
    done = settings_with(
        tmp_path, "print(s.HUEY['filename'] != s.DATABASES['default']['NAME'])", DEBUG="1", SECRET_KEY="x"
    )
    assert done.stdout.strip() == "True"
