import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from monitoring.conf import Conf

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
    assert "docs/settings.md says what each means" in done.stderr


@pytest.mark.parametrize("name", PRODUCTION)
def test_production_demands_what_telling_people_needs(tmp_path: Path, name: str) -> None:
    done = settings_with(tmp_path, **{key: value for key, value in PRODUCTION.items() if key != name})
    assert done.returncode == 1
    assert f"  {name}: Environment variable not set." in done.stderr


@pytest.mark.parametrize(
    ("url", "given", "problem"),
    [
        ("anymail+mailgun://KEY@mg.example.org", {}, "  ANYMAIL_SIGNING_KEY: Environment variable not set."),
        ("anymail+mailgun://KEY@mg.example.org", {"ANYMAIL_SIGNING_KEY": "signed"}, ""),
        ("anymail+postmark://TOKEN@", {}, ""),
        ("smtp://mx.example.org", {}, ""),
        (
            "anymail+postmark://TOKEN@",
            {"ANYMAIL_WEBHOOK_SECRET": "user:short"},
            "  ANYMAIL_WEBHOOK_SECRET: must be USER:PASSWORD",
        ),
    ],
)
def test_a_webhook_that_would_refuse_everybody_is_a_problem_at_start(
    tmp_path: Path, url: str, given: dict[str, str], problem: str
) -> None:
    secret = {"ANYMAIL_WEBHOOK_SECRET": "user:a-long-enough-password"}
    done = settings_with(tmp_path, **PRODUCTION | {"EMAIL_URL": url} | secret | given)
    assert (done.returncode == 1) is bool(problem), done.stderr
    assert problem in done.stderr


def test_a_developer_needs_a_key_alone_and_no_services(tmp_path: Path) -> None:
    code = "print(s.DATABASES['default']['ENGINE'], s.HUEY['huey_class'], s.HUEY['immediate'])"
    done = settings_with(tmp_path, code, DEBUG="1", SECRET_KEY="x")
    assert done.stdout.split() == ["django.db.backends.sqlite3", "huey.SqliteHuey", "False"], done.stderr


@pytest.mark.parametrize(("debug", "installed"), [("1", "True"), ("0", "False")])
def test_the_demo_is_a_developers_alone(tmp_path: Path, debug: str, installed: str) -> None:
    done = settings_with(tmp_path, "print('project.demo' in s.INSTALLED_APPS)", **PRODUCTION, DEBUG=debug)
    assert done.stdout.strip() == installed, done.stderr


def test_production_hosts_follow_from_the_site_url(tmp_path: Path) -> None:
    done = settings_with(tmp_path, "print(s.ALLOWED_HOSTS, s.CSRF_TRUSTED_ORIGINS, s.DEBUG)", **PRODUCTION)
    assert done.stdout.strip() == "['monitor.example.org'] ['https://monitor.example.org'] False", done.stderr


def test_the_database_of_the_queue_is_never_djangos_own(tmp_path: Path) -> None:
    done = settings_with(
        tmp_path, "print(s.HUEY['filename'] != s.DATABASES['default']['NAME'])", DEBUG="1", SECRET_KEY="x"
    )
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SITE_URL", "monitor.example.org", "must be an address such as https://monitor.example.org, without path"),
        ("SITE_URL", "https://monitor.example.org/admin", "must be an address such as https://monitor"),
        ("DEFAULT_FROM_EMAIL", "monitor", "must be a sender such as"),
        ("TIME_ZONE", "Mars/Olympus", "must be an IANA time zone such as"),
        ("HTTPS", "perhaps", "Not a valid boolean"),
        ("LOG_FORMAT", "xml", "Must be one of: text, json."),
        ("PING_URL", "ftp://switch.example.org/s3cret", "must be an address such as https://"),
        ("DATABASE_URL", "mysql://user:s3cret@host/name", "unknown scheme 'mysql'; use sqlite:///FILE or postgres://"),
        ("DATABASE_URL", "postgres:/user:s3cret@host/name", "must be sqlite:///FILE or postgres://"),
        ("DATABASE_URL", "postgres://user:1/s3cret@host/name", "must be sqlite:///FILE or postgres://"),
        ("DATABASE_URL", "sqlite:db.sqlite3", "must be sqlite:///FILE or postgres://"),
        ("SITE_URL", "https://monitor.example.org?from=mail", "must be an address such as https://monitor"),
        ("SITE_URL", "https://[::1", "not a URL"),
        ("PING_URL", "https://[s3cret", "not a URL"),
        ("PING_URL", "file:///s3cret", "must be an address such as https://"),
        ("PING_URL", "https://switch.example.org/a s3cret", "must be an address such as https://"),
        ("METRICS_TOKEN", "s3cret", "must be at least 16 ASCII characters"),
        ("METRICS_TOKEN", "s3cret in several words", "must be at least 16 ASCII characters"),
    ],
)
def test_a_wrong_value_is_refused_with_the_way_out(tmp_path: Path, name: str, value: str, said: str) -> None:
    done = settings_with(tmp_path, **PRODUCTION | {name: value})
    assert done.returncode == 1
    assert f"  {name}: " in done.stderr
    assert said in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("url", ["postgres:///monitor", "postgresql://user@host/monitor"])
