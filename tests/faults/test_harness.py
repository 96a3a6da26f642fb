"""A harness that counts wrong would say that all is well."""

import os
import subprocess
import sys
from email.message import EmailMessage

import pytest

from monitoring.alerting.owing import Announcement, owe
from monitoring.models import Delivery, Incident, Message, database_alias
from monitoring.values.facts import AlertKind
from tests.factories import NOW, make_facts
from tests.faults.experiments.deaths import duplicates_by_kill
from tests.faults.report import Case, table
from tests.faults.tally import Arrival, Said, Tally, tally
from tests.faults.world import A, B, owed

ID = "<message-1@monitor.example.org>"
FAILED = AlertKind.NOT_EXECUTED


def run_harness(*names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults", "--with", os.environ.get("TEST_WITH", "sqlite"), *names]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_quick_experiments_pass_from_end_to_end() -> None:
    harness = run_harness("closed-port", "closed-in-the-middle")
    assert harness.returncode == 0, harness.stdout + harness.stderr
    assert "2 cases passed, 0 failed" in harness.stdout


def test_an_unknown_experiment_is_no_success() -> None:
    harness = run_harness("close-port")
    assert harness.returncode == 1
    assert "There is no experiment close-port" in harness.stderr


@pytest.fixture
def told() -> Incident:
    """A failure and its recovery, each owed to A and written as a message of its own."""
    incident = Incident.objects.create(
        monitor_name="job_1", task_name="job_1", opened_at=NOW, last_failed_at=NOW, facts=make_facts().to_json()
    )
    for kind in (FAILED, AlertKind.RESOLVED):
        facts = make_facts(task_name="job_1", kind=kind)
        (alert,) = owe([Announcement(facts, (A,), incident)], NOW, database_alias())
        message = Message.objects.create(address=A, text=words(kind), created_at=NOW, next_attempt_at=NOW)
        Delivery.objects.filter(alert=alert).update(message=message)
    return incident


def words(kind: AlertKind) -> str:
    return f"job_1 is {kind}\n"


def mail(kind: AlertKind, **over: str) -> tuple[list[str], EmailMessage]:
    made = EmailMessage()
    made["Message-ID"] = over.get("id", ID)
    made.set_content(words(kind))
    made.add_alternative(over.get("html", words(kind)), subtype="html")
    return [A], made


BOTH = owed(["job_1"], [A], (FAILED, AlertKind.RESOLVED))


@pytest.mark.django_db
@pytest.mark.usefixtures("told")
class TestTheTally:
    def test_all_is_well(self) -> None:
        found = tally(BOTH, [mail(FAILED), mail(AlertKind.RESOLVED)])
        assert found == Tally(owed=2, arrived=2, mails=2)
        assert passes(found)

    def test_what_did_not_come_is_lost(self) -> None:
        found = tally(BOTH | {Said(B, "job_1", 0, FAILED)}, [mail(FAILED)])
        assert (found.owed, found.arrived, found.lost) == (3, 1, 2)
        assert not passes(found)

    def test_what_came_again_is_a_duplicate_and_may_not_change_its_id(self) -> None:
        again = [mail(FAILED), mail(FAILED), mail(FAILED, id="<another@monitor.example.org>"), mail(AlertKind.RESOLVED)]
        found = tally(BOTH, again)
        assert (found.arrived, found.duplicates, found.renamed) == (2, 2, 1)
        assert not passes(tally(BOTH, [*again[:2], again[3]]))
        assert passes(tally(BOTH, [*again[:2], again[3]]), duplicates=1)

    @pytest.mark.parametrize(
        "kinds", [(AlertKind.RESOLVED, FAILED), (FAILED, AlertKind.RESOLVED, FAILED)], ids=["first", "again"]
    )
    def test_a_failure_told_after_its_recovery_is_out_of_order(self, kinds: tuple[AlertKind, ...]) -> None:
        found = tally(BOTH, [mail(kind) for kind in kinds])
        assert (found.arrived, found.out_of_order) == (2, 1)
        assert not passes(found, duplicates=1)

    def test_what_was_not_owed_is_a_false_alarm(self) -> None:
        found = tally(owed(["job_1"], [A]), [mail(FAILED), mail(AlertKind.RESOLVED)])
        assert (found.lost, found.false_alarms) == (0, 1)
        assert not passes(found)

    def test_a_mail_must_name_its_task_in_both_parts(self) -> None:
        found = tally(BOTH, [mail(FAILED, html="job_12\n"), mail(AlertKind.RESOLVED)])
        assert found.misnamed == 2
        assert not passes(found)

    def test_words_whose_alerts_another_mail_carries_too_are_told_twice(self) -> None:
        Delivery.objects.update(message=Message.objects.order_by("-id").first())
        found = tally(BOTH, [mail(FAILED), mail(AlertKind.RESOLVED)])
        assert found.misnamed == 1
        assert not passes(found)

    def test_a_mail_that_nobody_wrote_down_is_an_error(self) -> None:
        with pytest.raises(LookupError, match="no message"):
            tally(BOTH, [mail(AlertKind.NOT_JUDGED)])


def passes(found: Tally, duplicates: int = 0) -> bool:
    case = Case("an experiment")
    case.count(found, duplicates)
    assert case.verdict in table([case])
    return case.verdict == "passed"


def test_a_duplicate_is_put_down_to_the_kill_that_came_after_the_mail_before() -> None:
    arrivals = [Arrival(A, EmailMessage(), message, ()) for message in (1, 2, 3, 1, 2, 1)]
    assert duplicates_by_kill(arrivals, [1, 3, 4]) == {0: 1, 1: 1, 2: 1}
