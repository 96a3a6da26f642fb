from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.alerting import overriding
from tests.alerting.overriding import ALERT_HTML, override


@pytest.fixture
def project_template(tmp_path: Path, settings: Any) -> Callable[[str, str | bytes], None]:
    """Writes a template of the project: `project_template(ALERT_HTML, "...")`."""
    return partial(override, settings, tmp_path)


@pytest.fixture
def happening(project_template: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets something happen whenever the HTML part of an alert is rendered."""

    def let(happens: Callable[[], object]) -> None:
        monkeypatch.setattr(overriding, "happens", happens)
        project_template(ALERT_HTML, "{% load overriding %}<p>{{ task_name }} by the project: {% happen %}</p>")

    return let
