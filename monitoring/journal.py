"""The worker's log of its work: a line for each event that matters, none for a task that is as expected.

Each line also has its figures as `extra`, for JSON logs. Failures are logged where they occur.
"""

import logging

from monitoring.alerting.outbox import Dispatched
from monitoring.tick import Round

logger = logging.getLogger("monitoring")


def log_round(found: Round) -> None:
    """Logs nothing for a round that had nothing to do."""
    if not (found.judged or found.announcements):
        return
    checked, failing, owed = len(found.judged), len(found.failing), len(found.announcements)
    event = {"event": "round", "checked": checked, "failing": failing, "owed": owed, "seconds": round(found.took, 3)}
    logger.info("Checked %d, %d failing, %d alerts owed, in %.3f s", checked, failing, owed, found.took, extra=event)
    log_owed(found)


def log_owed(found: Round) -> None:
    for said in found.announcements:
        name, kind, told = said.facts.task_name, said.facts.kind, len(said.recipients)
        event = {"event": "alert-owed", "task": name, "kind": kind.value, "recipients": told}
        logger.info("Owed to %d: %s, %s", told, name, kind.label, extra=event)


def log_sent(mails: Dispatched) -> None:
    for mail in mails.sent:
        event = {"event": "mail-sent", "mail": mail.pk, "address": mail.address, "attempts": mail.attempts}
        logger.info("Sent to %s: %s", mail.address, mail.subject, extra=event)
