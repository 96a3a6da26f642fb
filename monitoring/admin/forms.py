"""The admin's forms, which say only how settings are typed; Monitor.clean says what is valid."""

import re
from itertools import chain
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.utils import ErrorDict
from django.utils.html import format_html

from monitoring.models import DependentTask, Monitor
from monitoring.models.monitor import default_time_zone
from monitoring.values.expectation import ConfigError, Expectation, Problem, name_problem, parse_json
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import InvalidSchedule, Schedule, parse_schedule
from monitoring.values.text import sentence

# The ids of the suggestion lists, which the page holds once; see datalists.html.
TASK_NAMES, CONTEXT_MODELS, CONTEXT_TYPES, ZONES = (
    "mon-task-names",
    "mon-context-models",
    "mon-context-types",
    "mon-zones",
)

# Buttons that save nothing: they show the form again with what the task's runs suggest, with that filled in, or with a
# back-test.
LOOK, TAKE_OVER, TRY = "_look_at_runs", "_take_over", "_try"

STATUSES = {
    RunStatus.COMPLETED: "task finished successfully",
    RunStatus.RUNNING: "task currently executing",
    RunStatus.QUEUED: "task queued for execution",
    RunStatus.PENDING: "task submitted but not queued",
    RunStatus.STOPPED: "task stopped with error",
    RunStatus.CANCELLED: "task was cancelled",
    RunStatus.INVALIDATED: "task was invalidated for retry",
}
EXPLAINED_STATUSES = [
    (status.value, format_html("<strong>{}</strong> – {}", status.value, meaning))
    for status, meaning in STATUSES.items()
]

SCHEDULE_HELP = format_html(
    "Five crontab fields (<code>35 8 * * *</code>), a word (<code>@hourly</code>, <code>@daily</code>, …) or "
    "an interval (<code>every 30 minutes</code>). {}",
    "Check 5–10 minutes after the task should be done; checking more often than it runs gains nothing.",
)
ZONE_HELP = "The time zone of the schedule, and of the times in its mails."
LOOKBACK_HELP = format_html(
    "How far back a check looks for the task's newest run; the task's interval, or slightly more. 1.5 is 90 "
    "minutes. Every hour: {}, every 2 hours: {}, daily: {}, weekly: {}.",
    "1–2",
    "2–3",
    "24–25",
    "168–170",
)

_ADDRESS = re.compile(r'(?:"[^"\n]*"|[^,;\n])+')
_INDEX = re.compile(r"^\[\d+\]: ")


class CleanedByModel:
    """A field that refuses nothing itself: Monitor.clean validates it, in the words of the configuration."""

    def validate(self, value: Any) -> None:
        pass


class TextField(CleanedByModel, forms.CharField):
    """Keeps blanks at the ends, since names are matched exactly."""

    def __init__(self, *, suggestions: str = "", **kwargs: Any):
        attrs = {"class": "vTextField"} | ({"list": suggestions} if suggestions else {})
        super().__init__(widget=forms.TextInput(attrs), strip=False, **kwargs)


class StatusesField(CleanedByModel, forms.MultipleChoiceField):
    widget = forms.CheckboxSelectMultiple

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial if isinstance(initial, list) else None, data)  # else the row is corrupted


class AddressesField(CleanedByModel, forms.Field):
    """A list of addresses, separated by line breaks, commas or semicolons."""

    widget = forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: str | None) -> list[str]:
        return [address.strip() for address in _ADDRESS.findall(value or "") if address.strip()]


