"""Pages of what happened: runs, incidents, alerts and messages. Nothing can be added, edited or deleted here."""

from collections.abc import Iterable
from datetime import tzinfo
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Prefetch, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import get_default_timezone

from monitoring.admin.actions import BUTTONS
from monitoring.admin.display import badge, link, run_badge
from monitoring.admin.incident import incident_page, parameters_laid_out
from monitoring.admin.overview import warn
from monitoring.admin.pages import KeyedList, RunList
from monitoring.admin.parts import (
    breakable,
    facts_found,
    frame,
    framed,
    incident_badge,
    kind_badge,
    lasted,
    message_badge,
    overview_link,
    pairs,
    pre,
    shared_zone,
    table,
    zone_of,
)
from monitoring.admin.times import exactly, when
from monitoring.alerting import words
from monitoring.alerting.outbox import send_again
from monitoring.alerting.states import MessageState, in_state, state_of
from monitoring.alerting.tracking import TIMES
from monitoring.checking.incidents import acknowledge
from monitoring.models import Alert, BackgroundTask, Delivery, Incident, Message, Monitor, database_alias, database_now
from monitoring.values.facts import Facts
from monitoring.values.text import head

LISTED = 50  # related rows on a page
ERROR_SHOWN = 60  # characters in a list
RETURNED = (MessageState.BOUNCED, MessageState.REJECTED, MessageState.COMPLAINED)

# Lists do not load the text of mails, nor errors or parameters of runs, which may be long.
LIGHT_DELIVERIES = Prefetch(
    "deliveries",
    Delivery.objects.select_related("message").defer("message__text", "message__html").order_by("address"),
)


