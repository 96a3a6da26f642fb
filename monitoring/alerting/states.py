"""How far a message has come, derived from its times."""

from enum import StrEnum

from django.db.models import Q

from monitoring.models import Message


class MessageState(StrEnum):
    PENDING = "pending"
    """It waits for its first attempt, or is being sent."""

    FAILED = "not sent, retrying"
    """The last attempt failed; another will follow."""

    GIVEN_UP = "given up"
    """It was refused for good, or failed for a day; it is not tried again unless somebody asks for it."""

    SENT = "sent"
    """The mail server or the provider accepted it; nothing has been heard of it since."""

    DEFERRED = "deferred"
    """The recipient's server put it off; the provider tries again."""

    DELIVERED = "delivered"
    """The recipient's server accepted it."""

    REJECTED = "rejected"
    """The provider accepted it but then did not send it, for instance because the address has bounced before."""

    BOUNCED = "bounced"
    """The recipient's server sent it back."""

    COMPLAINED = "called spam"
    """It arrived, and its reader reported it as spam to the provider: the next one may be rejected."""


# What the provider reported, the worst first. Each says more than that the mail was sent.
_TOLD = {
    MessageState.COMPLAINED: "complained_at",
    MessageState.BOUNCED: "bounced_at",
    MessageState.REJECTED: "rejected_at",
    MessageState.DELIVERED: "delivered_at",
    MessageState.DEFERRED: "deferred_at",
}


def state_of(message: Message) -> MessageState:
    if message.sent_at:
        return next((state for state, name in _TOLD.items() if getattr(message, name)), MessageState.SENT)
    if message.gave_up_at:
        return MessageState.GIVEN_UP
    return MessageState.FAILED if message.error else MessageState.PENDING


def in_state(state: MessageState) -> Q:
    """The condition for messages to which `state_of` gives this state."""
    match state:
        case MessageState.PENDING:
            return Q(sent_at=None, gave_up_at=None, error="")
        case MessageState.FAILED:
            return Q(sent_at=None, gave_up_at=None) & ~Q(error="")
        case MessageState.GIVEN_UP:
            return Q(sent_at=None) & ~Q(gave_up_at=None)
    told = list(_TOLD)
    worse = told[: told.index(state)] if state in told else told
    condition = ~Q(sent_at=None) & Q(**{_TOLD[each]: None for each in worse})
    return condition & ~Q(**{_TOLD[state]: None}) if state in told else condition
