import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import reduce
from itertools import count
from typing import Any

import pytest
from django.db import OperationalError, connections
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitoring.models import BackgroundTask, database_alias
from monitoring.recording.order import place
from monitoring.recording.upsert import BATCH, EARLIER_ERRORS_MAX, LINE_MAX, fold, merge, upsert
from monitoring.values.run_event import WORKER_LOST, RunEvent, RunStatus
from tests.factories import NOW, make_run

pytestmark = pytest.mark.django_db

_ids = count(1)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def make_event(status: str = "Queued", seq: int = 1, **over: Any) -> RunEvent:
    return RunEvent(**{"task_id": "run", "task_name": "daily_report", "status": RunStatus(status), "seq": seq} | over)


def queued(**over: Any) -> RunEvent:
    return make_event("Queued", 1, submitted_at=at(0), parameters='{"day": 3}', context_id="3", **over)


def started(status: str, seq: int, **over: Any) -> RunEvent:
    return make_event(status, seq, started_at=at(seq), attempts=1, **over)


def ended(status: str, seq: int, **over: Any) -> RunEvent:
    return make_event(status, seq, finished_at=at(seq), **over)


def write(*batches: Sequence[RunEvent]) -> None:
    for batch in batches:
        upsert(batch, database_alias())


def written(task_id: str = "run") -> RunEvent:
    """The row as the one event that would have made it."""
    row = BackgroundTask.objects.get(task_id=task_id)
    names = RunEvent._fields[:-1]  # all but `attempts_at_least`
    return RunEvent(**{name: getattr(row, name) for name in names})


def test_a_row_needs_no_more_than_an_id_a_name_a_status_and_a_start() -> None:
    table = BackgroundTask._meta.db_table
    connection = connections[database_alias()]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (task_id, task_name, status, started_at) VALUES (%s, %s, %s, %s)",
            ["run", "daily_report", "Running", connection.ops.adapt_datetimefield_value(NOW)],
        )
    assert written() == make_event("Running", 0, started_at=NOW)


def test_an_event_of_an_unknown_run_makes_its_row() -> None:
    event = queued()
    write([event])
    assert written() == event


def test_a_run_goes_on_in_its_row_until_it_ends() -> None:
    write([queued()], [started("Running", 10)])
    assert written() == queued()._replace(status=RunStatus.RUNNING, seq=10, started_at=at(10), attempts=1)
    write([ended("Completed", 20)])
    assert written() == queued()._replace(
        status=RunStatus.COMPLETED, seq=20, started_at=at(10), finished_at=at(20), attempts=1
    )
    assert BackgroundTask.objects.count() == 1


def test_a_new_attempt_has_a_start_of_its_own_and_no_end_yet() -> None:
    write([started("Running", 10)], [ended("Invalidated", 20, errors="first")], [started("Running", 30)])
    row = written()
    assert (row.status, row.started_at, row.finished_at, row.attempts) == ("Running", at(30), None, 2)


def test_the_error_of_an_earlier_attempt_stays_until_a_later_one_says_another() -> None:
    write([ended("Invalidated", 20, errors="first")], [started("Running", 30)])
    assert written().errors == "first"
    write([ended("Stopped", 40, errors="second")])
    assert written().errors == "second"


def test_each_attempt_that_another_followed_leaves_a_line_and_the_last_error_stays_whole() -> None:
    first, second, last = (f"Traceback:\n  File shop.py\nValueError: {n}" for n in ("not yet", "x" * 300, "no"))
    write([started("Running", 10), ended("Invalidated", 20, errors=first), ended("Invalidated", 21)])
    write([started("Running", 30)], [ended("Invalidated", 40, errors=second)], [started("Running", 50)])
    write([ended("Stopped", 60, errors=last)])
    assert written().errors == last
    assert written().earlier_errors.splitlines() == [
        "2026-11-22 08:35:20 UTC ValueError: not yet",
        f"2026-11-22 08:35:40 UTC ValueError: {'x' * (LINE_MAX - 13)}…",
    ]


def test_the_lines_of_a_run_that_is_retried_for_ever_have_an_end() -> None:
    for seq in range(10, 400, 2):
        write([started("Running", seq), ended("Invalidated", seq + 1, errors="x" * 100)])
    assert EARLIER_ERRORS_MAX <= len(written().earlier_errors) <= EARLIER_ERRORS_MAX + LINE_MAX
    assert written().attempts == 195


