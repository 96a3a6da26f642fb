from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from monitoring.alerting.outbox import Dispatched
from monitoring.alerting.words import written_hours
from monitoring.backtest import Trial, trial_of
from monitoring.checking.advice import no_run_of
from monitoring.checking.health import problems
from monitoring.checking.lookup import all_monitors, enabled_monitors, monitors_named
from monitoring.checking.standing import Standing, Stands, standings
from monitoring.checking.suggestions import known_names
from monitoring.management.backtesting import (
    add_back_test_options,
    refuse_nonsense,
    report_back_test,
    trials_of_config,
)
from monitoring.management.plugin import (
    CouldNotTell,
    NobodyToTell,
    NotAsExpected,
    PluginCommand,
    add_monitor_option,
    columns,
    named,
    read_config,
    run_as_json,
    written,
)
from monitoring.models import Monitor, database_now
from monitoring.tasks import recorded_names, unrecorded_names
from monitoring.telling import tell
from monitoring.tick import Judged, Round, check_config, check_monitors, judge_config, judge_monitors
from monitoring.values.outcome import Verdict
from monitoring.values.text import one_line, storable_name


class Command(PluginCommand):
    help = (
        "Checks now whether tasks ran as expected, and sends mails if they did not. It checks all enabled monitors, "
        "those that are named, or the tasks of a configuration; their schedules stay as they are. "
        "Exits with 0 (all as expected), 2 (at least one is not) or 3 (could not tell). "
        "With --since it writes and sends nothing, but lists the mails that the checks since then would have sent, "
        "and exits with 0 (no alerts), 2 (at least one) or 3 (could not tell)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        add_monitor_option(what, "only this monitor, or all monitors of the task of that name, even if disabled")
        what.add_argument(
            "--config", metavar="FILE", help="only the tasks of this JSON configuration; - reads standard input"
        )
        what.add_argument(
            "--self", action="store_true", dest="itself", help="only whether the monitor itself works, and no task"
        )
        add_back_test_options(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="only show what would be found; write and send nothing"
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, **options: Any) -> None:
        _refuse_several(options)
        refuse_nonsense(options)
        now = database_now()
        if options["itself"]:
            self._check_itself(now, options["format"])
        elif options["since"] is not None:
            report_back_test(self, _trials(options), options["since"], now, options["format"])
        elif options["config"] is not None:
            expectations = read_config(options["config"], "--config")
            found = judge_config(expectations, now) if options["dry_run"] else check_config(expectations, now)
            self._report(found, [], now, **options)
        else:
            monitors = _monitors(named(options))
            found = judge_monitors(monitors, now) if options["dry_run"] else check_monitors(monitors, now)
            self._report(found, standings(monitors, now), now, **options)

    def _report(self, found: Round, standing: list[Standing], now: datetime, **options: Any) -> None:
        mails = Dispatched((), ()) if options["dry_run"] else tell(now)
        if options["format"] == "json":
            self.print_json(_as_json(found, mails))
        else:
            zones = {each.monitor.name: each.monitor.time_zone for each in standing}
            self._print(found, mails, zones, options["dry_run"])
            self._print_notes(standing, now)
        if found.nobody_to_tell:
            raise NobodyToTell(found.nobody_to_tell)
        if found.failing:
            raise NotAsExpected(_count(found))

    def _check_itself(self, now: datetime, format: str) -> None:
        found = problems(now)
        if format == "json":
            problem = [{"code": each.code, "text": each.text, "names": list(each.names)} for each in found]
            self.print_json({"schema": 2, "as_expected": not found, "problems": problem})
        elif not found:
            self.stdout.write(
                self.style.SUCCESS("MONITORING OK - the worker is running, no monitor is overdue, no mail is stuck")
            )
        else:
            counted = "1 problem" if len(found) == 1 else f"{len(found)} problems"
            self.stdout.write(self.style.ERROR(f"MONITORING CRITICAL - {counted}"))
            self.stdout.write("")
            for each in found:
                self.stdout.write(one_line(str(each)))
        if found:
            raise NotAsExpected("; ".join(map(str, found)))

    def _print(self, found: Round, mails: Dispatched, zones: Mapping[str, str], dry_run: bool) -> None:
        style = self.style.ERROR if found.failing else self.style.SUCCESS
        self.stdout.write(style(f"TASKS {'CRITICAL' if found.failing else 'OK'} - {_count(found)}"))
        self.stdout.write("")
        header = ("NAME", "VERDICT", "STATUS", "EXPECTED", "LAST", "STARTED", "WOULD NOTIFY" if dry_run else "NOTIFIES")
        rows = [header, *(_row(judged, zones.get(judged.name, "")) for judged in found.judged)]
        for cells, judged in zip(columns(rows), (None, *found.judged), strict=True):
            if judged is not None:
                cells[1] = (self.style.SUCCESS if judged.outcome.is_as_expected else self.style.ERROR)(cells[1])
            self.stdout.write("  ".join(cells).rstrip())
        never_recorded = _never_recorded(found)
        for judged in found.judged:
            if said := _why(judged, zones.get(judged.name, "")) or never_recorded.get(_task_name(judged)):
                self.stdout.write(f"\n{one_line(judged.name)}: {said}")
        if mails.sent or mails.failed:
            self.stdout.write("")
        for message in mails.sent:
            self.stdout.write(one_line(f"Sent to {message.address}: {message.subject}"))
        for message in mails.failed:
            next_try = "given up" if message.gave_up_at else "to be tried again"
            said = f"Not sent to {message.address}, {next_try}: {message.subject} ({message.error})"
            self.stdout.write(self.style.WARNING(one_line(said)))

    def _print_notes(self, standing: list[Standing], now: datetime) -> None:
        notes = [note for each in standing if (note := _note(each, now))]
        if notes:
            self.stdout.write("")
        for note in notes:
            self.stdout.write(note)


def _why(judged: Judged, time_zone: str) -> str:
    """What the columns do not say: why it could not be checked, or that a run was submitted and has not started."""
    waiting = judged.outcome.waiting
    if judged.outcome.reason or judged.outcome.run or not waiting:
        return one_line(judged.outcome.reason)
    return f"a run that never started is {waiting.status}, submitted {written(waiting.submitted_at, time_zone)}"


def _never_recorded(found: Round) -> dict[str, str]:
    """For each task that was not executed and of which no run is known: that, and what name may have been meant."""
    names = {_task_name(judged) for judged in found.judged if judged.outcome.verdict is Verdict.NOT_EXECUTED}
    if not names:
        return {}
    ran, registered, unrecorded = known_names(), recorded_names(), unrecorded_names()
    unknown = names - (set(ran) - unrecorded)
    return {name: one_line(no_run_of(name, registered, ran, unrecorded)) for name in unknown}


def _task_name(judged: Judged) -> str:
    return storable_name(judged.outcome.check.expectation.task_name)


def _refuse_several(options: dict[str, Any]) -> None:
    """Refuses what the parser does, also through `call_command`."""
    if sum(map(bool, (options["monitor"], options["config"] is not None, options["itself"]))) > 1:
        raise CouldNotTell("--monitor, --config and --self exclude each other")


def _monitors(names: list[str]) -> list[Monitor]:
    if names:
        return monitors_named(names)
    if enabled := enabled_monitors():
        return enabled
    if disabled := len(all_monitors()):
        raise CouldNotTell(f"No monitor is enabled ({disabled} disabled); enable some, or name one with --monitor")
    raise CouldNotTell(
        "There are no monitors; add one in the admin, import some with "
        "`manage.py import_monitors FILE --schedule '35 8 * * *'`, or check a configuration with --config FILE"
    )


def _trials(options: dict[str, Any]) -> list[Trial]:
    if options["config"] is not None:
        return trials_of_config(options["config"], options["schedule"])
    return [trial_of(monitor) for monitor in _monitors(named(options))]


def _note(standing: Standing, now: datetime) -> str:
    name, until = one_line(standing.monitor.name), standing.state.snoozed_at(now)
    notes = []
    if standing.stands is Stands.DISABLED:
        notes.append("is disabled: it is checked only by hand")
    if until:
        notes.append(
            f"is snoozed until {written(until, standing.monitor.time_zone)}: until then nobody is told that it fails"
        )
    return f"{name} {' and '.join(notes)}" if notes else ""


def _count(found: Round) -> str:
    times = Counter(judged.outcome.verdict for judged in found.judged)
    return ", ".join(f"{times[verdict]} {verdict.value}" for verdict in reversed(Verdict) if times[verdict])


def _row(judged: Judged, time_zone: str) -> tuple[str, ...]:
    outcome = judged.outcome
    expectation, run = outcome.check.expectation, outcome.run
    return (
        judged.name,
        outcome.verdict.value,
        run.status if run else "-",
        ", ".join(expectation.expected_statuses),
        f"{written_hours(expectation.lookback_hours)} h",
        written(run.started_at if run else None, time_zone),
        _told(judged),
    )


def _told(judged: Judged) -> str:
    """Whom it tells or, if a failing monitor tells nobody, why."""
    if said := judged.announcement:
        return ", ".join(said.recipients) or "nobody"
    return f"- ({judged.decision.value})" if judged.decision and not judged.outcome.is_as_expected else "-"


def _as_json(found: Round, mails: Dispatched) -> dict[str, Any]:
    """The report for programs; `schema` goes up when a key changes its meaning. Times are ISO 8601 with an offset."""
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
        "run": run_as_json(run),
        "waiting_run": run_as_json(outcome.waiting),
        "tells": list(said.recipients) if said else [],
        "decision": judged.decision.value if judged.decision else None,
    }
