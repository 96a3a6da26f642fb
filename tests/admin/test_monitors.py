import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from huey.contrib.djhuey import HUEY

from monitoring.admin import monitors
from monitoring.checking.byhand import tomorrow_morning
from monitoring.checking.due import plan_new
from monitoring.models import Alert, Delivery, DependentTask, Incident, Message, Monitor, MonitorState, database_alias
from monitoring.models.monitor import DEPENDENTS_MAX
from monitoring.tick import check_monitors, tick
from tests.admin.people import logged_in, staff
from tests.app.models import Warehouse
from tests.factories import Wordless, make_run

pytestmark = pytest.mark.django_db

LIST = "/admin/monitoring/monitor/"
ADD = f"{LIST}add/"
IMPORT = f"{LIST}import/"
GIVEN = {
    "name": "Daily report",
    "enabled": "on",
    "task_name": "daily_report",
    "expected_statuses": ["Completed"],
    "lookback_hours": "25",
    "schedule": "35 8 * * *",
    "time_zone": "Europe/Berlin",
    "notify_to": "ops@example.com",
    "alert_after": "1",
    "repeat": "every-check",
    "repeat_hours": "",
    "tell_recovery": "on",
    "context_model": "",
    "context_type": "",
    "dependent_tasks-TOTAL_FORMS": "0",
    "dependent_tasks-INITIAL_FORMS": "0",
}
SEEDS = {"daily_report": {"expected_statuses": ["Completed"], "notify_to": ["ops@example.com"], "lookback_hours": 2}}
ACTIONS = {
    "check_now": "check_monitor",
    "acknowledge": "snooze_monitor",
    "snooze_hour": "snooze_monitor",
    "snooze_until_morning": "snooze_monitor",
    "lift_snooze": "snooze_monitor",
    "send_test": "send_alert",
    "enable": "change_monitor",
    "disable": "change_monitor",
}


@pytest.fixture
def ada() -> User:
    return User.objects.create_superuser("ada", "ada@example.com")


@pytest.fixture
def client(ada: User) -> Client:
    return logged_in(ada)


@pytest.fixture(autouse=True)
def _empty_queue() -> Any:
    yield
    HUEY.storage.flush_all()


def client_who_may(*permissions: str) -> Client:
    client = staff(*permissions)
    User.objects.filter(is_superuser=False).update(email="bob@example.com")
    return client


def make_monitor(name: str = "Daily report", **over: Any) -> Monitor:
    values = {"task_name": "daily_report", "expected_statuses": ["Completed"], "schedule": "@daily"} | over
    monitor = Monitor.objects.create(name=name, **values)
    plan_new(database_alias())
    return monitor


def make_failing(name: str = "Daily report", **over: Any) -> Monitor:
    monitor = make_monitor(name, **over)
    check_monitors([monitor], timezone.now())
    assert Incident.objects.filter(monitor=monitor, closed_at=None).exists()
    return monitor


def change_page(monitor: Monitor) -> str:
    return f"{LIST}{monitor.pk}/change/"


def said(response: Any) -> str:
    """The text of a page as people read it."""
    text = re.sub(r"(?s)<(script|style|datalist).*?</\1>", " ", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text.replace("<wbr>", ""))).split())


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def act(client: Client, action: str, *monitors: Monitor) -> Any:
    ticked = {"action": action, "_selected_action": [monitor.pk for monitor in monitors]}
    return client.post(LIST, ticked, follow=True)


def logged(monitor: Monitor) -> list[str]:
    return [str(entry.change_message) for entry in LogEntry.objects.filter(object_id=monitor.pk)]


# The list


def test_the_list_says_where_each_monitor_stands_what_ran_and_whom_it_tells(client: Client) -> None:
    make_failing("Failing", notify_to=["ops@example.com"], task_name="export")
    fine = make_monitor("Fine", task_name="sync")
    make_run("sync", started_at=timezone.now() - timedelta(minutes=5))
    check_monitors([fine], timezone.now())
    make_monitor("New", task_name="new")
    make_monitor("Off", task_name="off", enabled=False)
    rows = re.findall(r"(?s)<tr>(<td class=\"action-checkbox.*?)</tr>", client.get(LIST).content.decode())
    text = [" ".join(unescape(re.sub(r"<[^>]*>", " ", row.replace("<wbr>", ""))).split()) for row in rows]
    assert [row.split()[0] for row in text] == ["Failing", "Fine", "New", "Off"], "what fails stands first"
    assert "✗ failing since" in text[0]
    assert "never" in text[0]
    assert "ops @example.com" not in text[0]
    assert "ops@example.com" in text[0]
    assert "✓ fine" in text[1]
    assert "✓ Completed 5 minutes ago" in text[1]
    assert "superusers: ada@example.com" in text[1]
    assert "not checked yet" in text[2]
    assert "from now" in text[2]
    assert "disabled" in text[3]


@pytest.mark.parametrize(("query", "arrows"), [({}, 0), ({"o": "-1"}, 1)], ids=["own order", "by name"])
def test_no_heading_is_marked_as_sorted_until_somebody_sorts(client: Client, query: Any, arrows: int) -> None:
    make_monitor()
    assert client.get(LIST, query).content.decode().count('class="sortable column-breakable_name sorted') == arrows


