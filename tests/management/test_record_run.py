"""Real commands in real processes, with real signals, and databases that hang, go away and come back."""

import contextlib
import fcntl
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from monitoring.models import BackgroundTask, Heartbeat, database_alias, database_now
from monitoring.recording.job import OUTPUT_MAX, PATIENCE, ending
from monitoring.recording.privacy import MASK
from monitoring.recording.workers import DEAD_AFTER, end_lost_runs
from monitoring.values.run_event import WORKER_LOST
from tests import services
from tests.consumer import ROOT, url_of_the_test_database, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


class Recorder:
    """Starts `manage.py record_run` on the test database, or on another one."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.spool = folder / "spool"
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": url_of_the_test_database(),
            "VAR_DIR": str(folder),
            **environment,
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        pipes["preexec_fn"] = _heed_signals
        command = [sys.executable, "manage.py", "record_run", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, **pipes | options)

    def __call__(self, *arguments: str, **options: Any) -> tuple[int, bytes, bytes]:
        with self.start(*arguments, **options) as process:
            out, err = process.communicate(timeout=30)
        return process.returncode, out, err


def _heed_signals() -> None:
    """Whoever runs these may have been started by nohup or behind a shell's `&`: what is ignored is passed down."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def record(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def run() -> BackgroundTask:
    return BackgroundTask.objects.get()


def sh(script: str) -> tuple[str, ...]:
    return ("backup", "--", "sh", "-c", script)


def call(*command: str) -> int:
    """The status that record_run ends with, in this process; its output goes where the process's goes."""
    with pytest.raises((SystemExit, CommandError)) as ended:
        call_command("record_run", *command)
    return ended.value.returncode if isinstance(ended.value, CommandError) else ended.value.code


def test_a_command_that_succeeds_is_completed_and_its_output_passes_through_byte_by_byte(record: Recorder) -> None:
    noise = bytes(range(256)) * 5_000
    script = "import sys, os; data = sys.stdin.buffer.read(); os.write(2, data[::-1]); sys.stdout.buffer.write(data)"
    command = ("backup", "--context-id", "7", "--", sys.executable, "-c", script)
    with record.start(*command, stdin=subprocess.PIPE) as process:
        out, err = process.communicate(noise, timeout=30)
    assert (process.returncode, out, err) == (0, noise, noise[::-1])
    ended = run()
    assert (ended.task_name, ended.status, ended.errors, ended.attempts) == ("backup", "Completed", "", 1)
    assert ended.context_id == "7"
    assert ended.started_at < ended.finished_at
    assert not record.spool.exists()


def test_a_command_that_fails_leaves_its_status_and_the_end_of_both_streams_in_order(capfdbinary: Any) -> None:
    code = "import os, time\nfor n in range(1, 4): os.write(n % 2 + 1, b'line %d\\n' % n); time.sleep(0.1)\nos._exit(3)"
    assert call("backup", "--", sys.executable, "-c", code) == 3
    assert capfdbinary.readouterr() == (b"line 2\n", b"line 1\nline 3\n")
    assert (run().status, run().errors) == ("Stopped", "Exit status 3; the end of its output:\nline 1\nline 2\nline 3")


def test_a_command_that_a_signal_ends() -> None:
    assert call(*sh("kill -SEGV $$")) == 128 + signal.SIGSEGV
    assert (run().status, run().errors) == ("Stopped", "Ended by signal 11 (SIGSEGV)")


def test_while_a_command_runs_its_recorder_beats_so_that_a_killed_one_is_found(record: Recorder) -> None:
    with record.start(*sh("exec sleep 30"), start_new_session=True) as process:
        running = wait_for(lambda: BackgroundTask.objects.filter(status="Running").first())
        assert Heartbeat.objects.filter(name=running.worker, beat_at__gte=running.started_at).exists()
        os.killpg(process.pid, signal.SIGKILL)
    Heartbeat.objects.update(beat_at=F("beat_at") - DEAD_AFTER - timedelta(seconds=10))
    assert end_lost_runs(database_now(), database_alias()) == 1
    assert (run().status, run().errors) == ("Stopped", WORKER_LOST)


def test_a_recorder_whose_command_has_ended_is_not_listened_for_any_more(record: Recorder) -> None:
    assert record(*sh("true"))[0] == 0
    assert not Heartbeat.objects.exists()


@pytest.mark.parametrize(
    ("returncode", "output", "said"),
    [
        (1, b"", "Exit status 1"),
        (-40, b" \n", "Ended by signal 40"),
        (2, b"\xff\0ok\n", "Exit status 2; the end of its output:\n\ufffd\ufffdok"),
        (1, b"no redis://:hunter2@db/0", f"Exit status 1; the end of its output:\nno redis://:{MASK}@db/0"),
        (2, "é".encode() * 5_000, f"Exit status 2; the end of its output:\n[… cut]\n{'é' * (OUTPUT_MAX - 8)}"),
    ],
)
def test_an_end_in_words(returncode: int, output: bytes, said: str) -> None:
    assert ending(returncode, output) == ("Stopped", said)


