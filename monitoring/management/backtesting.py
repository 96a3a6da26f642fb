"""The command's back-test: which monitors, or tasks of a configuration, would have alerted, as text or JSON."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser

from monitoring.backtest import KINDS, LEFT_OUT, BackTest, Said, Trial, back_test, trials_of
from monitoring.management.plugin import (
    CouldNotTell,
    NotAsExpected,
    PluginCommand,
    Reported,
    iso,
    read_config,
    run_as_json,
    written,
)
from monitoring.models.monitor import default_time_zone
from monitoring.values.schedule import InvalidSchedule, parse_schedule
from monitoring.values.text import one_line, written_span

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LONGEST = timedelta(days=366)  # 527,040 checks of a monitor that is due every minute
MAILS_SHOWN = 20  # the last ones of each


class NotTried(CouldNotTell, Reported):
    """Some could not be tried."""


def add_back_test_options(parser: CommandParser) -> None:
    parser.add_argument(
        "--since",
        metavar="AGO",
        help="such as 30d or 12h: check nothing now, but list the mails that checks since then would have sent",
    )
    parser.add_argument(
        "--schedule",
        metavar="S",
        help="with --config and --since: when its tasks would have been checked, such as '0 * * * *'",
    )


def refuse_nonsense(options: dict[str, Any]) -> None:
    config, since, schedule = (options[name] is not None for name in ("config", "since", "schedule"))
    if since and options["itself"]:
        raise CouldNotTell("--self checks whether the monitor works now: it takes no --since")
    if schedule and not config:
        raise CouldNotTell("--schedule needs --config: monitors have schedules of their own")
    if schedule and not since:
        raise CouldNotTell("--schedule needs --since: without it the configuration is checked once, now")
    if config and since and not schedule:
        raise CouldNotTell("--config with --since needs --schedule: when its tasks would have been checked")


def trials_of_config(path: str, schedule: str) -> list[Trial]:
    try:
        return trials_of(read_config(path, "--config"), parse_schedule(schedule, default_time_zone()))
    except InvalidSchedule as error:
        raise CouldNotTell(f"Nothing was tried: {error}") from None


def report_back_test(command: PluginCommand, trials: Sequence[Trial], ago: str, now: datetime, format: str) -> None:
    """Ends with 0 if nothing would have alerted, 2 if something would have, else 3 if that is unknown for some."""
    since = now - _span(ago)
    found = list(_shown(command, back_test(trials, since, now), len(trials)))
    alerting = [each for each in found if each.alerts]
    untold = [each for each in found if each.problem]
    said = _count(found, alerting, untold)
    if format == "json":
        command.print_json(_as_json(found, since, now))
    else:
        _print(command, found, "CRITICAL" if alerting else "UNKNOWN" if untold else "OK", said)
    if alerting:
        raise NotAsExpected(said)
    if untold:
        raise NotTried("\n".join(f"{one_line(each.trial.name)}: {each.problem}" for each in untold))


def _shown(command: PluginCommand, found: Iterator[BackTest], total: int) -> Iterator[BackTest]:
    """Yields the same; a terminal shows how many are done."""
    is_shown = command.stdout.isatty() and total > 1
    for number, each in enumerate(found, 1):
        if is_shown:
            command.stdout.write(f"\rTried {number:,} of {total:,}", ending="\x1b[K")
            command.stdout.flush()
        yield each
    if is_shown:
        command.stdout.write("\r", ending="\x1b[K")


def _count(found: Sequence[BackTest], alerting: Sequence[BackTest], untold: Sequence[BackTest]) -> str:
    counted = [f"{len(alerting):,} of {len(found):,} would have alerted"]
    return ", ".join(counted + ([f"{len(untold):,} could not be tried"] if untold else []))


def _print(command: PluginCommand, found: Sequence[BackTest], word: str, counted: str) -> None:
    style = {"CRITICAL": command.style.ERROR, "UNKNOWN": command.style.WARNING, "OK": command.style.SUCCESS}[word]
    write = command.stdout.write
    write(style(f"BACK-TEST {word} - {counted}"))
    write("")
    command.print_table([("NAME", "CHECKS", "ALERTS", "RECOVERIES", "FAILED FOR", "SINCE"), *map(_row, found)])
    for each in found:
        write("")
        said = f": {each.problem}" if each.problem else f" {each.words}"
        write(f"{one_line(each.trial.name)}{said}")
        if (earlier := len(each.said) - MAILS_SHOWN) > 0:
            mails = "mail is" if earlier == 1 else "mails are"
            write(f"  {earlier:,} earlier {mails} left out: --format json lists all")
        command.print_table([_mail(mail, _zone_of(each)) for mail in each.said[-MAILS_SHOWN:]])
        if each.shortness:
            write(f"  {each.shortness}")
    write("")
    write(LEFT_OUT)


def _row(found: BackTest) -> tuple[str, ...]:
    failed = sum(((each.until or found.until) - each.since for each in found.failing), timedelta())
    counts = ("-", "-", "-") if found.problem else (f"{found.checks:,}", f"{found.alerts:,}", f"{found.recoveries:,}")
    since = "-" if found.problem else written(found.since, _zone_of(found))
    return one_line(found.trial.name), *counts, written_span(failed) if failed else "-", since


def _zone_of(found: BackTest) -> str:
    return found.trial.schedule.zone if found.trial.schedule else ""


def _mail(said: Said, time_zone: str) -> tuple[str, ...]:
    return f"  {written(said.at, time_zone)}", KINDS[said.decision], said.words


def _as_json(found: Sequence[BackTest], since: datetime, now: datetime) -> dict[str, Any]:
    """The report for programs; `schema` goes up when a key changes its meaning. Times are ISO 8601 with an offset."""
    return {
        "schema": 1,
        "since": iso(since),
        "until": iso(now),
        "would_have_alerted": any(each.alerts for each in found),
        "back_tests": [_back_test_as_json(each) for each in found],
        "left_out": LEFT_OUT,
    }


def _back_test_as_json(found: BackTest) -> dict[str, Any]:
    trial = found.trial
    return {
        "name": trial.name,
        "task_name": trial.expectation.task_name,
        "schedule": trial.schedule.text if trial.schedule else None,
        "time_zone": trial.schedule.zone if trial.schedule else None,
        "problem": found.problem,
        "since": iso(found.since),
        "checks": found.checks,
        "alerts": found.alerts,
        "recoveries": found.recoveries,
        "mails": [
            {
                "at": iso(said.at),
                "decision": said.decision.value,
                "verdict": said.outcome.verdict.value,
                "run": run_as_json(said.outcome.run),
                "said": said.words,
            }
            for said in found.said
        ],
        "failing": [
            {"since": iso(each.since), "until": iso(each.until), "checks": each.checks} for each in found.failing
        ],
        "history": found.shortness,
    }


def _span(text: str) -> timedelta:
    """The span that `30d`, `12h`, `90m` or `2w` means."""
    said = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    span = int(said[1]) * UNITS[said[2]] if said else timedelta()
    if not timedelta() < span <= LONGEST:
        wanted = f"a number of minutes, hours, days or weeks up to {LONGEST.days} days, such as 30d or 12h"
        raise CouldNotTell(f"--since {text!r} is not {wanted}")
    return span
