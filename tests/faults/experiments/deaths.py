"""Consumers are killed, at chosen moments and at random ones."""

import random
import signal
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from monitoring.alerting.outbox import LEASE
from monitoring.tasks import tick_monitors
from monitoring.values.facts import AlertKind
from tests.consumer import wait_for
from tests.faults.report import Case
from tests.faults.statements import Moment, dying
from tests.faults.tally import Arrival, Said, read, repeated, tally
from tests.faults.world import EVERYBODY, A, World, make_due, none_is_due, owed, pass_time, run, watch

LONG = 60  # seconds that a mail server takes for its answer, so that the killed is surely waiting for it

STATEMENTS = {
    "the deliveries are written, nothing is committed": ('INSERT INTO "?monitoring_delivery"? ', Moment.AFTER),
    "judged and committed, nothing is composed": ('INSERT INTO "?monitoring_delivery"? ', Moment.COMMITTED),
    "a mail is composed, not committed": ('UPDATE "?monitoring_delivery"? ', Moment.AFTER),
    "a mail is composed and committed": ('INSERT INTO "monitoring_message"', Moment.COMMITTED),
    "a mail is claimed, not sent": ('UPDATE "monitoring_message"', Moment.COMMITTED),
    "a mail is sent, not stamped": (r'UPDATE "monitoring_message" SET ((?!WHERE).)*"sent_at" =', Moment.BEFORE),
}


def while_the_server_is_slow(world: World) -> Iterator[Case]:
    """kill -9 while the mail server takes its time to answer to a mail; it drops that mail, or has kept it."""
    for keeps, what in ((False, "it drops the mail"), (True, "it kept the mail")):
        world.reset()
        case = Case(f"kill -9 while the SMTP server is slow to answer; {what}")
        jobs = watch(1, [A])
        make_due()
        world.mail.delay, world.mail.keeps_unheard = lambda mail: LONG, keeps
        begun = world.mail.begun
        with world.consumer() as consumer:
            wait_for(lambda begun=begun: world.mail.begun > begun)
            consumer.kill()
        world.mail.behave()
        with world.consumer():
            case.expect(world.settle(), "mails still wait after hours")
        case.count(tally(owed(jobs, [A]), world.mail.received), duplicates=int(keeps))
        yield case


def at_a_statement(world: World) -> Iterator[Case]:
    """The process dies at a statement: inside the judging transaction, between two commits, before the stamp."""
    for when, (statement, moment) in STATEMENTS.items():
        world.reset()
        case = Case(f"dies when {when}")
        jobs = watch(1)
        make_due()
        with world.launched(**dying(statement, moment)) as consumer:
            wait_for(lambda: consumer.process.poll() is not None, 30)
            case.expect(consumer.process.returncode == -signal.SIGKILL, "it did not die as it was to")
        with world.consumer():
            case.expect(world.settle(), "mails still wait after hours")
        case.count(tally(owed(jobs), world.mail.received), duplicates=1)
        yield case


def at_random_moments(world: World) -> Iterator[Case]:
    """kill -9 again and again, at random moments of rounds in which 20 monitors begin to fail, or recover."""
    case = Case(f"{world.kills} times kill -9 at random moments of rounds with 20 incidents")
    chance = random.Random(world.seed)
    world.mail.delay = lambda mail: chance.uniform(0.02, 0.2)
    rounds, mails_at_kill, began = Rounds(), [], time.monotonic()
    for _ in range(world.kills):
        world.mail.keeps_unheard = chance.random() < 0.5
        with world.launched() as consumer:
            if chance.random() < 0.5:
                rounds.go_on()
                time.sleep(chance.uniform(0.2, 3))
            else:
                wait_for(consumer.is_ready, 30)
                rounds.go_on()
                tick_monitors()
                time.sleep(chance.uniform(0, 1))
            consumer.kill()
        mails_at_kill.append(len(world.mail.received))
        pass_time(seconds=LEASE.total_seconds())
    world.mail.behave()
    with world.consumer():
        case.expect(world.settle(), "mails still wait after hours")
    case.count(tally(rounds.owed, world.mail.received), duplicates=world.kills)
    by_kill = duplicates_by_kill(read(world.mail.received), mails_at_kill)
    case.note(
        f"seed {world.seed}: {rounds.begun} rounds in {time.monotonic() - began:.0f} s; {len(by_kill)} kills hit mails "
        f"that were out and not yet stamped, at most {max(by_kill.values(), default=0)} at once"
    )
    yield case


class Rounds:
    """In each round 20 monitors are due: new ones that fail, then the same, which recover.

    14 of them tell one address, 6 tell three. Each is used for one incident, so that no mail has the words of another.
    """

    def __init__(self) -> None:
        self.owed: set[Said] = set()
        self.begun = 0
        self._failing: list[str] = []

    def go_on(self) -> None:
        """The next round begins if the last one is judged."""
        if not none_is_due():
            return
        self.begun += 1
        if self._failing:
            run(self._failing, "Completed")
            make_due(self._failing)
            self.owed |= {said._replace(nth=1, kind=AlertKind.RESOLVED) for said in self.owed if said.nth == 0}
            self._failing = []
        else:
            first = 10 * self.begun
            to_one, to_all = watch(14, [A], first), watch(6, EVERYBODY, first + 14)
            self._failing = [*to_one, *to_all]
            make_due(self._failing)
            self.owed |= owed(to_one, [A]) | owed(to_all)


def duplicates_by_kill(arrivals: Sequence[Arrival], mails_at_kill: Sequence[int]) -> Counter[int]:
    """How many mails came again for each kill: the first one after the mail had come the time before."""
    return Counter(bisect_left(mails_at_kill, before + 1) for before in repeated(arrivals).values())
