import uuid
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, models, transaction

from monitoring.checking import probe
from monitoring.checking.evaluation import evaluate
from monitoring.checking.evidence import gather_about
from monitoring.checking.runs import last_runs
from monitoring.checking.timeline import timeline
from monitoring.models import Monitor, database_alias
from monitoring.values.outcome import Check, Outcome, Verdict
from monitoring.values.run_event import RunStatus
from project.demo.models import CollectorSession, IngestorSession
from tests.app.models import BondedWarehouse, Closing, Customer, Shipment, Warehouse
from tests.factories import NOW, ago, make_expectation, make_facts, make_monitor, make_run

pytestmark = pytest.mark.django_db

INGESTOR, COLLECTOR = "gap.models.IngestorSession", "gap.models.CollectorSession"
ID = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


@pytest.fixture(autouse=True)
def every_model_has_types(monitoring_settings: Any) -> None:
    monitoring_settings(
        CONTEXT_FIELDS={
            INGESTOR: "ingestor_type",
            COLLECTOR: "ingestor_type",
            "shop.Shipment": "carrier",
            "shop.Warehouse": "kind",
            "shop.BondedWarehouse": "kind",
            "shop.Closing": "kind",
        }
    )


def judge(context_model: str, context_type: str | None = None, **over: Any) -> Outcome:
    expectation = make_expectation(context_model=context_model, context_type=context_type, **over)
    (outcome,) = evaluate([Check(expectation, NOW)])
    return outcome


def decided_by(outcome: Outcome) -> str | None:
    """The task id of the run that decided."""
    assert (outcome.run is None) is (outcome.verdict is Verdict.NOT_EXECUTED)
    return outcome.run.task_id if outcome.run else None


def session(kind: str = "Hourly", model: type[models.Model] = IngestorSession, **over: Any) -> str:
    """The context id of a new session."""
    return str(model.objects.create(ingestor_type=kind, **over).pk)


# --- types


def test_the_newest_run_of_the_type_decides_although_another_type_ran_later() -> None:
    hourly, daily = session("Hourly"), session("Daily")
    make_run(task_id="older", status="Stopped", context_id=hourly, started_at=ago(minutes=40))
    make_run(task_id="hourly", context_id=hourly, started_at=ago(minutes=30))
    make_run(task_id="daily", status="Stopped", context_id=daily, started_at=ago(minutes=10))
    assert decided_by(judge(INGESTOR, "Hourly")) == "hourly"
    assert judge(INGESTOR, "Hourly").verdict is Verdict.AS_EXPECTED
    assert decided_by(judge(INGESTOR, "Daily")) == "daily"
    assert judge(INGESTOR, "Daily").verdict is Verdict.STATUS_MISMATCH


def test_all_instances_of_the_type_count() -> None:
    make_run(task_id="one", context_id=session("Hourly"), started_at=ago(minutes=40))
    make_run(task_id="two", context_id=session("Hourly"), started_at=ago(minutes=30))
    assert decided_by(judge(INGESTOR, "Hourly")) == "two"


def test_a_task_that_ran_only_for_other_types_was_not_executed() -> None:
    make_run(context_id=session("Daily"))
    assert judge(INGESTOR, "Hourly").verdict is Verdict.NOT_EXECUTED


@pytest.mark.parametrize("kind", ["hourly", "HOURLY", "Hourly ", " Hourly", "Hourl", "Hourly2", "Hour%", "Hourl_"])
def test_a_type_is_matched_exactly(kind: str) -> None:
    make_run(context_id=session(kind))
    assert judge(INGESTOR, "Hourly").verdict is Verdict.NOT_EXECUTED
    assert judge(INGESTOR, kind).verdict is Verdict.AS_EXPECTED


@pytest.mark.parametrize("kind", ["Hourly Tomorrow.io", "täglich 🧨", "it's", '"quoted"', "%s", "5", "line\nbreak"])
def test_a_type_may_hold_any_characters(kind: str) -> None:
    make_run(context_id=session(kind))
    make_run(context_id=session("another"))
    assert judge(INGESTOR, kind).verdict is Verdict.AS_EXPECTED


