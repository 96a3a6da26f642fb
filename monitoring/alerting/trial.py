"""Sends one mail as a test, to see how it arrives; it is neither stored nor owed to anybody."""

import contextlib

from monitoring.alerting.envelope import message_to
from monitoring.alerting.mail import Mail
from monitoring.alerting.outbox import Line

PREFIX = "[TEST] "
SAMPLE = "This is a sample, sent as a test: nothing that it says has happened."
PARTLY = "This was sent as a test: only what it says of {} has happened."


def send_trial(mail: Mail, address: str) -> None:
    """As real mails are sent; raises whatever the mail backend raises, and NothingSent if it sent nothing."""
    message = message_to(address, mail)
    message.subject = f"{PREFIX}{message.subject}"
    with contextlib.closing(Line()) as line:
        line.send(message)
