import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.core.validators import validate_email

from monitoring.alerting.envelope import message_to
from monitoring.alerting.mail import Mail, render, render_digest
from monitoring.alerting.samples import renamed, sample_evidence, sample_facts
from monitoring.alerting.trial import PARTLY, PREFIX, SAMPLE, send_trial
from monitoring.checking.lookup import monitors_named
from monitoring.management.plugin import CouldNotTell, PluginCommand, as_json, named
from monitoring.models import Monitor, database_now
from monitoring.telling import Preview, preview
from monitoring.tick import judge_monitors
from monitoring.values.facts import AlertKind, facts_of
from monitoring.values.text import one_line, plain_lines, said

logger = logging.getLogger("monitoring")

DIGEST = "digest"
KINDS = [*AlertKind.values, DIGEST]
NOBODY = "nobody@example.com"  # the addressee of a preview that is not sent


class Command(PluginCommand):
    help = (
        "Renders alert mails with the templates of this project, from sample data or for a monitor, and prints them, "
        "writes them to files or sends them to one address, marked as a test. It stores nothing and notifies nobody "
        "else."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--monitor",
            metavar="NAME",
            action="append",  # so that a second one is refused, not taken for the first
            default=[],
            help="use this monitor's settings and, if it is failing, what a check would find now",
        )
        parser.add_argument("--kind", choices=KINDS, help="which mail; default: all kinds")
        parser.add_argument("--format", choices=["text", "html", "eml", "json"], default="text")
        parser.add_argument("--out", metavar="DIR", type=Path, help="write one file per mail into this folder")
        parser.add_argument("--to", metavar="ADDRESS", help="send the mails to this address")

    def handle(self, **options: Any) -> None:
        is_sent = options["to"] is not None
        if is_sent and options["out"]:
            raise CouldNotTell("--to and --out exclude each other")
        names, now = named(options), database_now()
        if len(names) > 1:
            raise CouldNotTell(f"--monitor takes one monitor, not {len(names)}: preview each by itself")
        kinds = [options["kind"]] if options["kind"] else KINDS
        previews = self._of_monitor(names[0], now) if names else _samples(now)
        notice = SAMPLE if is_sent else ""
        with _told_briefly() as problems:
            mails = {kind: _render(kind, previews, notice) for kind in kinds}
        for problem in dict.fromkeys(problems):
            self.stderr.write(problem, str)
        if is_sent:
            self._send(mails, options["to"])
        elif options["out"]:
            self._write(mails, options["format"], options["out"])
        elif options["format"] == "json":
            self.print_json({kind: asdict(mail) for kind, mail in mails.items()})
        elif options["format"] == "text" or len(mails) == 1:
            shown = "\n\n".join(_formatted(mail, options["format"]) for mail in mails.values())
            self.stdout.write(plain_lines(shown))  # a project's own template may print what it likes
        else:
            raise CouldNotTell(
                f"--format {options['format']} prints one mail: choose its --kind, or a folder with --out"
            )

    def _of_monitor(self, name: str, now: datetime) -> dict[AlertKind, Preview]:
        monitor = _the_monitor(name)
        (judged,) = judge_monitors([monitor], now).judged
        outcome = judged.outcome
        kind = facts_of(outcome).kind.value
        real = "all kinds are" if outcome.is_as_expected else f"only {kind!r} shows real data; the other kinds are"
        self.stderr.write(f"{one_line(monitor.name)}, checked now: {outcome.verdict}; {real} samples", str)
        return {kind: preview(monitor, outcome, now, kind) for kind in AlertKind}

    def _send(self, mails: dict[str, Mail], address: str) -> None:
        try:
            validate_email(address)
        except ValidationError:
            raise CouldNotTell(f"--to: {address!r} is not an e-mail address") from None
        for mail in mails.values():
            try:
                send_trial(mail, address)
            except Exception as error:
                raise CouldNotTell(f"{mail.subject!r} could not be sent to {address}: {said(error)}") from error
            self.stdout.write(one_line(f"Sent to {address}: {PREFIX}{mail.subject}"))

    def _write(self, mails: dict[str, Mail], format: str, folder: Path) -> None:
        suffix = {"text": "txt"}.get(format, format)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for kind, mail in mails.items():
                path = folder / f"{kind}.{suffix}"
                path.write_text(_formatted(mail, format), encoding="utf-8")
                self.stdout.write(str(path))
        except FileExistsError:
            raise CouldNotTell(f"--out {folder} is a file, not a folder") from None
        except OSError as error:
            raise CouldNotTell(f"--out {folder}: {error.strerror}") from None


@contextlib.contextmanager
def _told_briefly() -> Iterator[list[str]]:
    """What is logged meanwhile of templates that cannot be rendered, as lines: the traceback is of Django's engine."""
    problems: list[str] = []

    def take(record: logging.LogRecord) -> bool:
        error = record.exc_info and record.exc_info[1]
        if not error:
            return True
        problems.append(one_line(f"{record.getMessage()}: {type(error).__name__}: {said(error)}"))
        return False

    logger.addFilter(take)
    try:
        yield problems
    finally:
        logger.removeFilter(take)


def _samples(now: datetime) -> dict[AlertKind, Preview]:
    facts = [sample_facts(kind, now) for kind in AlertKind]
    return {each.kind: Preview(each, sample_evidence(each)) for each in facts}


def _the_monitor(name: str) -> Monitor:
    found = monitors_named([name])
    if len(found) > 1:
        names = ", ".join(repr(monitor.name) for monitor in found)
        raise CouldNotTell(f"Several monitors watch the task {name!r}; name one: {names}")
    return found[0]


def _render(kind: str, previews: dict[AlertKind, Preview], notice: str) -> Mail:
    """The notice stands where samples are shown; of a monitor that fails, one kind is none."""
    if kind == DIGEST:
        return _render_digest([*previews.values()], notice)
    shown = previews[AlertKind(kind)]
    return render(shown.facts, shown.evidence, notice if shown.is_sample else "")


def _render_digest(shown: list[Preview], notice: str) -> Mail:
    real = next((each for each in shown if not each.is_sample), None)
    kept = real or shown[0]
    name = kept.facts.task_name
    alerts = [each.facts if each is kept else renamed(each.facts, name) for each in shown]
    if notice and real:
        notice = PARTLY.format(one_line(name))
    return render_digest(alerts, [each.evidence for each in shown], notice)


def _formatted(mail: Mail, format: str) -> str:
    match format:
        case "html":
            return mail.html
        case "eml":
            return message_to(NOBODY, mail).message().as_string()
        case "json":
            return as_json(asdict(mail))
    return f"Subject: {mail.subject}\n\n{mail.text}"
