"""What people may set, call and meet is in the docs, and what the docs name is there."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.core.management.color import no_style
from django.utils import timezone

from monitoring.checking.advice import advice
from monitoring.checking.lately import lately
from monitoring.checking.lookup import all_monitors
from monitoring.checking.standing import Stands, standings
from monitoring.management import plugin
from monitoring.management.listing import as_table, counted
from monitoring.management.terminal import Terminal
from monitoring.models import Monitor, MonitorState
from monitoring.recording import job
from monitoring.tasks import monitor_task_status
from monitoring.values.facts import AlertKind
from project.demo.management.commands.demo import DAILY
from tests.factories import make_monitor, make_run
from tests.management.calling import call
from tests.pageshots import build

TOP = Path(__file__).resolve().parent.parent
PAGES = {
    str(path.relative_to(TOP)): path.read_text(encoding="utf-8")
    for folder in (TOP, TOP / "docs", TOP / "bench")
    for path in sorted(folder.glob("*.md"))
}
ALL = "\n".join(PAGES.values())
MAKEFILE = (TOP / "Makefile").read_text()
OPERATING = PAGES["docs/operating.md"]
SMTP = "django.core.mail.backends.smtp.EmailBackend"
COMMANDS = [name for name, app in get_commands().items() if app in ("monitoring", "project.demo")]


def sources(*folders: str) -> Iterator[str]:
    for folder in folders:
        for path in (TOP / folder).rglob("*.py"):
            yield path.read_text(encoding="utf-8")


def missing(names: set[str], text: str = ALL) -> set[str]:
    return {name for name in names if not re.search(rf"`{re.escape(name)}[`\s=]", text)}


def test_every_command_is_in_the_docs() -> None:
    assert len(COMMANDS) >= 7
    table = OPERATING.split("| way in |")[1].split("| option |")[0]
    assert {name for name in COMMANDS if f"| `manage.py {name}" not in table} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_in_the_docs(name: str) -> None:
    def options(command: BaseCommand) -> set[str]:
        parser = command.create_parser("manage.py", name)
        return {option for action in parser._actions for option in action.option_strings if option.startswith("--")}

    own = options(load_command_class(get_commands()[name], name)) - options(BaseCommand())
    assert missing(own, OPERATING) == set()


def test_every_kind_of_mail_is_in_the_docs() -> None:
    (kinds,) = re.findall(r"^\| `--kind KIND` .*$", OPERATING, re.MULTILINE)
    assert missing({*AlertKind.values, "digest"}, kinds) == set()
    assert missing(set(AlertKind.values), PAGES["docs/mails.md"].split("| `kind` |")[1].split("\n")[0]) == set()


def test_every_exit_code_is_in_the_docs() -> None:
    table = PAGES["docs/settings.md"].split("| exit code |")[1]
    for code in (plugin.OK, plugin.CRITICAL, plugin.UNKNOWN):
        assert f"\n| `{code}` |" in table
    assert missing({str(job.NOT_EXECUTABLE), str(job.NOT_FOUND)}, table) == set()


def test_every_system_check_is_in_the_docs() -> None:
    ids = {
        id for source in sources("monitoring", "project") for id in re.findall(r'id="(monitoring\.[EW]\d+)"', source)
    }
    assert len(ids) >= 9
    assert missing(ids, OPERATING) == set()


def test_every_permission_of_the_app_is_in_the_docs() -> None:
    for _, name in Monitor._meta.permissions:
        words = name.removeprefix("Can ").split(" and ")[0].replace(" now", "")
        assert words.split()[0] in PAGES["docs/admin.md"] or words in OPERATING, name


def test_every_make_target_that_is_named_is_there_and_helped_with() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)", ALL)) | set(re.findall(r"^\$ make ([a-z0-9-]+)", ALL, re.MULTILINE))
    assert named - targets == set()
    helped = set(re.findall(r"'make ([a-z0-9-]+) ", MAKEFILE))
    inner = {"help", "services", "test-django6-if-possible"}
    (phony,) = re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)
    assert helped == targets - inner == set(phony.split()) - inner


def test_the_readme_stays_short_and_shows_a_page_and_a_mail_in_both_looks() -> None:
    readme = PAGES["README.md"]
    assert len(readme.splitlines()) <= 130
    for picture in ("board", "mail"):
        assert f'src="docs/pages/{picture}-broken-light.png"' in readme
        assert f'srcset="docs/pages/{picture}-broken-dark.png"' in readme


@pytest.mark.parametrize("page", ["README.md", "docs/developing.md"])
def test_the_settings_to_copy_have_what_the_worker_the_database_and_mails_need(page: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(INSTALLED_APPS.*?)```", PAGES[page], re.DOTALL)
    given: dict[str, Any] = {"BASE_DIR": tmp_path, "DATABASES": {"default": {}}}
    exec(example, given)
    assert given["HUEY"]["immediate"] is False
    assert given["DATABASES"]["default"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert given.keys() >= {"EMAIL_TIMEOUT", "DEFAULT_FROM_EMAIL", "MONITORING"}


@pytest.mark.django_db
def test_the_terminal_in_the_readme_is_what_list_status_says() -> None:
    """Of the site that is in the pictures."""
    now = datetime(2026, 11, 24, 16, 42, tzinfo=UTC)
    build(now, broken=True)
    found = sorted(standings(all_monitors(), now), key=lambda each: each.stands is not Stands.FAILING)
    lines = [counted(found), "", *as_table(lately(found, now), (), now, Terminal(no_style(), None, is_unicode=True))]
    (shown,) = re.findall(r"\$ manage\.py list_status\n(.*?)```", PAGES["README.md"], re.DOTALL)
    assert shown.splitlines() == lines


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"(?:\]\(|src=\"|srcset=\")(?!https?:)([^)\"]+)[)\"]", PAGES[page]):
        path, _, place = target.partition("#")
        file = (TOP / page).parent / path if path else TOP / page
        assert file.exists(), target
        if place:
            headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in map(anchor, headings), target


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    named = re.findall(
        r"`((?:monitoring|project|tests|docs|bench)/[\w/]+\.(?:py|md|html|css))(?:::(\w+))?`", PAGES[page]
    )
    for path, test in named:
        assert (TOP / path).is_file(), path
        if test:
            assert f"def {test}(" in (TOP / path).read_text(), f"{path}::{test}"


def test_every_threat_has_its_test() -> None:
    threats = PAGES["docs/security.md"].split("## Threats")[1].split("## Left to others")[0]
    rows = [
        row for row in threats.splitlines() if row.startswith("| ") and not row.startswith(("| what |", "| where |"))
    ]
    assert len(rows) > 30
    for row in rows:
        assert re.search(r"`tests/[^`]+\.py(::\w+)?`|^.*\| the same \|$", row), row


def quoted() -> list[str]:
    """What operating.md says that the software says."""
    return [line.strip().removeprefix("> ") for line in OPERATING.splitlines() if line.strip().startswith("> ")]


@pytest.mark.django_db
def test_what_is_quoted_is_what_the_software_says(settings: Any, tmp_path: Path) -> None:
    """Each case of the troubleshooting, tried; times and what an operating system adds are cut from the quotes."""
    said = [call("check_task_status", "--self").said]
    config = tmp_path / "config.json"

    def check(given: str) -> None:
        config.write_text(given)
        called = call("check_task_status", "--config", str(config), "--dry-run")
        said.extend([called.out, called.said, f"Error: {called.said}"])

    monitor = make_monitor("hourly_data_sync", task_name="hourly_data_sync", notify_to=[], lookback_hours=1)
    said.append(call("list_status").out)
    said += [str(warning.msg) for warning in run_checks(databases=["default"])]
    check('{"hourly_data_sync": {"expected_statuses": ["Completed"]}}')
    check('{"hourly_data_sync": {"expected_statuses": ["Complete"]}}')
    said.append(call("check_task_status", "--monitor", "hourly_data_syn").said)
    said += advice(
        Monitor(task_name="hourly_data_synk", schedule="@hourly"), timezone.now(), ["hourly_data_sync"], ["a"]
    )
    make_run("export", "Queued", started_at=None, submitted_at=timezone.now() - timedelta(minutes=30))
    check('{"export": {"expected_statuses": ["Completed"], "notify_to": ["ops@example.com"]}}')
    Monitor.objects.update(notify_to=["ops@example.com"])
    said.append(_where_no_mail_server_listens(settings))
    make_run("hourly_data_sync", "Stopped", started_at=timezone.now() - timedelta(minutes=20))
    MonitorState.objects.filter(monitor=monitor).update(snoozed_until=timezone.now() + timedelta(hours=1))
    said.append(call("check_task_status", "--monitor", "hourly_data_sync", "--dry-run").out)
    told = [" ".join(each.split()) for each in said]
    for quote in quoted():
        assert any(" ".join(quote.split()) in each for each in told), quote


def _where_no_mail_server_listens(settings: Any) -> str:
    if hasattr(settings, "MAILERS"):
        backend = {
            "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
            "OPTIONS": {"host": "127.0.0.1", "port": 9},
        }
        settings.MAILERS = {"default": backend}
    else:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    return call("check_task_status", "--monitor", "hourly_data_sync").out


@pytest.mark.django_db
def test_the_first_monitor_in_the_docs_is_of_a_task_of_the_demo_and_nothing_about_it_is_odd() -> None:
    table = PAGES["docs/admin.md"].split("| field | enter | why |")[1].split("\n\n")[0]
    given = dict(re.findall(r"^\| ([\w ]+) \| `?([^`|]+)`? \|", table, re.MULTILINE))
    assert given["Task"] in DAILY
    make_run(given["Task"])
    monitor = Monitor(
        name=given["Name"],
        task_name=given["Task"],
        expected_statuses=[given["Expected statuses"]],
        lookback_hours=float(given["Lookback hours"]),
        schedule=given["Schedule"],
        time_zone=given["Time zone"],
        notify_to=["ops@example.com"],
    )
    monitor.full_clean()
    assert advice(monitor, timezone.now(), [], []) == []


@pytest.mark.django_db
def test_the_seeds_test_in_a_shell_returns_what_the_docs_say() -> None:
    User.objects.create_superuser("boss", "boss@example.com")
    verdicts = monitor_task_status.call_local({"test_task": {"expected_statuses": ["Completed"], "lookback_hours": 24}})
    assert f"\n{verdicts!r}\n" in OPERATING


@pytest.mark.django_db
def test_a_monitor_is_made_from_code_as_the_docs_say() -> None:
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", PAGES["docs/developing.md"], re.DOTALL)
        if "Monitor(" in block
    )
    exec(example, {})
    assert MonitorState.objects.filter(monitor__name="Daily report").exists()