def test_the_list_says_nobody_where_nobody_is_told(client: Client, ada: User) -> None:
    ada.email = ""
    ada.save()
    make_monitor()
    assert "nobody!" in said(client.get(LIST))


def test_the_list_says_who_acknowledged_and_until_when_it_is_snoozed(client: Client) -> None:
    monitor = make_failing()
    act(client, "acknowledge", monitor)
    act(client, "snooze_until_morning", monitor)
    text = said(client.get(LIST))
    assert "acknowledged by ada" in text
    assert re.search(r"snoozed until \w\w\w 08:00", text)


@pytest.mark.parametrize("context", [{}, {"context_model": "shop.Warehouse", "context_type": "cold"}])
def test_the_list_takes_as_many_statements_for_fifty_monitors_as_for_five(
    client: Client, monitoring_settings: Any, context: dict[str, str]
) -> None:
    monitoring_settings(CONTEXT_FIELDS={"shop.Warehouse": "kind"})

    def fill(first: int, last: int) -> None:
        for number in range(first, last):
            make_failing(f"monitor {number}", task_name=f"task {number}", **context)
            make_run(f"task {number}")

    def statements() -> int:
        with CaptureQueriesContext(connection) as counted:
            assert client.get(LIST).status_code == 200
        return len(counted)

    fill(0, 5)
    client.get(LIST)
    five = statements()
    fill(5, 50)
    assert statements() == five


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("stands=failing", ["Failing"]),
        ("stands=fine", ["Fine"]),
        ("stands=not_checked", ["New"]),
        ("stands=disabled", ["Off"]),
        ("enabled__exact=0", ["Off"]),
        ("snoozed=yes", ["New"]),
        ("snoozed=no", ["Failing", "Fine", "Off"]),
        ("q=FINE", ["Fine"]),
        ("q=export", ["Failing"]),
    ],
)
def test_the_list_is_filtered_and_searched(client: Client, query: str, names: list[str]) -> None:
    make_failing("Failing", task_name="export")
    fine = make_monitor("Fine", task_name="sync")
    make_run("sync", started_at=timezone.now())
    check_monitors([fine], timezone.now())
    act(client, "snooze_hour", make_monitor("New"))
    off = make_failing("Off")
    act(client, "disable", off)
    page = client.get(f"{LIST}?{query}")
    assert [monitor.name for monitor in page.context["cl"].result_list] == names


# The form


def test_a_monitor_is_made_with_its_dependents_and_planned_at_once(client: Client) -> None:
    dependents = {
        "dependent_tasks-TOTAL_FORMS": "3",
        "dependent_tasks-0-task_name": "update_dashboard",
        "dependent_tasks-0-position": "2",
        "dependent_tasks-1-task_name": "send_report_emails",
        "dependent_tasks-1-position": "1",
        "dependent_tasks-2-task_name": "",
        "dependent_tasks-2-position": "0",
    }
    response = client.post(ADD, GIVEN | dependents, follow=True)
    assert response.redirect_chain[-1][0] == LIST
    monitor = Monitor.objects.get()
    assert [task.task_name for task in monitor.dependent_tasks.all()] == ["send_report_emails", "update_dashboard"]
    assert monitor.state.next_check_at is not None
    assert monitor.state.next_check_at > timezone.now()


def test_a_new_monitor_expects_completed_unless_somebody_says_otherwise(client: Client) -> None:
    assert client.get(ADD).context["adminform"].form["expected_statuses"].value() == ["Completed"]


def test_the_form_of_a_monitor_with_the_most_dependents_can_be_sent(client: Client, settings: Any) -> None:
    monitor = make_monitor()
    names = map(str, range(DEPENDENTS_MAX))
    DependentTask.objects.bulk_create(DependentTask(monitor=monitor, task_name=name) for name in names)
    fields = client.get(f"{LIST}{monitor.pk}/change/").content.decode().count(' name="')
    assert DEPENDENTS_MAX < fields < settings.DATA_UPLOAD_MAX_NUMBER_FIELDS


def test_who_may_change_a_monitor_may_change_its_dependents_and_who_may_see_it_sees_them() -> None:
    monitor = make_monitor()
    DependentTask.objects.create(monitor=monitor, task_name="send_report_emails")
    url = f"{LIST}{monitor.pk}/change/"
    assert 'value="send_report_emails"' in staff("view_monitor", "change_monitor").get(url).content.decode()
    seen = staff("view_monitor").get(url).content.decode()
    assert "send_report_emails" in seen
    assert 'value="send_report_emails"' not in seen


def test_the_form_has_rows_for_dependents_without_any_script(client: Client) -> None:
    assert 'name="dependent_tasks-2-task_name"' in client.get(ADD).content.decode()


def test_a_refused_form_loses_nothing_that_was_typed(client: Client) -> None:
    typed = {
        "schedule": "35 8 * * * *",
        "notify_to": "ops@example.com\nnobody",
        "task_name": "a <b>",
        "dependent_tasks-TOTAL_FORMS": "1",
        "dependent_tasks-0-task_name": "send_report_emails",
        "dependent_tasks-0-position": "7",
    }
    page = client.post(ADD, GIVEN | typed)
    html = unescape(page.content.decode())
    assert "has 6 fields instead of 5" in html
    assert "'nobody' is not an e-mail address" in html
    for text in ("35 8 * * * *", "ops@example.com\nnobody", 'value="a <b>"', 'value="send_report_emails"', 'value="7"'):
        assert text in html
    assert not Monitor.objects.exists()


