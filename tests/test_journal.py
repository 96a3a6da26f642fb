"""What a real worker logs as JSON: a line for each event that matters, and no secret in any."""

import json
import re
from typing import Any

import pytest
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from monitoring.models import Message
from monitoring.tasks import say_all_is_well, tick_monitors
from tests import smtp
from tests.consumer import ROOT, consumer, wait_for
from tests.factories import ago, make_monitor, make_run
from tests.services import free_port

pytestmark = pytest.mark.django_db(transaction=True)

SECRETS = ("s3cret-of-the-ping", "s3cret-of-the-metrics", "s3cret-of-the-site")

ENDED_ROUND = re.compile("tick_monitors: .* executed in")


def events(output: str) -> list[dict[str, Any]]:
    """Those of the lines that are whole."""
    lines = [json.loads(line) for line in output.split("\n")[:-1]]
    common = {"time", "level", "logger", "message"}
    return [{name: value for name, value in line.items() if name not in common} for line in lines if "event" in line]


def test_each_event_that_matters_is_a_line_with_its_figures_and_a_healthy_monitor_none() -> None:
    HUEY.flush()
    for number in range(5):
        make_run(f"fine_{number}", started_at=timezone.now())
        make_monitor(f"fine {number}", task_name=f"fine_{number}", due_at=timezone.now())
    make_monitor("absent", task_name="absent", notify_to=["ops@example.com", "gone@example.com"], due_at=timezone.now())
    with smtp.mail_server() as server:
        server.refused = {"gone@example.com"}
        environment = {
            "LOG_FORMAT": "json",
            "EMAIL_URL": f"smtp://127.0.0.1:{server.port}",
            "PING_URL": f"http://127.0.0.1:{free_port()}/{SECRETS[0]}",
            "METRICS_TOKEN": SECRETS[1],
            "SECRET_KEY": SECRETS[2],
        }
        with consumer(**environment) as worker:
            wait_for(lambda: Message.objects.exclude(sent_at=None, gave_up_at=None).count() == 2, 30)
            # While a mail was given up within a day, nobody says that all is well.
            Message.objects.exclude(gave_up_at=None).update(gave_up_at=ago(days=700))
            HUEY.enqueue(say_all_is_well.s())
            wait_for(lambda: any(event["event"] == "ping-failed" for event in events(worker.output())))
            rounds = len(ENDED_ROUND.findall(worker.output()))
            tick_monitors()
            wait_for(lambda: len(ENDED_ROUND.findall(worker.output())) > rounds)
            output = worker.output()
    found = {event["event"]: event for event in events(output)}
    assert found.keys() >= {"round", "alert-owed", "mail-sent", "mail-given-up", "ping-failed"}
    assert [event["event"] for event in events(output)].count("round") == 1, "a round without a check is no news"
    seconds = found["round"].pop("seconds")
    assert 0 < seconds < 60
    assert found["round"] == {"event": "round", "checked": 6, "failing": 1, "owed": 1}
    assert found["alert-owed"] == {"event": "alert-owed", "task": "absent", "kind": "not-executed", "recipients": 2}
    assert (found["mail-sent"]["address"], found["mail-sent"]["attempts"]) == ("ops@example.com", 1)
    assert "fine" not in output
    for secret in SECRETS:
        assert secret not in output


def test_every_event_is_in_the_docs_and_no_other() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "monitoring").rglob("*.py"))
    found = {name for value in re.findall(r'"event": ([^,}]+)', sources) for name in re.findall(r'"([\w-]+)"', value)}
    logs = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").split("\n## Logs\n")[1].split("\n## ")[0]
    assert found == set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", logs)) - {"event"}
