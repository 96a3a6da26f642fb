"""Back-tests: which mails a monitor's settings would have caused in the past, by the recorded history."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import takewhile

from monitoring.alerting.policy import Decision, Policy, decide, next_reminder, policy_of
from monitoring.alerting.words import summary_of
from monitoring.checking.backtest import known_since, replay
from monitoring.checking.incidents import after_check, wishes_of
from monitoring.conf import conf
from monitoring.models import Monitor, MonitorState
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.expectation import Expectation
from monitoring.values.facts import Facts, facts_of
from monitoring.values.incident import IncidentState
from monitoring.values.outage import is_excused
from monitoring.values.outcome import Check, Outcome
from monitoring.values.schedule import Schedule
from monitoring.values.text import one_line, written_span

DAY = timedelta(days=1)
SCHEDULES_REMEMBERED = 32  # with their due moments; monitors share schedules

# A configuration has no memory: each failing check owes a mail, and nothing recovers.
WITHOUT_MEMORY = Policy(tell_recovery=False)

KINDS = {Decision.OPENED: "alert", Decision.REMINDED: "alert again", Decision.RECOVERED: "recovery"}

LEFT_OUT = (
    "Of a run that was retried only the last attempt is known, and one that waited is taken to have been Queued. "
    "Acknowledging and snoozing are left out, and so are checks at times when nothing recorded runs."
)


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings to try; the monitor need not exist. `problem` says why they cannot be tried, if its row is corrupted."""

    name: str
    expectation: Expectation
    schedule: Schedule | None
    policy: Policy
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A mail that would have been owed, for an incident that opened at `opened_at`.

    `outcome` is what its check found or, for a reminder between two checks, what the last check found.
    """

    at: datetime
    decision: Decision
    outcome: Outcome
    opened_at: datetime

    @property
    def facts(self) -> Facts:
        return facts_of(self.outcome)

    @property
    def words(self) -> str:
        is_over = self.decision is Decision.RECOVERED
        return summary_of(self.facts, Evidence(opened_at=self.opened_at, closed_at=self.at) if is_over else NOTHING)


@dataclass(frozen=True, slots=True)
class Failing:
    """A span in which all checks failed; `until` is the first check that was fine again, None if there was none."""

    since: datetime
    until: datetime | None
    checks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackTest:
    """What the checks of a trial from `since` to `until` would have found and told.

    `since` is what was asked for or, if that is later, the beginning of the task's history. `problem` says why this
    cannot be known; then there are no results.
    """

    trial: Trial
    asked_since: datetime
    since: datetime
    until: datetime
    checks: int = 0
    said: tuple[Said, ...] = ()
    failing: tuple[Failing, ...] = ()
    problem: str = ""

    @property
    def alerts(self) -> int:
        return len(self.said) - self.recoveries

    @property
    def recoveries(self) -> int:
        return sum(each.decision is Decision.RECOVERED for each in self.said)

    @property
    def words(self) -> str:
        """`would have alerted 3 times in the last 30 days`."""
        times = {0: "not have alerted", 1: "have alerted once"}.get(self.alerts, f"have alerted {self.alerts:,} times")
        return f"would {times} in the last {_counted(self.until - self.since)}"

    @property
    def shortness(self) -> str:
        """What to say if the history does not go back as far as was asked for; else empty."""
        if self.problem or self.since <= self.asked_since:
            return ""
        days = conf().KEEP_RUNS_DAYS
        kept = f", since runs are kept for {days} days" if days and self.until - self.asked_since > DAY * days else ""
        return (
            f"The history of “{one_line(self.trial.expectation.task_name)}” goes back only "
            f"{_counted(self.until - self.since)}{kept}: earlier checks are not tried."
        )


def trial_of(monitor: Monitor) -> Trial:
    """The trial of a monitor as it is in memory, saved or not."""
    policy = policy_of(wishes_of(monitor, MonitorState()))
    try:
        return Trial(monitor.name, monitor.expectation(()), monitor.parsed_schedule(), policy)
    except (TypeError, ValueError) as error:
        unread = Expectation(task_name=monitor.task_name, expected_statuses=())
        return Trial(monitor.name, unread, None, policy, f"the monitor {monitor.name!r} cannot be read: {error}")


def trials_of(expectations: Iterable[Expectation], schedule: Schedule) -> list[Trial]:
    """The trials of a configuration that is checked on this schedule."""
    return [Trial(each.task_name, each, schedule, WITHOUT_MEMORY) for each in expectations]


def back_test(trials: Sequence[Trial], since: datetime, now: datetime) -> Iterator[BackTest]:
    """Yields the back-test of each trial, in their order, as soon as it is known.

    The checks of all trials are judged together, by `evaluate`. Memory holds only a piece of them at a time, and what
    would have been told.
    """

    @lru_cache(SCHEDULES_REMEMBERED)
    def due_moments(schedule: Schedule) -> list[datetime]:
        return list(takewhile(lambda moment: moment <= now, schedule.upcoming(since)))

    @lru_cache(len(trials))
    def begins(task_name: str) -> datetime | None:
        return known_since(task_name, now)

    def moments_of(trial: Trial) -> list[datetime]:
        begin = begins(trial.expectation.task_name)
        if trial.schedule is None or begin is None:
            return []
        moments = due_moments(trial.schedule)
        return moments[bisect_left(moments, begin) :]

    checks = (Check(trial.expectation, at=at, until=at) for trial in trials for at in moments_of(trial))
    outcomes = replay(checks)
    for trial in trials:
        begin = begins(trial.expectation.task_name)
        of_trial = (outcome for _, outcome in zip(moments_of(trial), outcomes, strict=False))
        asked = BackTest(trial=trial, asked_since=since, since=max(since, begin or now), until=now)
        yield _found(asked, of_trial, begin)


class _Course:
    """How a monitor's incidents would have gone, check by check, and what would have been told."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.checks = 0
        self.reason = ""  # why a check could not be judged
        self.excuse = ""  # why a check was left out
        self.said: list[Said] = []
        self.incidents: list[IncidentState] = []
        self._open: IncidentState | None = None
        self._failed: Outcome | None = None

    def check(self, outcome: Outcome) -> None:
        if is_excused(outcome):
            self.excuse = outcome.reason
            return
        at = outcome.check.at
        self.checks += 1
        self.reason = outcome.reason or self.reason
        self.pass_time(at)
        incident = after_check(self._open, outcome.is_as_expected, at)
        if incident is None:
            return
        if incident is not self._open:
            self.incidents.append(incident)
        self._decide(incident, outcome, at)
        self._open = None if incident.closed_at else incident
        self._failed = outcome

    def pass_time(self, before: datetime) -> None:
        """Notes the reminders that come due before then.

        Live, each minute's round decides whether to remind; the answer can change only at these instants.
        """
        while self._open and self._failed and (due := next_reminder(self._open, self.policy)) and due < before:
            self._decide(self._open, self._failed, due)

    def _decide(self, incident: IncidentState, outcome: Outcome, at: datetime) -> None:
        decision = decide(incident, self.policy, at)
        if decision.speaks:
            self.said.append(Said(at, decision, outcome, incident.opened_at))
            incident.told_at = at


