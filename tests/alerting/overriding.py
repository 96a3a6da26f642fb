"""A project's own templates, which come before ours of the same name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django import template

ALERT_HTML = "emails/task_status_alert.html"
ALERT_TEXT = "emails/task_status_alert.txt"
DIGEST_HTML = "emails/task_status_digest.html"

register = template.Library()
happens: Callable[[], object] = str  # what `{% happen %}` calls


@register.simple_tag
def happen() -> object:
    return happens()


def override(settings: Any, folder: Path, name: str, source: str | bytes) -> None:
    engine = settings.TEMPLATES[0]
    options = engine["OPTIONS"] | {"libraries": {"overriding": __name__}}
    settings.TEMPLATES = [engine | {"DIRS": [folder], "OPTIONS": options}]
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(source.encode() if isinstance(source, str) else source)
