"""The form's back-test button: what was typed is validated and tried on the past, but never saved."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString

from monitoring.admin.display import badge
from monitoring.admin.parts import table, zone_of
from monitoring.admin.times import marked, to_the_minute
from monitoring.alerting.policy import Decision
from monitoring.backtest import KINDS, LEFT_OUT, BackTest, Said, back_test, trial_of
from monitoring.models import Monitor

DAYS = 30
SHOWN = 10
LISTED = 200  # including those that are folded away
TONES = {Decision.OPENED: "bad", Decision.REMINDED: "bad", Decision.RECOVERED: "good"}


def tried(request: HttpRequest, monitor: Monitor, now: datetime, site: str) -> dict[str, Any]:
    """What the page shows for a monitor as typed in the form, whether or not it is saved."""
    (found,) = back_test([trial_of(monitor)], now - timedelta(days=DAYS), now)
    mails = found.said[::-1]
    return {
        "days": DAYS,
        "said": _said(found),
        "figures": _figures(found),
        "newest": _table(mails[:SHOWN], zone_of(monitor)) if mails else "",
        "earlier": _table(mails[SHOWN:LISTED], zone_of(monitor)) if mails[SHOWN:] else "",
        "notes": list(_notes(found)),
        "runs_url": _runs_url(request, found, site),
    }


def _said(found: BackTest) -> str:
    if found.problem:
        return f"What these settings would have done is not known: {found.problem}."
    return f"With these settings this monitor {found.words}."


def _figures(found: BackTest) -> str:
    if found.problem:
        return ""
    checks = _times(found.checks, "check", "checks")
    if not found.failing:
        return f"{checks}, all as expected."
    failing = f"{sum(each.checks for each in found.failing):,} of them failing"
    stretches, recoveries = (
        _times(len(found.failing), "stretch", "stretches"),
        _times(found.recoveries, "recovery mail", "recovery mails"),
    )
    return f"{checks}, {failing} in {stretches}; {recoveries}."


def _times(number: int, noun: str, plural: str) -> str:
    return f"{number:,} {noun if number == 1 else plural}"


def _table(said: Sequence[Said], zone: tzinfo) -> SafeString:
    rows = [
        [marked(each.at, to_the_minute(each.at, zone)), badge(KINDS[each.decision], TONES[each.decision]), each.words]
        for each in said
    ]
    return table(["When", "Mail", "What it would have said"], rows)


def _notes(found: BackTest) -> Iterator[str]:
    if (unlisted := len(found.said) - LISTED) > 0:
        yield (
            f"{unlisted:,} mails before these are not listed. Once the monitor is saved, `manage.py check_task_status "
            f"--since {DAYS}d --format json` with its name as --monitor lists them all."
        )
    if found.shortness:
        yield found.shortness
    if not found.problem:
        yield LEFT_OUT


def _runs_url(request: HttpRequest, found: BackTest, site: str) -> str:
    """The URL of the list of the task's runs; empty if the user may not see it, or this admin has none."""
    if not request.user.has_perm("monitoring.view_backgroundtask"):
        return ""
    try:
        runs = reverse(f"{site}:monitoring_backgroundtask_changelist")
    except NoReverseMatch:
        return ""
    return f"{runs}?{urlencode({'q': found.trial.expectation.task_name})}"