def test_the_form_says_the_schedule_in_words_and_lists_its_next_times_in_both_zones(client: Client) -> None:
    page = client.get(change_page(make_monitor(schedule="35 8 * * *", time_zone="Asia/Kolkata")))
    text = said(page)
    assert "At 08:35 every day" in text
    assert len(re.findall(r"\w{3} \d{4}-\d\d-\d\d 08:35 IST \w{3} \d{4}-\d\d-\d\d 03:05", text)) == 5


def test_the_form_of_a_monitor_in_utc_lists_each_time_once(client: Client) -> None:
    page = client.get(change_page(make_monitor(schedule="35 8 * * *", time_zone="UTC")))
    assert len(re.findall(r"\d\d:35", said(page).partition("every day")[2])) == 5


def test_a_form_reads_the_clock_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[datetime] = []
    monkeypatch.setattr(monitors, "database_now", lambda: read.append(timezone.now()) or read[-1])
    page = change_page(make_monitor())
    for show in (lambda: client.get(page), lambda: client.post(page, {**GIVEN, "_try": "1"})):
        read.clear()
        assert show().status_code == 200
        assert len(read) == 1


def test_a_refused_new_form_says_when_the_typed_schedule_comes(client: Client) -> None:
    page = client.post(ADD, GIVEN | {"name": "", "schedule": "every 2 hours", "time_zone": "UTC"})
    assert "Every 2 hours" in said(page)


@pytest.mark.parametrize("statuses", [["?"], 5], ids=str)
def test_the_form_of_a_spoilt_monitor_still_opens_and_mends_it(client: Client, statuses: Any) -> None:
    for hour in range(5):
        make_run(started_at=timezone.now() - timedelta(hours=hour))  # so that something is suggested
    monitor = make_monitor()
    Monitor.objects.update(schedule="spoilt", time_zone="Mars/Olympus", notify_to=[7], expected_statuses=statuses)
    for reader in (client, client_who_may("view_monitor")):
        assert reader.get(change_page(monitor)).status_code == 200
    assert client.get(LIST).status_code == 200
    assert client.post(change_page(monitor), GIVEN).status_code == 302
    assert Monitor.objects.get().expected_statuses == ["Completed"]


def test_the_form_offers_names_models_types_and_zones(client: Client, monitoring_settings: Any) -> None:
    monitoring_settings(CONTEXT_FIELDS={"shop.Warehouse": "kind", "nowhere.Thing": "kind"})
    Warehouse.objects.create(code="a", kind="frozen <goods>")
    make_run("seen_only_in_history")
    page = client.get(ADD)
    offered = page.context["datalists"]
    assert {"succeed", "seen_only_in_history", "monitor_task_status"} <= set(offered["mon-task-names"])
    assert offered["mon-context-models"] == ["shop.Warehouse"]
    assert offered["mon-context-types"] == ["frozen <goods>"]
    assert "Europe/Berlin" in offered["mon-zones"]
    assert '<option value="frozen &lt;goods&gt;">' in page.content.decode()
    assert 'list="mon-task-names"' in page.content.decode()


def test_the_form_offers_no_task_whose_runs_are_never_recorded(client: Client, monitoring_settings: Any) -> None:
    monitoring_settings(NOT_RECORDED=["succeed", "fail"])
    make_run("succeed")
    never = {"tick_monitors", "dispatch_owed", "prune_history", "say_all_is_well", "succeed", "fail"}
    assert never & set(client.get(ADD).context["datalists"]["mon-task-names"]) == set()
    for name in never:
        page = client.get(change_page(make_monitor(name, task_name=name)))
        assert f"Runs of “{name}” are never recorded" in said(page)


def test_the_form_says_who_is_told_when_no_address_is_written(client: Client, ada: User) -> None:
    assert "If empty: the superusers, currently ada@example.com." in said(client.get(ADD))
    User.objects.update(email="")
    assert "If empty: nobody" in said(client.get(ADD))


def test_the_form_says_how_far_the_last_mail_to_each_address_came(client: Client) -> None:
    monitor = make_monitor(notify_to=["gone@example.com", "ops@example.com", "new@example.com"])
    assert "No mail has gone to these addresses yet." in said(client.get(change_page(monitor)))
    times = {"created_at": timezone.now(), "next_attempt_at": timezone.now(), "sent_at": timezone.now()}
    for address, over in (
        ("ops@example.com", {"bounced_at": timezone.now()}),
        ("ops@example.com", {"delivered_at": timezone.now()}),
        ("gone@example.com", {"bounced_at": timezone.now(), "provider_said": "550 <nobody> here"}),
        ("other@example.com", {"complained_at": timezone.now()}),
    ):
        Message.objects.create(address=address, subject="s", text="t", html="h", **times, **over)
    page = said(client.get(change_page(monitor)))
    assert "gone@example.com ✗ bounced now 550 <nobody> here ops@example.com ✓ delivered now –" in page
    assert "other@example.com" not in page


