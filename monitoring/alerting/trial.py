"""Sends one alert as a test, to see how it arrives; it is neither stored nor owed to anybody."""

from monitoring.alerting.envelope import message_to
from monitoring.alerting.mail import render
from monitoring.values.evidence import Evidence
from monitoring.values.facts import Facts

PREFIX = "[TEST] "


def send_trial(facts: Facts, evidence: Evidence, address: str) -> None:
    """Raises whatever the mail backend raises."""
    message = message_to(address, render(facts, evidence))
    message.subject = f"{PREFIX}{message.subject}"
    message.send()
