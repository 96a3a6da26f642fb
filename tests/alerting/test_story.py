"""What happened to an incident, in order."""

from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.alerting import story as module
from monitoring.alerting.owing import Announcement, owe
from monitoring.alerting.story import Happened, Story, story_of
from monitoring.models import Alert, Delivery, Incident, Message, database_alias
from monitoring.values.facts import AlertKind
from tests.factories import NOW, ago, make_facts, make_monitor

pytestmark = pytest.mark.django_db


def make_incident(**over: Any) -> Incident:
    values = {"monitor_name": "m", "task_name": "daily_report", "facts": make_facts().to_json()}
    times = {"opened_at": ago(hours=3), "last_failed_at": ago(hours=3)}
    return Incident.objects.create(**{**values, **times, **over})


def tell(incident: Incident, at: datetime, *addresses: str, checked_at: datetime = NOW, **mail: Any) -> Alert:
    """An alert, a recovery's once the incident is closed; with `mail`, what befell its mails too."""
    kind = AlertKind.RESOLVED if at == incident.closed_at else AlertKind.STATUS_MISMATCH
    (alert,) = owe(
        [Announcement(make_facts(kind=kind, check_time=checked_at), addresses, incident)], at, database_alias()
    )
    for delivery in Delivery.objects.filter(alert=alert) if mail else ():
        message = Message.objects.create(
            address=delivery.address, subject="s", text="t", html="h", created_at=at, next_attempt_at=at, **mail
        )
        Delivery.objects.filter(pk=delivery.pk).update(message=message)
    return alert


def happened(story: Story) -> list[tuple[datetime, Happened]]:
    return [(moment.at, moment.happened) for moment in story.moments]


def test_the_whole_story_stands_in_its_order() -> None:
    incident = make_incident(
        monitor=make_monitor(), failing_checks=2, last_failed_at=ago(hours=2), acknowledged_at=ago(hours=1),
        acknowledged_by="ada", closed_at=NOW,
    )  # fmt: skip
    tell(incident, ago(hours=3), "a@example.com", sent_at=ago(hours=2.9), delivered_at=ago(hours=2.8))
    tell(incident, NOW, "a@example.com", sent_at=NOW, bounced_at=NOW)
    assert happened(story_of(incident, snoozed_until=ago(hours=1.5))) == [
        (ago(hours=3), Happened.FOUND),
        (ago(hours=3), Happened.OWED),
        (ago(hours=3), Happened.COMPOSED),
        (ago(hours=2.9), Happened.SENT),
        (ago(hours=2.8), Happened.DELIVERED),
        (ago(hours=2), Happened.FAILED_AGAIN),
        (ago(hours=1.5), Happened.SNOOZED),
        (ago(hours=1), Happened.ACKNOWLEDGED),
        (NOW, Happened.RECOVERED),
        (NOW, Happened.OWED),
        (NOW, Happened.SENT),
        (NOW, Happened.BOUNCED),
    ]


def test_one_that_closed_since_nobody_watches_any_more_is_not_said_to_be_as_expected() -> None:
    incident = make_incident(closed_at=ago(hours=1))
    tell(incident, ago(hours=3), "a@example.com")
    assert happened(story_of(incident, None))[-1] == (ago(hours=1), Happened.CLOSED)


def test_every_time_of_a_message_that_says_something_has_its_moment() -> None:
    silent = {"next_attempt_at", "retry_until", "leased_until"}
    times = {field.name for field in Message._meta.fields if field.get_internal_type() == "DateTimeField"}
    assert set(module._TIMES) == times - silent


def test_mails_that_go_out_together_are_one_moment() -> None:
    incident = make_incident()
    tell(incident, ago(hours=3), "a@example.com", "b@example.com", sent_at=ago(hours=2))
    sent = [moment for moment in story_of(incident, None).moments if moment.happened is Happened.SENT]
    assert [moment.addresses for moment in sent] == [("a@example.com", "b@example.com")]


def test_who_has_no_mail_yet_is_named_and_that_nobody_could_be_told() -> None:
    incident = make_incident()
    tell(incident, ago(hours=3), "a@example.com")
    tell(incident, ago(hours=2))
    owed = [moment for moment in story_of(incident, None).moments if moment.happened is Happened.OWED]
    assert [(moment.addresses, moment.unwritten) for moment in owed] == [(("a@example.com",),) * 2, ((), ())]


