"""The raw statements against a twin in plain Python, over runs and checks that nobody chose."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitoring.checking.evaluation import evaluate
from monitoring.models import BackgroundTask
from monitoring.values.expectation import Expectation
from monitoring.values.outcome import END_OF_TIME, Check, Verdict
from monitoring.values.run_event import BEFORE_START, RunStatus
from monitoring.values.text import storable_name
from project.demo.models import CollectorSession, IngestorSession
from tests.factories import NOW

NAMES = ["sync", "Sync", "sync ", "sýnc", "🧨", "a\0b", "a'b\"%s", "\ud83e", "x" * 300]
MODELS = {"gap.models.IngestorSession": IngestorSession, "gap.CollectorSession": CollectorSession}
SESSIONS = [
    (IngestorSession, 1, "Hourly"),
    (IngestorSession, 2, "Daily"),
    (IngestorSession, 10**18 + 1, "Hourly"),
    (CollectorSession, 1, "Daily"),
    (CollectorSession, 3, "Hourly"),
]
CONTEXT_IDS = [None, "", "0", "1", "2", "3", "01", "1.0", "abc", "1 ", str(10**18 + 1), "9" * 40]


@dataclass(frozen=True)
class Run:
    name: str
    status: RunStatus
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    context_id: str | None


# Most instants lie on the edges of windows, give or take a microsecond.
_instants = st.builds(
    lambda minutes, microseconds: NOW + timedelta(minutes=minutes, microseconds=microseconds),
    st.sampled_from([-120, -90, -60, -30, 0, 30]) | st.integers(-150, 60),
    st.sampled_from([-1, 0, 0, 1, 500_000]),
)
runs = st.builds(
    Run,
    name=st.sampled_from(NAMES[:2]) | st.sampled_from(NAMES),
    status=st.sampled_from(RunStatus),
    submitted_at=st.none() | _instants,
    started_at=st.none() | _instants,
    finished_at=st.none() | _instants,
    context_id=st.sampled_from(CONTEXT_IDS),
) | st.builds(
    Run,
    name=st.just(NAMES[0]),
    status=st.sampled_from(sorted(BEFORE_START)),
    submitted_at=_instants,
    started_at=st.none(),
    finished_at=st.none(),
    context_id=st.none(),
)
expectations = st.builds(
    Expectation,
    task_name=st.sampled_from(NAMES[:2]) | st.sampled_from(NAMES),
    expected_statuses=st.lists(st.sampled_from(RunStatus), min_size=1, max_size=4, unique=True).map(tuple),
    lookback_hours=st.sampled_from([0.5, 1.0, 1.5, 2.0]),
    context_model=st.none() | st.sampled_from(sorted(MODELS)),
    context_type=st.none(),
) | st.builds(
    Expectation,
    task_name=st.sampled_from(NAMES[:2]),
    expected_statuses=st.just((RunStatus.COMPLETED,)),
    lookback_hours=st.sampled_from([1.0, 2.0]),
    context_model=st.sampled_from(sorted(MODELS)),
    context_type=st.sampled_from(["Hourly", "Daily", "Weekly"]),
)
_checks = st.builds(
    Check,
    expectation=expectations,
    at=_instants,
    until=st.just(END_OF_TIME) | _instants,
    not_passed=st.sampled_from([timedelta(0), timedelta(hours=1)]),
)


def verdict_of(check: Check, rows: list[BackgroundTask]) -> tuple[Verdict, str | None]:
    """What spec.md says of a check, said again: the verdict and the task id of the run that decided."""
    expectation = check.expectation
    matching = [
        run for run in rows if run.task_name == storable_name(expectation.task_name) and in_context(run, expectation)
    ]
    started = [run for run in matching if run.started_at and check.threshold <= run.started_at <= check.until]
    if started:
        run = max(started, key=lambda run: (run.started_at, run.id))
        ended_later = run.finished_at is not None and run.finished_at > check.until
        status = RunStatus.RUNNING if ended_later else run.status
    else:
        if not {"Pending", "Queued", "Cancelled"}.intersection(expectation.expected_statuses):
            return Verdict.NOT_EXECUTED, None
        unstarted = [
            run
            for run in matching
            if not (run.started_at and run.started_at <= check.until)
            and run.submitted_at
            and check.threshold <= run.submitted_at <= check.until
        ]
        if not unstarted:
            return Verdict.NOT_EXECUTED, None
        run = max(unstarted, key=lambda run: (run.submitted_at, run.id))
        went_on_later = any(then and then > check.until for then in (run.started_at, run.finished_at))
        status = RunStatus.QUEUED if went_on_later else run.status
    is_expected = status in expectation.expected_statuses
    return Verdict.AS_EXPECTED if is_expected else Verdict.STATUS_MISMATCH, run.task_id


def in_context(run: BackgroundTask, expectation: Expectation) -> bool:
    if expectation.context_model is None:
        return True
    return any(
        model is MODELS[expectation.context_model]
        and run.context_id == str(key)
        and expectation.context_type in (None, kind)
        for model, key, kind in SESSIONS
    )


@pytest.mark.django_db
def test_the_statements_find_what_plain_python_finds() -> None:
    for model, key, kind in SESSIONS:
        model.objects.create(pk=key, ingestor_type=kind)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(runs, max_size=25), st.lists(_checks, min_size=1, max_size=12))
    @example([], [Check(Expectation(task_name="sync", expected_statuses=(RunStatus.QUEUED,)), NOW)])
    def finds_the_same(history: list[Run], checks: list[Check]) -> None:
        BackgroundTask.objects.all().delete()
        BackgroundTask.objects.bulk_create(
            BackgroundTask(
                task_id=f"run {place}",
                task_name=storable_name(run.name),
                status=run.status,
                submitted_at=run.submitted_at,
                started_at=run.started_at,
                finished_at=run.finished_at,
                context_id=run.context_id,
            )
            for place, run in enumerate(history)
        )
        rows = list(BackgroundTask.objects.all())
        outcomes = evaluate(checks)
        assert [(outcome.verdict, outcome.run and outcome.run.task_id) for outcome in outcomes] == [
            verdict_of(check, rows) for check in checks
        ]

    finds_the_same()
