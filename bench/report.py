"""How measured times are shown and kept."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any


def timed(what: Callable[[], Any], times: int) -> list[float]:
    """The seconds that each call took, after one that does not count."""
    what()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        taken.append(time.perf_counter() - began)
    return taken


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds."""
    return {
        "median": statistics.median(seconds) * 1_000,
        "min": min(seconds) * 1_000,
        "max": max(seconds) * 1_000,
    }


def percentile(seconds: Sequence[float], share: float) -> float:
    """By nearest rank: the shortest that this share of them does not exceed."""
    return sorted(seconds)[max(ceil(len(seconds) * share), 1) - 1]


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table that is also aligned in a terminal."""
    cells = [list(headings), *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if not n else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if not n else ":") for n, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _shown(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell >= 100 else f"{cell:.1f}" if cell >= 10 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def keep(options: argparse.Namespace, name: str, text: str, figures: dict[str, Any]) -> None:
    """Prints the text, and writes it and the figures to the results folder."""
    import django
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version")
        version = cursor.fetchone()[0].split()[0]
    about = {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "database": f"{'SQLite' if connection.vendor == 'sqlite' else 'PostgreSQL'} {version}",
        "python": platform.python_version(),
        "django": django.__version__,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "runs": options.runs,
    }
    said = f"{about['date']}, {about['database']}, {options.runs:,} runs, Python {about['python']}, Django {about['django']}, {about['cores']} cores, load {about['load']} at the end"
    print(f"\n{said}\n\n{text}\n", flush=True)
    options.results.mkdir(parents=True, exist_ok=True)
    stem = options.results / f"{name}-{options.database}-{options.runs}"
    stem.with_suffix(".json").write_text(json.dumps(about | figures, indent=1) + "\n")
    stem.with_suffix(".md").write_text(f"{said}\n\n{text}\n")