@pytest.mark.parametrize(
    ("over", "words"),
    [
        (
            {"task_name": "suceed"},
            "No run of “suceed” is known, and Huey knows no task of that name. Did you mean “succeed”",
        ),
        ({"task_name": "succeed"}, "No run of “succeed” is known yet. Huey knows a task of that name"),
        (
            {"task_name": "ran", "lookback_hours": 2},
            "Checks are up to 24 hours apart and each looks back 2 hours: runs that start in the other 22 hours",
        ),
    ],
)
def test_the_form_warns_of_what_is_hardly_meant(client: Client, over: dict[str, Any], words: str) -> None:
    make_run("ran")
    page = client.get(change_page(make_monitor(**{"lookback_hours": 25, "notify_to": ["a@example.com"]} | over)))
    assert len(page.context["advice"]) == 1
    assert words in said(page)


def test_the_form_warns_when_nobody_would_be_told(client: Client, ada: User) -> None:
    User.objects.update(email="")
    make_run("ran")
    page = client.get(change_page(make_monitor(task_name="ran", lookback_hours=25)))
    (sentence,) = page.context["advice"]
    assert sentence.startswith("Nobody would be told")


def test_a_form_with_nothing_to_warn_of_warns_of_nothing(client: Client) -> None:
    make_run("ran")
    page = client.get(change_page(make_monitor(task_name="ran", lookback_hours=25)))
    assert page.context["advice"] == []


def test_saving_warns_on_the_page_that_follows(client: Client) -> None:
    page = client.post(ADD, GIVEN | {"lookback_hours": "2"}, follow=True)
    warnings = [text for text in told(page) if "Daily report: " in text]
    assert len(warnings) == 2, "the task never ran, and 22 hours are not judged"
    monitor = Monitor.objects.get()
    page = client.post(change_page(monitor), GIVEN | {"lookback_hours": "2", "_continue": "1"}, follow=True)
    assert not [text for text in told(page) if "Daily report: " in text], "the form itself says it"
    assert len(page.context["advice"]) == 2


def test_save_as_new_copies_a_monitor_with_its_dependents(client: Client) -> None:
    monitor = make_monitor()
    task = DependentTask.objects.create(monitor=monitor, task_name="update_dashboard", position=1)
    rows = {
        "dependent_tasks-TOTAL_FORMS": "1",
        "dependent_tasks-INITIAL_FORMS": "1",
        "dependent_tasks-0-id": task.pk,
        "dependent_tasks-0-monitor": monitor.pk,
        "dependent_tasks-0-task_name": "update_dashboard",
        "dependent_tasks-0-position": "1",
    }
    client.post(change_page(monitor), GIVEN | rows | {"name": "Copy", "_saveasnew": "1"})
    copy = Monitor.objects.get(name="Copy")
    assert [each.task_name for each in copy.dependent_tasks.all()] == ["update_dashboard"]
    assert [each.task_name for each in monitor.dependent_tasks.all()] == ["update_dashboard"]


@pytest.mark.parametrize(
    "wrong", [{"name": "nightly"}, {"name": "Copy", "schedule": "at noon"}], ids=["name", "schedule"]
)
def test_save_as_new_shows_the_form_again_if_something_is_wrong(client: Client, wrong: dict[str, str]) -> None:
    monitor = make_monitor("nightly")
    page = client.post(change_page(monitor), GIVEN | wrong | {"_saveasnew": "1"})
    assert page.status_code == 200
    assert page.context["adminform"].form.errors.keys() == {list(wrong)[-1]}
    assert Monitor.objects.count() == 1


@pytest.mark.parametrize(
    ("names", "problem"),
    [((" ",), "The task name is empty."), (("report", "report"), "This task is named above.")],
    ids=["blank", "twice"],
)
def test_a_dependent_task_is_named_as_in_a_configuration(client: Client, names: tuple[str, ...], problem: str) -> None:
    rows = {"dependent_tasks-TOTAL_FORMS": str(len(names)), "dependent_tasks-INITIAL_FORMS": "0"}
    for number, name in enumerate(names):
        rows |= {f"dependent_tasks-{number}-task_name": name, f"dependent_tasks-{number}-position": "0"}
    page = client.post(ADD, GIVEN | rows)
    (formset,) = page.context["inline_admin_formsets"]
    assert formset.formset.forms[-1].errors == {"task_name": [problem]}
    assert not Monitor.objects.exists()


def test_addresses_that_no_database_can_hold_are_refused(client: Client) -> None:
    monitor = make_monitor()
    page = client.post(change_page(monitor), GIVEN | {"notify_to": "a\0@example.com"})
    assert page.context["adminform"].form.errors.keys() == {"notify_to"}


def test_a_form_opened_before_the_checker_wrote_and_saved_after_loses_neither_side(client: Client) -> None:
    monitor = make_monitor(schedule="35 8 * * *", time_zone="Europe/Berlin", lookback_hours=2)
    form = client.get(change_page(monitor)).context["adminform"].form
    opened = {name: form[name].value() for name in form.fields}
    typed = {name: "" if value is None else value for name, value in opened.items()} | {"lookback_hours": "3"}
    check_monitors([monitor], timezone.now())
    act(client, "snooze_hour", monitor)
    act(client, "acknowledge", monitor)
    state = MonitorState.objects.values().get()
    incident = Incident.objects.values().get()
    client.post(change_page(monitor), GIVEN | typed)
    assert Monitor.objects.get().lookback_hours == 3
    assert MonitorState.objects.values().get() == state
    assert Incident.objects.values().get() == incident


