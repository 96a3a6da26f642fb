"""The back-test: what it tells of the past is what would have been told, had the monitor been there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from monitoring.alerting.policy import Decision
from monitoring.backtest import BackTest, Failing, back_test, trial_of, trials_of
from monitoring.models import Alert, BackgroundTask, Delivery, Incident, Monitor, MonitorState, Outage
from monitoring.tick import tick
from monitoring.values.facts import AlertKind, Facts
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import parse_schedule
from tests.factories import NOW, make_expectation, make_monitor, make_run

pytestmark = pytest.mark.django_db

# A history that is watched by a tick at each of its steps, on which every check and every reminder falls.
STEP = timedelta(minutes=10)
STEPS = 24
END = NOW.replace(minute=40)
BEGIN = END - STEPS * STEP
TASK = "daily_report"


@dataclass(frozen=True)
class Life:
    """A run from its submission on; what has not happened to it is None. A retried one is its last attempt."""

    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    status: RunStatus
    """How it ended or, where nobody says when, how it stood from its start on."""

    @property
    def began(self) -> datetime:
        return min(time for time in (self.submitted_at, self.started_at) if time)

    @property
    def first_sign(self) -> datetime:
        """The first that its row says at the END: a run that started stands in the history by its start."""
        started = self.started_at if self.started_at and self.started_at <= END else None
        return started or self.began

    def at(self, instant: datetime) -> dict[str, Any] | None:
        """Its row as it stood then."""
        if instant < self.began:
            return None
        row = {"submitted_at": self.submitted_at, "started_at": self.started_at, "finished_at": self.finished_at}
        if self.finished_at and self.finished_at <= instant:
            return row | {"status": self.status}
        if self.started_at is None or self.started_at > instant:
            stands = RunStatus.QUEUED if self.started_at or self.finished_at else self.status
            return row | {"started_at": None, "finished_at": None, "status": stands}
        return row | {"finished_at": None, "status": RunStatus.RUNNING if self.finished_at else self.status}


# Most instants lie on the steps, give or take a microsecond.
_instants = st.builds(
    lambda steps, microseconds: BEGIN + steps * STEP + timedelta(microseconds=microseconds),
    st.integers(0, STEPS + 6) | st.floats(0, STEPS),
    st.sampled_from([-1, 0, 0, 1]),
)
_spans = st.sampled_from([timedelta(0), timedelta(seconds=3), STEP, 3 * STEP, 9 * STEP])


@st.composite
def _lives(draw: st.DrawFn) -> Life:
    began = draw(_instants)
    match draw(st.sampled_from(["runs", "waits and runs", "was never said to end", "waits", "is given up"])):
        case "runs":
            return Life(None, began, began + draw(_spans), draw(st.sampled_from(RunStatus)))
        case "waits and runs":
            started = began + draw(_spans)
            return Life(began, started, started + draw(_spans), draw(st.sampled_from(RunStatus)))
        case "was never said to end":
            return Life(draw(st.none() | st.just(began)), began, None, draw(st.sampled_from(RunStatus)))
        case "waits":
            return Life(began, None, None, draw(st.sampled_from([RunStatus.PENDING, RunStatus.QUEUED])))
    return Life(began, None, began + draw(_spans), RunStatus.CANCELLED)


_statuses = st.lists(st.sampled_from(RunStatus), min_size=1, max_size=3, unique=True)
_settings = st.fixed_dictionaries(
    {
        "expected_statuses": st.just([RunStatus.COMPLETED]) | st.just([RunStatus.QUEUED]) | _statuses,
        "lookback_hours": st.sampled_from([0.1, 0.5, 1, 2]),
        "schedule": st.sampled_from(["every 10 minutes", "10-59/30 * * * *", "@hourly", "40 */2 * * *"]),
        "alert_after": st.integers(1, 3),
        "repeat": st.sampled_from(["every-check", "hours", "once"]),
        "repeat_hours": st.integers(1, 2),
        "tell_recovery": st.booleans(),
    }
)


def watch_live(lives: Sequence[Life], since: datetime) -> None:
    """Plays the history row by row, and ticks at each step; the monitors are there from `since` on."""
    Monitor.objects.update(changed_at=since - timedelta(microseconds=1))
    MonitorState.objects.update(next_check_at=None)
    in_order = sorted(enumerate(lives), key=lambda numbered: numbered[1].began)
    for step in range(STEPS + 1):
        now = BEGIN + step * STEP
        for number, life in in_order:
            if row := life.at(now):
                known = {"task_id": f"run {number}", "defaults": {"task_name": TASK, **row}}
                BackgroundTask.objects.update_or_create(**known)
        if now >= since:
            tick(now)


def told_live(monitor: Monitor) -> list[tuple[datetime, bool, Facts]]:
    alerts = Alert.objects.filter(incident__monitor=monitor).order_by("id")
    told = [(alert.created_at, Facts.from_json(alert.facts)) for alert in alerts]
    return [(at, facts.kind is AlertKind.RESOLVED, replace(facts, time_zone="")) for at, facts in told]


def told_by(found: BackTest) -> list[tuple[datetime, bool, Facts]]:
    return [(said.at, said.decision is Decision.RECOVERED, said.facts) for said in found.said]


def failed_live(monitor: Monitor) -> list[Failing]:
    incidents = Incident.objects.filter(monitor=monitor).order_by("opened_at")
    return [Failing(each.opened_at, each.closed_at, each.failing_checks) for each in incidents]


def tried(monitor: Monitor, since: datetime = BEGIN - STEP, now: datetime = END) -> BackTest:
    (found,) = back_test([trial_of(monitor)], since, now)
    return found


@settings(
    max_examples=20, phases=[Phase.generate], deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lives=st.lists(_lives(), min_size=1, max_size=12), wanted=st.lists(_settings, min_size=6, max_size=6))
def test_it_tells_what_checking_live_would_have_told(lives: list[Life], wanted: list[dict[str, Any]]) -> None:
    for model in (Delivery, Alert, Incident, Monitor, BackgroundTask):
        model.objects.all().delete()
    monitors = [make_monitor(f"monitor {number}", **each) for number, each in enumerate(wanted)]
    begins = min((life.first_sign for life in lives if life.began <= END), default=END)
    watch_live(lives, begins)
    trials = [trial_of(monitor) for monitor in monitors]
    for monitor, found in zip(monitors, back_test(trials, BEGIN - STEP, END), strict=True):
        if not found.problem:  # such as no due moment since the first run
            assert told_by(found) == told_live(monitor)
            assert list(found.failing) == failed_live(monitor)


# --- by hand


@pytest.fixture
def two_days() -> Monitor:
    """Runs at each full hour of the last two days; of those 5 and 6 hours ago the end was an error."""
    for hours in range(48):
        status = "Stopped" if hours in (5, 6) else "Completed"
        started_at = END.replace(minute=0) - timedelta(hours=hours)
        make_run(status=status, started_at=started_at, finished_at=started_at + timedelta(minutes=5))
    return make_monitor(schedule="30 * * * *", lookback_hours=1)


def test_it_says_when_which_mail_would_have_gone_and_what_it_would_have_said(two_days: Monitor) -> None:
    found = tried(two_days, END - timedelta(days=1))
    assert [(f"{said.at:%H:%M}", said.decision, said.words) for said in found.said] == [
        ("02:30", Decision.OPENED, "daily_report ended as Stopped after 5 min."),
        ("03:30", Decision.REMINDED, "daily_report ended as Stopped after 5 min."),
        ("04:30", Decision.RECOVERED, "daily_report is as expected again: it failed for 2 h."),
    ]
    assert (found.checks, found.alerts, found.recoveries) == (24, 2, 1)
    assert (found.words, found.shortness) == ("would have alerted 2 times in the last day", "")


def test_a_configuration_has_no_memory(two_days: Monitor) -> None:
    trials = trials_of([two_days.expectation(())], two_days.parsed_schedule())
    (found,) = back_test(trials, END - timedelta(days=1), END)
    assert [f"{said.at:%H:%M}" for said in found.said] == ["02:30", "03:30"]
    assert found.recoveries == 0


def test_reminders_come_between_checks_too_and_until_now(two_days: Monitor) -> None:
    BackgroundTask.objects.filter(started_at__gt=END - timedelta(hours=6)).delete()
    settings = {"schedule": "30 3,8 * * *", "repeat": "hours", "repeat_hours": 2}
    monitor = make_monitor("another", lookback_hours=0.1, **settings)
    found = tried(monitor, END - timedelta(hours=8), END.replace(hour=9, minute=30))
    assert [f"{said.at:%H:%M}" for said in found.said] == ["03:30", "05:30", "07:30", "09:30"]


def test_nothing_is_written_and_no_one_is_told(two_days: Monitor) -> None:
    tried(two_days)
    assert (Incident.objects.count(), Alert.objects.count()) == (0, 0)


def test_a_history_that_is_shorter_than_what_was_asked_is_said_to_be_and_nothing_is_tried_before(
    two_days: Monitor,
) -> None:
    found = tried(two_days, END - timedelta(days=30))
    assert (found.checks, found.since) == (48, END.replace(minute=0) - timedelta(hours=47))
    assert found.words == "would have alerted 2 times in the last 1 d 23 h"
    assert found.shortness == ("The history of “daily_report” goes back only 1 d 23 h: earlier checks are not tried.")
    pruned = tried(two_days, END - timedelta(days=91)).shortness
    assert "only 1 d 23 h, since runs are kept for 90 days: " in pruned


@pytest.mark.parametrize(
    ("over", "problem"),
    [
        ({"task_name": "other"}, "no run of “other” is recorded"),
        ({"schedule": "0 0 1 1 *"}, "no check was due in the last day"),
        ({"context_model": "gap.models.Gone"}, "context model 'gap.models.Gone': "),
        ({"schedule": "nonsense"}, "the monitor 'daily report' cannot be read: 'nonsense' has 1 field instead of 5"),
        ({"expected_statuses": ["Nope"]}, "the monitor 'daily report' cannot be read: 'Nope'"),
    ],
)
def test_what_cannot_be_told_says_why(two_days: Monitor, over: dict[str, Any], problem: str) -> None:
    for name, value in over.items():
        setattr(two_days, name, value)
    found = tried(two_days, END - timedelta(days=1))
    assert found.problem.startswith(problem)
    assert (found.said, found.checks, found.shortness) == ((), 0, "")


def test_without_a_check_since_the_first_run_it_says_how_old_that_is(two_days: Monitor) -> None:
    two_days.schedule = "0 0 1 1 *"
    said = "its oldest recorded run is only 1 d 23 h old, and no check has been due since"
    assert tried(two_days, END - timedelta(days=7)).problem == said


def test_a_time_in_which_nothing_recorded_runs_is_left_out_and_the_rest_is_tried(two_days: Monitor) -> None:
    since = END - timedelta(days=1)
    silence = {"silent_from": since + timedelta(hours=6), "silent_until": since + timedelta(hours=16)}
    runs = BackgroundTask.objects.filter(started_at__gt=silence["silent_from"])
    runs.filter(started_at__lt=silence["silent_until"]).delete()
    told = tried(two_days, since)
    Outage.objects.create(began_at=silence["silent_from"], ended_at=silence["silent_until"], **silence)
    found = tried(two_days, since)
    assert (told.checks, found.checks) == (24, 15), "nine windows lie in the silence as a whole"
    assert found.alerts == told.alerts - 9
    assert found.problem == ""
    # A run of that time that was written down late was found by checks, between two that found none.
    for hours in range(8, 15):
        late = make_run(started_at=since + timedelta(hours=hours), finished_at=since + timedelta(hours=hours))
        assert tried(two_days, since).checks == 16
        late.delete()
    Outage.objects.update(silent_from=END - timedelta(days=40))
    unknown = tried(two_days, silence["silent_until"] - timedelta(hours=2), silence["silent_until"])
    assert unknown.problem.startswith("no run could be recorded from ")


def test_trials_are_independent_and_come_in_their_order(two_days: Monitor) -> None:
    wanted = [make_expectation(), make_expectation("other"), make_expectation(lookback_hours=0.4)]
    hourly, daily = two_days.parsed_schedule(), parse_schedule("@daily", "UTC")
    trials = [*trials_of(wanted, hourly), *trials_of(wanted, daily)]
    since = END - timedelta(days=1)
    together = list(back_test(trials, since, END))
    alone = [found for trial in trials for found in back_test([trial], since, END)]
    assert together == alone
    assert [found.checks for found in together] == [24, 0, 24, 1, 0, 1]
