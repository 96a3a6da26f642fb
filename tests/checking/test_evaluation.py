from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connections, models
from django.test.utils import CaptureQueriesContext

from monitoring.checking.evaluation import evaluate
from monitoring.models import BackgroundTask, database_alias
from monitoring.values.expectation import Expectation
from monitoring.values.outcome import END_OF_TIME, Check, Outcome, RunFacts, Verdict
from monitoring.values.run_event import RunStatus
from monitoring.values.text import storable_name
from project.demo.models import IngestorSession
from tests.app.models import Customer
from tests.factories import NOW, Wordless, ago, make_expectation, make_run

pytestmark = pytest.mark.django_db

MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
BEFORE_START = ("Pending", "Queued", "Cancelled")
ONLY_STARTED = ("Running", "Completed", "Stopped", "Invalidated")


def judge(expectation: Expectation | None = None, at: datetime = NOW, until: datetime = END_OF_TIME) -> Outcome:
    (outcome,) = evaluate([Check(expectation or make_expectation(), at, until)])
    return outcome


def expecting(*statuses: str, **over: object) -> Expectation:
    return make_expectation(expected_statuses=tuple(RunStatus(status) for status in statuses), **over)


def found(outcome: Outcome) -> tuple[Verdict, str | None]:
    """The verdict and the run that decided."""
    return outcome.verdict, outcome.run.task_id if outcome.run else None


def waiting(outcome: Outcome) -> str | None:
    return outcome.waiting.task_id if outcome.waiting else None


# --- the window


@pytest.mark.parametrize("fraction", [0, 1, 500_000, 999_999])
def test_the_window_includes_its_edge_to_the_microsecond(fraction: int) -> None:
    at = NOW + timedelta(microseconds=fraction)
    make_run(task_id="run", started_at=at - HOUR - MICROSECOND)
    assert found(judge(at=at)) == (Verdict.NOT_EXECUTED, None)
    for started_at in (at - HOUR, at - HOUR + MICROSECOND):
        BackgroundTask.objects.update(started_at=started_at)
        assert found(judge(at=at)) == (Verdict.AS_EXPECTED, "run")


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-10))])
def test_an_instant_in_another_zone_is_the_same_instant(zone: timezone) -> None:
    make_run(started_at=(NOW - HOUR).astimezone(zone))
    assert judge(at=NOW.astimezone(zone)).verdict is Verdict.AS_EXPECTED
    assert judge(at=(NOW + MICROSECOND).astimezone(zone)).verdict is Verdict.NOT_EXECUTED


@pytest.mark.parametrize("hours", [0.5, 1.5, 25, 87_600])
def test_the_lookback_is_as_long_as_it_says(hours: float) -> None:
    expectation = make_expectation(lookback_hours=hours)
    make_run(started_at=ago(hours=hours))
    assert judge(expectation).verdict is Verdict.AS_EXPECTED
    assert judge(expectation, at=NOW + MICROSECOND).verdict is Verdict.NOT_EXECUTED


def test_without_any_run_the_task_was_not_executed() -> None:
    assert judge() == Outcome(check=Check(make_expectation(), NOW), verdict=Verdict.NOT_EXECUTED)


def test_a_run_that_started_after_the_instant_is_seen_by_a_live_check() -> None:
    make_run(task_id="fine", started_at=ago(minutes=1))
    make_run("daily_report", "Stopped", task_id="future", started_at=NOW + timedelta(days=2))
    assert found(judge()) == (Verdict.STATUS_MISMATCH, "future")


# --- which run decides


def test_the_run_comes_back_as_it_stands_in_its_row() -> None:
    times = {"submitted_at": ago(minutes=9), "started_at": ago(minutes=5, microseconds=7), "finished_at": NOW}
    run = make_run(status="Stopped", **times)
    assert judge().run == RunFacts(id=run.id, task_id=run.task_id, status="Stopped", **times)


@pytest.mark.parametrize("started_minutes_ago", [(50, 40, 30), (30, 40, 50), (40, 30, 50)])
def test_the_newest_start_decides_whatever_was_recorded_last(started_minutes_ago: tuple[int, ...]) -> None:
    for minutes in started_minutes_ago:
        status = "Stopped" if minutes == 30 else "Completed"
        make_run(status=status, task_id=f"{minutes} minutes ago", started_at=ago(minutes=minutes))
    assert found(judge()) == (Verdict.STATUS_MISMATCH, "30 minutes ago")


