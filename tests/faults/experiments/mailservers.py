"""A mail server that is not there, or is there and does not do what it should."""

import time
from collections.abc import Iterator

from monitoring.checking.health import problems
from monitoring.models import Message, database_now
from monitoring.tasks import dispatch_owed
from tests.faults.report import Case
from tests.faults.tally import tally
from tests.faults.world import A, B, C, World, make_due, owed, owing, pass_time, seconds_of_a_tick, watch

HANGS = 60  # seconds
NO_WAIT = 5  # seconds within which a tick is done that waits for nobody
NEXT_RETRY = 15  # minutes after which a mail is tried again that could not be sent for ten


def closed_port(world: World) -> Iterator[Case]:
    """Nobody listens on the SMTP port while an incident owes three mails; then it is back, the worker restarted."""
    case = Case("SMTP port closed; open again, worker restarted")
    jobs = watch(1)
    make_due()
    with world.mail.is_down(), world.consumer():
        world.work()
    with world.consumer():
        case.expect(world.settle(), "mails still wait after hours")
    case.count(tally(owed(jobs), world.mail.received))
    yield case


def down_for_ten_minutes(world: World) -> Iterator[Case]:
    """The mail server is away for ten minutes; a later success at an address brings forward what waits for it."""
    case = Case("SMTP server down for 10 minutes")
    first, second = watch(1), watch(1, [A], first=1)
    minutes: list[int] = []
    with world.consumer():
        make_due(first)
        with world.mail.is_down():
            for _ in range(10):
                world.work()
                pass_time(minutes=1)
        for minute in range(60):
            if minute == 2:
                make_due(second)
            world.work()
            minutes += [minute] * (len(world.mail.received) - len(minutes))
            if minute > 2 and not owing():
                break
            pass_time(minutes=1)
    late: dict[str, list[int]] = {}
    for address, minute in zip(world.mail.recipients, minutes, strict=True):
        late.setdefault(address, []).append(minute)
    case.count(tally(owed(first) | owed(second, [A]), world.mail.received))
    case.note(f"minutes after the server was back: {late}; in minute 2 {A} was owed another alert")
    case.expect(max(minutes, default=0) <= NEXT_RETRY, f"a mail came later than {NEXT_RETRY} minutes")
    case.expect(max(late.get(A, [0])) <= 3, f"the success to {A} did not bring its other mail forward")
    yield case


def busy(world: World) -> Iterator[Case]:
    """The mail server answers 450 for one of three addresses, for three minutes."""
    case = Case("SMTP server answers 450 for 1 of 3 addresses for 3 minutes")
    jobs = watch(1)
    make_due()
    world.mail.busy = {B}
    with world.consumer():
        world.work()
        case.expect(sorted(world.mail.recipients) == [A, C], "the others did not get theirs at once")
        for _ in range(3):
            pass_time(minutes=1)
            world.work()
        world.mail.busy = set()
        minutes = 0
        while owing() and minutes < 60:
            pass_time(minutes=1)
            minutes += 1
            world.work()
    case.count(tally(owed(jobs), world.mail.received))
    case.note(f"the others got theirs at once, {B} {minutes} minutes after the mailbox was free")
    case.expect(minutes <= 5, "it was not tried again within 5 minutes")
    yield case


def unknown_address(world: World) -> Iterator[Case]:
    """The mail server answers 550 for one of three addresses: given up at once, with the server's words, and seen."""
    case = Case("SMTP server answers 550 for 1 of 3 addresses")
    jobs = watch(1)
    make_due()
    world.mail.refused = {B}
    with world.consumer():
        world.work()
    case.count(tally(owed(jobs, [A, C]), world.mail.received))
    note_error(case, B)
    expect_given_up(case, B, "There is nobody of that name")
    yield case


def expect_given_up(case: Case, address: str, words: str) -> None:
    """After one attempt, with these words in sight, and the site's health says so."""
    message = Message.objects.get(address=address)
    case.expect(message.gave_up_at is not None and message.attempts == 1, f"{address} was not given up at once")
    case.expect(words in message.error, f"the error does not say {words!r}")
    case.expect("mail-given-up" in {problem.code for problem in problems(database_now())}, "nobody would see it")


def note_error(case: Case, address: str) -> None:
    case.note(f"{address}: {Message.objects.get(address=address).error!r}")


def closed_in_the_middle(world: World) -> Iterator[Case]:
    """The mail server closes the connection in the middle of the first of three mails."""
    case = Case("SMTP server closes in the middle of a mail's DATA")
    jobs = watch(1)
    make_due()
    world.mail.closes_in_data = 1
    with world.consumer():
        world.work()
        case.note(f"{len(world.mail.received)} of 3 mails came at once")
        case.expect(len(world.mail.received) == 2, "the others did not get theirs at once")
        pass_time(minutes=1)
        world.work()
    case.count(tally(owed(jobs), world.mail.received))
    yield case


def hanging(world: World) -> Iterator[Case]:
    """The mail server takes connections and is silent for 60 s of real time; a worker of two goes on ticking."""
    case = Case(f"SMTP server hangs for {HANGS} s, a worker with 2 threads")
    jobs = watch(1)
    world.mail.is_mute = True
    with world.consumer():
        make_due()
        waited = ticks_for(HANGS)
        world.mail.is_mute = False
        case.expect(world.settle(), "mails still wait after hours")
    case.count(tally(owed(jobs), world.mail.received))
    expect_undisturbed(case, waited)
    yield case


def ticks_for(seconds: float) -> list[float]:
    """Asks for a tick, and for what is owed to be sent, each 3 s; returns how long each tick took."""
    waited, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        dispatch_owed()
        waited.append(seconds_of_a_tick())
        time.sleep(max(0, min(3 - waited[-1], until - time.monotonic())))
    return waited


def expect_undisturbed(case: Case, waited: list[float]) -> None:
    case.note(f"{len(waited)} ticks meanwhile, the slowest done {max(waited):.1f} s after it was asked for")
    case.expect(max(waited) < NO_WAIT, f"a tick waited longer than {NO_WAIT} s")
