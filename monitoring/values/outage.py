"""The monitor's own outages: whether there was one, and what cannot be known about runs during it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from monitoring.values.outcome import Outcome, Verdict

NOT_RECORDED = "no run could be recorded"
DEAD_AFTER = timedelta(seconds=15)  # a process that records runs is dead if it was silent for longer
DOWN_AFTER = timedelta(minutes=5)  # rounds come every minute; a restart or a few skipped rounds are no outage


@dataclass(frozen=True, slots=True)
class Period:
    began_at: datetime
    ended_at: datetime

    @property
    def length(self) -> timedelta:
        return self.ended_at - self.began_at

    def shared(self, other: "Period") -> timedelta:
        """How long the two overlap."""
        both = min(self.ended_at, other.ended_at) - max(self.began_at, other.began_at)
        return max(both, timedelta(0))

    def __str__(self) -> str:
        return f"from {_written(self.began_at)} to {_written(self.ended_at)}"


@dataclass(frozen=True, slots=True)
class Down:
    """An outage that is over, with its silent part; `late` monitors were due to be checked while it lasted."""

    span: Period
    silent: Period | None
    late: int


@dataclass(frozen=True, slots=True)
class Life:
    """A process that records runs: it last beat at `until`, without a break since `since` (None: not known)."""

    since: datetime | None
    until: datetime


def outage_between(last_round: datetime | None, now: datetime, steps: Sequence[Period] = ()) -> Period | None:
    """The span from the last round to this one, if it is an outage; None before the first round: nothing has begun.

    `steps` are spans that a clock was merely set forwards over: nothing was down in them.
    """
    if last_round is None:
        return None
    span = Period(last_round, now)
    passed = span.length - sum((span.shared(step) for step in steps), timedelta(0))
    return span if passed > DOWN_AFTER else None


def silent_part(outage: Period, lives: Sequence[Life], recorded: Iterable[datetime]) -> Period | None:
    """The part of an outage in which no run could have been recorded, as far as is known; None if there is none.

    It lasts from the last sign of life of the processes that are gone to the first sign of life of those alive when
    the outage ends. Signs of life are beats, and the times of runs recorded meanwhile by a process that has since left
    in good order. If a process lived before the outage and has beaten since without a break, there is no silent part.
    Nor is there one if no process beats at the end of the outage: then it is not known who records.
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
    """The outcomes, with NOT_EXECUTED turned into NOT_JUDGED if no run could have been recorded in the whole window.

    The window is the check's own, from its threshold to its instant. A run that was found decides, whenever it was
    recorded. A run that waits also keeps its verdict: it was submitted, so it is known what did not happen. People
    still hear of it: NOT_JUDGED is reported like any failure, since they want to know that all workers were down for
    hours. Only the wording differs: otherwise it would claim that a job did not run, on the word of a recorder that was
    not there.
    """
    return [_excused(outcome, silences) for outcome in outcomes] if silences else list(outcomes)


def is_excused(outcome: Outcome) -> bool:
    """Whether `excused` made this outcome: it is about a time in which nothing was checked either."""
    return outcome.verdict is Verdict.NOT_JUDGED and outcome.reason.startswith(NOT_RECORDED)


def _excused(outcome: Outcome, silences: Sequence[Period]) -> Outcome:
    if outcome.verdict is not Verdict.NOT_EXECUTED or outcome.waiting:
        return outcome
    check = outcome.check
    for silence in silences:
        if silence.began_at <= check.threshold and check.at <= silence.ended_at:
            return outcome._replace(verdict=Verdict.NOT_JUDGED, reason=f"{NOT_RECORDED} {silence}")
    return outcome


def _written(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