def test_two_models_with_the_same_keys_are_not_mixed_up() -> None:
    session("Hourly", IngestorSession, pk=7)
    session("Daily", CollectorSession, pk=7)
    make_run(context_id="7")
    assert judge(INGESTOR, "Hourly").verdict is Verdict.AS_EXPECTED
    assert judge(INGESTOR, "Daily").verdict is Verdict.NOT_EXECUTED
    assert judge(COLLECTOR, "Daily").verdict is Verdict.AS_EXPECTED
    assert judge(COLLECTOR, "Hourly").verdict is Verdict.NOT_EXECUTED


def test_the_context_changes_neither_name_nor_window() -> None:
    hourly = session("Hourly")
    make_run("another_task", context_id=hourly)
    make_run(task_id="early", context_id=hourly, started_at=ago(hours=1, microseconds=1))
    assert judge(INGESTOR, "Hourly").verdict is Verdict.NOT_EXECUTED
    make_run(task_id="edge", context_id=hourly, started_at=ago(hours=1))
    assert decided_by(judge(INGESTOR, "Hourly")) == "edge"


def test_runs_that_never_started_are_looked_at_in_their_context_too() -> None:
    queued = (RunStatus.QUEUED,)
    for kind in ("Hourly", "Daily"):
        make_run(status="Queued", task_id=kind, context_id=session(kind), started_at=None, submitted_at=ago(minutes=10))
    assert judge(INGESTOR, "Hourly").waiting.task_id == "Hourly"
    assert decided_by(judge(INGESTOR, "Hourly", expected_statuses=queued)) == "Hourly"
    assert decided_by(judge(INGESTOR, "Daily", expected_statuses=queued)) == "Daily"
    assert judge(INGESTOR, "Weekly").waiting is None


def test_many_types_of_many_models_are_told_apart_at_once() -> None:
    asked = [(INGESTOR, "Hourly"), (COLLECTOR, "Hourly"), (INGESTOR, "Daily"), (COLLECTOR, None), (INGESTOR, None)]
    for number, (model, kind) in enumerate([(IngestorSession, "Hourly"), (CollectorSession, "Hourly")]):
        make_run(task_id=f"{model.__name__} {kind}", context_id=session(kind, model, pk=1 + number))
    checks = [Check(make_expectation(context_model=model, context_type=kind), NOW) for model, kind in asked]
    assert [decided_by(outcome) for outcome in evaluate(checks)] == [
        "IngestorSession Hourly",
        "CollectorSession Hourly",
        None,
        "CollectorSession Hourly",
        "IngestorSession Hourly",
    ]


# --- a model alone


def test_a_model_alone_asks_only_that_the_instance_exists() -> None:
    make_run(task_id="hourly", context_id=session("Hourly"), started_at=ago(minutes=30))
    make_run(task_id="nobody's", status="Stopped", context_id="999999", started_at=ago(minutes=20))
    make_run(task_id="without", status="Stopped", context_id=None, started_at=ago(minutes=10))
    assert decided_by(judge(INGESTOR)) == "hourly"


def test_a_model_without_types_can_be_asked_for_alone() -> None:
    make_run(task_id="run", context_id=str(Customer.objects.create().pk))
    assert decided_by(judge("shop.Customer")) == "run"


@pytest.mark.parametrize("context_type", [None, "Hourly"])
def test_a_run_of_a_deleted_instance_does_not_count(context_type: str | None) -> None:
    hourly = session("Hourly")
    make_run(context_id=hourly)
    assert judge(INGESTOR, context_type).verdict is Verdict.AS_EXPECTED
    IngestorSession.objects.filter(pk=hourly).delete()
    assert judge(INGESTOR, context_type).verdict is Verdict.NOT_EXECUTED


# --- keys

BIGGEST, SMALLEST = 2**63 - 1, -(2**63)
GARBAGE = ["abc", "", " ", "🧨", "null", "None", "9" * 40, "-" + "9" * 40, "9" * 255, "1.5", "'; --", "%s", "\\", "{}"]


@pytest.mark.parametrize("key", [0, 1, 7, -7, 10**18, 1_850_000_000_000_000_000, BIGGEST, SMALLEST])
def test_an_integer_key_is_found_by_its_text(key: int) -> None:
    Customer.objects.create(pk=key)
    make_run(context_id=str(key))
    assert judge("shop.Customer").verdict is Verdict.AS_EXPECTED


