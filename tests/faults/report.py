"""What an experiment found, as a row of a table and lines under it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.tally import Tally

COLUMNS = ("experiment", "owed", "arrived", "mails", "duplicates", "lost", "out of order", "false alarms", "")


@dataclass
class Case:
    """`done` says what was done; a case that expects nothing that is not so passes."""

    done: str
    tally: Tally = field(default_factory=Tally)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "FAILED" if self.failures else "passed"

    def note(self, text: str) -> None:
        self.notes.append(text)

    def expect(self, is_so: bool, text: str) -> None:
        if not is_so:
            self.failures.append(text)

    def count(self, tally: Tally, duplicates: int = 0) -> None:
        """Expects what is expected everywhere, and at most so many duplicates."""
        self.tally = tally
        self.expect(tally.lost == 0, f"{tally.lost} of {tally.owed} alerts were lost")
        self.expect(tally.false_alarms == 0, f"{tally.false_alarms} alerts arrived that were not owed")
        self.expect(tally.out_of_order == 0, f"{tally.out_of_order} alerts arrived after a later one of their incident")
        self.expect(tally.duplicates <= duplicates, f"{tally.duplicates} mails came again, {duplicates} may")
        self.expect(tally.renamed == 0, f"{tally.renamed} of these under another Message-ID")
        self.expect(
            tally.misnamed == 0, f"{tally.misnamed} times a mail names what it does not carry, or does not name"
        )

    def cells(self) -> list[str]:
        found = self.tally
        numbers = (found.owed, found.arrived, found.mails, found.duplicates)
        faults = (found.lost, found.out_of_order, found.false_alarms)
        return [self.done, *map(str, numbers + faults), self.verdict]


def table(cases: Sequence[Case]) -> str:
    """Numbers to the right, and under each row what there is to say about it."""
    rows = [list(COLUMNS), *(case.cells() for case in cases)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [_line(rows[0], widths)]
    for case, row in zip(cases, rows[1:], strict=True):
        lines.append(_line(row, widths))
        lines += [f"  · {note}" for note in case.notes]
        lines += [f"  ✗ {failure}" for failure in case.failures]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, last = (
        cell.ljust(width) if column in (0, len(widths) - 1) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((first, *numbers, last)).rstrip()
