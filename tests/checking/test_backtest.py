"""What checks of the past would have found, against asking about each of them."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.checking import backtest
from monitoring.checking.backtest import known_since, replay
from monitoring.checking.evaluation import evaluate
from monitoring.models import BackgroundTask
from monitoring.values.expectation import Expectation
from monitoring.values.outcome import Check
from monitoring.values.text import storable_name
from tests.checking.test_probe_oracle import SESSIONS, Run, expectations, runs
from tests.factories import NOW, ago, make_expectation, make_run

pytestmark = pytest.mark.django_db


def checks_of(expectation: Expectation, minutes: int, step: int = 1) -> list[Check]:
    """Each `step` minutes, the last of them at NOW."""
    instants = [ago(minutes=minute) for minute in range(minutes - 1, -1, -step)]
    return [Check(expectation, at=at, until=at) for at in instants]


def test_a_replay_finds_what_asking_about_each_check_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    for model, key, kind in SESSIONS:
        model.objects.create(pk=key, ingestor_type=kind)

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(runs, max_size=15), st.lists(expectations, min_size=1, max_size=3), st.sampled_from([7, 50, 10_000])
    )
    def finds_the_same(history: list[Run], wanted: list[Expectation], piece: int) -> None:
        monkeypatch.setattr(backtest, "PIECE", piece)
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
        checks = [check for expectation in wanted for check in checks_of(expectation, 150, 5)]
        assert list(replay(checks)) == evaluate(checks)

    finds_the_same()


def test_a_context_that_is_gone_is_said_of_every_check() -> None:
    checks = checks_of(make_expectation(context_model="gap.models.Gone"), 60)
    assert {outcome.reason for outcome in replay(checks)} == {outcome.reason for outcome in evaluate(checks)}


@pytest.mark.parametrize("minutes", [60, 600])
def test_a_long_quiet_time_costs_few_questions(minutes: int) -> None:
    make_run(started_at=ago(minutes=minutes, seconds=1))
    checks = checks_of(make_expectation(lookback_hours=24), minutes)
    with CaptureQueriesContext(connection) as asked:
        assert len(list(replay(checks))) == minutes
    assert len(asked) == 1


def test_the_statements_grow_with_the_logarithm_of_the_checks_not_with_the_runs() -> None:
    for minute in range(600):
        make_run(started_at=ago(minutes=minute), finished_at=ago(minutes=minute - 0.5))
    with CaptureQueriesContext(connection) as asked:
        list(replay(checks_of(make_expectation(lookback_hours=0.5), 600)))
    assert len(asked) <= 11


def test_history_begins_with_the_oldest_run() -> None:
    make_run("other", started_at=ago(days=9))
    make_run(started_at=ago(days=3))
    make_run(started_at=ago(days=5))
    assert known_since("daily_report", NOW) == ago(days=5)


def test_history_begins_with_a_run_that_never_started_if_that_is_older() -> None:
    make_run(started_at=ago(days=3))
    make_run(status="Queued", started_at=None, submitted_at=ago(days=4))
    assert known_since("daily_report", NOW) == ago(days=4)


def test_what_pruning_left_of_older_runs_is_no_history(monitoring_settings) -> None:  # type: ignore[no-untyped-def]
    monitoring_settings(KEEP_RUNS_DAYS=30)
    make_run(started_at=ago(days=400))
    make_run(started_at=ago(days=29))
    assert known_since("daily_report", NOW) == ago(days=29)
    monitoring_settings(KEEP_RUNS_DAYS=None)
    assert known_since("daily_report", NOW) == ago(days=400)


def test_a_task_that_never_ran_has_no_history() -> None:
    make_run("other")
    make_run(started_at=NOW + timedelta(days=1))
    assert known_since("daily_report", NOW) is None
