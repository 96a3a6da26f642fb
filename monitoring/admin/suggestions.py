"""What a task's runs suggest, beside what is set in a monitor's form; and the page of tasks that nobody watches."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitoring.admin.display import run_badge
from monitoring.admin.forms import LOOK, TAKE_OVER
from monitoring.admin.parts import table
from monitoring.admin.times import when
from monitoring.alerting.words import written_hours
from monitoring.checking.suggestions import (
    Suggestion,
    count_unmonitored,
    habits,
    how_many_said,
    suggest_for,
    unmonitored,
)
from monitoring.models import Monitor
from monitoring.models.monitor import default_time_zone
from monitoring.values.habit import Habit
from monitoring.values.proposal import Proposal
from monitoring.values.schedule import InvalidSchedule, parse_schedule
from monitoring.values.text import sentence

TASKS_SHOWN = 25  # on a page: up to a few hundred runs of each are read
AFTER = "after"  # the name after which a page begins
NAME_IT = "Once you have entered a task, its runs suggest how far to look back and when to check."
NOT_SAVED = format_html('<p class="mon-quiet">{}</p>', "Nothing on this page has been saved yet.")
LOOKED_AT = ("task_name", "schedule", "time_zone", "context_model", "context_type")


def show_suggestion(form: Any, monitor: Monitor | None, *, may_change: bool) -> None:
    """Sets on the form's instance what the form shows as its field `suggested`.

    Users who may not change the monitor have a form without fields, so for them it goes by what is saved.
    """
    shown = _as_typed(form) if may_change or monitor is None else monitor
    suggestion = suggest_for(shown) if shown.task_name else None
    part = _part(shown, suggestion, may_change=may_change)
    form.instance.suggestion = format_html("{}{}", part, NOT_SAVED if form.only_looks else "")


def taken_over(posted: QueryDict) -> QueryDict:
    """What was typed, with the lookback and schedule that the task's runs suggest, and the statuses these need."""
    typed = posted.copy()
    monitor = Monitor(**{name: posted.get(name, "") for name in LOOKED_AT})
    proposal = suggest_for(monitor).proposal
    if proposal is None:
        return typed
    typed["lookback_hours"] = written_hours(proposal.lookback_hours)
    typed["schedule"] = proposal.schedule.text
    statuses = [*typed.getlist("expected_statuses"), *proposal.expected_statuses]
    typed.setlist("expected_statuses", list(dict.fromkeys(statuses)))
    return typed


def initial_of(task_name: str) -> dict[str, Any]:
    """The initial form of a new monitor, as its task's runs suggest it."""
    proposal = suggest_for(Monitor(task_name=task_name, time_zone=default_time_zone())).proposal
    if proposal is None:
        return {"name": task_name}
    return {
        "name": task_name,
        "lookback_hours": written_hours(proposal.lookback_hours),
        "schedule": proposal.schedule.text,
        "expected_statuses": list(proposal.expected_statuses),
    }


def unwatched_said() -> str:
    """A line for the list of monitors; empty if there is nothing to say."""
    number = count_unmonitored()
    if number is None:
        return "Tasks without a monitor"
    return how_many_said(number) if number else ""