@pytest.mark.parametrize(
    "context_id",
    [
        *(*GARBAGE, None, "007", "+7", " 7", "7 ", "7\n", "7.0", "7e0", "0x7", "-0", "00", "٧", "７", "7x", "1,000"),
        *(str(BIGGEST + 1), str(SMALLEST - 1), str(ID), "2026-11-22"),
    ],
)
def test_what_is_no_integer_key_matches_nothing(context_id: str | None) -> None:
    for key in (0, 1, 7, 2026, BIGGEST, SMALLEST):  # what a lenient cast might make of the ids above
        Customer.objects.create(pk=key)
        IngestorSession.objects.create(pk=key, ingestor_type="Hourly")
    make_run(context_id=context_id)
    assert judge("shop.Customer").verdict is Verdict.NOT_EXECUTED
    assert judge(INGESTOR, "Hourly").verdict is Verdict.NOT_EXECUTED


@pytest.mark.parametrize("context_id", [str(ID), str(ID).upper(), ID.hex, ID.hex.upper()])
def test_a_uuid_key_is_found_however_it_is_written(context_id: str) -> None:
    Shipment.objects.create(pk=ID, carrier="sea")
    make_run(task_id="run", context_id=context_id)
    assert decided_by(judge("shop.Shipment")) == "run"
    assert decided_by(judge("shop.Shipment", "sea")) == "run"
    assert decided_by(judge("shop.Shipment", "air")) is None


@pytest.mark.parametrize(
    "context_id",
    [*GARBAGE, None, str(ID)[:-1], f"{ID}0", f" {ID}", f"{ID}\n", str(ID).replace("0", "g"), str(uuid.UUID(int=0))],
)
def test_what_is_no_uuid_key_matches_nothing(context_id: str | None) -> None:
    Shipment.objects.create(pk=ID)
    make_run(context_id=context_id)
    assert judge("shop.Shipment").verdict is Verdict.NOT_EXECUTED


@pytest.mark.parametrize("key", ["north", "007", "abc", "🧨", "1.5", "9" * 40, "it's", " ", ""])
def test_a_text_key_is_found_as_it_is_written(key: str) -> None:
    Warehouse.objects.create(pk=key, kind="cold")
    make_run(task_id="run", context_id=key)
    assert decided_by(judge("shop.Warehouse")) == "run"
    assert decided_by(judge("shop.Warehouse", "cold")) == "run"
    assert decided_by(judge("shop.Warehouse", "dry")) is None


@pytest.mark.parametrize(
    "context_id", ["North", "north ", " north", "nort", "nort_", "n%", "", None, "north\N{COMBINING ACUTE ACCENT}"]
)
def test_a_text_key_is_matched_exactly(context_id: str | None) -> None:
    Warehouse.objects.create(pk="north")
    make_run(context_id=context_id)
    assert judge("shop.Warehouse").verdict is Verdict.NOT_EXECUTED


def test_an_inherited_key_is_found_and_its_type_stands_in_the_parent_s_table() -> None:
    BondedWarehouse.objects.create(code="bonded", kind="cold")
    make_run(task_id="run", context_id="bonded")
    for model in ("shop.BondedWarehouse", "shop.Warehouse"):
        assert decided_by(judge(model)) == "run"
        assert decided_by(judge(model, "cold")) == "run"
        assert decided_by(judge(model, "dry")) is None


def test_an_instance_of_the_parent_alone_is_none_of_the_child() -> None:
    Warehouse.objects.create(pk="plain", kind="cold")
    make_run(context_id="plain")
    assert judge("shop.Warehouse", "cold").verdict is Verdict.AS_EXPECTED
    assert judge("shop.BondedWarehouse", "cold").verdict is Verdict.NOT_EXECUTED
    assert judge("shop.BondedWarehouse").verdict is Verdict.NOT_EXECUTED


def test_a_date_key_is_found_by_its_iso_form() -> None:
    Closing.objects.create(pk=date(2026, 9, 30), kind="quarter")
    make_run(task_id="run", context_id="2026-09-30")
    assert decided_by(judge("shop.Closing")) == "run"
    assert decided_by(judge("shop.Closing", "quarter")) == "run"
    assert decided_by(judge("shop.Closing", "year")) is None


