"""Monitors in the admin: their list with where each stands, their form, and the import of a configuration."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, cast
from zoneinfo import ZoneInfo, available_timezones

from django.contrib import admin, messages
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from monitoring.admin.actions import ACTIONS
from monitoring.admin.backtest import tried
from monitoring.admin.board import show_board
from monitoring.admin.display import badge, link, run_badge
from monitoring.admin.forms import (
    CONTEXT_MODELS,
    CONTEXT_TYPES,
    TAKE_OVER,
    TASK_NAMES,
    ZONES,
    DependentTaskForm,
    DependentTaskFormSet,
    ImportForm,
    MonitorForm,
    config_problem,
)
from monitoring.admin.overview import mail_preview, overview, stands_badge, warn
from monitoring.admin.parts import breakable, message_badge, overview_link, table, zone_of
from monitoring.admin.suggestions import initial_of, show_suggestion, show_unwatched, taken_over, unwatched_said
from monitoring.admin.times import by_weekday, to_the_minute, when
from monitoring.alerting.recipients import last_messages, superuser_addresses
from monitoring.alerting.states import state_of
from monitoring.alerting.words import written_hours
from monitoring.checking.advice import advice
from monitoring.checking.due import plan_new
from monitoring.checking.history import context_models, context_types, seen_names
from monitoring.checking.standing import Standing, Stands, in_standing, standings
from monitoring.checking.transfer import Change, Verb, apply_import, plan_import
from monitoring.models import DependentTask, Incident, Monitor, database_alias, database_now
from monitoring.models.monitor import DEPENDENTS_MAX
from monitoring.tasks import recorded_names, unrecorded_names
from monitoring.values.expectation import ConfigError
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import InvalidSchedule
from monitoring.values.text import head, one_line

ADDRESSES_SHOWN = 2
ADDRESSES_LOOKED_AT = 100
SAID_SHOWN = 200  # characters
TIMES_SHOWN = 5
VERB_TONES = {Verb.NEW: "good", Verb.CHANGED: "busy", Verb.SAME: "idle"}


class MonitorChangeList(ChangeList):
    """The list's page, with where each monitor stands, queried once for all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.now = database_now()
        monitors: list[Any] = list(self.result_list)
        superusers = superuser_addresses()
        for monitor, standing in zip(monitors, standings(monitors, self.now), strict=True):
            monitor.standing, monitor.asked_at, monitor.superusers = standing, self.now, superusers
        self.result_list = cast("QuerySet[Model]", monitors)

    def get_ordering_field_columns(self) -> dict[int, Any]:
        """None until somebody sorts: the failing ones first is no column's order, and Django would show the model's."""
        return super().get_ordering_field_columns() if ORDER_VAR in self.params else {}


class StandsFilter(admin.SimpleListFilter):
    title, parameter_name = "status", "stands"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(stands.name.lower(), stands.value.capitalize()) for stands in Stands]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {stands.name.lower(): stands for stands in Stands}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(in_standing(wanted))


class SnoozedFilter(admin.SimpleListFilter):
    title, parameter_name = "snoozed", "snoozed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        snoozed = Q(state__snoozed_until__gt=database_now())
        match self.value():
            case "yes":
                return queryset.filter(snoozed)
            case "no":
                return queryset.exclude(snoozed)
        return queryset


class DependentTaskInline(admin.TabularInline):  # type: ignore[type-arg] # Django 5.2 takes none
    """Has empty rows even without JavaScript; the position orders them."""

    model = DependentTask
    form = DependentTaskForm
    formset = DependentTaskFormSet
    extra = 3
    max_num = DEPENDENTS_MAX
    empty_value_display = "–"
    verbose_name_plural = "Dependent tasks: mails list them as tasks that may be delayed or fail"

    def _as_the_monitor(self, request: HttpRequest, obj: Monitor | None = None) -> bool:
        """They are a part of it: Django lets nobody edit them who may not edit the monitor."""
        return True

    has_view_permission = has_add_permission = has_change_permission = has_delete_permission = _as_the_monitor


