import re
from pathlib import Path
from typing import Any

import pytest
from django.test.utils import override_script_prefix
from django.urls import clear_url_caches, include, path

import monitoring
from monitoring.alerting.digest import digest_context
from monitoring.alerting.samples import sample_evidence
from monitoring.alerting.variables import links_of, template_context
from monitoring.values.cause import Cause
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.outcome import RunFacts
from tests.factories import NOW, ago, make_facts

ROOT = Path(monitoring.__file__).parent.parent
RUN = RunFacts(id=9, task_id="run-9", status="Stopped", submitted_at=None, started_at=ago(minutes=5), finished_at=NOW)
FOUND = Evidence(gathered_at=NOW, run=RUN, runs=(RUN,), incident_id=7, monitor_id=8)

urlpatterns = [path("", include("monitoring.urls"))]  # a site without an admin


def test_links_lead_to_the_incident_the_monitor_and_the_run() -> None:
    assert links_of(FOUND) == [
        ("Open incident", "https://monitor.example.org/admin/monitoring/incident/7/change/"),
        ("Open monitor", "https://monitor.example.org/admin/monitoring/monitor/8/overview/"),
        ("Open run", "https://monitor.example.org/admin/monitoring/backgroundtask/9/change/"),
    ]


def test_there_are_as_many_links_as_pages() -> None:
    assert links_of(NOTHING) == []
    assert [label for label, _ in links_of(Evidence(run=RUN))] == ["Open run"]


@pytest.mark.parametrize("site", ["https://example.org/tools", "https://example.org/tools/"])
def test_a_site_below_a_path_keeps_it(monitoring_settings: Any, site: str) -> None:
    monitoring_settings(SITE_URL=site)
    assert links_of(FOUND)[0][1] == "https://example.org/tools/admin/monitoring/incident/7/change/"


@pytest.mark.parametrize("prefix", ["/", "/tools"])  # as in a worker's thread, as in a request
@pytest.mark.parametrize("site", ["https://example.org", "https://example.org/tools"])
def test_a_site_whose_script_has_a_name_is_linked_to_below_it_whoever_links(
    monitoring_settings: Any, settings: Any, site: str, prefix: str
) -> None:
    settings.FORCE_SCRIPT_NAME = "/tools"
    monitoring_settings(SITE_URL=site)
    with override_script_prefix(prefix):
        assert links_of(FOUND)[0][1] == "https://example.org/tools/admin/monitoring/incident/7/change/"


def test_without_an_address_of_the_site_there_are_no_links(monitoring_settings: Any) -> None:
    monitoring_settings(SITE_URL="")
    assert links_of(FOUND) == []


def test_without_an_admin_there_are_no_links(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    clear_url_caches()
    assert links_of(FOUND) == []
    assert digest_context([make_facts()], [FOUND])["links"] == []


def test_a_run_that_strangers_wrote_breaks_no_line() -> None:
    run = RunFacts(id=1, task_id="x", status="Odd\nBcc:", submitted_at=None, started_at=None, finished_at=None)
    facts = make_facts(dependent_tasks=("next",))
    context = template_context(facts, Evidence(gathered_at=NOW, runs=(run,), dependents=(("next", run),)))
    assert context["runs"] == [
        {"mark": "–", "tone": "idle", "status": "Odd Bcc:", "started": "not started", "took": ""}
    ]
    assert context["dependents"] == [("next", "Odd Bcc:")]


def test_runs_say_their_attempts_and_how_long_they_take_so_far() -> None:
    running = RunFacts(
        id=1,
        task_id="x",
        status="Running",
        submitted_at=None,
        started_at=ago(minutes=25),
        finished_at=None,
        attempts=3,
    )
    (shown,) = template_context(make_facts(), Evidence(gathered_at=NOW, runs=(running,)))["runs"]
    assert (shown["status"], shown["took"]) == ("Running, attempt 3", "25 min so far")


def test_every_variable_and_every_cause_is_in_the_docs() -> None:
    docs = (ROOT / "docs" / "mails.md").read_text(encoding="utf-8")
    variables = template_context(make_facts(), sample_evidence(make_facts())).keys() | {"notice", "template_error"}
    table, digest = docs.split("## Variables")[1].split("`emails/task_status_digest.html`")
    rows = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == variables
    told = digest_context([make_facts()] * 30, [NOTHING] * 30)
    assert {name for name in (*told, *told["groups"][0]["cards"][0]) if f"`{name}`" not in digest} == set()
    assert re.findall(r"^\| `([^`]*)` \| (?!str|float|bool|list|datetime|int)", docs, re.MULTILINE)[: len(Cause)] == [
        cause.value for cause in Cause
    ]