@pytest.mark.parametrize(
    "context_id",
    [*GARBAGE, None, "2026-9-30", "30.09.2026", "2026-09-31", "2026-09-30T00:00", "20260930", "0", "today"],
)
def test_what_is_no_date_key_matches_nothing(context_id: str | None) -> None:
    Closing.objects.create(pk=date(2026, 9, 30))
    make_run(context_id=context_id)
    assert judge("shop.Closing").verdict is Verdict.NOT_EXECUTED


def test_runs_with_invalid_ids_do_not_hide_a_valid_one() -> None:
    make_run(task_id="run", context_id=session("Hourly"), started_at=ago(minutes=30))
    for context_id in (*GARBAGE, None):
        make_run(status="Stopped", context_id=context_id, started_at=ago(minutes=10))
    assert decided_by(judge(INGESTOR, "Hourly")) == "run"
    assert decided_by(judge(INGESTOR)) == "run"


# --- contexts that cannot be judged


def test_a_type_of_a_model_that_lost_its_validation_field_is_not_judged(monitoring_settings: Any) -> None:
    make_run(context_id=session("Hourly"))
    monitoring_settings(CONTEXT_FIELDS={})
    outcome = judge(INGESTOR, "Hourly")
    assert (outcome.verdict, outcome.reason) == (
        Verdict.NOT_JUDGED,
        f"context model {INGESTOR!r}: gap.IngestorSession has no validation field;"
        " name one in MONITORING['CONTEXT_FIELDS']",
    )
    assert judge(INGESTOR).verdict is Verdict.AS_EXPECTED


def test_a_validation_field_that_is_gone_is_not_judged(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={INGESTOR: "kind"})
    outcome = judge(INGESTOR, "Hourly")
    assert (outcome.verdict, outcome.reason) == (
        Verdict.NOT_JUDGED,
        f"context model {INGESTOR!r}: gap.IngestorSession has no field 'kind',"
        " which MONITORING['CONTEXT_FIELDS'] names",
    )


class SessionsElsewhere:
    """A database router."""

    def db_for_write(self, model: type[models.Model], **hints: object) -> str | None:
        return "elsewhere" if model is IngestorSession else None


def test_a_context_model_in_another_database_is_not_judged(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.SessionsElsewhere"]
    outcome = judge(INGESTOR, "Hourly")
    assert (outcome.verdict, outcome.reason) == (
        Verdict.NOT_JUDGED,
        f"context model {INGESTOR!r}: gap.IngestorSession is in the database 'elsewhere', the runs are in 'default'",
    )
    assert judge(COLLECTOR, "Hourly").verdict is Verdict.NOT_EXECUTED


class ReadsFromReplica:
    """As the example in Django's documentation of a primary with replicas."""

    def db_for_read(self, model: type[models.Model], **hints: object) -> str | None:
        return "replica" if model._meta.app_label == "gap" else None


def test_a_model_that_is_read_from_a_replica_is_at_home_with_the_runs(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [ReadsFromReplica()]
    session = IngestorSession.objects.using("default").create(ingestor_type="hourly")
    make_run(context_id=str(session.pk))
    (outcome,) = evaluate([Check(make_expectation(context_model=INGESTOR), at=NOW)])
    assert outcome.is_as_expected


@pytest.mark.parametrize(
    "ask",
    [
        lambda monitor: evaluate([Check(make_expectation(context_model=INGESTOR), at=NOW)]),
        lambda monitor: last_runs(monitor, 5),
        lambda monitor: timeline(monitor, ago(days=1), NOW),
        lambda monitor: gather_about(monitor, make_facts(context_model=INGESTOR), NOW),
    ],
)
def test_trouble_with_the_database_is_no_trouble_with_a_context(
    ask: Callable[[Monitor], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*args: Any, **options: Any) -> None:
        raise OperationalError("database is locked")

    monitor = make_monitor(context_model=INGESTOR)
    monkeypatch.setattr(probe, "_newest", locked)
    monkeypatch.setattr(connections[database_alias()], "is_usable", lambda: False)
    with pytest.raises(OperationalError, match="locked"):
        ask(monitor)


@pytest.mark.on_servers
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("around", [transaction.atomic, nullcontext])
def test_a_connection_that_is_cut_is_no_verdict(around: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*args: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr("monitoring.checking.evaluation.newest", cut)
    with pytest.raises(OperationalError, match="terminating connection"), around():
        judge(INGESTOR)
    connection.close()
