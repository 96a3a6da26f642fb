"""The admin's lists and pages, each fetched by Django's test client: how long, and in how many statements."""

import random
from typing import Any

from tqdm import tqdm

from bench import report
from bench.site import arguments, site

INCIDENTS = 200_000
SPANS = ("24h", "7d", "30d")
BOARD = "/admin/monitoring/monitor/board/"
BOARDS = (0, 0.12, 1)  # failing shares of the monitors, besides the one that all pages are measured with


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=60, help="that each page is fetched")
    parser.add_argument("--incidents", type=int, default=INCIDENTS)
    parser.add_argument("--failing", type=float, default=0.02, help="share of the monitors that fail")
    options = parser.parse_args()
    with site(options):
        from django.core.management import call_command

        from bench import data

        call_command("collectstatic", interactive=False, verbosity=0)
        data.fill(options.runs)
        data.watch(options.monitors, failing=options.failing, contexts=options.monitors // 10)
        data.look_back(options.incidents)
        text, figures = measure(options)
        report.keep(options, "pages", text, figures)


def measure(options: Any) -> tuple[str, dict[str, Any]]:
    from django.contrib.auth.models import User
    from django.test import Client

    from bench import data

    User.objects.filter(username="bench").delete()
    client = Client()
    client.force_login(User.objects.create_superuser("bench"))
    figures = {}
    for name, url_of in tqdm(urls(options), desc="pages", disable=None):
        figures[name] = _fetched(client, url_of, options.times)
    for share in BOARDS:
        failing = round(options.monitors * share)
        data.let_fail(failing)
        figures[f"the board, {failing:,} failing"] = _fetched(client, lambda: BOARD, options.times)
    rows = [
        [name, *(found[each] for each in ("median", "p95", "max", "statements"))] for name, found in figures.items()
    ]
    return report.table(["ms", "median", "p95", "most", "statements"], rows), figures


def _fetched(client: Any, url_of: Any, times: int) -> dict[str, Any]:
    """Fetches it `times` times, after once that is not counted."""
    from django.db import connection, reset_queries
    from django.test.utils import CaptureQueriesContext

    seconds, statements = [], set()
    for turn in range(times + 1):
        url = url_of()
        reset_queries()  # Django keeps only the last 9,000, so the count would stop growing
        with CaptureQueriesContext(connection) as asked:
            began = report.time.perf_counter()
            answer = client.get(url)
            took = report.time.perf_counter() - began
        assert answer.status_code == 200, (url, answer.status_code)
        statements.add(len(asked))
        seconds += [took] if turn else []
    counted = f"{min(statements)}–{max(statements)}" if len(statements) > 1 else str(min(statements))
    return {**report.spread(seconds), "p95": report.percentile(seconds, 0.95) * 1_000, "statements": counted}


def most_frequent() -> tuple[int, int]:
    """Keys of a monitor of the task with the most runs, a tenth of all, and of its open incident."""
    from bench import data
    from monitoring.models import Incident, Monitor
    from monitoring.values.facts import AlertKind, Facts

    said = {"task_name": "task_0", "expected_statuses": ["Invalidated"], "lookback_hours": 1.0}
    incident_of = {"monitor_name": "most frequent", "task_name": "task_0", "opened_at": data.NOW}
    facts = Facts(kind=AlertKind.STATUS_MISMATCH, current_status="Completed", check_time=data.NOW, **said).to_json()
    found = {"schedule": "* * * * *", "changed_at": data.NOW}
    monitor, _ = Monitor.objects.get_or_create(name="most frequent", defaults={**said, **found})
    more = {**incident_of, "last_failed_at": data.NOW, "facts": facts}
    incident, _ = Incident.objects.get_or_create(monitor=monitor, closed_at=None, defaults=more)
    return monitor.pk, incident.pk


def urls(options: Any) -> list[tuple[str, Any]]:
    from bench import data
    from monitoring.admin.forms import TAKE_OVER
    from monitoring.models import Alert, Incident, Message, Monitor

    chance = random.Random(7)
    frequent, never_good = most_frequent()
    still_open = list(Incident.objects.filter(closed_at=None).values_list("pk", flat=True))
    keys = {
        model._meta.model_name: list(model.objects.order_by("pk").values_list("pk", flat=True)[:20_000])
        for model in (Incident, Alert, Message, Monitor)
    }

    def any_run() -> int:
        return chance.randint(options.runs // 2, options.runs)

    def any_name() -> str:
        return f"task_{int(data.NAMES ** chance.random()) - 1}"

    def of(model: str, page: str = "change") -> Any:
        return lambda: f"/admin/monitoring/{model}/{chance.choice(keys[model])}/{page}/"

    def at(path: str) -> Any:
        return lambda: f"/admin/monitoring/{path}"

    runs = "backgroundtask/"
    return [
        ("the front page", lambda: "/admin/"),
        ("the board", lambda: BOARD),
        ("tasks that nobody watches", at("monitor/unwatched/")),
        ("runs", at(runs)),
        ("runs, somewhere older", lambda: f"/admin/monitoring/{runs}?older_than={any_run()}"),
        ("runs, somewhere newer", lambda: f"/admin/monitoring/{runs}?newer_than={any_run()}"),
        ("runs that were stopped", lambda: f"/admin/monitoring/{runs}?status__exact=Stopped&older_than={any_run()}"),
        (
            "runs of a status that none has",
            lambda: f"/admin/monitoring/{runs}?status__exact=Invalidated&older_than={any_run()}",
        ),
        ("runs that never started", at(f"{runs}?started_at__isnull=True")),
        ("runs of a task", lambda: f"/admin/monitoring/{runs}?q={any_name()}"),
        ("runs of the most frequent task", at(f"{runs}?q=task_0")),
        ("stopped runs of a task", lambda: f"/admin/monitoring/{runs}?q={any_name()}&status__exact=Stopped"),
        ("runs whose task begins with", at(f"{runs}?q=task_1")),
        ("a run", lambda: f"/admin/monitoring/{runs}{any_run()}/change/"),
        ("monitors", at("monitor/")),
        ("monitors, the last page", at(f"monitor/?p={options.monitors // 50}")),
        ("monitors that fail", at("monitor/?stands=failing")),
        ("monitors, searched", at("monitor/?q=0042")),
        ("a monitor's overview", of("monitor", "overview")),
        *((f"its last {span}", lambda span=span: f"{of('monitor', 'overview')()}?span={span}") for span in SPANS),
        *(
            (f"last {span} of the most frequent task's", at(f"monitor/{frequent}/overview/?span={span}"))
            for span in SPANS
        ),
        *((f"last {span} of a context's", at(f"monitor/{keys['monitor'][0]}/overview/?span={span}")) for span in SPANS),
        ("a monitor's form", of("monitor")),
        ("the most frequent task's form", at(f"monitor/{frequent}/change/")),
        ("a form with a suggestion", lambda: f"/admin/monitoring/monitor/add/?task_name={any_name()}&{TAKE_OVER}=1"),
        ("incidents", at("incident/")),
        ("open incidents", at("incident/?state=open")),
        ("incidents, searched in vain", at("incident/?q=nowhere")),
        ("an incident", of("incident")),
        ("an open incident", lambda: f"/admin/monitoring/incident/{chance.choice(still_open)}/change/"),
        ("the most frequent task's incident", at(f"incident/{never_good}/change/")),
        ("alerts", at("alert/")),
        ("alerts that reached nobody", at("alert/?reach=nobody")),
        ("an alert", of("alert")),
        ("messages", at("message/")),
        ("messages given up", at("message/?state=given_up")),
        ("messages, searched in vain", at("message/?q=nowhere")),
        ("a message", of("message")),
    ]


if __name__ == "__main__":
    main()