class Records(admin.ModelAdmin):  # type: ignore[type-arg] # Django's own class takes no argument when it runs
    """A list and pages that are read-only."""

    list_per_page = 50
    empty_value_display = "–"
    ordering: ClassVar[tuple[str, ...]] = ("-id",)
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by: ClassVar[tuple[str, ...]] = ()
    view_on_site = False
    deferred: ClassVar[tuple[str, ...]] = ()
    change_list_template = "admin/monitoring/keyed_list.html"

    class Media:
        css = {"all": ["monitoring/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer(*self.deferred)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeyedList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse):  # not a redirect, whose target warns itself
            warn(request)
        return response

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With the `zone` of its page."""
        row: Any = super().get_object(request, object_id, from_field)
        if row:
            row.zone = self.zone_of_page(row)
        return row

    def zone_of_page(self, row: Any) -> tzinfo:
        return get_default_timezone()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "POST":
            row = self.get_object(request, object_id)
            if row and self.has_view_permission(request, row) and self.press(request, row):
                return redirect(request.get_full_path())
        return super().change_view(request, object_id, form_url, extra_context)

    def press(self, request: HttpRequest, row: Any) -> bool:
        """Does what a button on the row's page was pressed for; False if that was no button of ours."""
        return False

    def link(self, row: Model | None, text: str = "") -> SafeString | str:
        return link(row, text, self.admin_site.name)


@admin.register(BackgroundTask)
class RunAdmin(Records):
    list_display = ("breakable_name", "state", "started", "duration", "attempts", "context_id")
    list_filter = ("status", "started_at")
    search_fields = ("task_name", "task_id")
    search_help_text = (
        "A whole task id, a task's whole name, or the beginning of the name of one that ran lately or is monitored."
    )
    fields = (
        "task_name",
        "state",
        "task_id",
        "context_id",
        "submitted_exactly",
        "started_exactly",
        "finished_exactly",
        "duration",
        "attempts",
        "worker",
        "watched_by",
        "errors_as_written",
        "earlier_errors_as_written",
        "parameters_as_written",
    )
    deferred = ("errors", "earlier_errors", "parameters")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Leaves the search to RunList: the table's indexes would answer no condition added here."""
        return queryset, False

    @admin.display(description="task name")
    def breakable_name(self, run: BackgroundTask) -> SafeString:
        return breakable(run.task_name)

    @admin.display(description="status")
    def state(self, run: BackgroundTask) -> SafeString:
        return run_badge(run.status)

    @admin.display(description="started")
    def started(self, run: BackgroundTask) -> SafeString | str:
        return when(run.started_at)

    @admin.display(description="took")
    def duration(self, run: BackgroundTask) -> str:
        return lasted(run.started_at, run.finished_at)

    def zone_of_page(self, row: Any) -> tzinfo:
        row.monitors = list(Monitor.objects.filter(task_name=row.task_name)[:LISTED])
        return shared_zone(map(zone_of, row.monitors))

    @admin.display(description="submitted")
    def submitted_exactly(self, run: Any) -> SafeString | str:
        return exactly(run.submitted_at, run.zone)

    @admin.display(description="started")
    def started_exactly(self, run: Any) -> SafeString | str:
        return exactly(run.started_at, run.zone)

    @admin.display(description="finished")
    def finished_exactly(self, run: Any) -> SafeString | str:
        return exactly(run.finished_at, run.zone)

    @admin.display(description="watched by")
    def watched_by(self, run: Any) -> SafeString | str:
        links = ((overview_link(monitor, monitor.name, self.admin_site.name),) for monitor in run.monitors)
        return format_html_join(", ", "{}", links) or "no monitor"

    @admin.display(description="errors")
    def errors_as_written(self, run: BackgroundTask) -> SafeString | str:
        return pre(run.errors)

    @admin.display(description="errors of earlier attempts")
    def earlier_errors_as_written(self, run: BackgroundTask) -> SafeString | str:
        return pre(run.earlier_errors)

    @admin.display(description="parameters")
    def parameters_as_written(self, run: BackgroundTask) -> SafeString | str:
        return parameters_laid_out(run)


class OpenOrClosed(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        return queryset.filter(closed_at__isnull=wanted == "open") if wanted in ("open", "closed") else queryset


class Acknowledged(admin.SimpleListFilter):
    title = "acknowledged"
    parameter_name = "acknowledged"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Nobody's yet"), ("yes", "Acknowledged")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        return queryset.filter(acknowledged_at__isnull=wanted == "no") if wanted in ("no", "yes") else queryset


@admin.register(Incident)
class IncidentAdmin(Records):
    list_display = (
        "overview",
        "state",
        "opened",
        "failing_checks",
        "last_alert",
        "acknowledged_by_whom",
    )
    list_display_links = ("opened",)
    list_filter = (OpenOrClosed, Acknowledged)
    list_select_related = ("monitor",)
    search_fields = ("monitor_name", "task_name")
    search_help_text = "A part of a monitor's or a task's name."
    actions = ("acknowledge",)
    fields = ("overview",)  # its template shows everything

    @admin.action(description="Acknowledge selected incidents", permissions=["snooze"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        by, now = request.user.get_username(), database_now()
        keys = list(queryset.values_list("pk", flat=True))
        taken = acknowledge(keys, by, now, database_alias())
        for incident in taken:
            self.log_change(request, incident, "Acknowledged.")
        if taken:
            said = f"{_count(len(taken), 'incident')} acknowledged: reminders stop, a recovery is still announced."
            self.message_user(request, said, messages.SUCCESS)
        if left := len(keys) - len(taken):
            said = f"{_count(left, 'incident')} left as before: closed, or acknowledged already."
            self.message_user(request, said, messages.WARNING)

    def has_snooze_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("monitoring.snooze_monitor")

    def press(self, request: HttpRequest, row: Incident) -> bool:
        name = next((name for name in BUTTONS if name in request.POST), "")
        if name and not self.has_snooze_permission(request):
            raise PermissionDenied
        if name == "acknowledge":  # this incident, not one that its monitor has opened since
            self.acknowledge(request, Incident.objects.filter(pk=row.pk))
        elif name:
            BUTTONS[name](self, request, Monitor.objects.filter(incidents=row))
        return bool(name)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        incident = self.get_object(request, object_id)
        context: dict[str, Any] = {"may_act": self.has_snooze_permission(request)}
        if incident and self.has_view_permission(request, incident):
            page = incident_page(incident, request, database_now(), self.admin_site.name)
            context |= {"page": page, "title": incident.monitor_name, "subtitle": None}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    @admin.display(description="state")
    def state(self, incident: Incident) -> SafeString:
        if not incident.closed_at:
            return incident_badge(incident)
        return format_html("{} {}", incident_badge(incident), when(incident.closed_at))

    @admin.display(description="opened")
    def opened(self, incident: Incident) -> SafeString | str:
        return when(incident.opened_at)

    @admin.display(description="last alert")
    def last_alert(self, incident: Incident) -> SafeString | str:
        return when(incident.told_at) if incident.told_at else "none yet"

    @admin.display(description="acknowledged by")
    def acknowledged_by_whom(self, incident: Incident) -> str:
        return incident.acknowledged_by or "–"

    @admin.display(description="monitor")
    def overview(self, incident: Incident) -> SafeString | str:
        gone = "" if incident.monitor_id else " (deleted)"
        return overview_link(incident.monitor, breakable(f"{incident.monitor_name}{gone}"), self.admin_site.name)


def deliveries_of(alert: Alert, site: str) -> SafeString:
    """Each address with its message and how far that got."""
    deliveries = list(alert.deliveries.all())
    if not deliveries:
        return badge("reached nobody", "bad")
    rows = (
        (
            link(delivery.message, delivery.address, site) if delivery.message else delivery.address,
            message_badge(state_of(delivery.message) if delivery.message else MessageState.PENDING),
        )
        for delivery in deliveries
    )
    return format_html('<ul class="mon-list">{}</ul>', format_html_join("", "<li>{} {}</li>", rows))


class Reach(admin.SimpleListFilter):
    title = "reach"
    parameter_name = "reach"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("nobody", "Reached nobody"), ("somebody", "Reached somebody")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        if wanted not in ("nobody", "somebody"):
            return queryset
        undeliverable = Q(deliveries=None)
        return queryset.filter(undeliverable) if wanted == "nobody" else queryset.exclude(undeliverable)


@admin.register(Alert)
class AlertAdmin(Records):
    list_display = ("breakable_name", "what", "created", "of_incident", "reaches")
    list_filter = ("kind", Reach)
    list_select_related = ("incident",)
    search_fields = ("task_name",)
    search_help_text = "A part of a task's name."
    fields = ("task_name", "what", "created_exactly", "of_incident", "deliveries", "says")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related(LIGHT_DELIVERIES)

    @admin.display(description="task name")
    def breakable_name(self, alert: Alert) -> SafeString:
        return breakable(alert.task_name)

    @admin.display(description="kind")
    def what(self, alert: Alert) -> SafeString:
        return kind_badge(alert.kind)

    @admin.display(description="created")
    def created(self, alert: Alert) -> SafeString | str:
        return when(alert.created_at)

    def zone_of_page(self, row: Any) -> tzinfo:
        return _zone_of_facts([row.facts])

    @admin.display(description="created")
    def created_exactly(self, alert: Any) -> SafeString | str:
        return exactly(alert.created_at, alert.zone)

    @admin.display(description="incident")
    def of_incident(self, alert: Alert) -> SafeString | str:
        return self.link(alert.incident, breakable(alert.incident.monitor_name) if alert.incident else "")

    @admin.display(description="reaches")
    def reaches(self, alert: Alert) -> SafeString | str:
        addresses = [delivery.address for delivery in alert.deliveries.all()]
        more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
        return format_html("{}{}", breakable(addresses[0]), more) if addresses else badge("reached nobody", "bad")

    @admin.display(description="messages")
    def deliveries(self, alert: Alert) -> SafeString:
        return deliveries_of(alert, self.admin_site.name)

    @admin.display(description="says")
    def says(self, alert: Alert) -> SafeString | str:
        return facts_found(alert.facts)


class MessageStates(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.name.lower(), state.value.capitalize()) for state in MessageState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {state.name.lower(): state for state in MessageState}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(in_state(wanted))


@admin.register(Message)
class MessageAdmin(Records):
    list_display = ("breakable_subject", "state_and_why", "breakable_address", "written", "next_attempt")
    list_filter = (MessageStates,)
    search_fields = ("address", "subject")
    search_help_text = "A part of an address or a subject."
    actions = ("send_again",)
    fields = (
        "subject",
        "address",
        "state",
        "created_exactly",
        "sent_exactly",
        "attempts",
        "next_attempt_exactly",
        "error_as_said",
        "provider_id",
        "told_by_provider",
        "carries",
        "text_part",
        "html_part",
    )
    deferred = ("text", "html")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.html_view)
        return [path("<path:object_id>/html/", view, name="monitoring_message_html"), *super().get_urls()]

    def zone_of_page(self, row: Any) -> tzinfo:
        return _zone_of_facts(Alert.objects.filter(deliveries__message=row).values_list("facts", flat=True)[:LISTED])

    def html_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The HTML part, for the frame on its page."""
        message = self.get_object(request, object_id)
        if message is None or not self.has_view_permission(request, message):
            raise Http404(f"There is no message {object_id} that you may see.")
        return framed(message.html)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may = {"may_send": self.has_send_permission(request)}
        return super().change_view(request, object_id, form_url, {**may, **(extra_context or {})})

    @admin.action(description="Send selected messages again", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        keys = list(queryset.values_list("pk", flat=True))
        due = send_again(keys, database_now(), database_alias())
        for message in due:
            self.log_change(request, message, "To be sent again.")
        if due:
            said = f"{_count(len(due), 'message')} to be sent within a minute, while a worker runs."
            self.message_user(request, said, messages.SUCCESS)
        if left := len(keys) - len(due):
            self.message_user(request, f"{_count(left, 'message')} left as before: sent already.", messages.WARNING)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("monitoring.send_alert")

    def press(self, request: HttpRequest, row: Message) -> bool:
        if "send_again" not in request.POST:
            return False
        if not self.has_send_permission(request):
            raise PermissionDenied
        self.send_again(request, Message.objects.filter(pk=row.pk))
        return True

    @admin.display(description="state")
    def state(self, message: Message) -> SafeString:
        return message_badge(state_of(message))

    @admin.display(description="subject")
    def breakable_subject(self, message: Message) -> SafeString:
        return breakable(message.subject)

    @admin.display(description="state")
    def state_and_why(self, message: Message) -> SafeString:
        """With the number of attempts, if not the first one succeeded, and the error."""
        went_at_once = message.attempts <= 1 and message.sent_at
        error = message.error or (message.provider_said if state_of(message) in RETURNED else "")
        lines = [
            "" if went_at_once else _count(message.attempts, "attempt"),
            breakable(head(error.partition("\n")[0], ERROR_SHOWN)),
        ]
        said = format_html_join("", '<br><span class="mon-quiet">{}</span>', ((line,) for line in lines if line))
        return format_html("{}{}", self.state(message), said)

    @admin.display(description="address")
    def breakable_address(self, message: Message) -> SafeString:
        return breakable(message.address)

    @admin.display(description="written")
    def written(self, message: Message) -> SafeString | str:
        return when(message.created_at)

    @admin.display(description="next attempt")
    def next_attempt(self, message: Message) -> SafeString | str:
        return when(message.next_attempt_at) if _is_waiting(message) else "–"

    @admin.display(description="written")
    def created_exactly(self, message: Any) -> SafeString | str:
        return exactly(message.created_at, message.zone)

    @admin.display(description="sent")
    def sent_exactly(self, message: Any) -> SafeString | str:
        if message.gave_up_at:
            return format_html("given up {}", exactly(message.gave_up_at, message.zone))
        return exactly(message.sent_at, message.zone)

    @admin.display(description="next attempt")
    def next_attempt_exactly(self, message: Any) -> SafeString | str:
        return exactly(message.next_attempt_at, message.zone) if _is_waiting(message) else "–"

    @admin.display(description="last error")
    def error_as_said(self, message: Message) -> SafeString | str:
        return pre(message.error)

    @admin.display(description="provider reports")
    def told_by_provider(self, message: Any) -> SafeString | str:
        told = sorted((at, name) for name in TIMES if (at := getattr(message, name)))
        rows: list[tuple[str, Any]] = [
            (name.removesuffix("_at").capitalize(), exactly(at, message.zone)) for at, name in told
        ]
        rows += [("In its words", message.provider_said)] if message.provider_said else []
        return pairs(rows) if rows else "none yet"

    @admin.display(description="carries")
    def carries(self, message: Message) -> SafeString:
        deliveries = message.deliveries.select_related("alert__incident").order_by("id")[:LISTED]
        return table(
            ["Alert", "Kind", "Incident"],
            [
                [
                    self.link(delivery.alert, delivery.alert.task_name),
                    kind_badge(delivery.alert.kind),
                    self.link(incident, incident.monitor_name) if (incident := delivery.alert.incident) else "–",
                ]
                for delivery in deliveries
            ],
        )

    @admin.display(description="text")
    def text_part(self, message: Message) -> SafeString | str:
        return pre(message.text)

    @admin.display(description="HTML")
    def html_part(self, message: Message) -> SafeString:
        url = reverse(f"{self.admin_site.name}:monitoring_message_html", args=[message.pk])
        return frame(url, "The mail as HTML")


def _zone_of_facts(stored: Iterable[Any]) -> tzinfo:
    """The zone in which these facts are shown."""
    return shared_zone(words.zone_of(facts) for each in stored if (facts := Facts.read(each)))


def _is_waiting(message: Message) -> bool:
    return state_of(message) in (MessageState.PENDING, MessageState.FAILED)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
