from itertools import product
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
        (None, "MONITORING must be a dictionary, not None"),
        ([], r"MONITORING must be a dictionary, not \[\]"),
        (
            {"DIGEST": 3},
            "MONITORING has no key 'DIGEST'; its keys are SITE_URL, CONTEXT_FIELDS, DIGEST_OVER, SPOOL_DIR, KEEP_RUNS",
        ),
        ({"digest_over": 3}, "MONITORING has no key 'digest_over'"),
        ({7: 3}, "MONITORING has no key 7"),
        (
            {"SITE_URL": "http://[monitor/"},
            r"MONITORING\['SITE_URL'\] must be an address such as https://\S+, not 'http://\[m",
        ),
        ({"DIGEST_OVER": -1}, r"MONITORING\['DIGEST_OVER'\] must be 0 or more, not -1"),
        ({"SITE_URL": None}, r"MONITORING\['SITE_URL'\] must be a string, not None"),
        ({"DIGEST_OVER": "10"}, r"MONITORING\['DIGEST_OVER'\] must be a whole number, not '10'"),
        ({"DIGEST_OVER": 1.5}, r"MONITORING\['DIGEST_OVER'\] must be a whole number, not 1.5"),
        ({"DIGEST_OVER": True}, r"MONITORING\['DIGEST_OVER'\] must be a whole number, not True"),
        ({"CONTEXT_FIELDS": ["shop.Shipment"]}, r"MONITORING\['CONTEXT_FIELDS'\] must be a dictionary, not \['shop"),
        (
            {"CONTEXT_FIELDS": {"shop.Shipment": None}},
            r"MONITORING\['CONTEXT_FIELDS'\] must map .*, not 'shop.Shipment' to None",
        ),
        ({"NOT_RECORDED": "ping"}, r"MONITORING\['NOT_RECORDED'\] must be a list of task names, not 'ping'"),
        ({"NOT_RECORDED": ["ping", 3]}, r"MONITORING\['NOT_RECORDED'\] must hold names of tasks, not 3"),
        ({"WITHOUT_PARAMETERS": {"ping": 3}}, r"MONITORING\['WITHOUT_PARAMETERS'\] must be a list of task names"),
        ({"KEEP_RUNS_DAYS": "90"}, r"MONITORING\['KEEP_RUNS_DAYS'\] must be a whole number or None, not '90'"),
        (
            {"KEEP_RUNS_DAYS": -1},
            r"MONITORING\['KEEP_RUNS_DAYS'\] must be at most 36500 days, or 0 to keep all, not -1",
        ),
        ({"KEEP_RUNS_DAYS": 1_000_000}, r"MONITORING\['KEEP_RUNS_DAYS'\] must be at most 36500 days"),
        ({"KEEP_INCIDENTS_DAYS": 1_000_000}, r"MONITORING\['KEEP_INCIDENTS_DAYS'\] must be at most 36500 days"),
        ({"PING_URL": "ftp://switch.example.org/"}, r"MONITORING\['PING_URL'\] must be an address such as https://"),
        ({"PING_URL": "file:///etc/passwd"}, r"MONITORING\['PING_URL'\] must be an address such as"),
        ({"PING_URL": "https://switch.example.org/a b"}, r"MONITORING\['PING_URL'\] must be an address such as"),
        ({"PING_URL": None}, r"MONITORING\['PING_URL'\] must be a string"),
        ({"METRICS_TOKEN": "short"}, r"MONITORING\['METRICS_TOKEN'\] must be at least 16 ASCII characters"),
        ({"METRICS_TOKEN": "not one word at all"}, r"MONITORING\['METRICS_TOKEN'\] must be at least 16"),
        ({"CONTEXT_FIELDS": {5: "carrier"}}, r"MONITORING\['CONTEXT_FIELDS'\] must map .*, not 5 to 'carrier'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings: Any, given: object, said: str) -> None:
    settings.MONITORING = given
    with pytest.raises(ImproperlyConfigured, match=said):
        conf()


def test_what_is_wrong_with_a_secret_is_said_without_it(settings: Any) -> None:
    for key, value in product(("PING_URL", "METRICS_TOKEN"), ("s3cret", b"s3cret")):
        settings.MONITORING = {key: value}
        with pytest.raises(ImproperlyConfigured) as refused:
            conf()
        assert "s3cret" not in str(refused.value)