def test_an_edited_schedule_is_planned_anew_at_once(client: Client) -> None:
    monitor = make_monitor(schedule="@yearly", time_zone="UTC")
    client.post(change_page(monitor), GIVEN | {"schedule": "every 1 minute", "time_zone": "UTC"})
    planned = MonitorState.objects.get().next_check_at
    assert planned is not None
    assert planned - timezone.now() <= timedelta(minutes=1)


def test_what_is_changed_stands_in_the_history(client: Client) -> None:
    monitor = make_monitor()
    client.post(change_page(monitor), GIVEN)
    (entry,) = LogEntry.objects.all()
    assert "Notify to" in entry.get_change_message()


@pytest.mark.parametrize("page", [LIST, ADD, IMPORT])
def test_no_page_has_a_style_or_a_script_in_it(client: Client, page: str) -> None:
    make_failing()
    html = client.get(page).content.decode()
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)[^>]*>\s*\S|\sstyle=|\son\w+=", html)


# Rights


@pytest.mark.parametrize(
    ("permission", "pages"),
    [
        ("view_monitor", {LIST: 200, ADD: 403, IMPORT: 403, "change": 200}),
        ("add_monitor", {LIST: 403, ADD: 200, IMPORT: 200, "change": 403}),
        ("change_monitor", {LIST: 200, ADD: 403, IMPORT: 403, "change": 200}),
        ("view_incident", {LIST: 403, ADD: 403, IMPORT: 403, "change": 403}),
    ],
)
def test_a_page_is_for_those_who_may_see_it(permission: str, pages: dict[str, int]) -> None:
    monitor, client = make_monitor(), client_who_may(permission)
    for page, status in pages.items():
        assert client.get(change_page(monitor) if page == "change" else page).status_code == status, page


def test_who_may_only_look_sees_statuses_and_addresses_as_a_text() -> None:
    monitor = make_monitor(
        "Daily report", expected_statuses=["Completed", "Running"], notify_to=["ops@example.com", "a@example.com"]
    )
    text = said(client_who_may("view_monitor").get(change_page(monitor)))
    assert "Expected statuses: Completed, Running" in text
    assert "Notify to: ops@example.com, a@example.com" in text
    assert "Context model: –" in text


def test_what_goes_with_a_deleted_monitor_bears_its_name(client: Client) -> None:
    monitor = make_monitor("Export of orders")
    assert "Monitor state: Export of orders" in said(client.get(f"{LIST}{monitor.pk}/delete/"))


def test_who_may_only_look_changes_nothing() -> None:
    monitor, client = make_monitor(), client_who_may("view_monitor")
    assert client.post(change_page(monitor), GIVEN).status_code == 403
    assert client.post(f"{LIST}{monitor.pk}/delete/", {"post": "yes"}).status_code == 403
    page = client.get(LIST)
    assert 'name="action"' not in page.content.decode()
    assert "Import JSON" not in said(page)


@pytest.mark.parametrize(("action", "permission"), ACTIONS.items())
def test_an_action_is_offered_and_done_only_with_its_permission(action: str, permission: str) -> None:
    monitor = make_failing(notify_to=["ops@example.com"])
    Alert.objects.all().delete()
    others = {*ACTIONS.values()} - {permission} | {"view_monitor"}
    client = client_who_may(*others)
    before = [*Monitor.objects.values(), *MonitorState.objects.values(), *Incident.objects.values()]
    assert f'value="{action}"' not in client.get(LIST).content.decode()
    act(client, action, monitor)
    assert [*Monitor.objects.values(), *MonitorState.objects.values(), *Incident.objects.values()] == before
    assert (logged(monitor), Alert.objects.count(), len(mail.outbox)) == ([], 0, 0)


@pytest.mark.parametrize(("action", "permission"), ACTIONS.items())
def test_an_action_needs_no_other_permission_than_its_own_and_is_logged(action: str, permission: str) -> None:
    monitor = make_failing(enabled=action != "enable", notify_to=["ops@example.com"])
    client = client_who_may("view_monitor", permission)
    if action == "lift_snooze":
        MonitorState.objects.update(snoozed_until=timezone.now() + timedelta(hours=1))
    assert f'value="{action}"' in client.get(LIST).content.decode()
    act(client, action, monitor)
    assert len(logged(monitor)) == 1


# Actions


def test_check_now_says_what_was_found_and_enqueues_the_mails(client: Client) -> None:
    fine = make_monitor("Fine", task_name="sync")
    make_run("sync", started_at=timezone.now())
    stopped = make_monitor("Export", task_name="export", notify_to=["ops@example.com"])
    make_run("export", "Stopped", started_at=timezone.now())
    absent = make_monitor("Absent", task_name="absent", notify_to=["ops@example.com"])
    planned = dict(MonitorState.objects.values_list("monitor_id", "next_check_at"))
    page = act(client, "check_now", fine, stopped, absent)
    text = said(page)
    assert "Checked 3 monitors:" in text
    assert "Fine: as expected (Completed)" in text
    assert "Export: export ended as Stopped" in text
    assert "Absent: absent has not executed" in text
    assert "Mails to ops@example.com are queued; the worker sends them within a minute." in text
    assert [task.name for task in HUEY.pending()] == ["dispatch_owed"]
    assert Delivery.objects.count() == 2
    assert mail.outbox == []
    assert dict(MonitorState.objects.values_list("monitor_id", "next_check_at")) == planned, "the plan is left alone"
    assert logged(stopped) == ["Checked by hand: status mismatch."]


