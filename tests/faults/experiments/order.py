"""What is told must be told in its order, and be true when it was judged."""

import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.db import connection

from monitoring.models import Incident, database_now
from monitoring.tick import tick
from monitoring.values.facts import AlertKind
from tests.consumer import wait_for
from tests.faults.report import Case
from tests.faults.statements import Moment, go_on, has_reached, waiting
from tests.faults.tally import tally
from tests.faults.world import EVERYBODY, A, World, make_due, none_is_due, owed, run, watch

SLOW = 3  # seconds
DOWN_AND_UP = (AlertKind.NOT_EXECUTED, AlertKind.RESOLVED)


def down_before_up(world: World) -> Iterator[Case]:
    """A failure and its recovery are both owed, and the failure's mail is slow, put off, or held by the dead."""
    for case, hold_up in (
        (Case("recovery owed while the failure's mail is slow, 2 workers"), _slow),
        (Case("recovery owed while the failure's mail is put off by a 450"), _put_off),
        (Case("recovery owed while the failure's mail is leased by a dead process"), _leased),
    ):
        world.reset()
        jobs = watch(1, [A])
        make_due()
        hold_up(world, case, jobs)
        with world.consumer():
            case.expect(world.settle(), "mails still wait after hours")
        duplicates = 1 if hold_up is _leased else 0
        case.count(tally(owed(jobs, [A], DOWN_AND_UP), world.mail.received), duplicates)
        yield case


def _slow(world: World, case: Case, jobs: list[str]) -> None:
    tick(database_now())
    _recover(jobs)
    tick(database_now())
    world.mail.delay = lambda mail: 0 if "RESOLVED" in mail["Subject"] else SLOW
    with world.consumer(workers=2):
        world.work(times=3)


def _put_off(world: World, case: Case, jobs: list[str]) -> None:
    world.mail.busy = {A}
    with world.consumer():
        world.work()
        world.mail.busy = set()
        _recover(jobs)
        world.work()
        case.expect(not _resolved(world), "the recovery did not wait")


def _leased(world: World, case: Case, jobs: list[str]) -> None:
    world.mail.delay, world.mail.keeps_unheard = lambda mail: 60, True
    begun = world.mail.begun
    with world.consumer() as consumer:
        wait_for(lambda: world.mail.begun > begun)
        consumer.kill()
    world.mail.behave()
    _recover(jobs)
    with world.consumer():
        world.work()
        case.expect(not _resolved(world), "the recovery did not wait")


def _recover(jobs: Iterable[str]) -> None:
    run(jobs, "Completed")
    make_due()


def _resolved(world: World) -> bool:
    return any("RESOLVED" in mail["Subject"] for _, mail in world.mail.received)


def success_meanwhile(world: World) -> Iterator[Case]:
    """The job's success lands while its monitor is being checked: before the claim, before the judging, after it.

    What counts: a success that is committed when the judging statement begins must be seen, however long ago the
    checker read its clock or claimed the monitor. Of one that comes later no checker can know: its alert says what was
    so at that instant, and the next check must see the success, tell of the recovery and alert no more: no false alarm
    stands. On SQLite nobody can write while a transaction checks monitors: a success that meets one comes later.
    """
    meets_no_transaction = not world.runs_on_sqlite
    for when, statement, is_seen in (
        ("when its tick begins", r'FROM "monitoring_monitor"', True),
        ("when its monitor is about to be claimed", r'next_check_at"? <= ', meets_no_transaction),
        ("when its monitor is claimed, not judged", r"\bprobe\.place\b", meets_no_transaction),
        ("when its monitor is judged, not committed", r'INSERT INTO "?monitoring_incident"? ', False),
    ):
        world.reset()
        case = Case(f"success lands {when}")
        jobs = watch(1)
        make_due()
        case.note(_land_at(world, jobs, statement))
        with world.consumer():
            for _ in range(3):
                world.work()
                make_due()
            case.expect(world.settle(), "mails still wait after hours")
        case.count(tally(() if is_seen else owed(jobs, EVERYBODY, DOWN_AND_UP), world.mail.received))
        case.note(
            "seen: nobody is told anything"
            if is_seen
            else "too late for this check, whose alert was true when judged; the next one told of the recovery, once"
        )
        case.expect(not Incident.objects.filter(closed_at=None).exists(), "the monitor still stands as failing")
        yield case


def _land_at(world: World, jobs: list[str], statement: str) -> str:
    """Lets the checker come to the statement, the job succeed, and the checker go on; says what the success met."""
    success = threading.Thread(target=_succeed, args=[jobs])
    with tempfile.TemporaryDirectory() as folder, world.launched(**waiting(statement, Moment.BEFORE, Path(folder))):
        wait_for(lambda: has_reached(Path(folder)), 30)
        success.start()
        success.join(1)
        had_to_wait = success.is_alive()
        go_on(Path(folder))
        success.join()
        wait_for(none_is_due)
    return (
        "its commit had to wait for the checker's" if had_to_wait else "it was committed while the checker stood there"
    )


def _succeed(jobs: list[str]) -> None:
    try:
        run(jobs, "Completed")
    finally:
        connection.close()