def show_unwatched(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """A page of the tasks that run and have no monitor, ordered by name."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    site = model_admin.admin_site.name
    request.current_app = site  # links lead into this admin
    names = unmonitored()
    after = request.GET.get(AFTER, "")
    rest = [name for name in names if name > after]
    shown, more = rest[:TASKS_SHOWN], len(rest) > TASKS_SHOWN
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": how_many_said(len(names)),
        "table": _tasks(habits(shown), site if model_admin.has_add_permission(request) else ""),
        "first": f"?{urlencode({AFTER: ''})}" if after else "",
        "next": f"?{urlencode({AFTER: shown[-1]})}" if more else "",
        "media": model_admin.media,
    }
    return TemplateResponse(request, "admin/monitoring/monitor/unwatched.html", context)


def _as_typed(form: Any) -> Monitor:
    """A monitor with the form's values, valid or not."""
    values = {name: form[name].value() or "" for name in (*LOOKED_AT, "lookback_hours", "expected_statuses")}
    return Monitor(**values)


def _part(shown: Monitor, suggestion: Suggestion | None, *, may_change: bool) -> SafeString:
    button = _button(LOOK, "Look at its runs")
    said = format_html("<p>{}</p>", NAME_IT)
    if suggestion and suggestion.proposal:
        said = _compared(shown, suggestion.proposal)
        if not _is_as_suggested(shown, suggestion.proposal):
            button = _button(TAKE_OVER, "Use these settings")
    elif suggestion:
        said = format_html("<p>{}</p>", sentence(suggestion.problem))
    return format_html('<div id="mon-suggested">{}{}</div>', said, button if may_change else "")


def _compared(shown: Monitor, proposal: Proposal) -> SafeString:
    statuses = ", ".join(shown.statuses) or "–"
    rows = [
        ("Look back", _hours(shown.lookback_hours), _hours(proposal.lookback_hours)),
        ("Schedule", _schedule(shown.schedule, shown.time_zone), _schedule(proposal.schedule.text, "")),
        ("Expected", statuses, ", ".join(proposal.expected_statuses)),
    ]
    compared = table(
        [format_html('<span class="mon-hidden">{}</span>', "Setting"), "Set", "Its runs suggest"],
        [[name, is_set, wanted if is_set == wanted else _strong(wanted)] for name, is_set, wanted in rows],
    )
    reasons = format_html_join("", "<li>{}</li>", ((reason,) for reason in proposal.reasons))
    return format_html('{}<ul class="mon-said">{}</ul>', compared, reasons)


def _strong(text: str) -> SafeString:
    return format_html("<strong>{}</strong>", text)


def _is_as_suggested(shown: Monitor, proposal: Proposal) -> bool:
    is_set = _hours(shown.lookback_hours) == _hours(proposal.lookback_hours)
    return is_set and shown.schedule == proposal.schedule.text


def _hours(typed: Any) -> str:
    """As typed in the form, which may not be a number."""
    return f"{written_hours(typed) if isinstance(typed, float) else typed or '–'} h"


def _schedule(text: str, zone: str) -> SafeString:
    """With its words if it can be parsed; a suggestion is for the zone that is set."""
    try:
        words = parse_schedule(text, zone or "UTC").words
    except InvalidSchedule:
        words = ""
    return format_html('{}<br><span class="mon-quiet">{}</span>', text or "–", words)


def _button(name: str, text: str) -> SafeString:
    # When the page is shown again, it is scrolled to this part.
    return format_html(
        '<button type="submit" class="button" name="{}" value="1" formaction="#mon-suggested">{}</button>', name, text
    )


def _tasks(found: Sequence[Habit], site: str) -> SafeString:
    """With links to a filled-in form if `site` names the admin in which the user may add monitors."""
    return table(["Task", "Last run", "How often"], [_task(each, site) for each in found])


def _task(habit: Habit, site: str) -> tuple[Any, ...]:
    return (
        format_html("{}<br>{}", habit.task_name, _add_link(habit, site)) if site else habit.task_name,
        _last_run(habit),
        habit.how_often,
    )


def _last_run(habit: Habit) -> SafeString | str:
    if not habit.runs:  # they were neither started nor submitted at a known time
        return "–"
    run = habit.runs[0]
    return format_html(
        '{}<br><span class="mon-quiet">{}</span>', run_badge(run.status), when(run.started_at or run.submitted_at)
    )


def _add_link(habit: Habit, site: str) -> SafeString:
    query = urlencode({"task_name": habit.task_name, TAKE_OVER: 1})
    url = f"{reverse(f'{site}:monitoring_monitor_add')}?{query}"
    said = "Add as suggested" if habit.interval else "Add a monitor"
    return format_html('<a href="{}">{}<span class="mon-hidden"> of {}</span></a>', url, said, habit.task_name)
