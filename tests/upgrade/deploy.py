"""An older version and this one at the same time, on tables that this one has migrated: what a deploy brings.

The older one is the code as it was before the newest migration was written. Its worker, and a process that enqueues,
run while the tables are changed and after it; then a worker of this version comes, and that one goes.
"""

import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from monitoring.models import BackgroundTask
from monitoring.tasks import dispatch_owed, tick_monitors
from monitoring.values.facts import AlertKind
from tests.consumer import ROOT, Consumer, wait_for
from tests.faults.report import Case, table
from tests.faults.tally import Said, tally
from tests.faults.world import World, make_due, none_is_due, owed, run, watch
from tests.smtp import MailServer, mail_server

MONITORS = 20  # in each round
ROUNDS = 6
LEAVES_ALONE = 2  # rounds of the newer version
TASKS = 40  # in each part of it
DEADLINE = 90  # seconds
KINDS = (AlertKind.STATUS_MISMATCH, AlertKind.RESOLVED)
MAIL_SENT = "Sent to "
TROUBLE = re.compile(r"^.*(?: ERROR | CRITICAL |Traceback).*$", re.MULTILINE)

# What a web process of that version does: it enqueues all the time, and says each task's id and its file.
ENQUEUE = """
import sys, time, django
django.setup()
from huey.contrib.djhuey import HUEY
from tests.app.tasks import note_in
for number in range(100_000):
    task = note_in.s(f"{sys.argv[1]}/{number:06}")
    HUEY.enqueue(task)
    print(task.id, task.args[0], flush=True)
    time.sleep(0.1)
"""


def side_by_side(folder: Path, commit: str) -> int:
    """Prints what was found; 1 if it was not as expected. Without a commit it is found by the newest migration."""
    migrations = MigrationExecutor(connection).loader.graph
    ((_, newest),) = migrations.leaf_nodes("monitoring")
    (before,) = {parent.key[1] for parent in migrations.node_map["monitoring", newest].parents}
    commit = commit or _before(newest)
    code = _checked_out(commit, folder / "older")
    case = Case(f"{commit[:8]} (until {before}) and this version, {connection.vendor}")
    call_command("migrate", verbosity=0)
    call_command("migrate", "monitoring", before, verbosity=0)
    try:
        _deploy(case, code, folder)
    except Exception as error:
        case.expect(False, f"it could not be done: {type(error).__name__}: {error}")
    print(f"{table([case])}\n", flush=True)
    return 1 if case.failures else 0


def _deploy(case: Case, code: Path, folder: Path) -> None:
    notes = folder / "notes"
    notes.mkdir()
    said: dict[str, str] = {}
    with mail_server() as mail, _enqueuing(code, notes) as runs, ExitStack() as newer:
        world = World(mail, kills=0, seed=0)
        with world.consumer(code=code) as old:
            _wait_for_tasks(notes)
            call_command("migrate", verbosity=0)
            names = watch(MONITORS * ROUNDS // 2)
            _wait_for_tasks(notes)
            new = newer.enter_context(world.consumer())
            _rounds(range(ROUNDS - LEAVES_ALONE), names, mail)
            _wait_for_tasks(notes)
            listed = _command(code, "list_status")
            said["older"] = old.output()
        _rounds(range(ROUNDS - LEAVES_ALONE, ROUNDS), names, mail)
        _wait_for_tasks(notes)
        runs.end()
        wait_for(lambda: _are_done(runs), DEADLINE)
        said["newer"] = new.output()
    case.count(tally(owed(names, kinds=KINDS), mail.received))
    case.expect(listed == 0, f"the older list_status ended with {listed}, and not with 0")
    by_newer = said["newer"].count(MAIL_SENT)
    case.note(f"mails sent: {by_newer} by the newer, {len(mail.received) - by_newer} by the older")
    _count_runs(case, runs, {"older": old, "newer": new})
    for which, text in said.items():
        for line in TROUBLE.findall(text):
            case.expect(False, f"the {which} worker said: {line}")


def _rounds(numbers: range, names: list[str], mail: MailServer) -> None:
    """A part of the tasks fails in one and recovers in the next, each made and told of by whichever worker is first."""
    for number in numbers:
        first = number // 2 * MONITORS
        of_this_round = names[first : first + MONITORS]
        run(of_this_round, ("Stopped", "Completed")[number % 2])
        make_due(of_this_round)
        tick_monitors()
        tick_monitors()
        wait_for(none_is_due, DEADLINE)
        dispatch_owed()
        dispatch_owed()
        wait_for(partial(_all_came, owed(of_this_round, kinds=KINDS[: 1 + number % 2]), mail), DEADLINE)


def _all_came(expected: set[Said], mail: MailServer) -> bool:
    return tally(expected, mail.received).lost == 0


def _before(migration: str) -> str:
    """The commit before the one that brought this migration."""
    file = f"monitoring/migrations/{migration}.py"
    brought = _git("log", "--diff-filter=A", "--format=%H", "-1", "--", file)
    return _git("rev-parse", f"{brought}^")


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(
            f"The older version is not here: `git {' '.join(command)}` says {done.stderr.strip() or 'nothing'};"
            " a shallow clone is completed by `git fetch --unshallow`, and --older names another commit."
        )
    return done.stdout.strip()


def _checked_out(commit: str, folder: Path) -> Path:
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


@dataclass
class Enqueued:
    """What the older version's process has enqueued: ids and files."""

    process: subprocess.Popen[str]
    log: Path

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()

    @property
    def files(self) -> dict[str, Path]:
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return {line[0]: Path(line[1]) for line in lines if len(line) == 2}


@contextmanager
def _enqueuing(code: Path, notes: Path) -> Iterator[Enqueued]:
    log = notes.with_name("enqueued")
    with log.open("w") as output:
        command = [sys.executable, "-c", ENQUEUE, str(notes)]
        process = subprocess.Popen(command, cwd=code, env=os.environ | {"PYTHONPATH": "."}, stdout=output, text=True)
    enqueued = Enqueued(process, log)
    try:
        yield enqueued
    finally:
        enqueued.end()


def _wait_for_tasks(notes: Path) -> None:
    """So many more are executed."""
    before = len(list(notes.iterdir()))
    wait_for(lambda: len(list(notes.iterdir())) >= before + TASKS, DEADLINE)


def _are_done(enqueued: Enqueued) -> bool:
    files = enqueued.files
    done = BackgroundTask.objects.filter(task_id__in=list(files), status="Completed").count()
    return done == len(files) and all(file.exists() for file in files.values())


def _count_runs(case: Case, enqueued: Enqueued, workers: dict[str, Consumer]) -> None:
    files = enqueued.files
    rows = dict(BackgroundTask.objects.filter(task_id__in=list(files)).values_list("task_id", "worker"))
    by = Counter(int(worker.split(":")[1]) for worker in rows.values() if ":" in worker)
    ran = ", ".join(f"{by[each.process.pid]} by the {which}" for which, each in workers.items())
    case.note(f"{len(files)} runs enqueued by the older version, {ran}: all are Completed")
    case.expect(all(by[each.process.pid] for each in workers.values()), "one of the workers recorded no run")


def _command(code: Path, *command: str) -> int:
    done = subprocess.run([sys.executable, "manage.py", *command], cwd=code, capture_output=True, check=False)
    return done.returncode
