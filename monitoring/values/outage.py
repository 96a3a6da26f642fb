"""The monitor's own outages: whether there was one, and what cannot be said of runs in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from monitoring.values.outcome import Outcome, Verdict

NOTHING_ALIVE = "nothing that records runs was alive"
DEAD_AFTER = timedelta(seconds=15)  # a process that records runs and was silent for longer
DOWN_AFTER = timedelta(minutes=5)  # a round comes each minute; a restart or a few that were skipped are no outage


@dataclass(frozen=True, slots=True)
class Period:
    began_at: datetime
    ended_at: datetime

    @property
    def length(self) -> timedelta:
        return self.ended_at - self.began_at

    def shared(self, other: "Period") -> timedelta:
        """How long both are."""
        both = min(self.ended_at, other.ended_at) - max(self.began_at, other.began_at)
        return max(both, timedelta(0))

    def __str__(self) -> str:
        return f"from {_written(self.began_at)} to {_written(self.ended_at)}"


@dataclass(frozen=True, slots=True)
class Down:
    """An outage that is over, with its silent part; `late` monitors wanted to be checked while it lasted."""

    span: Period
    silent: Period | None
    late: int


@dataclass(frozen=True, slots=True)
class Life:
    """A process that records runs: it beat until then, without a break since then. None: nobody knows since when."""

    since: datetime | None
    until: datetime


def outage_between(last_round: datetime | None, now: datetime, steps: Sequence[Period] = ()) -> Period | None:
    """From the last round to this one, if that is long; None where there was none before: nothing has begun yet.

    `steps` are spans that a clock was only set forwards over: no time in which anything was down.
    """
    if last_round is None:
        return None
    span = Period(last_round, now)
    passed = span.length - sum((span.shared(step) for step in steps), timedelta(0))
    return span if passed > DOWN_AFTER else None


def silent_part(outage: Period, lives: Sequence[Life], recorded: Iterable[datetime]) -> Period | None:
    """The part of an outage in which no run could have been recorded, as far as anybody knows; None if there is none.

    It lasts from the last sign of life of what is gone to the first of what lives when the outage ends. Signs of life
    are beats, and the times of runs that were recorded all the same, by a process that has left in good order. What
    lived before the outage and has beaten since without a break leaves no silent part. Nor does an outage at whose end
    nothing lives that says so: who records there is not known.
    """
    alive_from = outage.ended_at - DEAD_AFTER
    living = [life.since or outage.began_at for life in lives if life.until >= alive_from]
    if not living:
        return None
    ends = min([outage.ended_at, *living])
    gone = [life.until for life in lives if life.until < alive_from]
    begins = max([outage.began_at, *gone, *(time for time in recorded if time < ends)])
    return Period(begins, ends) if begins < ends else None


def excused(outcomes: Sequence[Outcome], silences: Sequence[Period]) -> list[Outcome]:
    """The outcomes, but that no run was found is NOT_JUDGED where none could have been recorded in all of the window.

    The window is the check's own, from its threshold to its instant. A run that was found decides, whenever it was
    recorded, and one that waits was submitted to somebody: then it is known what did not happen. Nobody is kept from
    hearing of it: what could not be judged is told as any failure is, since that all workers were down for hours is
    what people want to know. Only the words differ, which else would claim that a job did not run, on the word of a
    recorder that was not there.
    """
    return [_excused(outcome, silences) for outcome in outcomes] if silences else list(outcomes)


def is_excused(outcome: Outcome) -> bool:
    """Whether it is one that `excused` has made: of a time in which nobody checked either."""
    return outcome.verdict is Verdict.NOT_JUDGED and outcome.reason.startswith(NOTHING_ALIVE)


def _excused(outcome: Outcome, silences: Sequence[Period]) -> Outcome:
    if outcome.verdict is not Verdict.NOT_EXECUTED or outcome.waiting:
        return outcome
    check = outcome.check
    for silence in silences:
        if silence.began_at <= check.threshold and check.at <= silence.ended_at:
            return outcome._replace(verdict=Verdict.NOT_JUDGED, reason=f"{NOTHING_ALIVE} {silence}")
    return outcome


def _written(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