def test_a_snooze_that_is_not_of_this_incident_is_not_told() -> None:
    incident = make_incident(closed_at=ago(hours=2))
    for until in (None, ago(hours=4), ago(hours=1)):
        assert Happened.SNOOZED not in dict(map(reversed, happened(story_of(incident, until))))  # type: ignore[call-overload]


def test_of_many_alerts_the_first_and_the_newest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALERTS_TOLD", 2)
    incident = make_incident()
    for hours in (3, 2.5, 2, 1):
        tell(incident, ago(hours=hours), "a@example.com")
    told = [each for each in happened(story_of(incident, None)) if each[1] is not Happened.FOUND]
    assert told == [
        (ago(hours=3), Happened.OWED),
        (ago(hours=2), Happened.LEFT_OUT),
        (ago(hours=2), Happened.OWED),
        (ago(hours=1), Happened.OWED),
    ]
    Alert.objects.earliest("created_at").delete()
    assert Happened.LEFT_OUT not in [each for _, each in happened(story_of(incident, None))]


def test_it_takes_three_statements_and_reads_no_text_of_a_mail() -> None:
    incident = make_incident()
    for hour in range(30):
        tell(incident, ago(hours=hour), "a@example.com", sent_at=NOW)
    with CaptureQueriesContext(connection) as asked:
        story = story_of(incident, None)
    assert len(asked) == 3
    assert not any('"html"' in query["sql"] for query in asked)
    assert all("facts" in moment.alert.get_deferred_fields() for moment in story.moments if moment.alert)


def test_a_mail_that_failed_so_far_is_told_as_not_sent() -> None:
    incident = make_incident()
    tell(incident, ago(hours=3), "a@example.com", "b@example.com", sent_at=ago(hours=2))
    tell(incident, ago(hours=1), "a@example.com", attempts=2, error="Connection refused")
    story = story_of(incident, None)
    assert (ago(hours=1), Happened.NOT_SENT) in happened(story)
    assert (ago(hours=1), Happened.COMPOSED) not in happened(story)
    assert story.last_sent_at == ago(hours=2)
    assert [mail.error for mail in story.not_sent] == ["Connection refused"]
    tell(incident, NOW, "a@example.com", sent_at=NOW)
    assert story_of(incident, None).not_sent == ()


@pytest.mark.parametrize("end", ["sent_at", "gave_up_at"])
def test_a_mail_that_ends_within_a_minute_has_one_moment_a_later_one_two(end: str) -> None:
    incident = make_incident()
    tell(incident, ago(minutes=9), "a@example.com", **{end: ago(minutes=8.5)})
    tell(incident, ago(minutes=5), "a@example.com", **{end: ago(minutes=4)})
    told = [each for each in happened(story_of(incident, None)) if each[1] not in (Happened.FOUND, Happened.OWED)]
    ended = module._TIMES[end]
    assert told == [(ago(minutes=8.5), ended), (ago(minutes=5), Happened.COMPOSED), (ago(minutes=4), ended)]


def test_an_alert_says_which_failing_check_raised_it_if_each_of_them_raised_one() -> None:
    def numbers() -> list[int]:
        moments = story_of(incident, None).moments
        return [moment.failing_check for moment in moments if moment.happened is Happened.OWED]

    incident = make_incident(failing_checks=3, last_failed_at=ago(hours=1), closed_at=NOW)
    for hours in (3, 2, 1):
        tell(incident, ago(hours=hours), "a@example.com", checked_at=ago(hours=hours, minutes=1))
    tell(incident, NOW, "a@example.com")
    assert numbers() == [1, 2, 3, 0]
    reminder = tell(incident, ago(minutes=30), "a@example.com", checked_at=ago(hours=1, minutes=1))
    assert numbers() == [0] * 5, "a reminder speaks of a check that raised an alert before"
    reminder.delete()
    Incident.objects.update(failing_checks=4)
    incident.refresh_from_db()
    assert numbers() == [0] * 4, "a check while it was snoozed raised none"