def test_check_now_and_the_page_say_of_a_run_that_was_not_enqueued_what_its_mail_says(client: Client) -> None:
    monitor = make_monitor("Export", task_name="export")
    make_run(
        "export", "Stopped", started_at=None, submitted_at=timezone.now() - timedelta(minutes=5),
        errors="Not enqueued: no route to the queue",
    )  # fmt: skip
    summary, error = "export could not be enqueued 5 min before the check.", "no route to the queue"
    assert f"Export: {summary} {error}" in said(act(client, "check_now", monitor))
    page = client.get(reverse("admin:monitoring_monitor_overview", args=[monitor.pk])).content.decode()
    assert f"<dt>In words</dt><dd>{summary}</dd><dt>Error</dt><dd>{error}</dd>" in page


def test_check_now_checks_a_disabled_monitor_and_says_so(client: Client) -> None:
    make_run(started_at=timezone.now())
    page = act(client, "check_now", make_monitor(enabled=False))
    assert "Daily report: as expected (Completed). It is disabled." in said(page)


class Elsewhere:
    def db_for_write(self, model: Any, **_: Any) -> str:
        return "elsewhere"


@pytest.mark.parametrize(("routers", "database"), [([], "default"), ([f"{__name__}.Elsewhere"], "elsewhere")])
def test_check_now_opens_its_own_transaction_where_a_host_wraps_each_request_in_one(
    settings: Any, routers: list[str], database: str
) -> None:
    settings.DATABASE_ROUTERS = routers
    listed = next(each for each in site._registry[Monitor].get_urls() if each.name == "monitoring_monitor_changelist")
    assert listed.callback._non_atomic_requests == {database}  # type: ignore[attr-defined]


def test_check_now_of_what_is_fine_enqueues_nothing(client: Client) -> None:
    make_run(started_at=timezone.now())
    act(client, "check_now", make_monitor())
    assert HUEY.pending() == []


def test_check_now_names_ten_monitors_and_counts_the_others(client: Client) -> None:
    page = act(client, "check_now", *[make_monitor(f"monitor {number:02}") for number in range(12)])
    text = told(page)[0]
    assert "Checked 12 monitors" in text
    assert text.count("<li>") == 11
    assert "and 2 more" in text


def test_check_now_says_when_nobody_could_be_told(client: Client) -> None:
    User.objects.update(email="")
    page = act(client, "check_now", make_monitor())
    assert "Nobody could be told: notify_to is empty but no superuser found for task 'daily_report'." in said(page)


def test_names_are_escaped_in_what_an_action_says(client: Client) -> None:
    page = act(client, "check_now", make_monitor("<script>", task_name="<b>"))
    assert "<script>:" not in page.content.decode()
    assert "&lt;script&gt;: &lt;b&gt; has not executed" in page.content.decode()


def test_disabling_and_enabling_plans_anew_and_leaves_other_edits_alone(client: Client) -> None:
    monitor = make_monitor()
    MonitorState.objects.update(next_check_at=datetime(2001, 1, 1, tzinfo=UTC))
    act(client, "disable", monitor)
    assert not Monitor.objects.get().enabled
    act(client, "enable", monitor)
    assert Monitor.objects.get().enabled
    planned = MonitorState.objects.get().next_check_at
    assert planned is not None
    assert planned > timezone.now()
    assert sorted(logged(monitor)) == ["Disabled.", "Enabled."]
    assert "They were all enabled already. Nothing was changed." in said(act(client, "enable", monitor))


def test_a_snooze_lasts_an_hour_and_is_lifted(client: Client) -> None:
    monitor = make_monitor()
    act(client, "snooze_hour", monitor)
    until = MonitorState.objects.get().snoozed_until
    assert until is not None
    assert timedelta(minutes=59) < until - timezone.now() <= timedelta(hours=1)
    act(client, "lift_snooze", monitor)
    assert MonitorState.objects.get().snoozed_until is None
    assert "None of them was snoozed." in said(act(client, "lift_snooze", monitor))


def test_a_snooze_never_shortens_another(client: Client) -> None:
    longer, shorter = make_monitor("Longer"), make_monitor("Shorter")
    tomorrow, soon = timezone.now() + timedelta(days=1), timezone.now() + timedelta(minutes=5)
    MonitorState.objects.filter(monitor=longer).update(snoozed_until=tomorrow)
    MonitorState.objects.filter(monitor=shorter).update(snoozed_until=soon)
    (done,) = [text for text in told(act(client, "snooze_hour", longer, shorter)) if "Snoozed" in text]
    assert "<li>Shorter</li>" in done
    assert "<li>Longer</li>" not in done
    assert MonitorState.objects.get(monitor=longer).snoozed_until == tomorrow
    assert not MonitorState.objects.filter(monitor=shorter, snoozed_until__lte=soon).exists()
    assert "They are all snoozed for as long already. Nothing was changed." in said(act(client, "snooze_hour", longer))


