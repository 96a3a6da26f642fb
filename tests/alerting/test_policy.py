from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.alerting.policy import Decision, Policy, decide, next_reminder, policy_of
from monitoring.models import Incident, Repeat
from monitoring.values.incident import MAX_REPEAT_HOURS, Wishes
from tests.factories import NOW, ago

ONCE = {"repeat": Repeat.ONCE}
SIX_HOURS = {"repeat": Repeat.HOURS, "repeat_every": timedelta(hours=6)}
SNOOZED = {"snoozed_until": NOW + timedelta(seconds=1)}
LATER = {"last_failed_at": ago(minutes=1), "told_at": ago(hours=1)}


def incident(**over: Any) -> Incident:
    return Incident(**{"opened_at": ago(hours=8), "last_failed_at": ago(hours=8), "failing_checks": 1} | over)


@pytest.mark.parametrize(
    ("of_incident", "of_policy", "decision"),
    [
        ({}, {}, Decision.OPENED),
        ({"failing_checks": 2}, {"alert_after": 3}, Decision.QUIET_TOO_FEW),
        ({"failing_checks": 3}, {"alert_after": 3}, Decision.OPENED),
        ({"told_at": ago(hours=8)}, {}, Decision.QUIET_TOLD),
        (LATER, {}, Decision.REMINDED),
        (LATER, ONCE, Decision.QUIET_TOLD),
        (LATER, SIX_HOURS, Decision.QUIET_TOLD),
        ({"told_at": ago(hours=6)}, SIX_HOURS, Decision.REMINDED),
        ({"told_at": ago(hours=6) + timedelta(microseconds=1)}, SIX_HOURS, Decision.QUIET_TOLD),
        (LATER | {"acknowledged_at": ago(minutes=2)}, {}, Decision.QUIET_ACKNOWLEDGED),
        ({"acknowledged_at": ago(minutes=2)}, {}, Decision.OPENED),
        ({}, SNOOZED, Decision.QUIET_SNOOZED),
        (LATER, SNOOZED, Decision.QUIET_SNOOZED),
        (LATER, {"snoozed_until": NOW}, Decision.REMINDED),
        ({"closed_at": NOW}, {}, Decision.QUIET_RECOVERY),
        ({"closed_at": NOW, "told_at": ago(hours=8)}, {}, Decision.RECOVERED),
        ({"closed_at": NOW, "told_at": ago(hours=8)}, ONCE, Decision.RECOVERED),
        ({"closed_at": NOW, "told_at": ago(hours=8)}, SNOOZED, Decision.RECOVERED),
        ({"closed_at": NOW, "told_at": ago(hours=8)}, {"tell_recovery": False}, Decision.QUIET_RECOVERY),
        ({"closed_at": NOW, "told_at": ago(hours=8), "acknowledged_at": ago(hours=1)}, {}, Decision.RECOVERED),
    ],
)
def test_whether_to_speak(of_incident: dict[str, Any], of_policy: dict[str, Any], decision: Decision) -> None:
    assert decide(incident(**of_incident), Policy(**of_policy), NOW) is decision


@pytest.mark.parametrize(
    ("of_incident", "of_policy", "next_at"),
    [
        ({"told_at": ago(hours=5)}, SIX_HOURS, NOW + timedelta(hours=1)),
        ({}, SIX_HOURS, None),
        ({"told_at": ago(hours=5)}, ONCE, None),
        ({"told_at": ago(hours=5)}, {}, None),
    ],
)
def test_when_time_alone_reminds(
    of_incident: dict[str, Any], of_policy: dict[str, Any], next_at: datetime | None
) -> None:
    told, policy = incident(**of_incident), Policy(**of_policy)
    assert next_reminder(told, policy) == next_at
    if next_at:
        assert decide(told, policy, next_at - timedelta.resolution) is Decision.QUIET_TOLD
        assert decide(told, policy, next_at) is Decision.REMINDED


def test_each_decision_has_a_row_in_the_table() -> None:
    (table,) = [mark for mark in test_whether_to_speak.pytestmark if mark.name == "parametrize"]
    assert {row[2] for row in table.args[1]} == set(Decision)


def test_the_policy_is_what_the_monitor_and_its_state_say() -> None:
    assert policy_of(Wishes("hours", 4, tell_recovery=False, alert_after=3, snoozed_until=NOW)) == Policy(
        repeat=Repeat.HOURS,
        repeat_every=timedelta(hours=4),
        tell_recovery=False,
        alert_after=3,
        snoozed_until=NOW,
    )


@pytest.mark.parametrize("hours", [99_999_999, 10**12])
def test_a_number_of_hours_that_no_calendar_has_is_a_year(hours: int) -> None:
    policy = policy_of(Wishes("hours", hours, tell_recovery=True, alert_after=1))
    assert policy.repeat_every == timedelta(hours=MAX_REPEAT_HOURS)
    assert next_reminder(incident(told_at=NOW), policy) == NOW + timedelta(days=365)