def test_the_arguments_are_the_commands_own_whatever_they_look_like(capfdbinary: Any) -> None:
    assert call("backup", "--", "printf", "%s|", "--context-id", "--", "$HOME", "-h", "--settings=x") == 0
    assert capfdbinary.readouterr().out == b"--context-id|--|$HOME|-h|--settings=x|"


def test_a_command_that_is_not_found_is_a_failed_run(record: Recorder) -> None:
    status, _, err = record("backup", "--", "no-such-thing")
    assert (status, err) == (127, b"Error: no-such-thing: command not found\n")
    assert (run().status, run().errors, run().attempts) == ("Stopped", "no-such-thing: command not found", 1)


def test_a_command_that_cannot_be_executed_is_a_failed_run(tmp_path: Path) -> None:
    assert call("backup", "--", str(tmp_path)) == 126
    assert run().errors == f"{tmp_path}: cannot be executed: Permission denied"
    # The end of what should have become the command may be noticed late, by another thread; its signal finds a handler.
    assert callable(signal.getsignal(signal.SIGCHLD))


@pytest.mark.parametrize("name", ["", "  "])
def test_a_command_without_a_name_is_not_run(name: str) -> None:
    with pytest.raises(CommandError, match="the run's name is empty"):
        call_command("record_run", name, "--", "true")
    assert not BackgroundTask.objects.exists()


@pytest.mark.parametrize("command", [[], ["--"], ["true"]])
def test_without_a_command_nothing_is_recorded(command: list[str]) -> None:
    with pytest.raises(CommandError, match=r"the command to run is missing|unrecognized arguments"):
        call_command("record_run", "backup", *command)
    assert not BackgroundTask.objects.exists()


def test_signals_are_passed_on(record: Recorder) -> None:
    """Each job says which it got, and ends in its own way."""
    # Not by print: a signal may come while another print, of which the text was read already, is not over yet.
    code = (
        "import os, signal, sys\n"
        "for n in (1, 2, 15): signal.signal(n, lambda n, _: (os.write(1, b'got %d\\n' % n), sys.exit(7)))\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()"
    )
    with contextlib.ExitStack() as stack:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        jobs = [stack.enter_context(record.start(f"{n:d}", "--", sys.executable, "-c", code)) for n in numbers]
        for job in jobs:
            stack.callback(job.terminate)  # else what fails below would wait for them for ever
        for number, job in zip(numbers, jobs, strict=True):
            assert job.stdout is not None
            assert job.stdout.readline() == b"ready\n"
            wait_for(lambda n=number: BackgroundTask.objects.filter(task_name=f"{n:d}", status="Running").exists())
            job.send_signal(number)
            assert job.stdout.read() == f"got {number:d}\n".encode()
    assert [job.returncode for job in jobs] == [7, 7, 7]
    said = "Exit status 7; the end of its output:\nready\ngot "
    assert {(job.task_name, job.status, job.errors) for job in BackgroundTask.objects.all()} == {
        (f"{number:d}", "Stopped", f"{said}{number:d}") for number in numbers
    }


def test_a_signal_that_the_job_does_not_catch_ends_it_and_is_named(record: Recorder) -> None:
    with record.start(*sh("echo ready; exec sleep 60")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert run().errors == "Ended by signal 15 (SIGTERM); the end of its output:\nready"


def test_what_it_was_told_to_ignore_the_job_ignores_too(record: Recorder) -> None:
    started = ["nohup", sys.executable, "manage.py", "record_run", "backup", "--", "sh", "-c", "kill -HUP $$; echo on"]
    done = subprocess.run(
        started, cwd=ROOT, env=record.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"on\n")


def test_the_end_of_the_job_is_recorded_when_it_ends_and_what_it_left_behind_may_still_write(
    record: Recorder, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with record.start(*sh(f"(read line < {fifo}; echo late) & exit 0")) as job:
        wait_for(lambda: BackgroundTask.objects.filter(status="Completed").exists())
        assert job.poll() is None
        fifo.write_text("go on\n")
        assert job.stdout is not None
        assert job.stdout.read() == b"late\n"
    assert job.returncode == 0


def test_when_nobody_reads_its_output_the_job_learns_that(record: Recorder) -> None:
    with record.start("backup", "--", "yes") as process:
        assert process.stdout is not None
        process.stdout.read(100)
        process.stdout.close()
        process.wait(20)
    assert process.returncode == 128 + signal.SIGPIPE
    assert run().errors.startswith("Ended by signal 13 (SIGPIPE)")


def test_without_streams_of_its_own_it_records_output_and_end_and_passes_signals_on(record: Recorder) -> None:
    """The numbers of closed files are given to the next ones that are opened, which must not get the output."""
    script = "trap 'echo interrupted; exit 7' INT; echo ready; cat; echo err >&2; while :; do sleep 0.05; done"
    closed = f'exec "{sys.executable}" manage.py record_run backup -- sh -c "$0" <&- >&- 2>&-'
    process = subprocess.Popen(["sh", "-c", closed, script], cwd=ROOT, env=record.environment, preexec_fn=_heed_signals)
    wait_for(lambda: BackgroundTask.objects.filter(status="Running").exists())
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 7
    assert run().errors == "Exit status 7; the end of its output:\nready\nerr\ninterrupted"


def test_ctrl_c_reaches_the_job_once_though_its_input_is_no_terminal(record: Recorder, tmp_path: Path) -> None:
    """The terminal sends it to the job too."""
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, lambda *_: os.write(1, b'interrupted\\n'))\n"
        "os.write(1, b'ready\\n')\n"
        "while os.path.exists('on'): time.sleep(0.05)"
    )
    on = tmp_path / "on"
    on.touch()
    ours, terminal = os.openpty()

    def become_its_foreground() -> None:
        _heed_signals()
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    command = ("backup", "--", "env", f"--chdir={tmp_path}", sys.executable, "-c", code)
    with record.start(*command, preexec_fn=become_its_foreground) as process:
        os.close(terminal)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.write(ours, b"\3")
        assert process.stdout.readline() == b"interrupted\n"
        on.unlink()
        assert process.stdout.read() == b""
    os.close(ours)
    assert process.returncode == 0


