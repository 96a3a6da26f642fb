"""Actions on the monitors ticked in the list: each has the layers below act, says what came of it, and logs it."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitoring.alerting.mail import render
from monitoring.alerting.trial import SAMPLE, send_trial
from monitoring.alerting.words import error_of, summary_of
from monitoring.checking import byhand
from monitoring.checking.due import look_at
from monitoring.checking.evidence import Case, gather_cases
from monitoring.models import Monitor, database_alias, database_now
from monitoring.tasks import dispatch_owed
from monitoring.telling import preview
from monitoring.tick import Judged, Round, check_monitors, judge
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.facts import facts_of
from monitoring.values.text import one_line, said

logger = logging.getLogger("monitoring")

NAMED_MAX = 10  # monitors in one message
QUEUED = "; no new alerts until then, but mails already queued still go out"
SNOOZED_LONGER = "They are all snoozed for as long already."
MAILS_MAX = 10  # test alerts at once: they are sent while the page waits


@admin.action(description="Check now", permissions=["check"])
def check_now(page: Any, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
    monitors = list(queryset)
    now = database_now()
    found = check_monitors(monitors, now)
    if found.announcements:
        _dispatch()
    disabled = {monitor.name for monitor in monitors if not monitor.enabled}
    evidence = gather_cases([Case(facts_of(judged.outcome)) for judged in found.judged[:NAMED_MAX]], now)
    lines = [
        _said(judged, known) + (" It is disabled." if judged.name in disabled else "")
        for judged, known in zip(found.judged, chain(evidence, repeat(NOTHING)), strict=False)
    ]
    page.message_user(
        request,
        format_html("Checked {}:{}", _counted(monitors), _listed(lines)),
        messages.WARNING if found.failing else messages.SUCCESS,
    )
    if addresses := _addresses(found):
        page.message_user(
            request, f"Mails to {', '.join(addresses)} are queued; the worker sends them within a minute."
        )
    if found.undeliverable:
        page.message_user(request, f"Nobody could be told: {found.nobody_to_tell}.", messages.ERROR)
    verdicts = {judged.name: judged.outcome.verdict.value for judged in found.judged}
    for monitor in monitors:
        page.log_change(request, monitor, f"Checked by hand: {verdicts.get(monitor.name, 'not checked')}.")


@admin.action(description="Enable", permissions=["change"])
def enable(page: Any, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
    _tell(page, request, byhand.switch(list(queryset), enabled=True), "Enabled", "They were all enabled already.")


@admin.action(description="Disable", permissions=["change"])
def disable(page: Any, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
    _tell(page, request, byhand.switch(list(queryset), enabled=False), "Disabled", "They were all disabled already.")


@admin.action(description="Snooze mails for an hour", permissions=["snooze"])
def snooze_hour(page: Any, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
    snoozed = byhand.snooze(list(queryset), database_now() + timedelta(hours=1))
    _tell(page, request, snoozed, "Snoozed for an hour", SNOOZED_LONGER, QUEUED)


@admin.action(description="Snooze mails until tomorrow 08:00", permissions=["snooze"])
def snooze_until_morning(page: Any, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
    snoozed = byhand.snooze_until_morning(list(queryset), database_now())
    done = "Snoozed until tomorrow 08:00, in each monitor's own time zone"
    _tell(page, request, snoozed, done, SNOOZED_LONGER, QUEUED)


@admin.action(description="Lift the snooze", permissions=["snooze"])
def lift_snooze(page: Any, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
    lifted = byhand.lift_snooze(list(queryset), database_now())
    _tell(page, request, lifted, "Not snoozed any more", "None of them was snoozed.")


@admin.action(description="Acknowledge what is failing", permissions=["snooze"])
def acknowledge(page: Any, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
    taken = byhand.acknowledge(list(queryset), request.user.get_username(), database_now())
    _tell(page, request, taken, "Acknowledged", "None of them has an open incident that nobody has acknowledged.")


@admin.action(description="Send a test alert to me", permissions=["send"])
def send_test(page: Any, request: HttpRequest, queryset: QuerySet[Monitor]) -> None:
    address = _own_address(request)
    monitors = list(queryset.order_by("pk")[: MAILS_MAX + 1])
    if not address:
        text = "Your account has no e-mail address; give it one under Users, or ask somebody who may."
        page.message_user(request, text, messages.ERROR)
        return
    if len(monitors) > MAILS_MAX:
        page.message_user(request, f"Tick at most {MAILS_MAX} monitors: each sends you a mail.", messages.ERROR)
        return
    now, sent = database_now(), []
    for monitor, outcome in zip(monitors, judge(look_at(monitors, now, database_alias())), strict=True):
        try:
            shown = preview(monitor, outcome, now)
            send_trial(render(shown.facts, shown.evidence, SAMPLE if shown.is_sample else ""), address)
        except Exception as error:  # whatever the mail server says is shown to the user who asked
            logger.exception("The test alert of %s could not be sent", one_line(str(monitor)))
            text = f"The test alert of {monitor} could not be sent to {address}: {said(error)}"
            page.message_user(request, text, messages.ERROR)
            break
        sent.append(monitor)
    if sent:
        _tell(page, request, sent, f"A test alert was sent to {address}")


ACTIONS = [
    check_now,
    acknowledge,
    snooze_hour,
    snooze_until_morning,
    lift_snooze,
    send_test,
    enable,
    disable,
]


# The buttons beside one monitor or incident, by their names in a form.
BUTTONS = {
    "acknowledge": acknowledge,
    "snooze_hour": snooze_hour,
    "snooze_until_morning": snooze_until_morning,
    "lift_snooze": lift_snooze,
}


def _tell(
    page: Any, request: HttpRequest, monitors: Sequence[Monitor], done: str, nothing: str = "", note: str = ""
) -> None:
    """`note` adds to what was done; the log leaves it out."""
    if not monitors:
        page.message_user(request, f"{nothing} Nothing was changed.", messages.WARNING)
        return
    names = _listed([str(monitor) for monitor in monitors])
    page.message_user(request, format_html("{}{}:{}", done, note, names), messages.SUCCESS)
    for monitor in monitors:
        page.log_change(request, monitor, f"{done}.")


def _said(judged: Judged, evidence: Evidence) -> str:
    facts = facts_of(judged.outcome)
    if judged.outcome.is_as_expected:
        return f"{judged.name}: as expected ({facts.current_status})."
    why = facts.reason or error_of(facts, evidence)[0]
    return f"{judged.name}: {summary_of(facts, evidence)}{f' {why}' if why else ''}"


def _listed(lines: Sequence[str]) -> SafeString:
    shown = list(lines[:NAMED_MAX])
    if more := len(lines) - len(shown):
        shown.append(f"and {more} more")
    return format_html('<ul class="mon-said">{}</ul>', format_html_join("", "<li>{}</li>", ((line,) for line in shown)))


def _addresses(found: Round) -> list[str]:
    return sorted({address for said in found.announcements for address in said.recipients})


def _counted(monitors: Sequence[Monitor]) -> str:
    return "1 monitor" if len(monitors) == 1 else f"{len(monitors)} monitors"


def _own_address(request: HttpRequest) -> str:
    return getattr(request.user, get_user_model().get_email_field_name(), "") or ""


def _dispatch() -> None:
    try:
        dispatch_owed()
    except Exception:  # any queue that cannot be reached: what is owed goes out with the next minute's tick
        logger.exception("The mails of a check by hand could not be queued; the next tick sends them")
