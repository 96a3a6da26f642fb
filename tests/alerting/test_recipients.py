from collections.abc import Iterator
from typing import Any

import pytest
from django.apps.registry import Apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import isolate_apps

from monitoring.alerting import recipients
from monitoring.alerting.owing import Announcement, owe
from monitoring.alerting.recipients import superuser_addresses
from monitoring.models import Alert, Delivery, Incident, database_alias
from monitoring.values.facts import AlertKind, Facts
from tests.factories import NOW, make_facts

pytestmark = pytest.mark.django_db


def make_user(name: str, email: str, **over: Any) -> User:
    return User.objects.create(username=name, email=email, **{"is_superuser": True} | over)


# Superusers


def test_superusers_are_told_in_the_order_of_their_accounts() -> None:
    make_user("zoe", "zoe@example.com")
    make_user("adam", "adam@example.com")
    assert superuser_addresses() == ("zoe@example.com", "adam@example.com")


@pytest.mark.parametrize(
    "over",
    [{"is_active": False}, {"is_superuser": False}, {"is_superuser": False, "is_staff": True}],
    ids=["inactive", "nobody special", "staff"],
)
def test_others_than_active_superusers_are_not_told(over: dict[str, bool]) -> None:
    make_user("other", "other@example.com", **over)
    make_user("root", "root@example.com")
    assert superuser_addresses() == ("root@example.com",)


@pytest.mark.parametrize(
    "email",
    [
        *("", " ", "root", "root@", "@example.com", "root@example", "two words@example.com"),
        *("a@example.com, b@example.com", '"a\x07"@example.com'),
    ],
)
def test_superusers_without_a_valid_address_are_passed_over(email: str) -> None:
    make_user("unreachable", email)
    assert superuser_addresses() == ()
    make_user("root", "root@example.com")
    assert superuser_addresses() == ("root@example.com",)


def test_an_address_of_two_superusers_is_told_once_as_the_first_wrote_it() -> None:
    make_user("one", "ops@example.com")
    make_user("two", "root@example.com")
    make_user("three", "OPS@example.com")
    assert superuser_addresses() == ("ops@example.com", "root@example.com")


def test_without_superusers_nobody_is_told() -> None:
    assert superuser_addresses() == ()


def test_superusers_are_one_statement(django_assert_num_queries: Any) -> None:
    for number in range(5):
        make_user(f"root{number}", f"root{number}@example.com")
    with django_assert_num_queries(1):
        assert len(superuser_addresses()) == 5


# User models of other projects


@pytest.fixture
def other_models() -> Iterator[Apps]:
    with isolate_apps("tests.app") as apps:
        yield apps


class Account(models.Model):
    """Rows of Django's own user table, seen by a model that is not Django's."""

    class Meta:
        abstract = True
        managed = False
        db_table = User._meta.db_table
        app_label = "shop"


def test_a_user_model_without_superusers_and_addresses_tells_nobody(settings: Any) -> None:
    settings.AUTH_USER_MODEL = "shop.Customer"
    assert superuser_addresses() == ()