def test_a_fraction_of_a_second_makes_a_start_newer() -> None:
    make_run(task_id="newer", started_at=ago(minutes=5) + MICROSECOND)
    make_run(task_id="older", started_at=ago(minutes=5))
    assert found(judge()) == (Verdict.AS_EXPECTED, "newer")


@pytest.mark.parametrize("statuses", [("Completed", "Stopped"), ("Stopped", "Completed")])
def test_of_two_runs_that_started_at_once_the_last_recorded_decides(statuses: tuple[str, str]) -> None:
    for status in statuses:
        make_run(status=status, task_id=status, started_at=ago(minutes=5))
    assert judge().run.task_id == statuses[-1]


@pytest.mark.parametrize("status", RunStatus.values)
def test_a_run_is_as_expected_exactly_when_its_status_is_expected(status: str) -> None:
    make_run(status=status, task_id="run")
    for expected in RunStatus.values:
        verdict = Verdict.AS_EXPECTED if expected == status else Verdict.STATUS_MISMATCH
        assert found(judge(expecting(expected))) == (verdict, "run")
    others = [other for other in RunStatus.values if other != status]
    assert judge(expecting(*others)).verdict is Verdict.STATUS_MISMATCH
    assert judge(expecting(*others, status)).verdict is Verdict.AS_EXPECTED


# --- runs that never started


@pytest.mark.parametrize("status", BEFORE_START)
@pytest.mark.parametrize("expected", ONLY_STARTED)
def test_a_run_that_never_started_is_evidence_and_no_answer(status: str, expected: str) -> None:
    make_run(status=status, task_id="waits", started_at=None, submitted_at=ago(minutes=10))
    outcome = judge(expecting(expected))
    assert (found(outcome), waiting(outcome)) == ((Verdict.NOT_EXECUTED, None), "waits")
    assert outcome.waiting.submitted_at == ago(minutes=10)


@pytest.mark.parametrize("status", BEFORE_START)
@pytest.mark.parametrize("expected", BEFORE_START)
def test_a_run_that_never_started_answers_where_such_a_status_is_expected(status: str, expected: str) -> None:
    make_run(status=status, task_id="waits", started_at=None, submitted_at=ago(minutes=10))
    verdict = Verdict.AS_EXPECTED if status == expected else Verdict.STATUS_MISMATCH
    assert found(judge(expecting("Completed", expected))) == (verdict, "waits")


def test_a_started_run_in_the_window_decides_before_a_newer_unstarted_one() -> None:
    make_run(status="Stopped", task_id="started", started_at=ago(minutes=50))
    make_run(status="Queued", task_id="waits", started_at=None, submitted_at=ago(minutes=1))
    assert found(judge(expecting("Queued"))) == (Verdict.STATUS_MISMATCH, "started")


def test_a_started_run_before_the_window_leaves_the_answer_to_an_unstarted_one() -> None:
    make_run(status="Stopped", task_id="started", started_at=ago(minutes=61))
    make_run(status="Queued", task_id="waits", started_at=None, submitted_at=ago(minutes=1))
    assert found(judge(expecting("Queued"))) == (Verdict.AS_EXPECTED, "waits")


def test_the_newest_unstarted_run_answers() -> None:
    make_run(status="Queued", started_at=None, submitted_at=ago(minutes=20))
    make_run(status="Cancelled", task_id="newest", started_at=None, submitted_at=ago(minutes=10))
    make_run("another_task", "Queued", started_at=None, submitted_at=ago(minutes=5))
    assert found(judge(expecting("Queued"))) == (Verdict.STATUS_MISMATCH, "newest")


