"""The thread that writes: a real one, on its own connection to the test database, or in a process of its own."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event, current_thread, get_ident
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.db.backends.signals import connection_created

from monitoring.models import BackgroundTask, Heartbeat, database_alias, database_now
from monitoring.recording import answering
from monitoring.recording import writer as module
from monitoring.recording.writer import EVENTS_AT_ONCE, Writer, observe
from monitoring.values.run_event import RunEvent, RunStatus
from tests.app.models import Customer
from tests.consumer import ROOT, url_of_the_test_database, wait_for
from tests.factories import NOW, make_run

pytestmark = pytest.mark.django_db(transaction=True)

Execute = Callable[[str, Any, bool, Any], Any]


def make_event(task_id: str = "run", status: str = "Queued", seq: int = 1, **over: Any) -> RunEvent:
    return RunEvent(**{"task_id": task_id, "task_name": "daily_report", "status": RunStatus(status), "seq": seq} | over)


def statuses() -> dict[str, str]:
    return dict(BackgroundTask.objects.values_list("task_id", "status"))


@pytest.fixture
def writer() -> Iterator[Writer]:
    writer = Writer()
    yield writer
    writer.close()


@contextmanager
def in_the_thread(wrap: Callable[..., Any]) -> Iterator[None]:
    """Stands between the writer's thread and the database, on each connection that it makes."""
    tests = get_ident()

    def add(connection: Any, **_: Any) -> None:
        if get_ident() != tests:
            connection.execute_wrappers.append(wrap)

    connection_created.connect(add)
    try:
        yield
    finally:
        connection_created.disconnect(add)


@pytest.fixture
def upserts() -> Iterator[list[str]]:
    """The statements by which runs are written."""
    seen: list[str] = []

    def note(execute: Execute, sql: str, *args: Any) -> Any:
        if "INSERT INTO monitoring_backgroundtask" in sql:
            seen.append(sql)
        return execute(sql, *args)

    with in_the_thread(note):
        yield seen


@pytest.fixture
def outage() -> Iterator[Event]:
    """While it is set, the database is away for the writer."""
    is_away = Event()

    def refuse(execute: Execute, *args: Any) -> Any:
        if is_away.is_set():
            raise OperationalError("server closed the connection unexpectedly")
        return execute(*args)

    with in_the_thread(refuse):
        yield is_away


def die_once() -> Execute:
    deaths = [GeneratorExit()]

    def die(execute: Execute, *args: Any) -> Any:
        if deaths:
            raise deaths.pop()
        return execute(*args)

    return die


def test_what_is_put_is_written(writer: Writer) -> None:
    writer.put(make_event())
    writer.put(make_event(status="Running", seq=2, started_at=NOW, attempts=1))
    assert writer.flush()
    run = BackgroundTask.objects.get()
    assert (run.status, run.started_at, run.worker) == ("Running", NOW, writer.answering.worker.name)


class Seen:
    """Something seen whose event is made later."""

    def __init__(self, event: RunEvent | Exception | None, ends: bool = False) -> None:
        self._event, self.ends, self.is_retried = event, ends, False
        self.made_by: list[str] = []

    def event(self) -> RunEvent | None:
        self.made_by.append(current_thread().name)
        if isinstance(self._event, Exception):
            raise self._event
        return self._event

    def __str__(self) -> str:
        return "something"


def test_an_event_that_is_made_later_is_made_by_the_thread(writer: Writer) -> None:
    writer.put(seen := Seen(make_event()))
    writer.put(Seen(None))
    assert writer.flush()
    assert statuses() == {"run": "Queued"}
    assert seen.made_by == ["monitoring-writer"]


