"""Turns deliveries into messages: each is one mail to one address, its text frozen before the first attempt.

An incident's next mail to an address is written only after the previous one was sent or given up: none overtakes it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from django.db import transaction
from django.db.models import Count, Min

from monitoring.alerting.envelope import thread_of
from monitoring.alerting.mail import Mail, render, render_digest
from monitoring.alerting.states import MessageState, in_state
from monitoring.conf import conf
from monitoring.models import Alert, Delivery, Message
from monitoring.models.rows import update
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.facts import Facts

logger = logging.getLogger("monitoring")

GATHERED_FOR = timedelta(minutes=5)
WRITTEN_AT_ONCE = 100  # messages: fewer is slower, more takes more memory
CARRIED_MAX = 5_000  # deliveries in these: one statement names them all, and databases limit how many it may name

Gather = Callable[[Sequence[Alert], datetime], list[Evidence]]  # the evidence of each alert, in the same order


@dataclass(frozen=True, slots=True)
class Letter:
    """What one message will carry: deliveries to one address, with the facts of their alerts."""

    address: str
    deliveries: tuple[Delivery, ...]
    facts: tuple[Facts, ...]

    @property
    def incidents(self) -> set[tuple[str, int]]:
        """The (address, incident) pairs of its deliveries."""
        told = (delivery.alert.incident_id for delivery in self.deliveries)
        return {(self.address, incident) for incident in told if incident is not None}


Worded = tuple[Letter, Mail]


def without_evidence(alerts: Sequence[Alert], now: datetime) -> list[Evidence]:
    """The evidence of alerts without a look at the run history: only the incident of each."""
    return [Evidence(incident_id=alert.incident_id) for alert in alerts]


def compose(now: datetime, using: str, gather: Gather = without_evidence) -> list[Message]:
    """Writes messages for those pending deliveries whose turn has come."""
    pending = Delivery.objects.using(using).filter(message=None).select_related("alert__incident")
    deliveries = list(pending.order_by("address", "id"))
    if not deliveries:
        return []
    # Queried after the deliveries, so that what another dispatch composes meanwhile shows in one of the two.
    on_their_way = _on_their_way(using)
    letters = list(_letters(deliveries, on_their_way, _unanswered(using), now))
    evidence = _evidence(letters, now, gather)
    worded = (each for letter in letters for each in _worded(letter, evidence, on_their_way))
    return [message for together in _in_parts(worded) for message in _write(together, now, using)]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An address's messages that wait for a retry: how many, and when the next one is due."""

    count: int
    next_attempt_at: datetime


def _letters(
    deliveries: Sequence[Delivery],
    on_their_way: set[tuple[str, int]],
    unanswered: dict[str, Unanswered],
    now: datetime,
) -> Iterator[Letter]:
    """More than DIGEST_OVER for one address go as one mail; messages that wait for a retry count too.

    If that many wait for a retry and the next one is due soon, new deliveries are held back and gathered until then.
    If it is not due soon, the new mail goes out: it tests whether the address accepts mails again.
    """
    most = conf().DIGEST_OVER
    for address, group in groupby(deliveries, key=lambda delivery: delivery.address):
        waiting = unanswered.get(address)
        if waiting and waiting.count >= most and now < waiting.next_attempt_at <= now + GATHERED_FOR:
            continue
        readable = [
            (delivery, facts)
            for delivery in group
            if (address, delivery.alert.incident_id) not in on_their_way and (facts := _facts(delivery))
        ]
        if len(readable) > 1 and len(readable) + (waiting.count if waiting else 0) > most:
            for start in range(0, len(readable), CARRIED_MAX):
                yield Letter(address, *zip(*readable[start : start + CARRIED_MAX], strict=True))
        else:
            yield from (Letter(address, (delivery,), (facts,)) for delivery, facts in readable)


def _on_their_way(using: str) -> set[tuple[str, int]]:
    """The (address, incident) pairs of messages that are neither sent nor given up."""
    carried = Delivery.objects.using(using).filter(
        message__isnull=False, message__sent_at=None, message__gave_up_at=None, alert__incident__isnull=False
    )
    return set(carried.values_list("address", "alert__incident_id"))