@admin.register(Monitor)
class MonitorAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = MonitorForm
    inlines = [DependentTaskInline]
    save_as = True
    list_display = ["breakable_name", "stands", "last_run", "next_check", "tells"]
    list_filter = [StandsFilter, "enabled", SnoozedFilter]
    search_fields = ["name", "task_name"]
    list_per_page = 50
    empty_value_display = "–"
    actions = ACTIONS
    readonly_fields = ["suggested", "comes", "last_mails", "expects", "notifies"]
    fieldsets = [
        (None, {"fields": ["name", "enabled"]}),
        ("What is expected", {"fields": ["task_name", "expected_statuses", "lookback_hours"]}),
        ("When it is checked", {"fields": ["schedule", "time_zone", "comes", "suggested"]}),
        (
            "Who is notified, and how often",
            {"fields": ["notify_to", "last_mails", "alert_after", "repeat", "repeat_hours", "tell_recovery"]},
        ),
        (
            "Only the runs of one business context",
            {"fields": ["context_model", "context_type"], "classes": ["collapse"]},
        ),
    ]

    class Media:
        css = {"all": ["monitoring/admin.css"]}

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Monitor]:
        incidents = Incident.objects.filter(monitor=OuterRef("pk"), closed_at=None)
        monitors = Monitor._default_manager.annotate(is_failing=Exists(incidents.filter(monitor__enabled=True)))
        return monitors.order_by(*self.get_ordering(request))

    def get_ordering(self, request: HttpRequest) -> list[str | Combinable]:
        return ["-is_failing", "name"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MonitorChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        unwatched = unwatched_said() if request.method == "GET" else ""
        response = super().changelist_view(request, {"unwatched": unwatched, **(extra_context or {})})
        if isinstance(response, TemplateResponse):  # not a redirect, whose target warns itself
            warn(request)
        return response

    @admin.display(description="Name", ordering="name")
    def breakable_name(self, monitor: Monitor) -> SafeString:
        return breakable(monitor.name)

    @admin.display(description="Status", ordering="is_failing")
    def stands(self, monitor: Any) -> SafeString:
        standing: Standing = monitor.standing
        return format_html(
            "{}{}",
            overview_link(monitor, stands_badge(standing), self.admin_site.name),
            format_html_join("", '<br><span class="mon-quiet">{}{}</span>', _about(standing, monitor.asked_at)),
        )

    @admin.display(description="Last run")
    def last_run(self, monitor: Any) -> SafeString | str:
        run = monitor.standing.last_run
        if run is None:
            return "never"
        return format_html('{}<br><span class="mon-quiet">{}</span>', run_badge(run.status), when(run.started_at))

    @admin.display(description="Next check", ordering="state__next_check_at")
    def next_check(self, monitor: Any) -> SafeString | str:
        return when(monitor.standing.next_check_at, zone_of(monitor))

    @admin.display(description="Notifies")
    def tells(self, monitor: Any) -> SafeString | str:
        if monitor.addresses:
            return _addresses(monitor.addresses)
        if monitor.superusers:
            return format_html("superusers: {}", _addresses(monitor.superusers))
        return badge("nobody!", "bad")

    # The form

    @admin.display(description="Next checks")
    def comes(self, monitor: Any) -> SafeString | str:
        if not monitor.schedule:
            return "Once the schedule is entered and saved, its next five times will appear here."
        try:
            schedule = monitor.parsed_schedule()
        except InvalidSchedule:
            return "–"
        zones = list(dict.fromkeys([schedule.zone, "UTC"]))
        times = list(islice(schedule.upcoming(monitor.asked_at), TIMES_SHOWN))
        return format_html(
            "<p>{}</p>{}",
            schedule.words,
            table(
                zones,
                [[to_the_minute(moment, ZoneInfo(zone)) for zone in zones] for moment in times],
            ),
        )

    @admin.display(description="Suggested")
    def suggested(self, monitor: Any) -> SafeString:
        part: SafeString = monitor.suggestion
        return part

    def get_fieldsets(self, request: HttpRequest, obj: Monitor | None = None) -> Any:
        """Who may only look sees lists as a text; Django would show them as JSON."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        shown_as = {"expected_statuses": "expects", "notify_to": "notifies"}
        return [
            (title, {**options, "fields": [shown_as.get(str(field), field) for field in options["fields"]]})
            for title, options in fieldsets
        ]

    @admin.display(description="Expected statuses")
    def expects(self, monitor: Monitor) -> str:
        return ", ".join(monitor.statuses)

    @admin.display(description="Notify to")
    def notifies(self, monitor: Monitor) -> str:
        return ", ".join(monitor.addresses) or f"superusers: {', '.join(superuser_addresses()) or 'none'}"

    @admin.display(description="Last mails")
    def last_mails(self, monitor: Monitor) -> SafeString:
        """How far the newest mail to each address got, from any monitor: an address that bounces does so for all."""
        addresses = list(monitor.addresses or superuser_addresses())
        newest = last_messages(addresses[:ADDRESSES_LOOKED_AT], database_alias())
        return table(
            ["Address", "Last mail", "When", "Details"],
            [
                [
                    link(message, address, self.admin_site.name),
                    message_badge(state_of(message)),
                    when(message.sent_at or message.created_at),
                    head(one_line(message.error or message.provider_said), SAID_SHOWN) or "–",
                ]
                for address, message in sorted(newest.items())
            ],
            empty="No mail has gone to these addresses yet.",
        )

    def render_change_form(  # type: ignore[override] # passed on as they are
        self, request: HttpRequest, context: dict[str, Any], **kwargs: Any
    ) -> HttpResponse:
        form, now = context["adminform"].form, database_now()
        form.instance.asked_at = now
        registered, unrecorded = recorded_names(), unrecorded_names()
        context["datalists"] = {
            TASK_NAMES: sorted({*registered, *seen_names()} - unrecorded),
            CONTEXT_MODELS: context_models(),
            CONTEXT_TYPES: context_types(),
            ZONES: _zones(),
        }
        superusers = superuser_addresses()
        if "notify_to" in form.fields:
            form.fields["notify_to"].help_text = f"{form.fields['notify_to'].help_text} {_fallback(superusers)}"
        monitor = kwargs.get("obj")
        may_change = self.has_change_permission(request, monitor) if monitor else self.has_add_permission(request)
        if monitor is None and not form.is_bound:
            form.schedule_as_shown()
        show_suggestion(form, monitor, may_change=may_change)
        if monitor and not form.errors and not form.only_looks:
            context["advice"] = advice(monitor, now, registered, superusers, unrecorded)
        if form.is_tried and not context["errors"]:
            context["tried"] = tried(request, form.instance, now, self.admin_site.name)
        return super().render_change_form(request, context, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if TAKE_OVER in request.POST:
            request.POST = taken_over(request.POST)  # type: ignore[assignment] # the stubs know no other
        return super().changeform_view(request, *args, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        asked, task_name = super().get_changeform_initial_data(request), request.GET.get("task_name", "")
        suggested = initial_of(task_name) if task_name and TAKE_OVER in asked else {}
        return {"expected_statuses": [RunStatus.COMPLETED.value], **suggested, **asked}

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Plans the monitor at once, so that the list shows its next check."""
        super().save_related(request, form, formsets, change)
        plan_new(database_alias())

    def response_add(self, request: HttpRequest, obj: Monitor, post_url_continue: str | None = None) -> HttpResponse:
        self._advise(request, obj)
        return super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Monitor) -> HttpResponse:
        self._advise(request, obj)
        return super().response_change(request, obj)

    def _advise(self, request: HttpRequest, monitor: Monitor) -> None:
        if "_continue" in request.POST or "_saveasnew" in request.POST:
            return  # the form, which is shown next, gives the advice itself
        names = recorded_names(), superuser_addresses(), unrecorded_names()
        for sentence in advice(monitor, database_now(), *names):
            self.message_user(request, f"{monitor}: {sentence}", messages.WARNING)

    # Permissions of our own

    def has_check_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("monitoring.check_monitor")

    def has_snooze_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("monitoring.snooze_monitor")

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("monitoring.send_alert")

    # Pages

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        # An action's check opens its own transaction, which cannot be nested inside another.
        unnested = transaction.non_atomic_requests(using=database_alias())
        return [
            path("", unnested(wrap(self.changelist_view)), name="monitoring_monitor_changelist"),
            path("board/", wrap(self.board_view), name="monitoring_board"),
            path("import/", wrap(self.import_view), name="monitoring_monitor_import"),
            path("unwatched/", wrap(self.unwatched_view), name="monitoring_monitor_unwatched"),
            path("<path:object_id>/overview/", wrap(self.overview_view), name="monitoring_monitor_overview"),
            path("<path:object_id>/mail/", wrap(self.mail_view), name="monitoring_monitor_mail"),
            *super().get_urls(),
        ]

    def unwatched_view(self, request: HttpRequest) -> HttpResponse:
        return show_unwatched(self, request)

    def board_view(self, request: HttpRequest) -> HttpResponse:
        return show_board(self, request)

    def overview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return overview(self, request, object_id)

    def mail_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return mail_preview(self, request, object_id)

    def import_view(self, request: HttpRequest) -> HttpResponseBase:
        """Shows what pasted JSON would do; once confirmed, does all of it or nothing."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name  # links lead into this admin
        form = ImportForm(request.POST or None)
        changes = _planned(form) if form.is_valid() else []
        refusal = self._refusal(request, changes)
        if changes and "_confirm" in request.POST and not refusal:
            return self._imported(request, changes)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Import JSON",
            "form": form,
            "changes": changes,
            "table": _table(changes),
            "refusal": refusal,
            "to_do": _to_do(changes),
            "datalists": {ZONES: _zones()},
            "media": self.media,
        }
        return TemplateResponse(request, "admin/monitoring/monitor/import.html", context)

    def _refusal(self, request: HttpRequest, changes: Sequence[Change]) -> str:
        changed = any(change.verb is Verb.CHANGED for change in changes)
        if changed and not self.has_change_permission(request):
            return "This would change existing monitors, and you may only add new ones."
        return ""

    def _imported(self, request: HttpRequest, changes: Sequence[Change]) -> HttpResponse:
        with transaction.atomic(using=database_alias()):
            apply_import(changes)
            plan_new(database_alias())
        counts = {verb: [change for change in changes if change.verb is verb] for verb in Verb}
        for change in counts[Verb.NEW]:
            self.log_addition(request, change.monitor, "Imported.")
        for change in counts[Verb.CHANGED]:
            self.log_change(request, change.monitor, "Changed by an import.")
        said = ", ".join(f"{len(of_verb)} {verb.value}" for verb, of_verb in counts.items() if of_verb)
        self.message_user(request, f"Imported: {said}.", messages.SUCCESS)
        return redirect(f"{self.admin_site.name}:monitoring_monitor_changelist")


def _planned(form: ImportForm) -> list[Change]:
    try:
        return plan_import(form.expectations, form.parsed_schedule)
    except ConfigError as error:
        for problem in error.problems:
            form.add_error("config", config_problem(problem))
        return []


def _table(changes: Sequence[Change]) -> SafeString:
    return table(
        ["Monitor", "Change", "Task", "Expected", "Looks back", "Schedule", "Notifies", "Dependent tasks"],
        [
            [
                _named(change),
                badge(change.verb.value, VERB_TONES[change.verb]),
                change.task,
                change.written("expected_statuses", ", ".join),
                change.written("lookback_hours", lambda hours: f"{written_hours(hours)} h"),
                change.schedule,
                change.written("notify_to", lambda addresses: ", ".join(addresses) or "superusers"),
                change.written("dependent_tasks", ", ".join) or "–",
            ]
            for change in changes
        ],
    )


def _named(change: Change) -> SafeString | str:
    if not change.watched_by:
        return change.name
    said = f"its task is already watched by {', '.join(change.watched_by)}"
    return format_html('{}<br><span class="mon-quiet">{}</span>', change.name, said)


def _to_do(changes: Sequence[Change]) -> str:
    """The words of the button that does it: `Add 2 monitors`, `Add 2, change 1`; empty if there is nothing to do."""
    times = Counter(change.verb for change in changes)
    new, changed = times[Verb.NEW], times[Verb.CHANGED]
    if new and changed:
        return f"Add {new}, change {changed}"
    return f"{'Add' if new else 'Change'} {new + changed} monitor{pluralize(new + changed)}" if new or changed else ""


def _about(standing: Standing, now: datetime) -> list[tuple[str, SafeString | str]]:
    """The lines below the state: since when, and why no mails come."""
    zone = zone_of(standing.monitor)
    lines: list[tuple[str, SafeString | str]] = []
    if standing.since:
        lines.append(("since ", when(standing.since, zone)))
    if standing.incident and standing.incident.acknowledged_at:
        lines.append(("acknowledged by ", standing.incident.acknowledged_by))
    if snoozed_until := standing.state.snoozed_at(now):
        lines.append(("snoozed until ", by_weekday(snoozed_until, now, zone)))
    return lines


@cache  # reads several hundred system files
def _zones() -> list[str]:
    return sorted(available_timezones())


def _addresses(addresses: Sequence[str]) -> SafeString:
    more = len(addresses) - ADDRESSES_SHOWN
    shown = format_html_join(", ", "{}", ((breakable(address),) for address in addresses[:ADDRESSES_SHOWN]))
    rest = f" and {more} more" if more > 0 else ""
    return format_html('<span title="{}">{}{}</span>', ", ".join(addresses), shown, rest)


def _fallback(superusers: Sequence[str]) -> str:
    if not superusers:
        return "If empty: nobody, since no active superuser has an e-mail address."
    return f"If empty: the superusers, currently {', '.join(superusers)}."
