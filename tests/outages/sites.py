"""What can be broken: a database and a queue, how they go away, and how they come back."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from tests.services import REDIS, connects, free_port, postgres, postgres_server, redis_server, running

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
    inside: tuple[str, ...] = ()


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


def _own_mounts() -> tuple[str, ...]:
    as_root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *as_root, "--mount")


SITES = {
    "redis-killed": Site("Redis killed for 60 s", 60, redis_killed),
    "redis-frozen": Site("Redis frozen for 30 s", 30, redis_frozen),
    "postgres-restarted": Site("PostgreSQL stopped for 30 s", 30, postgres_restarted),
    "connections-cut": Site("PostgreSQL's connections cut each second for 30 s", 30, connections_cut),
    "disk-full": Site("SQLite's disk full for 30 s", 30, disk_full, _own_mounts()),
}