def test_one_that_cannot_be_made_then_holds_up_no_other(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    for seen in (Seen(make_event("before")), Seen(ValueError("no")), Seen(make_event("after"))):
        writer.put(seen)
    assert writer.flush()
    assert statuses() == {"before": "Queued", "after": "Queued"}
    assert caplog.messages == ["Not recorded: something"]


def test_one_that_is_dropped_is_made_all_the_same_since_its_end_may_rest_on_it(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVENTS_MAX", 0)
    writer.put(dropped := Seen(make_event()))
    assert dropped.made_by == [current_thread().name]


def test_what_is_put_is_written_soon_without_being_asked_for(writer: Writer) -> None:
    writer.put(make_event("first"))
    wait_for(lambda: "first" in statuses(), 2)
    writer.put(make_event("second"))
    wait_for(lambda: "second" in statuses(), 2)


def test_what_comes_together_goes_in_one_statement(writer: Writer, upserts: list[str]) -> None:
    for number in range(50):
        writer.put(make_event(f"{number}"))
        writer.put(make_event(f"{number}", "Cancelled", 2))
    assert writer.flush()
    assert len(upserts) <= 3
    assert statuses() == {f"{number}": "Cancelled" for number in range(50)}


def test_where_little_goes_on_an_end_is_written_as_soon_as_its_start(
    writer: Writer, upserts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", 60.0)
    monkeypatch.setattr(module, "WITHIN", 60.0)
    for seq, status in enumerate(("Pending", "Queued", "Running", "Completed")):
        writer.put(make_event(status=status, seq=seq))
        wait_for(lambda status=status: statuses() == {"run": status}, 2)
    assert len(upserts) == module.WRITES_AT_ONCE == 4
    writer.put(make_event("another"))
    wait_for(writer._queue.empty, 2)
    writer.put(make_event("and another"))
    assert writer.flush()
    assert len(upserts) == 5, "more is load, and waits for more"


@pytest.fixture
def busy(writer: Writer, upserts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after one that was written waits."""
    monkeypatch.setattr(module, "WRITES_AT_ONCE", 1)
    monkeypatch.setattr(module, "WITHIN", 60.0)
    writer.put(make_event("first"))
    wait_for(lambda: "first" in statuses(), 2)


@pytest.mark.usefixtures("busy")
def test_under_load_it_waits_until_some_runs_have_ended(
    writer: Writer, upserts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", 60.0)
    at_once = module.ENDS_AT_ONCE[connections[database_alias()].vendor]
    ends = [make_event(f"{number}", "Completed", 2, finished_at=NOW) for number in range(at_once)]
    for end in ends[:-1]:
        writer.put(make_event(end.task_id))
        writer.put(end)
    wait_for(lambda: writer._queue.qsize() == 2 * len(ends[:-1]) - 1, 2)  # it has seen the first of these
    assert len(upserts) == 1
    writer.put(ends[-1])
    wait_for(lambda: len(statuses()) == 1 + len(ends), 2)
    assert len(upserts) == 2
    writer.put(make_event("last"))
    assert writer.flush(2), "who asks for it waits for nobody"


@pytest.mark.usefixtures("busy")
def test_an_attempt_that_is_followed_by_another_is_written_before_that_can_be(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", 60.0)
    writer.put(make_event("retried", "Invalidated", 3, finished_at=NOW))
    wait_for(lambda: "retried" in statuses(), 2)


@pytest.mark.usefixtures("busy")
def test_where_too_little_ends_it_does_not_wait_for_ever(writer: Writer) -> None:
    for number in range(3):
        writer.put(make_event(f"{number}"))
        wait_for(lambda number=number: f"{number}" in statuses(), 2)


def test_more_than_a_statement_takes_goes_in_several(writer: Writer, upserts: list[str]) -> None:
    for number in range(3 * EVENTS_AT_ONCE):
        writer.put(make_event(f"{number}"))
    assert writer.flush()
    assert len(statuses()) == 3 * EVENTS_AT_ONCE
    assert 3 <= len(upserts) <= 6


def test_a_host_that_rolls_back_takes_no_run_along(writer: Writer) -> None:
    using = database_alias()
    with transaction.atomic(using=using):
        Customer.objects.create()
        writer.put(make_event())
        transaction.set_rollback(True, using=using)
    assert writer.flush()
    assert not Customer.objects.exists()
    assert statuses() == {"run": "Queued"}


def test_nothing_is_lost_while_the_database_is_away(
    writer: Writer, outage: Event, caplog: pytest.LogCaptureFixture
) -> None:
    outage.set()
    for number in range(2 * EVENTS_AT_ONCE):
        writer.put(make_event(f"{number}"))
        writer.put(make_event(f"{number}", "Running", 2, started_at=NOW, attempts=1))
    assert not writer.flush(0.3)
    outage.clear()
    assert writer.flush(10)
    assert set(BackgroundTask.objects.values_list("status", "attempts")) == {("Running", 1)}
    assert len(statuses()) == 2 * EVENTS_AT_ONCE
    assert writer.answering.worker.trouble == 0
    assert [record.levelno for record in caplog.records] == [logging.WARNING], "said once, not at each try"


@pytest.mark.on_servers
def test_connections_that_are_cut_are_made_anew(writer: Writer) -> None:
    writer.put(make_event("before"))
    assert writer.flush()
    with connections[database_alias()].cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1
    writer.put(make_event("after"))
    assert writer.flush()
    assert statuses() == {"before": "Queued", "after": "Queued"}


def test_an_event_that_the_database_refuses_is_set_aside_alone(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        writer.put(make_event(f"{number:02}", attempts=-1 if number == 7 else 0))
    assert writer.flush()
    assert set(statuses()) == {f"{number:02}" for number in range(20) if number != 7}
    assert [record.getMessage() for record in caplog.records] == ["Not recorded: Queued of daily_report 07"]
    wait_for(lambda: Heartbeat.objects.filter(set_aside=1).exists())


def test_tables_that_are_not_there_yet_are_waited_for(writer: Writer) -> None:
    """New code may run before its migration: then it is not the event that is wrong."""
    connection = connections[database_alias()]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE monitoring_backgroundtask RENAME TO elsewhere")
    try:
        writer.put(make_event())
        assert not writer.flush(0.3)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO monitoring_backgroundtask")
    assert writer.flush()
    assert statuses() == {"run": "Queued"}
    assert writer.answering.worker.trouble == 0


def test_memory_has_a_bound_and_what_is_dropped_is_counted(
    writer: Writer, outage: Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "EVENTS_MAX", 10)
    outage.set()
    writer.put(make_event("first"))
    wait_for(lambda: writer._queue.empty())
    for number in range(13):
        writer.put(make_event(f"{number}"))
    outage.clear()
    assert writer.flush()
    assert len(statuses()) == 11
    wait_for(lambda: Heartbeat.objects.filter(dropped=3).exists())
    assert "Events of runs are dropped" in caplog.text


def test_where_starts_are_dropped_already_there_is_room_for_the_ends_of_what_runs(
    writer: Writer, outage: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVENTS_MAX", 10)
    outage.set()
    writer.put(make_event("first"))
    wait_for(lambda: writer._queue.empty())
    for number in range(12):
        writer.put(make_event(f"{number}", "Running", started_at=NOW))
    for number in range(12):
        writer.put(make_event(f"{number}", "Completed", 2, started_at=NOW, finished_at=NOW))
    assert writer.answering.worker.dropped == 4, "two starts, and two ends since the room for them is bounded too"
    outage.clear()
    assert writer.flush()
    assert statuses() == {"first": "Queued"} | {f"{number}": "Completed" for number in range(10)}


def test_a_process_beats_once_it_runs_something(writer: Writer) -> None:
    writer.put(make_event())
    assert writer.flush()
    assert not Heartbeat.objects.exists(), "who only enqueues answers for nothing"
    writer.put(make_event(status="Running", seq=2, attempts=1))
    assert writer.flush()
    assert Heartbeat.objects.get().name == writer.answering.worker.name
    writer.close()
    assert not Heartbeat.objects.exists()


def test_it_beats_at_once_when_it_begins_to_answer_for_runs_though_its_thread_waits(writer: Writer) -> None:
    writer.put(make_event())
    assert writer.flush()
    writer.answer_for_runs()
    assert writer.answering.has_beaten.wait(4)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced_and_what_it_held_is_counted(writer: Writer) -> None:
    with in_the_thread(die_once()):
        writer.put(make_event("lost"))
        wait_for(lambda: writer._thread is None)
    writer.put(make_event("next"))
    assert writer.flush()
    assert statuses() == {"next": "Queued"}
    wait_for(lambda: Heartbeat.objects.filter(dropped=1).exists())


def test_a_run_of_a_process_that_was_only_held_up_is_running_again(writer: Writer) -> None:
    writer.put(make_event(status="Running", seq=5, attempts=1))
    writer.put(make_event("over", status="Running", seq=5))
    writer.put(make_event("over", status="Completed", seq=9))
    assert writer.flush()
    BackgroundTask.objects.update(status="Stopped", errors="The worker that ran it was lost")
    writer._say_again_what_runs()
    assert writer.flush()
    run = BackgroundTask.objects.get(task_id="run")
    assert (run.status, run.attempts, run.errors) == ("Running", 1, "")
    assert statuses()["over"] == "Stopped"


def test_so_is_one_whose_start_was_written_by_other_means_until_its_end_was(writer: Writer) -> None:
    writer.answer_for_runs(make_event(status="Running", seq=5, attempts=1))
    writer._say_again_what_runs()
    assert writer.flush()
    run = BackgroundTask.objects.get()
    assert (run.status, run.worker) == ("Running", writer.answering.worker.name)
    BackgroundTask.objects.update(status="Stopped")
    writer.answering.running.pop("run")
    writer._say_again_what_runs()
    assert writer.flush()
    assert statuses() == {"run": "Stopped"}


@pytest.mark.parametrize(
    ("lost", "said"), [(1, "1 run is over: its worker is dead"), (2, "2 runs are over: their workers are dead")]
)
def test_lost_runs_are_said_once_and_nothing_where_none_were(
    lost: int, said: str, writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer.answering.worker, "unbroken_since", NOW - timedelta(days=10_000))
    writer.answering.worker.beat_at = database_now()
    writer._beat()
    for _ in range(lost):
        make_run(status="Running", worker="host:1:a")
    for _ in range(2):
        writer._beat()
    (record,) = caplog.records
    assert record.getMessage() == said
    assert (record.event, record.runs) == ("runs-lost", lost)


def test_the_runs_of_the_dead_are_asked_for_twice_after_each_death(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime] = []
    answers: list[int] = []
    monkeypatch.setattr(
        answering, "_asked_about_losses", [lambda now: asked.append(now) or (lambda: answers.append(1))]
    )
    monkeypatch.setattr(writer.answering.worker, "unbroken_since", NOW - timedelta(days=10_000))
    writer.answering.worker.beat_at = database_now()
    for deaths in range(1, 3):
        Heartbeat.objects.create(name=f"host:{deaths}:a", beat_at=database_now() - timedelta(minutes=1))
        for _ in range(4):
            writer._beat()
            writer.answering._asking.join()
        assert len(asked) == len(answers) == 2 * deaths


def test_a_queue_that_hangs_holds_up_no_beat_and_is_not_asked_again_meanwhile(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime] = []
    answer = Event()
    monkeypatch.setattr(answering, "_asked_about_losses", [lambda now: asked.append(now) or answer.wait])
    monkeypatch.setattr(writer.answering.worker, "unbroken_since", NOW - timedelta(days=10_000))
    writer.answering.worker.beat_at = database_now()
    Heartbeat.objects.create(name="host:1:a", beat_at=database_now() - timedelta(minutes=1))
    for _ in range(3):
        writer._beat()
    assert len(asked) == 1
    answer.set()
    writer.answering._asking.join()
    writer._beat()
    writer.answering._asking.join()
    assert len(asked) == 2


def test_what_is_observed_after_the_end_is_written_at_once(writer: Writer) -> None:
    writer.put(make_event("before"))
    writer.close()
    assert statuses() == {"before": "Queued"}
    writer.put(make_event("after"))
    assert set(statuses()) == {"before", "after"}


def test_an_end_does_not_wait_for_ever_for_the_database(outage: Event, caplog: pytest.LogCaptureFixture) -> None:
    writer = Writer()
    outage.set()
    for number in range(5):
        writer.put(make_event(f"{number}"))
    writer.close(0.3)
    assert caplog.messages[-1] == "The database is away: 5 events of runs are lost with this process"
    outage.clear()
    wait_for(lambda: writer._thread is None)  # the test's process goes on


def test_in_a_test_of_a_project_an_event_is_a_row_at_once_in_its_transaction() -> None:
    using = database_alias()
    with transaction.atomic(using=using):
        observe(make_event, "an event")
        assert statuses() == {"run": "Queued"}
        transaction.set_rollback(True, using=using)
    assert statuses() == {}


def test_an_event_that_cannot_be_made_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> RunEvent:
        raise ValueError("no")

    observe(fail, "an event")
    assert caplog.messages == ["Not recorded: an event"]


# In processes of their own, which no test framework has touched.

PRELUDE = """
import os, sys, django
django.setup()
from monitoring.recording.writer import answer_for_runs, flush, observe
from monitoring.values.run_event import RunEvent, RunStatus

def tell(task_id, status="Queued", seq=1):
    attempts = int(status == "Running")
    observe(lambda: RunEvent(task_id, "t", RunStatus(status), seq, attempts=attempts), "an event")
"""


def run_python(lines: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + lines],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": url_of_the_test_database()},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("end", ["", "sys.exit(0)"], ids=["end", "sys.exit()"])
def test_a_short_process_writes_what_it_observed_before_it_ends(end: str) -> None:
    assert run_python(f"for number in range(300): tell(str(number))\n{end}") == ""
    assert len(statuses()) == 300


def test_what_is_observed_while_python_ends_is_written() -> None:
    run_python("import atexit\ntell('early')\natexit.register(tell, 'late')")
    assert set(statuses()) == {"early", "late"}


def test_a_forked_process_writes_for_itself_and_its_parent_goes_on() -> None:
    """As gunicorn's --preload and Huey's process workers do; these leave by os._exit."""
    run_python("""
tell("parent before", "Running")
if not (child := os.fork()):
    tell("child", "Running")
    assert flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
tell("parent after", "Running")
""")
    workers = dict(BackgroundTask.objects.values_list("task_id", "worker"))
    assert set(workers) == {"parent before", "child", "parent after"}
    assert workers["parent before"] == workers["parent after"] != workers["child"]
    assert Heartbeat.objects.get().name == workers["child"], "who leaves by os._exit cannot say so"


def test_a_job_is_answered_for_while_it_runs() -> None:
    said = run_python("""
from tempfile import TemporaryDirectory
from threading import Thread
from monitoring.recording import writer
from monitoring.recording.job import record_job

def end_it_once_it_is_answered_for():
    while not writer._writer.answering.running: pass
    open(fifo, "w").close()

with TemporaryDirectory() as folder:
    os.mkfifo(fifo := folder + "/fifo")
    Thread(target=end_it_once_it_is_answered_for, daemon=True).start()
    assert record_job("backup", ["cat", fifo]) == 0
assert not writer._writer.answering.running
""")
    assert said == ""
    assert BackgroundTask.objects.get().status == "Completed"


def test_what_waits_when_a_process_forks_is_written_once() -> None:
    run_python("""
for number in range(100): tell(str(number), "Running")
if not os.fork():
    os._exit(not flush())
assert os.wait()[1] == 0
""")
    assert len(statuses()) == 100
    assert BackgroundTask.objects.values("worker").distinct().count() == 1


def test_a_debugging_process_keeps_no_statements_in_memory(writer: Writer, settings: Any) -> None:
    settings.DEBUG = True
    seen: list[Sequence[Any]] = []

    def note(execute: Execute, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(list(context["connection"].queries_log))
        return execute(sql, params, many, context)

    with in_the_thread(note):
        for number in range(3):
            writer.put(make_event(f"{number}"))
            assert writer.flush()
    assert seen[-1] == []
