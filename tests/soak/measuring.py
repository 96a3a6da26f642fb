"""What may not grow, how it is measured, and whether it has grown."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

GROWTH_MAX = 0.05  # of memory, as a share
# Rows that tasks and incidents bring, and pruning takes away: by how much more of them there may be at the end.
COMES_AND_GOES = {
    f"monitoring_{name}" for name in ("backgroundtask", "incident", "alert", "delivery", "message", "outage")
}
SWING = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """At a time, in seconds: megabytes of memory by kind of process, open things, rows by table."""

    at: float
    memory: Mapping[str, float]
    opened: Mapping[str, int]
    rows: Mapping[str, int]


@dataclass
class Verdict:
    lines: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)

    def note(self, name: str, first: float, last: float, allowed: float) -> None:
        share = f"{(last - first) / first:+7.1%}" if first else ""
        has_grown = last > allowed
        self.lines.append(f"{name:40} {first:12,.1f} {last:12,.1f} {share:>8}  {'GREW' if has_grown else ''}".rstrip())
        if has_grown:
            self.grown.append(name)


def judge(samples: Sequence[Sample]) -> Verdict:
    """What follows a warm-up, a third of all, against as much at the end: medians of memory, the most rows that were.

    Of what is open the least: a mail's connection is open for a moment and counts or not, but what leaks stays open.
    """
    third = len(samples) // 3
    first, last = samples[third : third + third // 2 + 1], samples[-(third // 2 + 1) :]
    verdict = Verdict()
    for name in first[0].memory:
        before, after = (statistics.median(sample.memory[name] for sample in part) for part in (first, last))
        verdict.note(f"memory of {name}, MB", before, after, before * (1 + GROWTH_MAX))
    for name in first[0].opened:
        before, after = (min(sample.opened[name] for sample in part) for part in (first, last))
        verdict.note(name, before, after, before)
    for name in first[0].rows:
        before, after = (max(sample.rows[name] for sample in part) for part in (first, last))
        verdict.note(f"rows of {name}", before, after, before * (1 + SWING) if name in COMES_AND_GOES else before)
    return verdict


def course(samples: Sequence[Sample], name: str) -> str:
    """The memory of a kind of process in ten parts of the time."""
    size = max(1, len(samples) // 10)
    parts = [samples[start : start + size] for start in range(0, len(samples), size)]
    return " ".join(f"{statistics.median(sample.memory[name] for sample in part):.0f}" for part in parts)


def memory(pids: Iterable[int]) -> float:
    """Resident megabytes. What they share counts for each: its share would change with whoever else has it."""
    return sum(_kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Rss:") for pid in pids) / 1024


def open_files(pids: Iterable[int]) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


def family(pid: int) -> list[int]:
    """The process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def _kilobytes(file: Path, name: str) -> int:
    (found,) = [line.split()[1] for line in file.read_text().splitlines() if line.startswith(name)]
    return int(found)