def test_a_user_model_without_superusers_tells_nobody(other_models: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    class Member(Account):
        email = models.EmailField()

    monkeypatch.setattr(recipients, "get_user_model", lambda: Member)
    make_user("root", "root@example.com")
    assert superuser_addresses() == ()


def test_a_user_model_without_addresses_tells_nobody(other_models: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    class Member(Account):
        is_superuser = models.BooleanField()

    monkeypatch.setattr(recipients, "get_user_model", lambda: Member)
    make_user("root", "root@example.com")
    assert superuser_addresses() == ()


def test_whether_a_superuser_is_active_is_a_property_in_some_projects(
    other_models: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Member(Account):
        is_superuser = models.BooleanField()
        email = models.EmailField()
        is_active = True

    monkeypatch.setattr(recipients, "get_user_model", lambda: Member)
    make_user("root", "root@example.com")
    make_user("other", "other@example.com", is_superuser=False)
    assert superuser_addresses() == ("root@example.com",)


def test_the_field_of_the_address_has_another_name_in_some_projects(
    other_models: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Member(Account):
        EMAIL_FIELD = "mailbox"
        is_superuser = models.BooleanField()
        mailbox = models.EmailField(null=True, db_column="email")  # noqa: DJ001 - some projects do

    monkeypatch.setattr(recipients, "get_user_model", lambda: Member)
    make_user("root", "root@example.com")
    assert superuser_addresses() == ("root@example.com",)


def test_a_superuser_without_any_address_is_no_error(other_models: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    class Member(Account):
        EMAIL_FIELD = "mailbox"
        is_superuser = models.BooleanField()
        mailbox = models.CharField(max_length=50, null=True, db_column="last_login")  # noqa: DJ001 - a column of NULLs

    monkeypatch.setattr(recipients, "get_user_model", lambda: Member)
    make_user("root", "root@example.com")
    assert superuser_addresses() == ()


# What is owed


def announce(*addresses: str, **facts: Any) -> list[Alert]:
    return list(owe([Announcement(make_facts(**facts), addresses)], NOW, database_alias()))


def test_an_alert_is_owed_to_each_address() -> None:
    (alert,) = announce("a@example.com", "b@example.com")
    assert (alert.kind, alert.task_name, alert.created_at) == ("mismatch", "daily_report", NOW)
    owed = alert.deliveries.order_by("address").values_list("address", "message")
    assert list(owed) == [("a@example.com", None), ("b@example.com", None)]


def test_the_facts_come_back_as_they_were_owed() -> None:
    facts = make_facts(
        kind=AlertKind.NOT_EXECUTED, dependent_tasks=("b", "a"), waiting_since=NOW, time_zone="Europe/Berlin"
    )
    owe([Announcement(facts, ("a@example.com",))], NOW, database_alias())
    assert Facts.from_json(Alert.objects.get().facts) == facts


def test_an_alert_that_nobody_is_told_about_is_kept() -> None:
    announce()
    assert Alert.objects.filter(deliveries=None).get().task_name == "daily_report"
    assert Delivery.objects.count() == 0


def test_an_alert_is_owed_to_an_address_once() -> None:
    (alert,) = announce("a@example.com")
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.create(alert=alert, address="a@example.com")
    announce("a@example.com")
    assert Delivery.objects.filter(address="a@example.com").count() == 2, "another alert is another promise"


def test_owing_takes_as_many_statements_however_much_is_owed(django_assert_num_queries: Any) -> None:
    announcements = [
        Announcement(make_facts(task_name=f"task_{number}"), ("a@example.com", "b@example.com")) for number in range(50)
    ]
    with django_assert_num_queries(4 if connection.vendor == "sqlite" else 2):  # it is asked for the keys
        alerts = owe(announcements, NOW, database_alias())
    assert [alert.task_name for alert in alerts] == [f"task_{number}" for number in range(50)]
    assert Delivery.objects.count() == 100


def test_facts_that_the_incident_holds_too_are_copied_from_it_in_the_order_of_what_is_owed(
    django_assert_num_queries: Any,
) -> None:
    names = [f"task_{number * 7 % 50}" for number in range(50)]
    facts = {name: make_facts(task_name=name, kind=AlertKind.NOT_EXECUTED, reason=f"{name}'s") for name in names}
    incidents = {
        name: Incident.objects.create(
            monitor_name=name,
            task_name="as it was called then",
            opened_at=NOW,
            last_failed_at=NOW,
            facts=facts[name].to_json(),
        )
        for name in sorted(names)
    }
    other = Announcement(make_facts(kind=AlertKind.RESOLVED), ("b@example.com",), incidents["task_0"])
    noted = [Announcement(facts[name], (f"{name}@example.com",), incidents[name], is_noted=True) for name in names]
    with django_assert_num_queries(5 if connection.vendor == "sqlite" else 3):
        owed = owe([other, *noted], NOW, database_alias())
    *alerts, last = owed
    assert (Facts.from_json(last.facts), last.incident) == (other.facts, incidents["task_0"])
    assert [
        (
            alert.kind,
            alert.task_name,
            Facts.from_json(alert.facts),
            alert.created_at,
            alert.incident,
            alert.deliveries.get().address,
        )
        for alert in alerts
    ] == [("not-executed", name, facts[name], NOW, incidents[name], f"{name}@example.com") for name in names]


def test_nothing_to_say_owes_nothing(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert list(owe([], NOW, database_alias())) == []


@pytest.mark.parametrize("name", ["x" * 255, "é" * 255, "🛰️", "line\nbreak", "'; DROP TABLE alert; --"])
def test_any_name_can_be_owed(name: str) -> None:
    (alert,) = announce("a@example.com", task_name=name)
    alert.refresh_from_db()
    assert (alert.task_name, Facts.from_json(alert.facts).task_name) == (name, name)
