"""Which errors are worth another try. Those of real servers are in test_outbox.py and test_provider.py."""

import ssl
from smtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

import pytest
from anymail.exceptions import (
    AnymailAPIError,
    AnymailConfigurationError,
    AnymailInvalidAddress,
    AnymailRecipientsRefused,
    AnymailSerializationError,
    AnymailUnsupportedFeature,
)
from django.core.mail.message import BadHeaderError
from requests import Response

from monitoring.alerting.failures import NothingSent, is_permanent, words_of


def answered(status: int) -> AnymailAPIError:
    return AnymailAPIError(status_code=status, response=Response())


PASSING = [
    ConnectionRefusedError(),
    TimeoutError("timed out"),
    ssl.SSLError("certificate verify failed"),
    OSError("no route to host"),
    SMTPServerDisconnected("Connection unexpectedly closed"),
    SMTPConnectError(554, b"No SMTP service here"),
    SMTPHeloError(421, b"Too many connections"),
    SMTPAuthenticationError(454, b"Temporary authentication failure"),
    SMTPSenderRefused(451, b"Try later", "monitor@example.org"),
    SMTPDataError(452, b"Disk full"),
    SMTPRecipientsRefused({"ops@example.com": (450, b"Greylisted")}),
    AnymailAPIError("no answer"),
    *map(answered, (200, 408, 425, 429, 500, 502, 503, 504)),
    NothingSent(),
    RuntimeError("whatever a backend of the project says"),
]
PERMANENT = [
    SMTPAuthenticationError(535, b"Bad credentials"),
    SMTPSenderRefused(550, b"Not you", "monitor@example.org"),
    SMTPDataError(554, b"Spam"),
    SMTPRecipientsRefused({"ops@example.com": (550, b"Nobody of that name")}),
    SMTPNotSupportedError("SMTPUTF8 not supported by server"),
    SMTPException("No suitable authentication method found."),
    *map(answered, (400, 401, 402, 403, 404, 413, 422)),
    AnymailRecipientsRefused(),
    AnymailInvalidAddress("no address"),
    AnymailSerializationError(),
    AnymailUnsupportedFeature("no HTML"),
    AnymailConfigurationError("no key"),
    BadHeaderError("a line break in the subject"),
    UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range"),
]


def said(error: Exception) -> str:
    return f"{type(error).__name__} {error.args} {getattr(error, 'status_code', '')}"


@pytest.mark.parametrize("error", PASSING, ids=said)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert not is_permanent(error)


@pytest.mark.parametrize("error", PERMANENT, ids=said)
def test_what_would_end_the_same_is_not(error: Exception) -> None:
    assert is_permanent(error)


def test_why_a_provider_rejects_an_address_is_said_in_its_words() -> None:
    response = Response()
    response._content = b'{"Message": "an inactive address"}'
    assert words_of(AnymailRecipientsRefused(response=response)) == (
        'AnymailRecipientsRefused: All message recipients were rejected or invalid\n{"Message": "an inactive address"}'
    )
