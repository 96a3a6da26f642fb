"""Commands as people call them: in this process, or as processes of their own beside a database of their own."""

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Called:
    """`said` is the error's message, or what went to standard error."""

    code: int
    out: str
    said: str


def call(command: str, *args: str, **options: Any) -> Called:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(command, *args, stdout=out, stderr=err, **options)
    except CommandError as error:
        return Called(error.returncode, out.getvalue(), str(error))
    return Called(0, out.getvalue(), err.getvalue())


@dataclass(frozen=True, slots=True)
class Site:
    """A site that has nothing but an empty database and a folder for its mails."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "DEBUG": "1", "SECRET_KEY": "x", "VAR_DIR": str(self.folder)}

    def manage(self, *args: str, stdin: str = "", **environment: str) -> Called:
        command = [sys.executable, "manage.py", *args]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return Called(done.returncode, done.stdout, done.stderr)

    def mails(self) -> list[Path]:
        return list((self.folder / "mail").glob("*.eml"))
