import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from monitoring.alerting.mail import written_hours, written_time
from monitoring.alerting.outbox import Dispatched, dispatch
from monitoring.management.plugin import CouldNotTell, NobodyToTell, NotAsExpected, PluginCommand, columns
from monitoring.models import database_now
from monitoring.tick import Judged, Round, check_config, judge_config
from monitoring.values.expectation import Expectation, parse_json
from monitoring.values.outcome import RunFacts, Verdict
from monitoring.values.text import one_line


class Command(PluginCommand):
    help = (
        "Checks now whether tasks ran as expected, and tells people by mail when they did not. "
        "Ends with 0 (all as expected), 2 (at least one is not) or 3 (could not tell)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--config", required=True, metavar="FILE", help="the JSON configuration to check; - reads standard input"
        )
        parser.add_argument("--dry-run", action="store_true", help="write and send nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, **options: Any) -> None:
        expectations = _read(options["config"])
        now = database_now()
        if options["dry_run"]:
            found, mails = judge_config(expectations, now), Dispatched((), ())
        else:
            found, mails = check_config(expectations, now), dispatch(now)
        if options["format"] == "json":
            self.stdout.write(json.dumps(_as_json(found, mails), indent=2, ensure_ascii=False))
        else:
            self._print(found, mails, options["dry_run"])
        if found.nobody_to_tell:
            raise NobodyToTell(found.nobody_to_tell)
        if found.failing:
            raise NotAsExpected(_count(found))

    def _print(self, found: Round, mails: Dispatched, dry_run: bool) -> None:
        style = self.style.ERROR if found.failing else self.style.SUCCESS
        self.stdout.write(style(f"TASKS {'CRITICAL' if found.failing else 'OK'} - {_count(found)}"))
        self.stdout.write("")
        header = ("NAME", "VERDICT", "STATUS", "EXPECTED", "LAST", "STARTED", "WOULD TELL" if dry_run else "TELLS")
        rows = [header, *map(_row, found.judged)]
        for cells, judged in zip(columns(rows), (None, *found.judged), strict=True):
            if judged is not None:
                cells[1] = (self.style.SUCCESS if judged.outcome.is_as_expected else self.style.ERROR)(cells[1])
            self.stdout.write("  ".join(cells).rstrip())
        if mails.sent or mails.failed:
            self.stdout.write("")
        for message in mails.sent:
            self.stdout.write(f"Sent to {message.address}: {message.subject}")
        for message in mails.failed:
            next_try = "given up" if message.gave_up_at else "to be tried again"
            said = f"Not sent to {message.address}, {next_try}: {message.subject} ({message.error})"
            self.stdout.write(self.style.WARNING(said))


def _read(path: str) -> tuple[Expectation, ...]:
    if path == "-":
        return parse_json(sys.stdin.buffer.read())
    try:
        return parse_json(Path(path).read_bytes())
    except OSError as error:
        raise CouldNotTell(f"{path}: {error.strerror}; --config takes a JSON file, or - for standard input") from None


def _count(found: Round) -> str:
    times = Counter(judged.outcome.verdict for judged in found.judged)
    return ", ".join(f"{times[verdict]} {verdict.value}" for verdict in reversed(Verdict) if times[verdict])


def _row(judged: Judged) -> tuple[str, ...]:
    outcome, said = judged.outcome, judged.announcement
    expectation, run = outcome.check.expectation, outcome.run
    return (
        one_line(judged.name),
        outcome.verdict.value,
        run.status if run else "-",
        ", ".join(expectation.expected_statuses),
        f"{written_hours(expectation.lookback_hours)} h",
        written_time(run.started_at, timezone.get_default_timezone()) if run and run.started_at else "-",
        (", ".join(said.recipients) or "nobody") if said else "-",
    )


def _as_json(found: Round, mails: Dispatched) -> dict[str, Any]:
    """The same for programs; `schema` grows when a key changes its meaning. Times are ISO 8601 with their zone."""
    return {
        "schema": 1,
        "as_expected": not found.failing,
        "checks": [_check_as_json(judged) for judged in found.judged],
        "mails": [
            {"address": message.address, "subject": message.subject, "sent": message in mails.sent}
            for message in (*mails.sent, *mails.failed)
        ],
    }


def _check_as_json(judged: Judged) -> dict[str, Any]:
    outcome, said = judged.outcome, judged.announcement
    expectation, run = outcome.check.expectation, outcome.run
    return {
        "name": judged.name,
        "task_name": expectation.task_name,
        "verdict": outcome.verdict.value,
        "reason": outcome.reason,
        "expected_statuses": list(expectation.expected_statuses),
        "lookback_hours": expectation.lookback_hours,
        "context_model": expectation.context_model,
        "context_type": expectation.context_type,
        "checked_at": outcome.check.at.isoformat(),
        "run": run and _run_as_json(run),
        "waiting_run": outcome.waiting and _run_as_json(outcome.waiting),
        "tells": list(said.recipients) if said else [],
    }


def _run_as_json(run: RunFacts) -> dict[str, Any]:
    times = {"submitted_at": run.submitted_at, "started_at": run.started_at, "finished_at": run.finished_at}
    return {"task_id": run.task_id, "status": run.status} | {
        name: time and time.isoformat() for name, time in times.items()
    }