@pytest.mark.parametrize("until", [END_OF_TIME, NOW])
@pytest.mark.parametrize("later", [ago(minutes=20), ago(hours=5)])
def test_the_newest_unstarted_run_is_the_one_submitted_last_whichever_was_recorded_last(
    later: datetime, until: datetime
) -> None:
    make_run(status="Queued", task_id="newest", started_at=None, submitted_at=ago(minutes=10))
    make_run(status="Cancelled", task_id="recorded last", started_at=None, submitted_at=later)
    assert found(judge(expecting("Queued"), until=until)) == (Verdict.AS_EXPECTED, "newest")
    # The same of a moment when it waited still.
    BackgroundTask.objects.filter(task_id="newest").update(status="Completed", started_at=NOW + HOUR)
    assert found(judge(expecting("Queued"), until=NOW)) == (Verdict.AS_EXPECTED, "newest")


def test_the_newest_unstarted_run_of_a_context_answers_however_many_of_others_were_recorded_since() -> None:
    hourly, daily = (IngestorSession.objects.create(ingestor_type=name) for name in ("Hourly", "Daily"))
    waits = {"status": "Queued", "started_at": None}
    make_run(task_id="hourly", submitted_at=ago(minutes=30), context_id=str(hourly.pk), **waits)
    BackgroundTask.objects.bulk_create(
        BackgroundTask(
            task_id=str(n), task_name="daily_report", submitted_at=ago(minutes=9), context_id=str(daily.pk), **waits
        )
        for n in range(600)
    )
    context = {"context_model": "gap.models.IngestorSession", "context_type": "Hourly"}
    assert found(judge(expecting("Queued", **context))) == (Verdict.AS_EXPECTED, "hourly")


@pytest.mark.parametrize(
    ("submitted_at", "answers"),
    [
        (ago(hours=1), True),
        (ago(hours=1, microseconds=1), False),
        (ago(days=400), False),
        (NOW + HOUR, True),
    ],
)
def test_an_unstarted_run_answers_only_when_it_was_submitted_in_the_window(
    submitted_at: datetime, answers: bool
) -> None:
    make_run(status="Queued", task_id="waits", started_at=None, submitted_at=submitted_at)
    outcome = judge(expecting("Queued"))
    assert found(outcome) == ((Verdict.AS_EXPECTED, "waits") if answers else (Verdict.NOT_EXECUTED, None))
    assert waiting(outcome) == "waits"


def test_an_old_run_that_never_started_is_still_told_as_evidence() -> None:
    make_run(status="Queued", task_id="forgotten", started_at=None, submitted_at=ago(days=400))
    assert waiting(judge()) == "forgotten"


@pytest.mark.parametrize("expected", ["Completed", "Queued"])
def test_an_unstarted_run_that_nobody_dated_is_not_found(expected: str) -> None:
    make_run(status="Queued", started_at=None, submitted_at=None)
    assert judge(expecting(expected)) == Outcome(check=Check(expecting(expected), NOW), verdict=Verdict.NOT_EXECUTED)


def test_nothing_waits_where_a_started_run_answers() -> None:
    make_run(started_at=ago(minutes=10))
    make_run(status="Queued", started_at=None, submitted_at=ago(minutes=5))
    assert waiting(judge()) is None


# --- names


