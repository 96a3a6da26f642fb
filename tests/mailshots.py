"""Pictures of the mails for docs/mails.md: in a light and a dark mail program and on a phone.

`python -m tests.mailshots` (`make screenshots-mail`) writes them to docs/mail; given a folder, all mails in all looks
to that.
"""

import io
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import tests.early  # noqa: F401 - the settings' environment

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "mail"
NOW = datetime(2026, 11, 22, 8, 35, tzinfo=UTC)
LOOKS = {"light": (660, "light"), "dark": (660, "dark"), "phone": (400, "light"), "phone-dark": (400, "dark")}
_EACH = ("light", "dark", "phone")
IN_DOCS = {
    **dict.fromkeys(("mismatch", "not-executed", "not-judged", "resolved", "digest"), _EACH),
    **dict.fromkeys(("still-running", "worker-lost", "storm", "monitor-down"), ("light",)),
}
HEIGHT_MAX = 2_000  # pixels: of a long mail its beginning
COLOURS = 128


def mails() -> dict[str, Any]:
    """By name, what is pictured: each kind, and the causes and sizes whose looks differ."""
    from monitoring.alerting.mail import render, render_digest
    from monitoring.alerting.samples import sample_evidence, sample_facts
    from monitoring.values.evidence import Evidence
    from monitoring.values.facts import AlertKind, Facts

    incidents = count(1)

    def sample(kind: AlertKind, **over: Any) -> tuple[Facts, Evidence]:
        facts = replace(sample_facts(kind, NOW, time_zone="Europe/Berlin"), **over)
        evidence = sample_evidence(facts)
        if kind is AlertKind.MONITOR_DOWN:
            return facts, evidence
        run = replace(evidence.run, id=1) if evidence.run else None
        return facts, replace(evidence, incident_id=next(incidents), monitor_id=1, run=run)

    def storm(size: int) -> Any:
        said = []
        for number in range(size):
            kind = AlertKind.NOT_EXECUTED if number % 9 == 4 else AlertKind.STATUS_MISMATCH
            status = "Running" if number % 7 == 3 else "Stopped"
            over = {} if kind is AlertKind.NOT_EXECUTED else {"current_status": status}
            if status == "Running" and over:
                over["finished_at"] = None
            facts, evidence = sample(kind, task_name=f"customer_{number:04}_nightly_export", **over)
            if number % 3:
                evidence = replace(evidence, errors=f"ValueError: order {number * 7919 % 10_000} has no customer")
            said.append((facts, evidence))
        said.append(sample(AlertKind.RESOLVED, task_name="invoices"))
        return render_digest(*zip(*said, strict=True))

    running, slow = sample(AlertKind.STATUS_MISMATCH, current_status="Running", finished_at=None)
    lost, gone = sample(AlertKind.STATUS_MISMATCH)
    long, much = sample(
        AlertKind.STATUS_MISMATCH,
        task_name="warehouse.nightly." + "rebuild_of_everything_" * 10,
        dependent_tasks=tuple(f"{'dependent_' * 8}{number}" for number in range(60)),
        time_zone="America/Argentina/ComodRivadavia",
    )
    return {
        **{kind.value: render(*sample(kind)) for kind in AlertKind},
        "still-running": render(running, slow),
        "worker-lost": render(lost, replace(gone, worker_lost=True, errors="The worker that ran it was lost")),
        "no-evidence": render(lost, Evidence(problem="OperationalError")),
        "long": render(long, replace(much, errors=f"ValueError: {'x' * 100_000}"[:3_000])),
        "digest": storm(12),
        "storm": storm(1_000),
    }


def main(folder: Path) -> None:
    import django
    from PIL import Image
    from playwright.sync_api import sync_playwright

    from tests.services import BROWSER

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    folder.mkdir(parents=True, exist_ok=True)
    rendered = mails()
    pictures = IN_DOCS if folder == FOLDER else dict.fromkeys(rendered, LOOKS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(BROWSER.path()), args=["--no-sandbox"])
        for name, look in [(name, look) for name, looks in pictures.items() for look in looks]:
            width, scheme = LOOKS[look]
            page = browser.new_page(viewport={"width": width, "height": 400}, color_scheme=scheme)
            page.set_content(rendered[name].html)
            height = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({"width": width, "height": min(height, HEIGHT_MAX)})
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.convert("RGB").quantize(COLOURS).save(folder / f"{name}-{look}.png", optimize=True)
            page.close()
        browser.close()
    sys.stdout.write(f"The pictures are in {os.path.relpath(folder)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
