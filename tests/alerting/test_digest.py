import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitoring.alerting.digest import DETAILED_MAX, HINT_MAX
from monitoring.alerting.mail import render_digest
from monitoring.alerting.samples import sample_evidence, sample_facts
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.facts import NO_EXECUTION, AlertKind, Facts
from tests.alerting.reading import element, lines_of_html, lines_of_text, words_of_html
from tests.factories import NOW, ago, make_facts

CLIPPED_AT = 102_000  # bytes; where a well-known reader cuts a mail


def stopped(name: str, error: str = "", **over: Any) -> tuple[Facts, Evidence]:
    facts = make_facts(task_name=name, task_id=f"run of {name}", **over)
    evidence = sample_evidence(facts)
    return facts, replace(evidence, errors=error) if error else evidence


def queued(name: str) -> tuple[Facts, Evidence]:
    facts = make_facts(
        kind=AlertKind.NOT_EXECUTED,
        task_name=name,
        current_status=NO_EXECUTION,
        started_at=None,
        finished_at=None,
        waiting_since=ago(minutes=50),
        waiting_status="Queued",
    )
    return facts, sample_evidence(facts)


def digest(*told: tuple[Facts, Evidence]) -> Any:
    facts, evidence = zip(*told, strict=True)
    return render_digest(facts, evidence)


def test_both_parts_state_the_same_in_the_same_order() -> None:
    mail = digest(
        *(stopped(f"export_{number:02}", f"OSError: disk {number % 3}") for number in range(40)),
        *(queued(f"import_{number:02}") for number in range(12)),
        stopped("with dependents", dependent_tasks=("report", "invoices"), time_zone="Europe/Berlin"),
        stopped("in context", context_type="Hourly Tomorrow.io"),
        (make_facts(kind=AlertKind.NOT_JUDGED, task_name="spoilt", reason="no such table"), NOTHING),
        (make_facts(kind=AlertKind.RESOLVED, task_name="fine", current_status="Completed"), NOTHING),
    )
    assert lines_of_html(mail.html) == lines_of_text(mail.text)
    assert mail.subject == "[ALERT] 55 Task Checks Failed"


def test_the_head_counts_the_causes_the_commonest_first() -> None:
    lines = lines_of_text(digest(queued("a"), queued("b"), queued("c"), stopped("d"), stopped("e")).text)
    assert lines[:3] == ["5 task checks failed.", "3 waiting to start", "2 ended as Stopped"]
    assert [line for line in lines if line.endswith((": 2", ": 3"))] == ["Waiting to start: 3", "Ended as Stopped: 2"]


def test_what_fails_leads_to_the_board() -> None:
    link = "Open the board: https://monitor.example.org/admin/monitoring/monitor/board/"
    assert link in digest(queued("a"), queued("b")).text
    recovered = make_facts(kind=AlertKind.RESOLVED, task_name="fine", current_status="Completed")
    assert link not in digest((recovered, NOTHING), (recovered, NOTHING)).text


def test_one_cause_is_not_counted_twice() -> None:
    lines = lines_of_text(digest(stopped("a"), stopped("b")).text)
    assert not any(line.startswith("2 ended") for line in lines)
    assert "Ended as Stopped: 2" in lines


def test_a_list_of_mails_shows_the_causes() -> None:
    shown = element(digest(queued("a"), stopped("b"), stopped("c")).html, r'<div class="preheader"[^>]*>(.*?)</div>')
    assert "2 ended as Stopped, 1 waiting to start" in shown


def test_a_card_has_the_sentence_the_error_since_when_what_depends_on_it_and_a_link() -> None:
    facts, evidence = stopped("export", "OSError: gone", dependent_tasks=("report",), context_type="Hourly")
    lines = lines_of_text(digest((facts, replace(evidence, incident_id=7))).text)
    start = lines.index("export ended as Stopped after 1 min.")
    assert lines[start + 1 : start + 5] == [
        "OSError: gone",
        "2 checks in a row failed since 2026-11-22 07:35 UTC · context type Hourly · expected Completed · "
        "started 2026-11-22 08:30 UTC · checked 2026-11-22 08:35 UTC",
        "Open incident: https://monitor.example.org/admin/monitoring/incident/7/change/",
        "May be delayed or fail: report",
    ]


def test_hundreds_are_all_named_and_the_first_are_told_in_detail() -> None:
    names = {f"task_{number:03}" for number in range(300)}
    mail = digest(*map(stopped, sorted(names)))
    for part in (mail.text, mail.html):
        assert set(re.findall(r"\btask_\d{3}\b", part)) == names
    assert mail.html.count('<div class="task"') == DETAILED_MAX
    assert mail.text.count("checked 2026") == DETAILED_MAX


def test_the_many_of_one_cause_do_not_crowd_out_the_few_of_another() -> None:
    mail = digest(*(stopped(f"many_{number:03}") for number in range(100)), queued("few_1"), queued("few_2"))
    assert "few_1 has waited in the queue for 50 min" in mail.text
    assert "few_2 has waited in the queue for 50 min" in mail.text
    assert mail.html.count('<div class="task"') == DETAILED_MAX