def test_a_snooze_until_the_morning_is_in_each_monitors_zone(client: Client) -> None:
    tokyo, berlin = make_monitor("Tokyo", time_zone="Asia/Tokyo"), make_monitor("Berlin", time_zone="Europe/Berlin")
    spoilt = make_monitor("Spoilt")
    Monitor.objects.filter(pk=spoilt.pk).update(time_zone="Mars/Olympus")
    now = timezone.now()
    act(client, "snooze_until_morning", tokyo, berlin, spoilt)
    until = dict(MonitorState.objects.values_list("monitor__name", "snoozed_until"))
    assert until["Tokyo"] == tomorrow_morning(now, "Asia/Tokyo")
    assert until["Berlin"] == tomorrow_morning(now, "Europe/Berlin")
    assert until["Spoilt"] == tomorrow_morning(now, "UTC")


@pytest.mark.parametrize(
    ("now", "zone", "morning"),
    [
        (datetime(2026, 11, 22, 8, 35, tzinfo=UTC), "UTC", datetime(2026, 11, 23, 8, tzinfo=UTC)),
        (datetime(2026, 11, 22, 0, 5, tzinfo=UTC), "UTC", datetime(2026, 11, 23, 8, tzinfo=UTC)),
        # In Tokyo it is the 23rd already.
        (datetime(2026, 11, 22, 16, 0, tzinfo=UTC), "Asia/Tokyo", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        # The night in which the clocks change.
        (datetime(2026, 3, 28, 20, 0, tzinfo=UTC), "Europe/Berlin", datetime(2026, 3, 29, 6, tzinfo=UTC)),
        (datetime(2026, 10, 24, 20, 0, tzinfo=UTC), "Europe/Berlin", datetime(2026, 10, 25, 7, tzinfo=UTC)),
    ],
)
def test_tomorrow_morning_is_eight_by_the_clock_of_the_zone(now: datetime, zone: str, morning: datetime) -> None:
    assert tomorrow_morning(now, zone) == morning


def test_a_snoozed_monitor_tells_nobody_until_the_snooze_is_lifted(client: Client) -> None:
    monitor = make_monitor(notify_to=["ops@example.com"])
    act(client, "snooze_hour", monitor)
    act(client, "check_now", monitor)
    assert Delivery.objects.count() == 0
    act(client, "lift_snooze", monitor)
    tick(timezone.now())
    assert Delivery.objects.count() == 1


def test_acknowledging_notes_who_and_when_once(client: Client) -> None:
    monitor, fine = make_failing(), make_monitor("Fine")
    page = act(client, "acknowledge", monitor, fine)
    incident = Incident.objects.get()
    assert incident.acknowledged_by == "ada"
    assert incident.acknowledged_at is not None
    assert timezone.now() - incident.acknowledged_at < timedelta(minutes=1)
    assert "Acknowledged: Daily report" in said(page)
    assert logged(fine) == []
    act(client, "acknowledge", monitor)
    assert Incident.objects.get().acknowledged_at == incident.acknowledged_at


def test_a_test_alert_comes_to_who_asks_for_it_and_is_owed_to_nobody(client: Client) -> None:
    monitor = make_monitor(notify_to=["ops@example.com"], expected_statuses=["Completed", "Stopped"])
    DependentTask.objects.create(monitor=monitor, task_name="update_dashboard")
    page = act(client, "send_test", monitor)
    (message,) = mail.outbox
    assert message.to == ["ada@example.com"]
    assert message.subject == "[TEST] [ALERT] daily_report Has Not Executed"
    assert "update_dashboard" in message.body
    assert "This is a sample" not in message.body
    assert "A test alert was sent to ada@example.com: Daily report" in said(page)
    assert Alert.objects.count() == 0


def test_a_test_alert_of_a_monitor_that_is_fine_shows_what_a_failure_would_say(client: Client) -> None:
    make_run(started_at=timezone.now())
    act(client, "send_test", make_monitor())
    (message,) = mail.outbox
    assert message.subject == "[TEST] [ALERT] daily_report Status Check Failed"
    assert message.body.startswith("This is a sample, sent as a test")
    assert "/0/" not in message.body


def test_test_alerts_are_refused_for_more_monitors_than_anybody_would_read(client: Client) -> None:
    page = act(client, "send_test", *[make_monitor(f"monitor {number}") for number in range(11)])
    assert "Tick at most 10 monitors" in said(page)
    assert mail.outbox == []


def test_the_list_says_when_the_monitor_itself_is_not_well(client: Client) -> None:
    assert "No worker has run checks yet" in said(client.get(LIST))
    tick(timezone.now())
    assert "No worker" not in said(client.get(LIST))


def test_a_test_alert_for_somebody_without_an_address_is_refused_kindly(client: Client) -> None:
    User.objects.update(email="")
    page = act(client, "send_test", make_monitor())
    assert "Your account has no e-mail address" in said(page)
    assert mail.outbox == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError("nobody listens there"), "nobody listens there"),
        (Wordless(), "it cannot be put into words"),
    ],
    ids=["refused", "wordless"],
)
def test_a_test_alert_that_cannot_be_sent_says_why(
    error: Exception, why: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise error

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    monitor = make_monitor()
    page = act(client, "send_test", monitor)
    assert f"The test alert of Daily report could not be sent to ada@example.com: {why}" in said(page)
    assert logged(monitor) == []


# Import


def paste(client: Client, config: Any, **over: str) -> Any:
    text = config if isinstance(config, str) else json.dumps(config)
    return client.post(IMPORT, {"config": text, "schedule": "35 8 * * *", "time_zone": "UTC"} | over, follow=True)


def test_pasted_json_is_shown_before_anything_is_done(client: Client) -> None:
    make_monitor("same", task_name="same", schedule="35 8 * * *", time_zone="UTC")
    make_monitor("daily_report")
    config = SEEDS | {
        "same": {"expected_statuses": ["Completed"]},
        "export": {"expected_statuses": ["Completed", "Running"], "dependent_tasks": ["load"], "lookback_hours": 1.5},
    }
    page = paste(client, config)
    text = said(page)
    assert [(change.name, change.verb) for change in page.context["changes"]] == [
        ("daily_report", "changed"),
        ("same", "same"),
        ("export", "new"),
    ]
    assert "export ✓ new export Completed, Running 1.5 h 35 8 * * * superusers load" in text
    assert "daily_report ● changed daily_report Completed" in text
    assert "same – same same Completed 1 h 35 8 * * * superusers –" in text
    assert "At 08:35 every day, UTC." in text
    assert 'value="Add 1, change 1"' in page.content.decode()
    assert json.dumps(config) in unescape(page.content.decode()), "the pasted text is kept"
    assert Monitor.objects.count() == 2


def test_a_pasted_import_says_what_it_changes_and_who_watches_a_task_already(client: Client) -> None:
    make_monitor("one", task_name="one", schedule="*/30 * * * *", time_zone="UTC")
    config: dict[str, Any] = {"one": {"expected_statuses": ["Running"], "notify_to": ["a@example.com"]}}
    page = paste(client, config, schedule="@daily", time_zone="Asia/Tokyo")
    changes = "Completed → Running 1 h */30 * * * * → @daily (UTC → Asia/Tokyo) superusers → a@example.com –"
    assert f"one ● changed one {changes}" in said(page)
    assert 'value="Change 1 monitor"' in page.content.decode()
    make_monitor("Export of orders", task_name="export")
    page = paste(client, {"export": {"expected_statuses": ["Completed"]}, "load": {"expected_statuses": ["Completed"]}})
    assert "export its task is already watched by Export of orders ✓ new" in said(page)
    assert 'value="Add 2 monitors"' in page.content.decode()


def test_a_confirmed_import_is_done_planned_and_logged(client: Client) -> None:
    changed = make_monitor("daily_report")
    page = paste(client, SEEDS | {"export": {"expected_statuses": ["Completed"]}}, _confirm="1")
    assert page.redirect_chain[-1][0] == LIST
    assert "Imported: 1 new, 1 changed." in said(page)
    assert Monitor.objects.get(name="daily_report").notify_to == ["ops@example.com"]
    assert not MonitorState.objects.filter(next_check_at=None).exists()
    assert logged(changed) == ["Changed by an import."]
    assert logged(Monitor.objects.get(name="export")) == ["Imported."]


def test_a_bad_import_says_each_problem_with_its_place_and_does_nothing(client: Client) -> None:
    config = SEEDS | {"export": {"expected_statuses": ["Complete"], "notify_to": ["x"]}}
    page = paste(client, config, _confirm="1")
    text = said(page)
    assert "export.expected_statuses[0]: 'Complete' is not a task status; did you mean 'Completed'?" in text
    assert "export.notify_to[0]: 'x' is not an e-mail address" in text
    assert json.dumps(config) in unescape(page.content.decode())
    assert not Monitor.objects.exists()


def test_an_import_of_what_is_there_already_has_nothing_to_do(client: Client) -> None:
    paste(client, SEEDS, _confirm="1")
    page = paste(client, SEEDS)
    assert "There is nothing to do" in said(page)
    assert "_confirm" not in page.content.decode()


def test_who_may_only_add_imports_nothing_over_what_is_there() -> None:
    make_monitor("daily_report")
    client = client_who_may("add_monitor")
    page = paste(client, SEEDS | {"export": {"expected_statuses": ["Completed"]}}, _confirm="1")
    assert "This would change existing monitors, and you may only add new ones." in said(page)
    assert Monitor.objects.count() == 1


def test_who_may_add_only_imports_what_is_new() -> None:
    client = client_who_may("add_monitor")
    client.post(IMPORT, {"config": json.dumps(SEEDS), "schedule": "@daily", "time_zone": "UTC", "_confirm": "1"})
    assert Monitor.objects.get().name == "daily_report"


def test_a_monitors_pages_are_wired(client: Client) -> None:
    monitor = make_monitor()
    for page in ("overview", "mail"):
        assert client.get(reverse(f"admin:monitoring_monitor_{page}", args=[monitor.pk])).status_code == 200
    assert f"{LIST}{monitor.pk}/overview/" in client.get(change_page(monitor)).content.decode()
