from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from monitoring.conf import CONTEXT_FIELDS, Conf, conf


def test_without_the_setting_everything_has_a_default(settings: Any) -> None:
    settings.MONITORING = {}  # only this is told to whoever has read the setting before
    del settings.MONITORING
    assert conf() == Conf(SITE_URL="", CONTEXT_FIELDS=CONTEXT_FIELDS, DIGEST_OVER=10)


def test_the_two_models_of_the_documentation_have_their_field_by_default(settings: Any) -> None:
    settings.MONITORING = {}
    assert dict(conf().CONTEXT_FIELDS) == {
        "gap.models.IngestorSession": "ingestor_type",
        "gap.models.CollectorSession": "ingestor_type",
    }


def test_what_is_set_is_what_is_read(settings: Any) -> None:
    settings.MONITORING = {
        "SITE_URL": "https://monitor.example.org",
        "CONTEXT_FIELDS": {"shop.Shipment": "carrier"},
        "DIGEST_OVER": 0,
        "NOT_RECORDED": ["ping"],
        "WITHOUT_PARAMETERS": ("log_in",),
    }
    assert conf() == Conf(
        SITE_URL="https://monitor.example.org",
        CONTEXT_FIELDS={"shop.Shipment": "carrier"},
        DIGEST_OVER=0,
        NOT_RECORDED=["ping"],
        WITHOUT_PARAMETERS=("log_in",),
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "MONITORING is None; a dictionary is wanted"),
        ([], r"MONITORING is \[\]; a dictionary is wanted"),
        (
            {"DIGEST": 3},
            "MONITORING has no setting 'DIGEST'; it has SITE_URL, CONTEXT_FIELDS, DIGEST_OVER, SPOOL_DIR, KEEP_RUNS",
        ),
        ({"digest_over": 3}, "MONITORING has no setting 'digest_over'"),
        ({7: 3}, "MONITORING has no setting 7"),
        ({"SITE_URL": "http://[monitor/"}, r"MONITORING\['SITE_URL'\] is 'http://\[monitor/'; a site such as https"),
        ({"DIGEST_OVER": -1}, r"MONITORING\['DIGEST_OVER'\] is -1; 0 or more is wanted"),
        ({"SITE_URL": None}, r"MONITORING\['SITE_URL'\] is None; str is wanted"),
        ({"DIGEST_OVER": "10"}, r"MONITORING\['DIGEST_OVER'\] is '10'; int is wanted"),
        ({"DIGEST_OVER": 1.5}, r"MONITORING\['DIGEST_OVER'\] is 1.5; int is wanted"),
        ({"DIGEST_OVER": True}, r"MONITORING\['DIGEST_OVER'\] is True; int is wanted"),
        ({"CONTEXT_FIELDS": ["shop.Shipment"]}, r"MONITORING\['CONTEXT_FIELDS'\] is \['shop.Shipment'\]; Mapping"),
        ({"CONTEXT_FIELDS": {"shop.Shipment": None}}, r"MONITORING\['CONTEXT_FIELDS'\] has 'shop.Shipment': None"),
        ({"NOT_RECORDED": "ping"}, r"MONITORING\['NOT_RECORDED'\] is 'ping'; list of task names is wanted"),
        ({"NOT_RECORDED": ["ping", 3]}, r"MONITORING\['NOT_RECORDED'\] has 3; names of tasks are wanted"),
        ({"WITHOUT_PARAMETERS": {"ping": 3}}, r"MONITORING\['WITHOUT_PARAMETERS'\] is .*; list of task names"),
        ({"KEEP_RUNS_DAYS": "90"}, r"MONITORING\['KEEP_RUNS_DAYS'\] is '90'; int \\| None is wanted"),
        ({"KEEP_RUNS_DAYS": -1}, r"MONITORING\['KEEP_RUNS_DAYS'\] is -1; a number of days is wanted, or 0 for ever"),
        ({"PING_URL": "ftp://switch.example.org/"}, r"MONITORING\['PING_URL'\] is no address; one such as https://"),
        ({"PING_URL": "file:///etc/passwd"}, r"MONITORING\['PING_URL'\] is no address"),
        ({"PING_URL": "https://switch.example.org/a b"}, r"MONITORING\['PING_URL'\] is no address"),
        ({"PING_URL": None}, r"MONITORING\['PING_URL'\] is None; str is wanted"),
        ({"METRICS_TOKEN": "short"}, r"MONITORING\['METRICS_TOKEN'\] is no token; 16 ASCII characters or more"),
        ({"METRICS_TOKEN": "not one word at all"}, r"MONITORING\['METRICS_TOKEN'\] is no token"),
        ({"CONTEXT_FIELDS": {5: "carrier"}}, r"MONITORING\['CONTEXT_FIELDS'\] has 5: 'carrier'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings: Any, given: object, said: str) -> None:
    settings.MONITORING = given
    with pytest.raises(ImproperlyConfigured, match=said):
        conf()


def test_what_is_wrong_with_a_secret_is_said_without_it(settings: Any) -> None:
    for key in ("PING_URL", "METRICS_TOKEN"):
        settings.MONITORING = {key: "s3cret"}
        with pytest.raises(ImproperlyConfigured) as refused:
            conf()
        assert "s3cret" not in str(refused.value)
