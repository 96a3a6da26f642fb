"""Why a mail was not accepted, and whether a retry is worthwhile."""

from smtplib import (
    SMTPConnectError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from anymail.exceptions import (
    AnymailAPIError,
    AnymailConfigurationError,
    AnymailError,
    AnymailImproperlyInstalled,
    AnymailRecipientsRefused,
)

from monitoring.values.text import head, said, storable

WORDS_MAX = 2_000  # characters

# Provider answers that ask to try again later: request timeout, too early, too many requests
# (RFC 9110, 8470, 6585).
_PATIENCE = frozenset({408, 425, 429})


class NothingSent(Exception):
    """The mail backend raised nothing and sent nothing."""

    def __init__(self) -> None:
        super().__init__("the mail backend says that it sent nothing")


class SendersDied(Exception):
    """Every process that tried to send it ended before it could record what came of it."""

    def __init__(self) -> None:
        super().__init__("each process that tried to send it has died of something: see the worker's log and memory")


def is_permanent(error: Exception) -> bool:
    """Whether a retry would fail too: a refused address, bad credentials, a message that cannot be sent.

    Everything else is temporary: no connection, a timeout, a busy or broken server, and any error not known here.
    """
    match error:
        case AnymailAPIError():
            return (
                error.status_code is not None and 400 <= error.status_code < 500 and error.status_code not in _PATIENCE
            )
        case SMTPServerDisconnected() | SMTPConnectError():  # about the server, not about this mail
            return False
        case SMTPRecipientsRefused():
            return all(_is_refusal(code) for code, _ in error.recipients.values())
        case SMTPResponseException():
            return _is_refusal(error.smtp_code)
        case OSError() if not isinstance(error, SMTPException):
            return False
    # ValueError: Django and Anymail raise it for addresses, headers and texts that no mail can have.
    return isinstance(
        error, AnymailError | AnymailConfigurationError | AnymailImproperlyInstalled | SMTPException | ValueError
    )


def words_of(error: Exception) -> str:
    """What the server or the provider said, fit to be stored."""
    words = f"{type(error).__name__}: {said(error)}"
    if isinstance(error, AnymailRecipientsRefused) and error.response is not None:
        words = f"{words}\n{getattr(error.response, 'text', error.response)}"  # the error itself does not say why
    return head(storable(words), WORDS_MAX)


def _is_refusal(code: int) -> bool:
    """5yz: the same mail would be refused again (RFC 5321, 4.2.1)."""
    return 500 <= code < 600