NAMES = [
    "daily_report",
    "Daily_report",
    "daily_report ",
    " daily_report",
    "daily_repor",
    "daily%",
    "daily\\_report",
    "dailyéreport",
    "daily\u0065\u0301report",
    "🧨",
    "🧨🧨",
    "'; DROP TABLE monitoring_backgroundtask; --",
    '"quoted"',
    "tab\tand\nnewline",
    "\N{REPLACEMENT CHARACTER}",
    '{"json": [1]}',
    "%s",
    "",
    "x" * 255,
    "x" * 254,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_finds_the_runs_of_exactly_that_name(name: str) -> None:
    for other in NAMES:
        make_run(other, "Completed" if other == name else "Stopped", task_id=f"run of {other[:200]!r} {len(other)}")
    assert found(judge(make_expectation(name))) == (Verdict.AS_EXPECTED, f"run of {name[:200]!r} {len(name)}")


@pytest.mark.parametrize("name", ["nul\0name", "half\ud83epair", "x" * 300])
def test_a_name_that_could_not_be_stored_as_it_is_finds_its_stored_form(name: str) -> None:
    make_run(storable_name(name), task_id="run")
    assert found(judge(make_expectation(name))) == (Verdict.AS_EXPECTED, "run")


# --- the past


def test_a_run_that_ended_after_until_is_read_as_running() -> None:
    make_run(status="Stopped", task_id="run", started_at=ago(minutes=30), finished_at=ago(minutes=10))
    outcome = judge(expecting("Running"), until=ago(minutes=10, microseconds=1))
    assert found(outcome) == (Verdict.AS_EXPECTED, "run")
    assert (outcome.run.status, outcome.run.finished_at) == ("Running", None)
    assert found(judge(expecting("Stopped"), until=ago(minutes=10))) == (Verdict.AS_EXPECTED, "run")


def test_a_run_that_started_after_until_is_not_seen() -> None:
    make_run(task_id="older", started_at=ago(minutes=30))
    make_run(task_id="newer", started_at=ago(minutes=10))
    assert judge(until=ago(minutes=10)).run.task_id == "newer"
    assert judge(until=ago(minutes=10, microseconds=1)).run.task_id == "older"
    assert judge(until=ago(minutes=30, microseconds=1)).verdict is Verdict.NOT_EXECUTED


def test_a_run_that_was_submitted_after_until_does_not_wait_yet() -> None:
    make_run(status="Queued", task_id="waits", started_at=None, submitted_at=ago(minutes=10))
    assert waiting(judge(until=ago(minutes=10))) == "waits"
    assert waiting(judge(until=ago(minutes=10, microseconds=1))) is None


def test_a_run_that_started_after_until_waited_before() -> None:
    make_run(task_id="waited", submitted_at=ago(minutes=40), started_at=ago(minutes=10), finished_at=ago(minutes=5))
    make_run(task_id="later", submitted_at=ago(minutes=15), started_at=ago(minutes=10))
    outcome = judge(expecting("Queued"), at=ago(minutes=20), until=ago(minutes=20))
    assert found(outcome) == (Verdict.AS_EXPECTED, "waited")
    assert outcome.run
    assert (outcome.run.status, outcome.run.started_at, outcome.run.finished_at) == ("Queued", None, None)


def test_of_those_that_waited_the_one_recorded_last_is_the_newest() -> None:
    make_run(task_id="older", submitted_at=ago(minutes=40), started_at=ago(minutes=5))
    make_run("daily_report", "Queued", task_id="never started", started_at=None, submitted_at=ago(minutes=35))
    make_run(task_id="newer", submitted_at=ago(minutes=30), started_at=ago(minutes=10))
    assert waiting(judge(until=ago(minutes=20))) == "newer"
    assert waiting(judge(until=ago(minutes=32))) == "never started"


def test_a_run_that_was_given_up_after_until_waited_before() -> None:
    given_up = {"started_at": None, "submitted_at": ago(minutes=30), "finished_at": ago(minutes=10)}
    make_run(status="Cancelled", task_id="run", **given_up)
    assert judge(expecting("Queued"), until=ago(minutes=20)).verdict is Verdict.AS_EXPECTED
    assert judge(expecting("Cancelled"), until=ago(minutes=10)).verdict is Verdict.AS_EXPECTED


def test_a_live_check_sees_a_run_as_its_row_stands_also_when_it_ends_in_the_future() -> None:
    make_run(status="Completed", finished_at=NOW + timedelta(days=2))
    assert judge().verdict is Verdict.AS_EXPECTED


# --- many checks


def test_no_checks_have_no_outcomes_and_ask_nothing() -> None:
    with statements() as asked:
        assert evaluate([]) == []
    assert asked == []


def test_outcomes_come_in_the_order_of_the_checks() -> None:
    session = IngestorSession.objects.create(ingestor_type="Hourly")
    for number in range(6):
        make_run(f"task {number}", task_id=f"run {number}", context_id=str(session.pk))
    contexts = [
        {},
        {"context_model": "gap.models.IngestorSession", "context_type": "Hourly"},
        {"context_model": "gap.models.Gone"},
        {"context_model": "gap.IngestorSession"},
        {},
        {"context_model": "gap.models.IngestorSession", "context_type": "Daily"},
    ]
    checks = [Check(make_expectation(f"task {number}", **over), NOW) for number, over in enumerate(contexts)]
    outcomes = evaluate([*checks, checks[0]])
    assert [outcome.check for outcome in outcomes] == [*checks, checks[0]]
    assert [found(outcome) for outcome in outcomes] == [
        (Verdict.AS_EXPECTED, "run 0"),
        (Verdict.AS_EXPECTED, "run 1"),
        (Verdict.NOT_JUDGED, None),
        (Verdict.AS_EXPECTED, "run 3"),
        (Verdict.AS_EXPECTED, "run 4"),
        (Verdict.NOT_EXECUTED, None),
        (Verdict.AS_EXPECTED, "run 0"),
    ]


def test_each_check_has_its_own_instant_window_and_expectation() -> None:
    make_run(status="Stopped", task_id="older", started_at=ago(minutes=90))
    make_run(status="Completed", task_id="newer", started_at=ago(minutes=30))
    checks = [
        Check(make_expectation(), NOW),
        Check(make_expectation(lookback_hours=0.25), NOW),
        Check(expecting("Stopped"), NOW),
        Check(make_expectation(), ago(hours=1), until=ago(hours=1)),
        Check(make_expectation(), NOW + timedelta(days=1)),
    ]
    assert [found(outcome) for outcome in evaluate(checks)] == [
        (Verdict.AS_EXPECTED, "newer"),
        (Verdict.NOT_EXECUTED, None),
        (Verdict.STATUS_MISMATCH, "newer"),
        (Verdict.STATUS_MISMATCH, "older"),
        (Verdict.NOT_EXECUTED, None),
    ]


@contextmanager
def statements() -> Iterator[list[str]]:
    asked: list[str] = []
    with CaptureQueriesContext(connections[database_alias()]) as captured:
        yield asked
    asked += [query["sql"] for query in captured.captured_queries]


def found_and_missing(number: int) -> list[Expectation]:
    return [
        make_expectation(f"runs {number}"),
        make_expectation(f"never runs {number}"),
        expecting("Queued", task_name=f"waits {number}"),
    ]


def in_contexts(number: int) -> list[Expectation]:
    context = {"context_model": "gap.models.IngestorSession"}
    return [
        *found_and_missing(number),
        make_expectation(f"runs {number}", **context),
        make_expectation(f"runs {number}", **context, context_type="Hourly"),
        make_expectation(f"runs {number}", **context, context_type=f"Type {number}"),
        make_expectation(f"runs {number}", context_model="gap.models.Gone"),
    ]


@pytest.mark.parametrize("mixture", [found_and_missing, in_contexts])
def test_the_number_of_statements_does_not_grow_with_checks_or_runs(
    mixture: Callable[[int], list[Expectation]],
) -> None:
    session = IngestorSession.objects.create(ingestor_type="Hourly")

    def record(numbers: range) -> None:
        BackgroundTask.objects.bulk_create(
            BackgroundTask(
                task_id=f"{name} {number}",
                task_name=f"{name} {number}",
                status=status,
                submitted_at=ago(minutes=2),
                started_at=started_at,
                context_id=str(session.pk),
            )
            for number in numbers
            for name, status, started_at in (("runs", "Completed", ago(minutes=1)), ("waits", "Queued", None))
        )

    def asked_for(numbers: range) -> int:
        checks = [Check(expectation, NOW) for number in numbers for expectation in mixture(number)]
        with statements() as asked:
            outcomes = evaluate(checks)
        assert {outcome.verdict for outcome in outcomes} >= {Verdict.AS_EXPECTED, Verdict.NOT_EXECUTED}
        assert not [sql for sql in asked if sql.lstrip().split()[0] in ("INSERT", "UPDATE", "DELETE")]
        return len(asked)

    record(range(1))
    few = asked_for(range(1))
    record(range(1, 1_000))
    assert asked_for(range(1_000)) == few


def test_one_and_a_thousand_expectations_take_the_same_statements() -> None:
    with statements() as for_one:
        evaluate([Check(make_expectation("task 0"), NOW)])
    with statements() as for_many:
        evaluate([Check(make_expectation(f"task {number}"), NOW) for number in range(1_000)])
    assert len(for_many) == len(for_one) == 2


def test_one_more_statement_asks_for_all_runs_that_may_answer_before_they_start() -> None:
    numbers = range(1_000)
    BackgroundTask.objects.bulk_create(
        BackgroundTask(task_id=f"{n}", task_name=f"task {n}", status="Queued", submitted_at=NOW) for n in numbers
    )
    with statements() as asked:
        outcomes = evaluate([Check(expecting("Queued", task_name=f"task {number}"), NOW) for number in numbers])
    assert {outcome.verdict for outcome in outcomes} == {Verdict.AS_EXPECTED}
    assert len(asked) == 2


# --- checks that cannot be judged


def assert_stops_no_other(expectation: Expectation, reason: str) -> None:
    """The expectation is asked first, last and between others, which are all judged."""
    make_run(task_id="run", context_id=str(Customer.objects.create().pk))
    asked = [expectation, make_expectation(), expectation, make_expectation(context_model="shop.Customer"), expectation]
    first, plain, second, in_context, last = evaluate([Check(each, NOW) for each in asked])
    for outcome in (first, second, last):
        assert outcome == Outcome(check=Check(expectation, NOW), verdict=Verdict.NOT_JUDGED, reason=outcome.reason)
        assert reason in outcome.reason
        assert len(outcome.reason.splitlines()) == 1
    assert found(plain) == found(in_context) == (Verdict.AS_EXPECTED, "run")
    assert BackgroundTask.objects.exists(), "the transaction around goes on"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("gap.models.Gone", "context model 'gap.models.Gone': the app 'gap' has no model 'Gone'"),
        ("gone.models.Session", "context model 'gone.models.Session': no installed app has the label or module 'gone'"),
        ("nonsense", "context model 'nonsense': 'nonsense' is not the path of a model"),
    ],
)
@pytest.mark.parametrize("context_type", [None, "Hourly"])
def test_a_context_model_that_is_gone_stops_no_other_check(model: str, reason: str, context_type: str | None) -> None:
    assert_stops_no_other(make_expectation(context_model=model, context_type=context_type), reason)


