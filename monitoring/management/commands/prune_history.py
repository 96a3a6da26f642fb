import argparse
from collections import Counter
from typing import Any

from django.core.management.base import CommandParser

from monitoring.conf import KEEP_DAYS_MAX, conf
from monitoring.management.plugin import PluginCommand
from monitoring.models import database_now
from monitoring.retention import count, delete, politely, prune

BAR = 30  # characters


class Command(PluginCommand):
    help = (
        "Deletes runs older than KEEP_RUNS_DAYS, and closed incidents, alerts, messages and outages of the monitor "
        "itself older than KEEP_INCIDENTS_DAYS. Of each task's old runs the newest success and failure are kept, and "
        "so are runs that are Running, that a monitor looks back on or that an incident cites. The worker does the "
        "same by itself, for ten seconds every ten minutes; this command goes on until all is done, and may be "
        "interrupted at any time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=_days, metavar="DAYS", help="delete runs older than this, instead of KEEP_RUNS_DAYS"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count; delete nothing")

    def handle(self, **options: Any) -> None:
        dry_run, days = options["dry_run"], options["older_than"]
        steps = prune(database_now(), days, count if dry_run else delete)
        removed: Counter[str] = Counter()
        shown = self.stdout.isatty()
        for step in steps if dry_run else politely(steps):
            removed[step.what] += step.removed
            if shown:
                filled = round(step.done * BAR)
                bar = "█" * filled + "░" * (BAR - filled)
                self._rewrite(f"{bar} {step.done:4.0%} of old {step.what}, {removed[step.what]:,}")
        if shown:
            self._rewrite("")
        did = "Would delete" if dry_run else "Deleted"
        for what, number in removed.items():
            self.stdout.write(f"{did} {number:,} {what}")
        if not removed:
            kept = conf().KEEP_RUNS_DAYS if days is None else days
            self.stdout.write(
                f"No run older than {kept} days is to be deleted" if kept else "All runs are kept for ever"
            )

    def _rewrite(self, line: str) -> None:
        """Rewrites the terminal's last line."""
        self.stdout.write(f"\r{line}", ending="\x1b[K")
        self.stdout.flush()


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= KEEP_DAYS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of days from 1 to {KEEP_DAYS_MAX}")
    return int(text)