@pytest.mark.parametrize("together", [True, False])
def test_a_run_that_names_its_queue_while_it_waits_names_its_worker_from_its_start_on(together: bool) -> None:
    events = [queued()._replace(worker="huey shop"), started("Running", 30)]
    for batch in [events] if together else [[event] for event in events]:
        upsert(batch, database_alias(), "host:1:a")
    assert written().worker == "host:1:a"


def test_the_worker_of_a_run_is_that_of_its_newest_attempt() -> None:
    write([queued()], [started("Running", 30, worker="host:2:b")], [started("Running", 10, worker="host:1:a")])
    write([ended("Completed", 40)])
    assert written().worker == "host:2:b"


@pytest.mark.parametrize("errors", ["", "ValueError: no"])
def test_a_real_ending_heals_a_run_whose_worker_was_thought_lost(errors: str) -> None:
    write([started("Running", 10)])
    BackgroundTask.objects.update(status="Stopped", errors=WORKER_LOST, finished_at=at(60))
    write([queued()], [started("Running", 10)])
    assert (written().status, written().errors) == ("Stopped", WORKER_LOST)
    write([ended("Completed", 20, errors=errors)])
    assert (written().status, written().errors, written().finished_at) == ("Completed", errors, at(20))


def test_an_older_event_changes_no_state_but_fills_in_what_was_not_known() -> None:
    write([started("Running", 10)], [ended("Completed", 20)], [queued()])
    assert written() == queued()._replace(
        status=RunStatus.COMPLETED, seq=20, started_at=at(10), finished_at=at(20), attempts=1
    )


def test_an_older_event_replaces_nothing_that_was_known() -> None:
    write(
        [started("Running", 30, errors="late", submitted_at=at(1), parameters="{}", context_id="")],
        [ended("Stopped", 20, errors="early", submitted_at=at(2), started_at=at(2), parameters="[]", context_id="9")],
    )
    assert written() == started("Running", 30, errors="late", submitted_at=at(1), parameters="{}", context_id="")


def test_the_end_that_arrives_before_its_start_still_gets_the_start() -> None:
    write([ended("Completed", 20)], [started("Running", 10)])
    row = written()
    assert (row.status, row.started_at, row.finished_at, row.attempts) == ("Completed", at(10), at(20), 1)


@pytest.mark.parametrize("together", [True, False])
def test_an_attempt_counts_whose_end_another_process_told_before_its_start(together: bool) -> None:
    """Celery's main process tells the end of a child that it killed, which may have had no time to write its start."""
    lost = ended("Stopped", 40, attempts_at_least=2)
    events = [started("Running", 10), ended("Invalidated", 20), lost]
    for batch in [events] if together else [[event] for event in events]:
        write(batch)
    assert (written().status, written().attempts) == ("Stopped", 2)
    write([started("Running", 30)], [lost])
    assert (written().status, written().attempts) == ("Stopped", 2)


@pytest.mark.parametrize("other_tells_first", [True, False])
def test_an_attempt_between_two_of_a_process_counts_once_though_another_ran_it(other_tells_first: bool) -> None:
    own = [
        started("Running", 10), ended("Invalidated", 20),
        started("Running", 50, attempts_at_least=3), ended("Stopped", 60, attempts_at_least=3),
    ]  # fmt: skip
    others = [started("Running", 30, attempts_at_least=2), ended("Invalidated", 40, attempts_at_least=2)]
    write(*[others, own] if other_tells_first else [own, others])
    assert (written().status, written().attempts) == ("Stopped", 3)