@pytest.mark.parametrize("context_type", [None, "Hourly"])
def test_a_context_table_that_is_missing_stops_no_other_check(context_type: str | None) -> None:
    with connections[database_alias()].cursor() as cursor:
        cursor.execute("ALTER TABLE gap_ingestorsession RENAME TO gap_renamed")
    expectation = make_expectation(context_model="gap.models.IngestorSession", context_type=context_type)
    assert_stops_no_other(expectation, "context model 'gap.models.IngestorSession': ")


class Broken(models.Manager):
    """A base manager as a host might write it."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.change, self.model = change, IngestorSession

    def get_queryset(self) -> Any:
        return self.change(super().get_queryset())


def wordless(rows: Any) -> None:
    raise Wordless


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.filter(tenant=1), "FieldError: "),
        (lambda rows: rows.filter(pk="seven"), "ValueError: "),
        (lambda rows: rows.of_this_tenant(), "AttributeError: "),
        (lambda rows: {}["tenant"], "KeyError: 'tenant'"),
        (lambda rows: int("a\nb", base=40), "ValueError: "),
        (lambda rows: rows.none(), "EmptyResultSet: "),
        (wordless, "Wordless: it cannot be put into words"),
    ],
)
@pytest.mark.parametrize("context_type", [None, "Hourly"])
def test_a_context_model_whose_query_cannot_be_built_stops_no_other_check(
    change: Callable[[Any], Any], reason: str, context_type: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IngestorSession._meta, "base_manager", Broken(change))
    expectation = make_expectation(context_model="gap.models.IngestorSession", context_type=context_type)
    reason = f"{expectation.context_model!r}: no query for rows of gap.IngestorSession can be built: {reason}"
    assert_stops_no_other(expectation, reason)


@pytest.mark.on_servers
@pytest.mark.parametrize("context_type", [None, "Hourly"])
def test_a_context_query_that_takes_too_long_stops_no_other_check(
    context_type: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = Broken(lambda rows: rows.extra(where=["pg_sleep(60) IS NOT NULL"]))
    session = IngestorSession.objects.create(ingestor_type="Hourly")
    make_run(context_id=str(session.pk), started_at=ago(minutes=30))
    monkeypatch.setattr(IngestorSession._meta, "base_manager", endless)
    with connections[database_alias()].cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 500")
    expectation = make_expectation(context_model="gap.models.IngestorSession", context_type=context_type)
    assert_stops_no_other(expectation, "canceling statement due to statement timeout")
