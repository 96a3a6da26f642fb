import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.core.validators import validate_email

from monitoring.alerting.mail import Mail, message_to, render, render_digest
from monitoring.alerting.samples import sample_facts
from monitoring.management.plugin import CouldNotTell, PluginCommand
from monitoring.models import database_now
from monitoring.values.facts import AlertKind

DIGEST = "digest"
KINDS = [*AlertKind.values, DIGEST]
NOBODY = "nobody@example.com"  # to whom a preview is addressed that goes nowhere


class Command(PluginCommand):
    help = (
        "Renders alert mails of sample data, as the templates of this project make them, to the terminal, into files "
        "or to one address. Stores and owes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--kind", choices=KINDS, help="which mail; default: each kind")
        parser.add_argument("--format", choices=["text", "html", "eml", "json"], default="text")
        parser.add_argument("--out", metavar="DIR", type=Path, help="write one file a mail into this folder")
        parser.add_argument("--to", metavar="ADDRESS", help="send the mails to this address")

    def handle(self, **options: Any) -> None:
        kinds = [options["kind"]] if options["kind"] else KINDS
        mails = {kind: self._render(kind) for kind in kinds}
        if options["to"]:
            self._send(mails, options["to"])
        elif options["out"]:
            self._write(mails, options["format"], options["out"])
        else:
            self.stdout.write("\n\n".join(_formatted(mail, options["format"]) for mail in mails.values()))

    def _render(self, kind: str) -> Mail:
        now = database_now()
        if kind == DIGEST:
            return render_digest([sample_facts(each, now) for each in AlertKind])
        return render(sample_facts(AlertKind(kind), now))

    def _send(self, mails: dict[str, Mail], address: str) -> None:
        try:
            validate_email(address)
        except ValidationError:
            raise CouldNotTell(f"--to: {address!r} is not an e-mail address") from None
        for mail in mails.values():
            try:
                message_to(address, mail).send()
            except Exception as error:
                raise CouldNotTell(f"{mail.subject!r} could not be sent to {address}: {error}") from error
            self.stdout.write(f"sent to {address}: {mail.subject}")

    def _write(self, mails: dict[str, Mail], format: str, folder: Path) -> None:
        suffix = {"text": "txt"}.get(format, format)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for kind, mail in mails.items():
                path = folder / f"{kind}.{suffix}"
                path.write_text(_formatted(mail, format), encoding="utf-8")
                self.stdout.write(str(path))
        except OSError as error:
            raise CouldNotTell(f"--out {folder}: {error.strerror}") from None


def _formatted(mail: Mail, format: str) -> str:
    match format:
        case "html":
            return mail.html
        case "eml":
            return message_to(NOBODY, mail).message().as_string()
        case "json":
            return json.dumps(asdict(mail), indent=2, ensure_ascii=False)
    return f"Subject: {mail.subject}\n\n{mail.text}"