class MonitorForm(forms.ModelForm):  # type: ignore[type-arg] # Django 5.2 takes none
    task_name = TextField(
        label="Task",
        suggestions=TASK_NAMES,
        help_text="The name under which its runs are recorded, exactly. You may enter a name that has not run yet.",
    )
    expected_statuses = StatusesField(
        label="Expected statuses",
        choices=EXPLAINED_STATUSES,
        help_text="The newest run must have one of these. Completed alone is the usual choice; add Running for a task "
        "that may still be running when it is checked.",
    )
    lookback_hours = forms.FloatField(
        label="Lookback hours", initial=1, widget=forms.NumberInput(attrs={"step": "any"}), help_text=LOOKBACK_HELP
    )
    schedule = TextField(label="Schedule", help_text=SCHEDULE_HELP)
    time_zone = TextField(label="Time zone", suggestions=ZONES, initial=default_time_zone, help_text=ZONE_HELP)
    notify_to = AddressesField(
        label="Notify to",
        required=False,
        help_text="One address per line, or commas between them. For critical tasks, name people here.",
    )
    context_model = TextField(
        label="Context model",
        required=False,
        suggestions=CONTEXT_MODELS,
        help_text="Only runs whose context id names an instance of this model count, such as "
        "gap.models.IngestorSession.",
    )
    context_type = TextField(
        label="Context type",
        required=False,
        suggestions=CONTEXT_TYPES,
        help_text="Of these, only runs whose instance is of this type count.",
    )

    class Meta:
        model = Monitor
        fields = [
            "name",
            "enabled",
            "task_name",
            "expected_statuses",
            "lookback_hours",
            "schedule",
            "time_zone",
            "notify_to",
            "alert_after",
            "repeat",
            "repeat_hours",
            "tell_recovery",
            "context_model",
            "context_type",
        ]
        help_texts = {
            "name": "Say what it watches: “Hourly data collection”, not “Task monitor 1”.",
            "alert_after": "Failing checks in a row before the first mail; 1: at once.",
            "repeat_hours": "Needed for “every so many hours” only.",
        }
        labels = {
            "alert_after": "Alert after",
            "repeat": "Send alerts",
            "repeat_hours": "Hours between mails",
            "tell_recovery": "Notify on recovery",
        }

    @property
    def only_looks(self) -> bool:
        """Whether a button was pressed that shows the form again as typed, and validates and saves nothing."""
        return self.is_bound and not {LOOK, TAKE_OVER}.isdisjoint(self.data)

    @property
    def is_tried(self) -> bool:
        """Whether the settings are to be tried on the past: they are validated but not saved."""
        return self.is_bound and TRY in self.data

    def is_valid(self) -> bool:
        return not (self.only_looks or self.is_tried) and super().is_valid()

    def full_clean(self) -> None:
        if not self.only_looks:
            super().full_clean()
            return
        self._errors, self.cleaned_data = ErrorDict(), {}
        self.schedule_as_shown()

    def schedule_as_shown(self) -> None:
        """The next check times are those of the schedule as it was typed or filled in."""
        self.instance.schedule, self.instance.time_zone = self["schedule"].value(), self["time_zone"].value()

    def clean_expected_statuses(self) -> list[str]:
        """Keeps the order they had, since mails list them in it."""
        chosen: list[str] = self.cleaned_data["expected_statuses"]
        before = self.instance.statuses
        return [*(status for status in before if status in chosen), *(each for each in chosen if each not in before)]

    def add_error(self, field: str | None, error: Any) -> None:
        """Makes sentences of what Monitor.clean says, and drops list indexes: the problem names the value."""
        if isinstance(error, ValidationError) and hasattr(error, "error_dict"):
            for problem in chain.from_iterable(error.error_dict.values()):
                problem.message = sentence(_INDEX.sub("", str(problem.message)))
        super().add_error(field, error)

    def _get_validation_exclusions(self) -> set[str]:
        # Monitor.clean reports all problems of these; the model's fields would report them again in other words.
        judged = {name for name, field in self.fields.items() if isinstance(field, CleanedByModel)}
        return {*super()._get_validation_exclusions(), *judged}  # type: ignore[misc] # Django's own, not in the stubs


class DependentTaskForm(forms.ModelForm):  # type: ignore[type-arg]
    """A table row; screen readers do not read the headings as labels, so its inputs have their own."""

    task_name = forms.CharField(
        strip=False,
        max_length=255,
        widget=forms.TextInput({"class": "vTextField", "list": TASK_NAMES, "aria-label": "Task name"}),
    )

    class Meta:
        model = DependentTask
        fields = ["task_name", "position"]
        widgets = {"position": forms.NumberInput({"class": "vIntegerField", "aria-label": "Position"})}
        help_texts = {"position": "The lowest comes first; of equal ones the one that was added first."}

    def clean_task_name(self) -> str:
        name: str = self.cleaned_data["task_name"]
        if problem := name_problem(name):
            raise ValidationError(f"The task name {problem}.")
        return name


class DependentTaskFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    """Refuses a task that is named twice, which a configuration cannot say."""

    def clean(self) -> None:
        super().clean()
        named: set[str] = set()
        for form in self.forms:
            name = form.cleaned_data.get("task_name")
            if not name or form in self.deleted_forms:
                continue
            if name in named:
                form.add_error("task_name", "This task is named above.")
            named.add(name)


class ImportForm(forms.Form):
    """A configuration and its monitors' schedule; once valid, it has `expectations` and `parsed_schedule`."""

    config = forms.CharField(
        label="JSON",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 16, "class": "vLargeTextField mon-code", "spellcheck": "false"}),
        help_text="A JSON object of task names and their settings, or an array that holds only that object.",
    )
    schedule = forms.CharField(widget=forms.TextInput({"class": "vTextField"}), help_text=SCHEDULE_HELP)
    time_zone = forms.CharField(
        initial=default_time_zone, widget=forms.TextInput({"class": "vTextField", "list": ZONES}), help_text=ZONE_HELP
    )

    expectations: tuple[Expectation, ...] = ()
    parsed_schedule: Schedule

    def clean_config(self) -> str:
        text: str = self.cleaned_data["config"]
        try:
            self.expectations = parse_json(text)
        except ConfigError as error:
            raise ValidationError(list(map(config_problem, error.problems))) from None
        return text

    def clean(self) -> None:
        super().clean()
        typed = self.cleaned_data
        try:
            self.parsed_schedule = parse_schedule(typed.get("schedule", ""), typed.get("time_zone", ""))
        except InvalidSchedule as error:
            for field in error.problems.keys() & typed.keys():  # the others are said to be missing
                self.add_error(field, sentence(error.problems[field]))


def config_problem(problem: Problem) -> str:
    """A problem of a configuration beside a form's field; one with a place begins with a name as it is written."""
    return str(problem) if problem.task else sentence(str(problem))
