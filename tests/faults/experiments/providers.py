"""A mail provider that takes mails over HTTP, through Anymail, and has its own ways to say no."""

from collections.abc import Iterator

from monitoring.alerting.outbox import send_again
from monitoring.models import Message, database_alias, database_now
from tests.faults.experiments.mailservers import expect_given_up, expect_undisturbed, note_error, ticks_for
from tests.faults.provider import Provider, provider
from tests.faults.report import Case
from tests.faults.tally import tally
from tests.faults.world import EVERYBODY, A, B, C, World, make_due, owed, pass_time, watch

MUTE = 30  # seconds


def provider_errors(world: World) -> Iterator[Case]:
    """A mail provider over HTTP answers 429, 500, 401, that an address is inactive, or nothing at all."""
    for experiment in (_too_many_requests, _internal_error, _wrong_key, _inactive_address, _no_answer):
        world.reset()
        with provider() as esp:
            jobs = watch(1)
            make_due()
            yield experiment(world, esp, jobs)


def _too_many_requests(world: World, esp: Provider, jobs: list[str]) -> Case:
    return _passing_error(world, esp, jobs, 429)


def _internal_error(world: World, esp: Provider, jobs: list[str]) -> Case:
    return _passing_error(world, esp, jobs, 500)


def _passing_error(world: World, esp: Provider, jobs: list[str], status: int) -> Case:
    case = Case(f"provider answers {status} for 1 of 3 addresses")
    esp.status = {B: status}
    with world.consumer(EMAIL_URL=esp.url()):
        world.work()
        case.expect(_told(esp) == [A, C], "the others did not get theirs at once")
        pass_time(minutes=1)
        world.work()
        esp.status = {}
        pass_time(minutes=2)
        world.work()
    case.count(tally(owed(jobs), esp.received))
    case.note(f"{B}: {Message.objects.get(address=B).attempts} attempts in 3 minutes")
    return case


def _wrong_key(world: World, esp: Provider, jobs: list[str]) -> Case:
    case = Case("provider answers 401; then the key is right and 'send again' is pressed")
    with world.consumer(EMAIL_URL=esp.url(token="wrong")):
        world.work()
    for address in EVERYBODY:
        expect_given_up(case, address, "401")
    note_error(case, A)
    with world.consumer(EMAIL_URL=esp.url()):
        send_again(list(Message.objects.values_list("id", flat=True)), database_now(), database_alias())
        world.work()
    case.count(tally(owed(jobs), esp.received))
    return case


def _inactive_address(world: World, esp: Provider, jobs: list[str]) -> Case:
    case = Case("provider says at once that 1 of 3 addresses is inactive")
    esp.inactive = {B}
    with world.consumer(EMAIL_URL=esp.url()):
        world.work()
    case.count(tally(owed(jobs, [A, C]), esp.received))
    note_error(case, B)
    expect_given_up(case, B, "inactive")
    return case


def _no_answer(world: World, esp: Provider, jobs: list[str]) -> Case:
    case = Case(f"provider answers nothing for {MUTE} s, a worker with 2 threads")
    esp.is_mute = True
    with world.consumer(EMAIL_URL=esp.url()):
        waited = ticks_for(MUTE)
        esp.is_mute = False
        case.expect(world.settle(), "mails still wait after hours")
    case.count(tally(owed(jobs), esp.received))
    expect_undisturbed(case, waited)
    return case


def _told(esp: Provider) -> list[str]:
    return sorted(address for addresses, _ in esp.received for address in addresses)
