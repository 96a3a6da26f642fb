"""How far a message has come, derived from its times."""

from enum import StrEnum

from django.db.models import Q

from monitoring.models import Message


class MessageState(StrEnum):
    SENT = "sent"
    """The mail server took it."""

    GIVEN_UP = "given up"
    """It was tried for a day, and is not tried again unless somebody wants it."""

    FAILED = "failed"
    """The last attempt did; another follows."""

    PENDING = "pending"
    """It waits for its first attempt, or is being sent."""


IN_STATE = {
    MessageState.SENT: ~Q(sent_at=None),
    MessageState.GIVEN_UP: Q(sent_at=None) & ~Q(gave_up_at=None),
    MessageState.FAILED: Q(sent_at=None, gave_up_at=None) & ~Q(error=""),
    MessageState.PENDING: Q(sent_at=None, gave_up_at=None, error=""),
}


def state_of(message: Message) -> MessageState:
    if message.sent_at:
        return MessageState.SENT
    if message.gave_up_at:
        return MessageState.GIVEN_UP
    return MessageState.FAILED if message.error else MessageState.PENDING
