from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import smtp
from tests.alerting import overriding
from tests.alerting.overriding import ALERT_HTML, override
from tests.smtp import MailServer, send_through


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    """A mail server, through which mails are sent."""
    with smtp.mail_server() as server:
        send_through(f"smtp://127.0.0.1:{server.port}", settings)
        yield server


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
