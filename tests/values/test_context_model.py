from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User

from monitoring.values.context_model import ContextModel, find_context_model, find_model
from project.demo.models import CollectorSession, IngestorSession
from tests.app.models import BondedWarehouse, Shipment


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("gap.models.IngestorSession", IngestorSession),
        ("gap.IngestorSession", IngestorSession),
        ("gap.models.sessions.IngestorSession", IngestorSession),
        ("project.demo.models.IngestorSession", IngestorSession),
        ("project.demo.CollectorSession", CollectorSession),
        ("gap.models.ingestorsession", IngestorSession),
        ("tests.app.models.Shipment", Shipment),
        ("shop.Shipment", Shipment),
        ("django.contrib.admin.models.LogEntry", LogEntry),
        ("auth.User", User),
    ],
)
def test_a_model_is_found_by_its_app_s_label_or_module(path: str, model: type) -> None:
    assert find_model(path) is model


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("gap.models.Session", "the app 'gap' has no model 'Session'"),
        ("gap.models", "the app 'gap' has no model 'models'"),
        ("demo.models.IngestorSession", "no installed app has the label or module 'demo'"),
        ("Gap.models.IngestorSession", "no installed app has the label or module 'Gap'"),
        ("project.models.IngestorSession", "no installed app has the label or module 'project'"),
        ("project.demo.tasks.IngestorSession", "no installed app has the label or module 'project.demo.tasks'"),
        ("", "'' is not the path of a model, such as 'gap.models.IngestorSession'"),
        ("IngestorSession", "'IngestorSession' is not the path of a model, such as 'gap.models.IngestorSession'"),
        (".IngestorSession", "'.IngestorSession' is not the path of a model, such as 'gap.models.IngestorSession'"),
        ("gap.", "'gap.' is not the path of a model, such as 'gap.models.IngestorSession'"),
        ("gap.models.\n.X", r"'gap.models.\n.X' is not the path of a model, such as 'gap.models.IngestorSession'"),
        ("gap.Ingestor Session", "'gap.Ingestor Session' is not the path of a model, such as 'gap.models.Ing"),
        ("x." * 127 + "!", f"'{'x.' * 39}x…' is not the path of a model, such as 'gap.models.IngestorSession'"),
    ],
)
def test_a_path_that_leads_to_no_installed_model_is_refused(path: str, said: str) -> None:
    with pytest.raises(LookupError) as caught:
        find_model(path)
    assert str(caught.value).startswith(said)


def test_a_path_is_never_imported() -> None:
    # Were this module imported, its exception would say so.
    with pytest.raises(LookupError, match="no installed app"):
        find_model("tests.values.nothing_here.models.IngestorSession")


@pytest.mark.parametrize("model", [IngestorSession, CollectorSession])
@pytest.mark.parametrize("app", ["gap.models", "gap", "project.demo.models"])
def test_the_two_documented_models_are_told_apart_by_ingestor_type(app: str, model: type) -> None:
    assert find_context_model(f"{app}.{model.__name__}") == ContextModel(model, "ingestor_type")


def test_a_model_that_no_setting_names_has_no_types() -> None:
    assert find_context_model("shop.Shipment") == ContextModel(Shipment, None)


@pytest.mark.parametrize("named", ["shop.Shipment", "tests.app.models.Shipment", "shop.models.Shipment"])
def test_the_setting_may_name_a_model_in_either_way(monitoring_settings: Any, named: str) -> None:
    monitoring_settings(CONTEXT_FIELDS={named: "carrier"})
    assert find_context_model("shop.Shipment") == ContextModel(Shipment, "carrier")


def test_the_setting_may_name_apps_that_are_not_installed(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"gone.models.Session": "kind", "": "kind", "shop.Shipment": "carrier"})
    assert find_context_model("shop.Shipment").type_field == "carrier"


def test_an_inherited_field_tells_types_apart_too(monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"shop.BondedWarehouse": "kind"})
    assert find_context_model("shop.BondedWarehouse") == ContextModel(BondedWarehouse, "kind")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("shop.Shipment", "kind"),
        ("shop.Shipment", "carrier__name"),
        ("shop.Warehouse", "bondedwarehouse"),  # the other end of a relation is no column
    ],
)
def test_a_field_without_a_column_is_refused(monitoring_settings: Any, path: str, field: str) -> None:
    monitoring_settings(CONTEXT_FIELDS={path: field})
    with pytest.raises(
        LookupError, match=rf"{path} has no field '{field}', which MONITORING\['CONTEXT_FIELDS'\] names"
    ):
        find_context_model(path)