def test_an_end_that_tells_of_missing_attempts_is_written_with_them_or_not_at_all() -> None:
    def refuse_to_raise(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise OperationalError("the connection was lost")
        return execute(sql, *args)

    write([started("Running", 10)])
    lost = ended("Stopped", 40, attempts_at_least=2)
    with connections[database_alias()].execute_wrapper(refuse_to_raise), pytest.raises(OperationalError):
        write([lost])
    assert written().status == "Running"
    write([lost])
    assert (written().status, written().attempts) == ("Stopped", 2)


def test_an_event_that_arrives_twice_counts_once() -> None:
    write([started("Running", 10)], [started("Running", 10)], [ended("Invalidated", 20)], [started("Running", 10)])
    assert written().attempts == 1


def test_events_of_a_run_that_are_written_together_make_one_row() -> None:
    write([ended("Completed", 20), started("Running", 10), queued()])
    assert written() == queued()._replace(
        status=RunStatus.COMPLETED, seq=20, started_at=at(10), finished_at=at(20), attempts=1
    )


def test_rows_of_other_runs_stay_as_they_are() -> None:
    make_run("daily_report", "Running", task_id="other")
    write([ended("Stopped", 20)])
    assert BackgroundTask.objects.get(task_id="other").status == "Running"


def test_nothing_to_write_is_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        write([])


def test_many_runs_are_one_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        write(
            [
                event
                for number in range(BATCH)
                for event in (queued(task_id=f"{number}"), started("Running", 9, task_id=f"{number}"))
            ]
        )
    assert BackgroundTask.objects.filter(status="Running").count() == BATCH


def test_more_runs_are_a_statement_for_every_500(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(3):
        write([queued(task_id=f"{number}") for number in range(1_200)])
    assert BackgroundTask.objects.count() == 1_200


def test_rows_are_written_in_the_order_of_their_task_ids() -> None:
    """Two writers that lock the same rows in different orders would wait for each other for ever."""
    ids = [f"id-{number * 7 % 1_201:04}" for number in range(1_201)]
    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: str, params: Sequence[Any], many: bool, context: Any) -> Any:
        seen.extend(re.findall(r"id-\d+", str(params)))
        return execute(sql, params, many, context)

    with connections[database_alias()].execute_wrapper(note):
        write([queued(task_id=task_id) for task_id in ids])
    assert seen == sorted(ids)


@pytest.mark.parametrize("microsecond", [0, 1, 500_000, 999_999])
def test_times_are_stored_as_django_stores_them(microsecond: int) -> None:
    """SQLite compares them as texts: one of another form would fall out of every window."""
    moment = NOW.replace(microsecond=microsecond)
    times = {"submitted_at": moment, "started_at": moment, "finished_at": moment}
    write([make_event(**times)])
    make_run(task_id="by the ORM", **times)
    columns = ", ".join(f"CAST({name} AS text)" for name in times)
    with connections[database_alias()].cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT {columns} FROM {BackgroundTask._meta.db_table}")
        assert len(cursor.fetchall()) == 1
    assert BackgroundTask.objects.filter(**times).count() == 2


# The rest are the promises that hold for every history, every order of arrival and every cut into batches.


@st.composite
def histories(draw: st.DrawFn) -> list[list[RunEvent]]:
    """The events of one run as they happened, one list for each process that tells a part of them.

    The first is the producer's; then each attempt's, as if each had another worker.
    """
    clock = count(2)
    said = {
        "task_id": f"run-{next(_ids)}",
        "parameters": draw(st.sampled_from(["", '{"day": 3}'])),
        "context_id": draw(st.sampled_from([None, "3"])),
    }

    def event(status: str, errors: str = "") -> RunEvent:
        second = next(clock)
        if status in ("Pending", "Queued"):
            return make_event(status, int(status == "Queued"), submitted_at=at(second), **said)
        return (started if status == "Running" else ended)(status, second, errors=errors, **said)

    waits = draw(st.sampled_from([[], ["Queued"], ["Pending", "Pending", "Queued"]]))
    processes = [[event(status) for status in waits]]
    for error in draw(st.lists(st.sampled_from(["", "failed", "timed out"]), max_size=3)):
        waits = draw(st.sampled_from([["Queued"], ["Pending"], ["Pending", "Queued"]]))
        processes.append([event("Running"), event("Invalidated", error), *(event(status) for status in waits)])
    match draw(st.sampled_from(["Running", "Completed", "Stopped", "Cancelled", "nothing more"])):
        case "Running":
            processes.append([event("Running")])
        case "Cancelled":
            processes.append([event("Cancelled", "Revoked")])
        case "Completed":
            processes.append([event("Running"), event("Completed")])
        case "Stopped":
            processes.append([event("Running"), event("Stopped", "failed in the end")])
    return [told for told in processes if told] or [[event("Queued")]]


def flat(lists: Sequence[Sequence[RunEvent]]) -> list[RunEvent]:
    return [event for told in lists for event in told]


def in_true_order(events: Sequence[RunEvent]) -> list[RunEvent]:
    return sorted(events, key=lambda event: event.seq)


def cut(draw: st.DrawFn, events: Sequence[RunEvent]) -> list[Sequence[RunEvent]]:
    batches, rest = [], events
    while rest:
        size = draw(st.integers(1, len(rest)))
        batches.append(rest[:size])
        rest = rest[size:]
    return batches


def write_and_repeat(draw: st.DrawFn, batches: Sequence[Sequence[RunEvent]]) -> None:
    """Some are sent again, at once or later, as after an answer that got lost."""
    for written_now, batch in enumerate(batches, 1):
        write(batch, *draw(st.lists(st.sampled_from(batches[:written_now]), max_size=2)))


def interleaved(draw: st.DrawFn, processes: list[list[RunEvent]]) -> list[Sequence[RunEvent]]:
    """Each process keeps the order of its own batches; among them there is none."""
    batches = [cut(draw, told) for told in processes]
    turns = draw(st.permutations([number for number, of_one in enumerate(batches) for _ in of_one]))
    left = [iter(of_one) for of_one in batches]
    return [next(left[number]) for number in turns]


properties = settings(max_examples=40, deadline=None)


@properties
@given(st.data())
def test_whatever_the_order_the_run_ends_as_its_last_event_says(data: st.DataObject) -> None:
    events = flat(data.draw(histories()))
    write_and_repeat(data.draw, cut(data.draw, data.draw(st.permutations(events))))

    row, last = written(events[0].task_id), in_true_order(events)[-1]
    assert (row.status, row.seq, row.finished_at) == (last.status, last.seq, last.finished_at)
    assert row.errors == last.errors or not last.errors
    for name in ("errors", "submitted_at", "started_at", "parameters", "context_id"):
        told = {getattr(event, name) for event in events} - {None, ""}
        assert getattr(row, name) in (told or {None, ""})
    attempts = sum(event.attempts for event in events)
    assert min(attempts, 1) <= row.attempts <= attempts


@properties
@given(st.data())
def test_a_run_whose_attempts_are_told_by_different_processes_has_its_last_start(data: st.DataObject) -> None:
    processes = data.draw(histories())
    assume(processes[-1][0].started_at)
    write_and_repeat(data.draw, interleaved(data.draw, processes))

    assert written(processes[0][0].task_id).started_at == processes[-1][0].started_at


@properties
@given(st.data())
def test_attempts_that_have_a_number_count_once_whichever_process_ran_them_and_tells_first(data: st.DataObject) -> None:
    """Celery's have one, and each may run in another child of its worker."""
    children: list[list[RunEvent]] = [[], []]
    attempts = [told for told in data.draw(histories()) if told[0].attempts]
    assume(attempts)
    for number, told in enumerate(attempts, 1):
        at_least = number if number > 1 else 0
        data.draw(st.sampled_from(children)).extend(
            event if event.submitted_at else event._replace(attempts_at_least=at_least) for event in told
        )
    write_and_repeat(data.draw, interleaved(data.draw, [told for told in children if told]))

    assert written(attempts[0][0].task_id).attempts == len(attempts)


@properties
@given(st.data())
def test_in_order_nothing_is_lost_or_counted_twice_however_it_is_cut_and_repeated(data: st.DataObject) -> None:
    events = flat(data.draw(histories()))
    write_and_repeat(data.draw, cut(data.draw, events))

    (expected,) = fold(events)
    assert [written(events[0].task_id)] == [event._replace(attempts_at_least=0) for event in expected]
    assert expected[0].attempts == sum(event.attempts for event in events)
    assert expected[0].errors == next((event.errors for event in reversed(in_true_order(events)) if event.errors), "")


def texts(*of: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", *of])


def times() -> st.SearchStrategy[datetime | None]:
    return st.none() | st.integers(0, 9).map(at)


any_events = st.lists(
    st.builds(
        make_event,
        status=st.sampled_from(RunStatus.values),
        seq=st.integers(0, 5).map(lambda second: place(second // 3, at(second))),
        submitted_at=times(),
        started_at=times(),
        finished_at=times(),
        attempts=st.integers(0, 2),
        attempts_at_least=st.integers(0, 4),
        errors=texts("one", "two", WORKER_LOST),
        earlier_errors=texts("three\n"),
        worker=texts("host:1:a", "host:2:b"),
        parameters=texts("{}", "[]"),
        context_id=st.none() | texts("1", "2"),
    ),
    min_size=1,
    max_size=6,
)


@properties
@given(any_events)
def test_merging_says_what_the_statement_says_for_any_events_at_all(events: list[RunEvent]) -> None:
    task_id = f"run-{next(_ids)}"
    events = [event._replace(task_id=task_id) for event in events]
    write(*[[event] for event in events])

    merged = reduce(merge, flat([folded for event in events for folded in fold([event])]))
    attempts = max(merged.attempts, merged.attempts_at_least)
    assert written(task_id) == merged._replace(attempts=attempts, attempts_at_least=0)