def _found(asked: BackTest, outcomes: Iterable[Outcome], begin: datetime | None) -> BackTest:
    course = _Course(asked.trial.policy)
    for outcome in outcomes:
        course.check(outcome)
    course.pass_time(asked.until + timedelta.resolution)
    # If something prevents judging now, nothing can be said about the past either.
    if problem := asked.trial.problem or course.reason or _nothing_tried(asked, course, begin):
        return replace(asked, problem=problem)
    failing = tuple(Failing(each.opened_at, each.closed_at, each.failing_checks) for each in course.incidents)
    return replace(asked, checks=course.checks, said=tuple(course.said), failing=failing)


def _nothing_tried(asked: BackTest, course: _Course, begin: datetime | None) -> str:
    if course.checks or course.excuse:
        return "" if course.checks else course.excuse
    if begin is None:
        return f"no run of “{one_line(asked.trial.expectation.task_name)}” is recorded"
    known = _counted(asked.until - asked.since)
    if begin > asked.asked_since:
        return f"its oldest recorded run is only {known} old, and no check has been due since"
    return f"no check was due in the last {known}"


def _counted(span: timedelta) -> str:
    """`30 days`, `12 hours`, `1 d 23 h`."""
    for unit, length in ("day", DAY), ("hour", timedelta(hours=1)):
        number, rest = divmod(span, length)
        if not rest and (unit == "day" or span < DAY):
            return unit if number == 1 else f"{number} {unit}s"
    return written_span(span)