def test_an_error_that_many_share_is_said_once_above_their_names() -> None:
    mail = digest(
        *(stopped(f"task_{number:03}", "OSError: gone") for number in range(100)), stopped("z", "KeyError: 1")
    )
    lines = lines_of_text(mail.text)
    assert lines[lines.index("OSError: gone (75)") + 1] == "task_025"
    assert lines.count("OSError: gone") == DETAILED_MAX
    assert "z: KeyError: 1" in lines


def test_a_thousand_with_errors_of_their_own_stay_below_what_readers_clip() -> None:
    names = [f"customer_{number:04}_nightly_export" for number in range(1_000)]
    mail = digest(*(stopped(name, f"ValueError: {name} {'x' * 500}") for name in names))
    assert len(mail.html.encode()) < CLIPPED_AT
    assert len(set(re.findall(r"customer_\d{4}_nightly_export", mail.text))) == 1_000
    assert max(len(line) for line in mail.text.splitlines() if line.startswith("  - ")) < HINT_MAX + 40


def test_long_names_are_whole_and_leave_no_room_for_hints() -> None:
    mail = digest(*(stopped(f"{number:04}{'n' * 251}", f"ValueError: {number}") for number in range(1_000)))
    assert all(f"{number:04}{'n' * 251}" in mail.text for number in range(1_000))
    assert f"{'n' * 251}: ValueError" not in mail.text


# Failures and recoveries of one incident


def of_incident(number: int, kind: AlertKind, at: timedelta = timedelta(0)) -> tuple[Facts, Evidence]:
    facts = make_facts(kind=kind, task_name=f"task_{number}", check_time=NOW + at)
    return facts, Evidence(incident_id=number, opened_at=NOW, failing_checks=3)


def test_what_failed_and_is_over_already_is_told_once_as_over() -> None:
    later = timedelta(minutes=20)
    mail = digest(
        of_incident(1, AlertKind.STATUS_MISMATCH),
        of_incident(1, AlertKind.STATUS_MISMATCH, timedelta(minutes=10)),
        of_incident(1, AlertKind.RESOLVED, later),
        of_incident(2, AlertKind.STATUS_MISMATCH),
    )
    assert mail.subject == "[ALERT] 1 Task Check Failed"
    assert lines_of_text(mail.text).count(
        "task_1 failed 2026-11-22 08:35:00 UTC and is as expected again 2026-11-22 08:55:00 UTC."
    )
    assert mail.text.count("task_1") == 1
    assert "task_2 ended as Stopped" in mail.text


def test_when_all_is_over_no_action_is_required() -> None:
    mail = digest(of_incident(1, AlertKind.STATUS_MISMATCH), of_incident(1, AlertKind.RESOLVED))
    assert mail.subject == "[RESOLVED] 1 Task Is As Expected Again"
    assert "No action is required." in mail.text


def test_an_incident_that_was_told_several_times_is_told_as_it_was_last() -> None:
    hourly = [of_incident(1, AlertKind.STATUS_MISMATCH, timedelta(hours=number)) for number in range(12)]
    mail = digest(*hourly)
    assert mail.subject == "[ALERT] 1 Task Check Failed"
    assert "checked 2026-11-22 19:35 UTC" in mail.text


@pytest.mark.parametrize(
    ("beside", "subject", "summary"),
    [
        ([make_facts()] * 2, "[ALERT] 2 Task Checks Failed", "2 task checks failed."),
        ([make_facts(kind=AlertKind.RESOLVED)], "[ALERT] Monitoring Was Down", "1 task is as expected again."),
    ],
)
def test_an_outage_of_the_monitor_is_told_first_and_counted_as_no_check(
    beside: list[Facts], subject: str, summary: str
) -> None:
    mail = render_digest([sample_facts(AlertKind.MONITOR_DOWN, NOW), *beside])
    assert mail.subject == subject
    assert mail.text.startswith(f"Monitoring was down for 6 h: no task was checked. {summary}\n")
    assert "Monitoring was down: 1\n" in mail.text
    assert "expected  " not in mail.text


def test_alerts_of_a_configuration_have_no_incident_and_are_all_told() -> None:
    mail = render_digest([make_facts(), make_facts(), make_facts(kind=AlertKind.RESOLVED)])
    assert mail.subject == "[ALERT] 2 Task Checks Failed"


def test_why_there_is_no_evidence_is_told_once() -> None:
    nothing = Evidence(problem="OperationalError")
    mail = digest(*[(make_facts(task_name=f"task_{number}"), nothing) for number in range(20)])
    assert mail.text.count("could not be looked up: OperationalError") == 1


def test_an_outage_is_no_number_of_causes_and_says_since_when() -> None:
    outage = sample_facts(AlertKind.MONITOR_DOWN, NOW)
    mail = digest((outage, NOTHING), queued("a"), stopped("b"))
    lines = lines_of_text(mail.text)
    assert {"1 ended as Stopped", "1 waiting to start"} < set(lines)
    assert "1 monitoring was down" not in mail.text + words_of_html(mail.html)
    assert any(line.startswith("down since 2026-11-22 02:35 UTC · 12 monitors were due") for line in lines)


def test_no_date_breaks_at_a_hyphen() -> None:
    mail = digest(queued("a"), stopped("b"))
    dates = re.findall(r"\d{4}-\d\d-\d\d", words_of_html(mail.html))
    assert dates
    whole = re.findall(r'<span class="mon-date" style="white-space: nowrap;">\d{4}-\d\d-\d\d</span>', mail.html)
    assert len(whole) == len(dates)
