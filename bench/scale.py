"""All that is measured about many monitors and runs, one after the other, and bench/scale.md written of it.

Data are made once and kept; pruning comes last, since it takes some of them away.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

SIZES = (100_000, 1_000_000, 10_000_000)
DATABASES = ("sqlite", "postgres")
PAGE = Path("bench/scale.md")
PLOT = Path("bench/scale.svg")
MARK = "<!-- figures -->"
TITLES = {
    "rounds": "Checks and rounds",
    "pages": "Pages of the admin",
    "backtest": "Back-tests",
    "mails": "Mails",
    "retention": "Pruning",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=TITLES, action="append", help="leave the others out; may be given again")
    parser.add_argument("--database", choices=DATABASES, action="append", help="leave the other out")
    parser.add_argument("--runs", type=int, default=SIZES[-1])
    parser.add_argument(
        "--smaller", action=argparse.BooleanOptionalAction, default=True, help="rounds over fewer runs too"
    )
    parser.add_argument("--monitors", type=int, default=10_000)
    parser.add_argument("--data", type=Path, default=Path("var/bench"))
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    parser.add_argument("--write-only", action="store_true", help="measure nothing, write the page of what is there")
    options = parser.parse_args()
    for database in () if options.write_only else options.database or DATABASES:
        for name in options.only or TITLES:
            for size in _sizes(name, options):
                _measure(name, database, size, options)
    write(options.results)


def _sizes(name: str, options: argparse.Namespace) -> list[int]:
    if name == "mails":
        return [min(SIZES[0], options.runs)]
    smaller = [size for size in SIZES if size < options.runs] if name == "rounds" and options.smaller else []
    return [*smaller, options.runs]


def _measure(name: str, database: str, runs: int, options: argparse.Namespace) -> None:
    command = [sys.executable, "-m", f"bench.{name}", "--database", database, "--runs", str(runs)]
    command += ["--monitors", str(options.monitors), "--data", str(options.data), "--results", str(options.results)]
    print("\n$", *command[1:], flush=True)
    subprocess.run(command, check=True)


def write(results: Path) -> None:
    """Writes the newest results below the page's own text."""
    parts = []
    for name, title in TITLES.items():
        found = sorted(results.glob(f"{name}-*.md"), key=_size_of)
        parts += [f"## {title}", *(path.read_text().strip() for path in found)] if found else []
    words = PAGE.read_text().partition(MARK)[0].rstrip()
    PAGE.write_text("\n\n".join([words, MARK, *parts]) + "\n")
    PLOT.write_text(plot(_lines(results)))
    print(f"\n{PAGE} and {PLOT} are written")


def _size_of(path: Path) -> tuple[str, int]:
    _, database, runs = path.stem.rsplit("-", 2)
    return database, int(runs)


def _lines(results: Path) -> dict[str, list[tuple[int, float]]]:
    """Milliseconds by number of runs, for each way and database, with the most checks."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(results.glob("rounds-*.json"), key=_size_of):
        kept = json.loads(path.read_text())
        most = max((each["what"] for each in kept["checks"] if each["way"] == "bare statement"), key=len)
        for each in kept["checks"]:
            if each["what"] == most:
                lines.setdefault(f"{each['way']}, {kept['database'].split()[0]}", []).append(
                    (kept["runs"], each["median"])
                )
    return lines


def plot(lines: dict[str, list[tuple[int, float]]], width: int = 720, height: int = 380) -> str:
    """Lines on two logarithmic axes, as SVG that needs no script and has no background, so the page's shows."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'
    left, right, top, bottom = 80, 230, 16, 40
    low_x, high_x = math.log10(min(x for x, _ in points)), math.log10(max(x for x, _ in points))
    low_y, high_y = math.floor(math.log10(min(y for _, y in points))), math.ceil(math.log10(max(y for _, y in points)))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / ((high_x - low_x) or 1)
        up = (math.log10(y) - low_y) / ((high_y - low_y) or 1)
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    colours = ["#0b6bcb", "#067647", "#ba2121", "#6f42c1", "#b54708", "#475467"]
    parts: list[Any] = []
    for power in range(low_y, high_y + 1):
        _, y = at(10**low_x, 10**power)
        parts.append(f'<path d="M{left} {y:.0f}H{width - right}" stroke="#999" stroke-opacity=".3"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{10**power:,} ms</text>')
    for runs in sorted({x for x, _ in points}):
        x, _ = at(runs, 10**low_y)
        parts.append(f'<text x="{x:.0f}" y="{height - 16}" text-anchor="middle">{runs:,} runs</text>')
    ends: list[float] = []
    for (name, line), colour in zip(sorted(lines.items(), key=lambda item: item[1][-1][1]), colours * 2, strict=False):
        places = [at(x, y) for x, y in line]
        path = " ".join(f"{'L' if n else 'M'}{x:.0f} {y:.0f}" for n, (x, y) in enumerate(places))
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{colour}"/>' for x, y in places]
        label = min(places[-1][1], ends[-1] - 16) if ends else places[-1][1]
        ends.append(label)
        parts.append(f'<text x="{width - right + 12}" y="{label + 4:.0f}" style="fill:{colour}">{name}</text>')
    style = "<style>text{font:12px system-ui,sans-serif;fill:#777}</style>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{style}{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    main()