def test_a_database_that_is_away_stops_no_job_and_gets_its_run_from_the_next(record: Recorder, tmp_path: Path) -> None:
    away = Recorder(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/db.sqlite3")
    status, out, err = away(*sh("echo done; exit 4"))
    assert (status, out) == (4, b"done\n")
    assert err.decode().count(f"is written later, it is kept as {away.spool}") == 2
    assert not BackgroundTask.objects.exists()

    assert record("next", "--", "true")[0] == 0
    kept, following = BackgroundTask.objects.order_by("started_at")
    assert (kept.task_name, kept.status, kept.attempts) == ("backup", "Stopped", 1)
    assert kept.errors == "Exit status 4; the end of its output:\ndone"
    assert following.status == "Completed"
    assert list(record.spool.iterdir()) == []


@contextlib.contextmanager
def hanging_sqlite(folder: Path) -> Iterator[str]:
    """Somebody holds the write lock and does not let go."""
    with contextlib.closing(sqlite3.connect(folder / "locked.sqlite3")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield f"sqlite:///{folder}/locked.sqlite3"


@contextlib.contextmanager
def hanging_server() -> Iterator[str]:
    """It takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://postgres@127.0.0.1:{server.getsockname()[1]}/postgres"


def test_a_database_that_hangs_delays_neither_the_start_nor_the_end_for_long(tmp_path: Path) -> None:
    """Both kinds at once, since each takes all its patience."""
    with hanging_sqlite(tmp_path) as sqlite, hanging_server() as server, contextlib.ExitStack() as stack:
        folders = {sqlite: tmp_path / "sqlite", server: tmp_path / "server"}
        jobs = []
        for url, folder in folders.items():
            record = Recorder(folder, DATABASE_URL=url)
            jobs.append(stack.enter_context(record.start(*sh("echo started; exec cat"), stdin=subprocess.PIPE)))
        for job in jobs:
            assert job.stdout is not None
            assert job.stdin is not None
            assert job.stdout.readline()  # it runs, while nothing can be written
            job.stdin.close()
        ended = time.monotonic()
        assert [job.wait(30) for job in jobs] == [0, 0]
        assert time.monotonic() - ended < PATIENCE + 3
        for folder in folders.values():
            assert len(list((folder / "spool").glob("*.json"))) == 2


def test_a_postgres_that_is_stopped_has_the_run_once_it_is_started_again(tmp_path: Path) -> None:
    select = "SELECT task_name, status FROM monitoring_backgroundtask ORDER BY started_at"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with services.postgres() as server:
        record = Recorder(tmp_path, DATABASE_URL=server.url)
        with server.running(), psycopg.connect(server.url, autocommit=True) as connection:
            migrate = [sys.executable, "manage.py", "migrate", "monitoring", "--verbosity=0", "--skip-checks"]
            subprocess.run(migrate, cwd=ROOT, env=record.environment, check=True)
            job = record.start(*sh(f"read line < {fifo}; exit 5"))
            wait_for(lambda: connection.execute(select).fetchall() == [("backup", "Running")])
        fifo.write_text("the database is away\n")
        job.communicate(timeout=20)
        assert job.returncode == 5
        with server.running():
            assert record("next", "--", "true")[0] == 0
            with psycopg.connect(server.url) as connection:
                assert connection.execute(select).fetchall() == [("backup", "Stopped"), ("next", "Completed")]
