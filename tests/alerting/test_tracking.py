from datetime import datetime, timedelta
from typing import Any

import pytest
from anymail.signals import AnymailTrackingEvent, EventType

from monitoring.alerting.outbox import dispatch, send_again
from monitoring.alerting.states import MessageState, state_of
from monitoring.alerting.tracking import NOTED_AS, SAID_MAX, note_event
from monitoring.models import Message, database_alias
from tests.factories import NOW, ago

pytestmark = pytest.mark.django_db

OPS = "ops@example.com"


def make_message(**over: Any) -> Message:
    values = {"address": OPS, "subject": "s", "text": "t", "html": "h", "created_at": NOW, "next_attempt_at": NOW}
    return Message.objects.create(**values | {"sent_at": NOW, "provider_id": "<1@mg>"} | over)


def make_event(kind: str = EventType.DELIVERED, at: datetime | None = NOW, **over: Any) -> AnymailTrackingEvent:
    return AnymailTrackingEvent(
        event_type=kind, timestamp=at, **{"message_id": "<1@mg>", "recipient": OPS, "metadata": {}} | over
    )


def heard(*events: AnymailTrackingEvent) -> Message:
    for event in events:
        note_event(event, NOW)
    return Message.objects.get()


def test_every_event_that_the_installed_anymail_knows_has_its_place() -> None:
    known = {value for name, value in vars(EventType).items() if not name.startswith("_")}
    assert NOTED_AS.keys() == known


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (EventType.DEFERRED, MessageState.DEFERRED),
        (EventType.DELIVERED, MessageState.DELIVERED),
        (EventType.BOUNCED, MessageState.BOUNCED),
        (EventType.REJECTED, MessageState.REJECTED),
        (EventType.FAILED, MessageState.REJECTED),
        (EventType.COMPLAINED, MessageState.COMPLAINED),
        (EventType.OPENED, MessageState.SENT),
    ],
)
def test_what_a_provider_tells_is_the_messages_state(kind: str, state: MessageState) -> None:
    make_message()
    assert state_of(heard(make_event(kind))) is state


def test_the_worst_counts_in_whatever_order_it_is_told() -> None:
    make_message()
    assert state_of(heard(make_event(EventType.BOUNCED), make_event(EventType.DELIVERED))) is MessageState.BOUNCED


def test_each_time_is_kept_and_a_repeated_event_changes_none() -> None:
    make_message()
    message = heard(
        make_event(EventType.DEFERRED, ago(minutes=9)),
        make_event(EventType.DEFERRED, ago(minutes=8)),
        make_event(EventType.DELIVERED, ago(minutes=7)),
    )
    assert (message.deferred_at, message.delivered_at) == (ago(minutes=9), ago(minutes=7))


def test_the_words_are_those_of_the_newest_event() -> None:
    make_message()
    newer = make_event(EventType.BOUNCED, NOW, reject_reason="bounced", mta_response="550 5.1.1 Nobody\nof that name")
    older = make_event(EventType.DEFERRED, ago(minutes=1), description="greylisted")
    assert heard(newer, older).provider_said == "bounced: 550 5.1.1 Nobody of that name"


def test_words_are_cut_and_storable() -> None:
    make_message()
    said = heard(make_event(EventType.BOUNCED, mta_response="\0" + "x" * 2 * SAID_MAX)).provider_said
    assert len(said) == SAID_MAX


def test_an_event_without_a_time_happened_when_it_was_heard() -> None:
    make_message()
    assert heard(make_event(at=None)).delivered_at == NOW


def test_an_event_that_comes_before_the_providers_id_was_noted_is_known_by_ours() -> None:
    message = make_message(provider_id="", attempts=1)
    assert heard(make_event(metadata={"monitoring_message": str(message.pk)})).delivered_at == NOW


def test_what_was_taken_before_its_sender_died_need_not_go_out_again() -> None:
    message = make_message(provider_id="", sent_at=None, attempts=1, leased_until=NOW + timedelta(minutes=5))
    assert heard(make_event(metadata={"monitoring_message": str(message.pk)})).sent_at == NOW


@pytest.mark.parametrize("kind", [EventType.REJECTED, EventType.FAILED])
def test_what_was_given_up_and_is_then_said_to_be_rejected_can_be_sent_again(kind: str) -> None:
    message = make_message(provider_id="", sent_at=None, attempts=1, gave_up_at=NOW, error="refused")
    message = heard(make_event(kind, metadata={"monitoring_message": str(message.pk)}))
    assert (state_of(message), message.rejected_at) == (MessageState.GIVEN_UP, NOW)
    send_again([message.pk], NOW, database_alias())
    dispatch(NOW)
    assert state_of(Message.objects.get()) is MessageState.SENT


def test_what_was_given_up_and_is_then_said_to_have_arrived_is_not_given_up() -> None:
    message = make_message(provider_id="", sent_at=None, attempts=1, gave_up_at=NOW, error="no answer")
    message = heard(make_event(metadata={"monitoring_message": str(message.pk)}))
    assert (state_of(message), message.gave_up_at) == (MessageState.DELIVERED, None)


def test_nobody_tells_of_a_mail_that_was_never_tried() -> None:
    message = make_message(provider_id="", sent_at=None)
    assert heard(make_event(metadata={"monitoring_message": str(message.pk)})).sent_at is None


@pytest.mark.parametrize(
    "foreign",
    [
        {"message_id": "<2@mg>"},
        {"message_id": None},
        {"message_id": "<2@mg>", "metadata": {"monitoring_message": "{pk}"}},
        {"recipient": "somebody.else@example.com"},
        {"recipient": None},
        {"message_id": None, "metadata": {"monitoring_message": "9" * 30}},
        {"message_id": "\0", "metadata": {"monitoring_message": "x' OR 1=1"}},
        {"message_id": "", "metadata": None},
        {"message_id": "<2@mg>", "metadata": "12345"},
        {"message_id": "<2@mg>", "metadata": [12345]},
    ],
)
def test_what_others_send_through_the_same_account_is_not_ours(foreign: dict[str, Any]) -> None:
    message = make_message(attempts=1)
    if isinstance(foreign.get("metadata"), dict):
        foreign = foreign | {
            "metadata": {key: value.replace("{pk}", str(message.pk)) for key, value in foreign["metadata"].items()}
        }
    assert note_event(make_event(**foreign), NOW) is None
    assert state_of(Message.objects.get()) is MessageState.SENT


def test_an_address_is_the_same_in_whatever_case_the_provider_writes_it() -> None:
    make_message()
    assert heard(make_event(recipient="OPS@Example.com")).delivered_at == NOW


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ops@münchen.example", "ops@xn--mnchen-3ya.example"),
        ("ops@xn--mnchen-3ya.example", "ops@München.example"),
        ("ops@straße.example", "ops@xn--strae-oqa.example"),
        ("wächter@münchen.example", "Wächter@xn--mnchen-3ya.example"),
        ("ops@mail_in.example", "ops@Mail_In.example"),
    ],
)
def test_a_domain_is_the_same_in_ascii_and_in_its_own_letters(address: str, told: str) -> None:
    make_message(address=address)
    assert heard(make_event(recipient=told)).delivered_at == NOW


def test_domains_that_only_the_older_encoding_makes_one_are_two() -> None:
    make_message(address="ops@straße.example")
    assert heard(make_event(recipient="ops@strasse.example")).delivered_at is None