def _unanswered(using: str) -> dict[str, Unanswered]:
    tried = Message.objects.using(using).filter(in_state(MessageState.FAILED))
    counted = tried.order_by().values("address").annotate(count=Count("pk"), next=Min("next_attempt_at"))
    return {row["address"]: Unanswered(row["count"], row["next"]) for row in counted}


def _facts(delivery: Delivery) -> Facts | None:
    """None if they cannot be read: only that delivery then stays pending, and it holds up no other."""
    try:
        return Facts.from_json(delivery.alert.facts)
    except Exception:
        logger.exception("No mail can be made of alert %s for %s", delivery.alert_id, delivery.address)
        return None


def _evidence(letters: Sequence[Letter], now: datetime, gather: Gather) -> dict[int, Evidence]:
    """By alert id, gathered once for all. If that fails for any reason, the alerts still go out, and say so."""
    alerts = {delivery.alert_id: delivery.alert for letter in letters for delivery in letter.deliveries}
    try:
        gathered = gather(list(alerts.values()), now)
    except Exception as error:
        logger.exception("The evidence of %s alerts could not be gathered", len(alerts))
        problem = type(error).__name__
        gathered = [Evidence(incident_id=alert.incident_id, problem=problem) for alert in alerts.values()]
    return dict(zip(alerts, gathered, strict=True))


def _worded(letter: Letter, evidence_of: dict[int, Evidence], on_their_way: set[tuple[str, int]]) -> Iterator[Worded]:
    """One mail. If that cannot be rendered, it is halved until only the culprit waits and all others go out.

    Its incidents are on their way then; nothing that carries one of those already is put into words. A culprit's is
    not, so that it holds up no later mail of its incident.
    """
    if letter.incidents & on_their_way:
        return
    evidence = [evidence_of[delivery.alert_id] for delivery in letter.deliveries]
    words = _words(letter, evidence) or _words(letter, [NOTHING] * len(evidence))
    if words:
        on_their_way |= letter.incidents
        yield letter, words
    elif len(letter.deliveries) > 1:
        middle = len(letter.deliveries) // 2
        for part in (slice(middle), slice(middle, None)):
            half = Letter(letter.address, letter.deliveries[part], letter.facts[part])
            yield from _worded(half, evidence_of, on_their_way)


def _words(letter: Letter, evidence: Sequence[Evidence]) -> Mail | None:
    """Renders outside any transaction, since a project's templates may do anything."""
    try:
        if len(letter.facts) == 1:
            return render(letter.facts[0], evidence[0])
        return render_digest(letter.facts, evidence)
    except Exception:
        alerts = ", ".join(str(delivery.alert_id) for delivery in letter.deliveries[:10])
        logger.exception("No mail can be made for %s of these alerts as they are: %s", letter.address, alerts)
        return None


def _in_parts(worded: Iterable[Worded]) -> Iterator[list[Worded]]:
    """Batches, each as large as one transaction should write."""
    part: list[Worded] = []
    carried = 0
    for letter, words in worded:
        carried += len(letter.deliveries)
        if len(part) == WRITTEN_AT_ONCE or carried > CARRIED_MAX:
            yield part
            part, carried = [], len(letter.deliveries)
        part.append((letter, words))
    if part:
        yield part


def _write(worded: Sequence[Worded], now: datetime, using: str) -> list[Message]:
    """Leaves out every letter of which another dispatch has composed something meanwhile."""
    with transaction.atomic(using=using):
        keys = [delivery.pk for letter, _ in worded for delivery in letter.deliveries]
        pending = Delivery.objects.using(using).filter(pk__in=keys, message=None).order_by("pk")
        free = set(pending.select_for_update().values_list("pk", flat=True))
        ours = [each for each in worded if all(delivery.pk in free for delivery in each[0].deliveries)]
        messages = Message.objects.using(using).bulk_create(
            Message(
                address=letter.address,
                subject=words.subject,
                text=words.text,
                html=words.html,
                thread=thread_of(letter.deliveries[0].alert.incident) if len(letter.deliveries) == 1 else "",
                created_at=now,
                next_attempt_at=now,
            )
            for letter, words in ours
        )
        carried = [
            (message.pk, delivery.pk)
            for message, (letter, _) in zip(messages, ours, strict=True)
            for delivery in letter.deliveries
        ]
        update(Delivery, ("message_id", "id"), carried, using)
    return messages
