"""A project's own templates of the mails, broken in three ways."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.report import Case
from tests.faults.tally import part, tally
from tests.faults.world import A, B, World, make_due, owed, watch

BROKEN = {
    "have a syntax error": ("{% if %}", "TemplateSyntaxError"),
    "raise": ("{% load faults %}{% explode %}", "the template exploded"),
    "ask a table that is missing": ("{% load faults %}{% count_what_is_missing %}", "table_that_was_dropped"),
}


def broken_templates(world: World) -> Iterator[Case]:
    """The project's own templates have a syntax error, raise, or ask a missing table: the alert arrives and says so."""
    for how, (text, words) in BROKEN.items():
        world.reset()
        case = Case(f"project's templates {how}")
        alone, together = watch(1, [A]), watch(12, [B], first=1)
        make_due()
        with tempfile.TemporaryDirectory() as folder:
            _override(Path(folder), text)
            with world.consumer(FAULT_TEMPLATES=folder):
                world.work()
        case.count(tally(owed(alone, [A]) | owed(together, [B]), world.mail.received))
        for (address,), mail in world.mail.received:
            for subtype, suffix in (("plain", ".txt"), ("html", ".html")):
                said = part(mail, subtype)
                case.expect(words in said and suffix in said, f"the {subtype} part to {address} does not say so")
        yield case


def _override(folder: Path, text: str) -> None:
    emails = folder / "emails"
    emails.mkdir()
    for name in ("task_status_alert", "task_status_digest"):
        for suffix in (".txt", ".html"):
            emails.joinpath(name + suffix).write_text(text)