def test_postgresql_may_be_asked_through_its_socket(tmp_path: Path, url: str) -> None:
    done = settings_with(tmp_path, "print(s.DATABASES['default']['NAME'])", **PRODUCTION, DATABASE_URL=url)
    assert done.stdout.strip() == "monitor", done.stderr


def test_the_app_is_given_what_the_environment_says(tmp_path: Path) -> None:
    given = {"PING_URL": "https://switch.example.org/ping/ID", "METRICS_TOKEN": "t" * 16}
    done = settings_with(tmp_path, "print(s.MONITORING)", **PRODUCTION, **given)
    assert given.items() <= ast.literal_eval(done.stdout).items(), done.stderr


def test_every_variable_and_every_key_of_the_app_is_in_the_docs() -> None:
    """REDIS_URL stands beside HUEY_URL, which it is the default of."""
    read = re.findall(
        r"\benv\.(?!read_env|add_parser|seal)\w+\(\s*\"(\w+)\"", (TOP / "project" / "settings.py").read_text()
    )
    variables, keys = (TOP / "docs" / "settings.md").read_text(encoding="utf-8").split("\n## MONITORING\n")
    assert len(read) > 15
    assert {name for name in read if f"`{name}`" not in variables} == set()
    assert {field.name for field in fields(Conf) if f"`{field.name}`" not in keys} == set()


def test_herokus_redis_is_taken_where_no_queue_is_named(tmp_path: Path) -> None:
    heroku = {"REDIS_URL": "rediss://:secret@redis.example.org:6380", "REDIS_SELF_SIGNED": "1"}
    done = settings_with(tmp_path, "print(s.HUEY['url'])", **PRODUCTION, **heroku)
    assert done.stdout.strip() == "rediss://:secret@redis.example.org:6380?ssl_cert_reqs=none", done.stderr


def test_a_command_says_the_problems_alone_and_ends_as_one_that_could_not_tell(tmp_path: Path) -> None:
    environment = {"VAR_DIR": str(tmp_path), "DEBUG": "0", "SECRET_KEY": "x", "EMAIL_URL": "pigeon:"}
    command = [sys.executable, "manage.py", "check_task_status", "--config=-"]
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("These environment variables are missing or wrong:\n")
    assert "Traceback" not in done.stderr


def test_sqlite_takes_its_write_lock_at_the_start_of_a_transaction(tmp_path: Path) -> None:
    code = "print(s.DATABASES['default']['OPTIONS']['transaction_mode'])"
    assert settings_with(tmp_path, code, DEBUG="1", SECRET_KEY="x").stdout.strip() == "IMMEDIATE"


@pytest.mark.parametrize(("query", "options"), [("", "-c jit=off"), ("?options=-c%20jit%3Don", "-c jit=on")])
def test_postgresql_compiles_no_statement_unless_the_url_has_options(tmp_path: Path, query: str, options: str) -> None:
    url = f"postgres://user@localhost/name{query}"
    code = "print(s.DATABASES['default']['OPTIONS']['options'])"
    done = settings_with(tmp_path, code, **PRODUCTION, DATABASE_URL=url)
    assert done.stdout.strip() == options, done.stderr
