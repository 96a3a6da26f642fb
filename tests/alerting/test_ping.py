"""A dead man's switch outside, over real HTTP."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from huey.contrib.djhuey import HUEY

from monitoring.alerting import ping as module
from monitoring.alerting.ping import Switch
from monitoring.models import BackgroundTask, Heartbeat
from monitoring.tasks import say_all_is_well, tick_monitors
from tests.factories import ago, make_monitor
from tests.services import free_port


@dataclass
class Outside:
    """Answers with `status`, to what asks for `path`, or not before `silence` is set."""

    port: int = 0
    status: int = 200
    asked: list[str] = field(default_factory=list)
    has_been_asked: threading.Event = field(default_factory=threading.Event)
    silence: threading.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ping/s3cret"


@contextmanager
def serving(state: Outside) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            state.has_been_asked.set()
            if state.silence:
                state.silence.wait(30)
            self.send_response(state.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", state.port), Handler)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield
    finally:
        if state.silence:
            state.silence.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def outside() -> Iterator[Outside]:
    state = Outside()
    with serving(state):
        yield state


def test_it_asks_for_the_address_as_it_stands(outside: Outside) -> None:
    assert Switch().ping(outside.url)
    assert outside.asked == ["/ping/s3cret"]


def test_a_switch_that_fails_is_said_once_and_so_is_that_it_answers_again(caplog: pytest.LogCaptureFixture) -> None:
    switch, outside = Switch(), Outside(port=free_port())
    caplog.set_level(logging.INFO)
    assert [switch.ping(outside.url) for _ in range(3)] == [False] * 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].endswith("was not told that all is well: [Errno 111] Connection refused")
    with serving(outside):
        assert [switch.ping(outside.url) for _ in range(3)] == [True] * 3
        assert caplog.messages[1:] == ["The address PING_URL is told that all is well again"]
        outside.status = 500
        assert not switch.ping(outside.url)
    assert [record.event for record in caplog.records] == ["ping-failed", "ping-recovered", "ping-failed"]
    assert "s3cret" not in caplog.text, "who knows the address can keep the switch quiet"


@pytest.mark.parametrize("status", [301, 302, 307, 404, 410, 503])
def test_what_is_not_a_yes_is_a_failure_and_no_redirection_is_followed(
    outside: Outside, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    outside.status = status
    assert not Switch().ping(outside.url)
    assert outside.asked == ["/ping/s3cret"]
    assert caplog.messages[0].endswith(f": it answered {status}")


def test_a_host_that_can_be_none_is_a_failure_and_no_error_each_minute(caplog: pytest.LogCaptureFixture) -> None:
    assert not Switch().ping("http://switch..example.org/s3cret")
    assert caplog.messages == ["The address PING_URL was not told that all is well: UnicodeError"]


def test_a_switch_that_hangs_is_given_up_and_holds_one_worker(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outside.silence = threading.Event()
    switch, said = Switch(), []
    first = threading.Thread(target=lambda: said.append(switch.ping(outside.url)))
    first.start()
    assert outside.has_been_asked.wait(10)
    assert not switch.ping(outside.url), "another worker does not wait for the same"
    assert len(outside.asked) == 1
    outside.silence.set()
    first.join(10)
    assert said == [True]

    outside.silence = threading.Event()
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    assert not switch.ping(outside.url)
    assert caplog.messages[0].endswith(": TimeoutError")


# After each round


@pytest.fixture
def pings(outside: Outside, monitoring_settings: Any) -> Iterator[Outside]:
    monitoring_settings(PING_URL=outside.url)
    HUEY.flush()
    yield outside
    HUEY.flush()


def enqueued() -> list[str]:
    return [task.name for task in HUEY.pending()]


@pytest.mark.django_db
def test_a_round_asks_nobody_itself_and_leaves_it_to_a_task_that_nobody_records(pings: Outside) -> None:
    """So that an address that hangs delays no round."""
    tick_monitors.call_local()
    assert (pings.asked, enqueued()) == ([], ["say_all_is_well"])
    say_all_is_well.call_local()
    assert pings.asked == ["/ping/s3cret"]
    assert BackgroundTask.objects.count() == 0
    assert 0 < say_all_is_well.task_class.default_expires < 60


@pytest.mark.django_db
def test_without_an_address_there_is_no_task(pings: Outside, monitoring_settings: Any) -> None:
    monitoring_settings(PING_URL="")
    tick_monitors.call_local()
    assert enqueued() == []
    say_all_is_well.call_local()
    assert pings.asked == []


@pytest.mark.django_db
@pytest.mark.parametrize("trouble", ["no round", "overdue", "dropped"])
def test_trouble_is_no_good_round(pings: Outside, trouble: str) -> None:
    if trouble != "no round":
        tick_monitors.call_local()
    if trouble == "overdue":
        make_monitor(due_at=ago(days=1))
    if trouble == "dropped":
        now = Heartbeat.objects.get().beat_at
        Heartbeat.objects.create(name="host:1:a", beat_at=now, dropped=1, trouble_at=now)
    say_all_is_well.call_local()
    assert pings.asked == []


@pytest.mark.django_db
def test_a_round_that_fails_says_nothing(pings: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise OSError

    monkeypatch.setattr("monitoring.tasks.tick", fails)
    with pytest.raises(OSError):  # noqa: PT011 - it has no words
        tick_monitors.call_local()
    assert enqueued() == []
