"""Many monitors at once, and many workers."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

from monitoring.models import Message
from monitoring.tasks import tick_monitors
from tests.consumer import wait_for
from tests.faults.report import Case
from tests.faults.tally import Said, part, tally
from tests.faults.world import EVERYBODY, A, World, make_due, owed, watch

TIMES = 5
LINE_MAX = 998  # bytes, RFC 5322 2.1.1


def sixty_at_once(world: World) -> Iterator[Case]:
    """60 monitors are due, three consumers of four workers each tick and send at once; this five times.

    One address is owed all 60, as one mail; ten others are owed six each, one by one.
    """
    case = Case(f"60 monitors due, 3 consumers x 4 workers, {TIMES} times")
    promised: set[Said] = set()
    with ExitStack() as crew:
        consumers = [crew.enter_context(world.consumer(workers=4)) for _ in range(3)]
        for _ in range(TIMES):
            for team in range(10):
                addresses = [A, f"team-{team}@example.com"]
                promised |= owed(watch(6, addresses, first=len(promised) // 2), addresses)
            make_due()
            world.work(times=12)
        case.expect(world.settle(), "mails still wait after hours")
        said = "".join(consumer.output() for consumer in consumers)
    case.count(tally(promised, world.mail.received))
    troubles = [line for line in said.splitlines() if " ERROR " in line or " WARNING " in line or "Error" in line]
    case.expect(not troubles, f"the consumers complained: {troubles[:3]}")
    case.expect(not Message.objects.exclude(error="").exists(), "an attempt failed")
    yield case


def thousand_at_once(world: World) -> Iterator[Case]:
    """1,000 monitors begin to fail in one round and owe alerts to three addresses; one worker sends them."""
    case = Case("1,000 monitors fail in one round, 1 worker")
    jobs = watch(1000)
    with world.consumer(workers=1):
        make_due()
        began = time.monotonic()
        tick_monitors()
        wait_for(lambda: len(world.mail.received) >= len(EVERYBODY), 120)
        seconds = time.monotonic() - began
        case.expect(world.settle(), "mails still wait after hours")
    case.count(tally(owed(jobs), world.mail.received))
    case.expect(len(world.mail.received) == len(EVERYBODY), "an address got more than one mail")
    _, mail = world.mail.received[0]
    raw = mail.as_bytes()
    case.note(
        f"{seconds:.1f} s from the tick to the last mail's arrival; {mail['Subject']!r}, {len(raw) // 1024} kB, "
        f"text of {len(part(mail, 'plain').splitlines())} lines"
    )
    case.expect(max(map(len, raw.splitlines())) <= LINE_MAX, f"a line is longer than {LINE_MAX} bytes")
    yield case
