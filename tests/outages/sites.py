"""What can be broken: a database and a queue, how they go away, and how they come back."""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from tests.services import REDIS, connects, free_port, postgres, postgres_server, redis_server, running

CLOCK = Path(__file__).with_name("clock.c")
DISK = 24  # MB
EACH = 1.0  # seconds between two cuts of all connections


@dataclass(frozen=True, slots=True)
class Broken:
    """What is asked of it, and the two moments."""

    database_url: str
    queue_url: str
    go_down: Callable[[], object]
    come_back: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Site:
    """`inside` is what must stand before the command that makes the outage."""

    title: str
    seconds: int
    build: Callable[[Path], AbstractContextManager[Broken]]
    inside: Callable[[], tuple[str, ...]] = tuple
    sets_the_clock: bool = False


@contextlib.contextmanager
def _redis(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that has on disk whatever it said that it has."""
    command = [REDIS.path(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
    command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    with running(command, folder / f"redis-{port}.log", lambda: connects(port)) as process:
        yield process


@contextlib.contextmanager
def redis_killed(folder: Path) -> Iterator[Broken]:
    with ExitStack() as stack:
        port = free_port()
        server = stack.enter_context(_redis(port, folder))
        yield Broken(
            stack.enter_context(postgres_server()),
            f"redis://127.0.0.1:{port}/0",
            lambda: (server.kill(), server.wait()),
            lambda: stack.enter_context(_redis(port, folder)),
        )


@contextlib.contextmanager
def redis_frozen(folder: Path) -> Iterator[Broken]:
    port = free_port()
    with postgres_server() as database_url, _redis(port, folder) as server:
        yield Broken(
            database_url,
            f"redis://127.0.0.1:{port}/0",
            lambda: server.send_signal(signal.SIGSTOP),
            lambda: server.send_signal(signal.SIGCONT),
        )


@contextlib.contextmanager
def postgres_restarted(folder: Path) -> Iterator[Broken]:
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        process = stack.enter_context(server.running())
        queue_url = stack.enter_context(redis_server())
        yield Broken(
            server.url,
            queue_url,
            lambda: (process.send_signal(signal.SIGINT), process.wait()),
            lambda: stack.enter_context(server.running()),
        )


@contextlib.contextmanager
def connections_cut(folder: Path) -> Iterator[Broken]:
    import psycopg

    with postgres_server() as database_url, redis_server() as queue_url:
        is_over = Event()

        def cut() -> None:
            ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            with psycopg.connect(database_url, autocommit=True) as connection:
                while not is_over.wait(EACH):
                    connection.execute(f"{ours} AND backend_type = 'client backend'")

        thread = Thread(target=cut, daemon=True)
        yield Broken(database_url, queue_url, thread.start, lambda: (is_over.set(), thread.join()))


@contextlib.contextmanager
def disk_full(folder: Path) -> Iterator[Broken]:
    """SQLite alone on a small disk; the queue is on another."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", disk], check=True)
    rest = disk / "rest"
    try:
        yield Broken(f"sqlite:///{disk}/db.sqlite3", f"sqlite:{folder}/huey.sqlite3", lambda: _fill(rest), rest.unlink)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _fill(rest: Path) -> None:
    with rest.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[Broken]:
    """Whose clocks are those of the processes that start them."""
    with postgres_server() as database_url, redis_server() as queue_url:
        yield Broken(database_url, queue_url, *_clock())


@contextlib.contextmanager
def files(folder: Path) -> Iterator[Broken]:
    yield Broken(f"sqlite:///{folder}/db.sqlite3", f"sqlite:{folder}/huey.sqlite3", *_clock())


def _clock() -> tuple[Callable[[], object], Callable[[], object]]:
    """What sets the clocks an hour forwards, and back."""
    return (lambda: _set_clock(3600)), (lambda: _set_clock(0))


def _set_clock(offset: int) -> None:
    with open(os.environ["CLOCK_OFFSET"], "r+b") as file:  # others have it mapped: it must never be empty
        file.write(_seconds(offset))


def _own_clock() -> tuple[str, ...]:
    """The wall clock of all its processes can be set, and only that, as where an administrator sets a machine's."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("There is no C compiler here, and clock.c wants one: install Debian's gcc and libc6-dev")
    folder = Path(tempfile.mkdtemp(prefix="clock-"))
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)  # PostgreSQL runs as somebody else
    library, offset = folder / "clock.so", folder / "offset"
    offset.write_bytes(_seconds(0))
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, CLOCK, "-ldl"], check=True)
    return ("env", f"LD_PRELOAD={library}", f"CLOCK_OFFSET={offset}")


def _seconds(offset: int) -> bytes:
    return offset.to_bytes(8, sys.byteorder, signed=True)


def _own_mounts() -> tuple[str, ...]:
    as_root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *as_root, "--mount")


SITES = {
    "redis-killed": Site("Redis killed for 60 s", 60, redis_killed),
    "redis-frozen": Site("Redis frozen for 30 s", 30, redis_frozen),
    "postgres-restarted": Site("PostgreSQL stopped for 30 s", 30, postgres_restarted),
    "connections-cut": Site("PostgreSQL's connections cut each second for 30 s", 30, connections_cut),
    "disk-full": Site("SQLite's disk full for 30 s", 30, disk_full, _own_mounts),
    "clock-set": Site(
        "the clock set forwards an hour, and back 75 s later", 75, servers, _own_clock, sets_the_clock=True
    ),
    "clock-set-sqlite": Site(
        "the clock set forwards an hour, and back 75 s later, on SQLite", 75, files, _own_clock, sets_the_clock=True
    ),
}
