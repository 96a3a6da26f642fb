from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models, router, transaction
from django.db.models.functions import Now
from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver
from django.utils import timezone

from monitoring.models.database import database_now
from monitoring.values.expectation import (
    ADDRESS_MAX,
    MAX_LOOKBACK_HOURS,
    ConfigError,
    Expectation,
    each_once,
    parse_expectation,
)
from monitoring.values.incident import MAX_REPEAT_HOURS
from monitoring.values.run_event import RunStatus
from monitoring.values.schedule import InvalidSchedule, Schedule, parse_schedule
from monitoring.values.text import NAME_MAX


class Repeat(models.TextChoices):
    """How often to tell while a monitor fails."""

    EVERY_CHECK = "every-check", "at every failing check"
    """Each failing check owes a mail."""

    ONCE = "once", "once per incident"
    """One mail when it starts to fail, then none until it has recovered and fails again."""

    HOURS = "hours", "every so many hours while it lasts"
    """One mail when it starts to fail, then another every `repeat_hours` until it recovers."""


def default_time_zone() -> str:
    return str(timezone.get_default_timezone())


class Monitor(models.Model):
    """What people expect of one task, edited in forms. What happened is in its MonitorState and incidents."""

    name = models.CharField(max_length=2 * NAME_MAX + 3, unique=True)
    enabled = models.BooleanField(default=True)
    task_name = models.CharField(max_length=NAME_MAX)
    expected_statuses = models.JSONField(default=list)
    lookback_hours = models.FloatField(default=1.0, db_default=1.0)
    notify_to = models.JSONField(default=list, blank=True)
    context_model = models.CharField(max_length=NAME_MAX, blank=True, default="", db_default="")
    context_type = models.CharField(max_length=NAME_MAX, blank=True, default="", db_default="")
    schedule = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64, default=default_time_zone)
    repeat = models.CharField(
        "tell", max_length=20, choices=Repeat.choices, default=Repeat.EVERY_CHECK, db_default=Repeat.EVERY_CHECK
    )
    repeat_hours = models.PositiveSmallIntegerField(
        "hours between two mails", null=True, blank=True, validators=[MinValueValidator(1)]
    )
    tell_recovery = models.BooleanField("tell when it recovers", default=True, db_default=True)
    alert_after = models.PositiveSmallIntegerField(
        "failing checks in a row before the first mail", default=1, db_default=1, validators=[MinValueValidator(1)]
    )
    # By the database's clock: see `note_edit`. The default is for bulk_create, which sends no signal.
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        permissions = [
            ("check_monitor", "Can check monitors now"),
            ("snooze_monitor", "Can snooze monitors and acknowledge their incidents"),
            ("send_alert", "Can send test alerts and send given-up messages again"),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves also when that was, together with what the edit means for the checks; see `note_edit`."""
        if kwargs.get("update_fields"):
            kwargs["update_fields"] = {*kwargs["update_fields"], "changed_at"}
        with transaction.atomic(using=kwargs.get("using") or router.db_for_write(Monitor, instance=self)):
            super().save(*args, **kwargs)

    def clean(self) -> None:
        """Reports what parse_config and parse_schedule would report, each problem at its field."""
        problems: dict[str, list[str]] = {}
        try:
            expectation = parse_expectation(self.task_name, self.settings())
        except ConfigError as error:
            for problem in error.problems:
                index = "" if problem.index is None else f"[{problem.index}]: "
                problems.setdefault(problem.key or "task_name", []).append(f"{index}{problem.text}")
        else:
            self.task_name = expectation.task_name
            self.expected_statuses = [status.value for status in expectation.expected_statuses]
            self.notify_to = list(expectation.notify_to)
        try:
            self.schedule = parse_schedule(self.schedule, self.time_zone).text
        except InvalidSchedule as error:
            for field, text in error.problems.items():
                problems.setdefault(field, []).append(text)
        if self.repeat == Repeat.HOURS and not self.repeat_hours:
            problems.setdefault("repeat_hours", []).append("enter the number of hours")
        if (self.repeat_hours or 0) > MAX_REPEAT_HOURS:
            problems.setdefault("repeat_hours", []).append(f"must be at most {MAX_REPEAT_HOURS} hours")
        if problems:
            raise ValidationError(problems)

    def settings(self) -> dict[str, Any]:
        """The monitor as its task's entry in a configuration dictionary, without empty keys."""
        settings = {
            "expected_statuses": self.expected_statuses,
            "notify_to": self.notify_to,
            "lookback_hours": self.lookback_hours,
            "context_model": self.context_model,
            "context_type": self.context_type,
        }
        return {key: value for key, value in settings.items() if value not in ("", [])}

    @property
    def statuses(self) -> tuple[str, ...]:
        """The expected statuses as text, of a row that may be corrupted."""
        return tuple(map(str, self.expected_statuses)) if isinstance(self.expected_statuses, list) else ()

    @property
    def addresses(self) -> tuple[str, ...]:
        return addresses_in(self.notify_to)

    def expectation(self, dependent_tasks: tuple[str, ...]) -> Expectation:
        """What the monitor expects, as it was validated when it was saved.

        Raises TypeError or ValueError if its row has been corrupted since.
        """
        if not isinstance(self.notify_to, list) or not all(map(_is_readable, self.notify_to)):
            raise ValueError(f"notify_to is {self.notify_to!r}")
        if not isinstance(self.expected_statuses, list) or not self.expected_statuses:
            raise ValueError(f"expected_statuses is {self.expected_statuses!r}")
        if not 0 < self.lookback_hours <= MAX_LOOKBACK_HOURS:
            raise ValueError(f"lookback_hours is {self.lookback_hours!r}")
        return Expectation(
            task_name=self.task_name,
            expected_statuses=tuple(map(RunStatus, self.expected_statuses)),
            notify_to=self.addresses,
            dependent_tasks=dependent_tasks,
            lookback_hours=self.lookback_hours,
            context_model=self.context_model or None,
            context_type=self.context_type or None,
        )

    def parsed_schedule(self) -> Schedule:
        """Raises InvalidSchedule if, since it was saved, the row was corrupted or the host lost the time zone."""
        return parse_schedule(self.schedule, self.time_zone)


def addresses_in(notify_to: Any) -> tuple[str, ...]:
    """The readable addresses of a row that may be corrupted, each once; if none is readable, superusers are told."""
    return each_once(filter(_is_readable, notify_to if isinstance(notify_to, list) else []))


def _is_readable(address: Any) -> bool:
    """Whether it can be stored with a delivery, and shown in a line."""
    return isinstance(address, str) and len(address) <= ADDRESS_MAX and address.isprintable()


DEPENDENTS_MAX = 150  # of a monitor; with more, the admin's form would have more fields than Django accepts


class DependentTask(models.Model):
    """A task that may be delayed or fail when the monitored one does; the mails list it."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="dependent_tasks")
    task_name = models.CharField(max_length=NAME_MAX)
    position = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.task_name


class MonitorState(models.Model):
    """What happened to a monitor; in a separate table, since a form saves every column of the monitor's row."""

    monitor = models.OneToOneField(Monitor, models.CASCADE, primary_key=True, related_name="state")
    next_check_at = models.DateTimeField(
        null=True, blank=True, help_text="empty: to be planned, from the monitor's last change"
    )
    last_checked_at = models.DateTimeField(null=True, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["next_check_at", "monitor"], name="monitoring_state_due")]

    def __str__(self) -> str:
        return str(self.monitor)

    def snoozed_at(self, now: datetime) -> datetime | None:
        """Until when it is snoozed; None if it is not, or no longer."""
        return self.snoozed_until if self.snoozed_until and self.snoozed_until > now else None


# What a monitor watches, and when.
_WATCHED = ("enabled", "task_name", "context_model", "context_type")
_SCHEDULED = ("schedule", "time_zone")


@receiver(pre_save, sender=Monitor)
def note_edit(instance: Monitor, using: str, update_fields: Collection[str] | None, **_: Any) -> None:
    """Notes when that was, and replans the checks from then on if what the monitor watches has changed, or when.

    If it watches something else, its incident ends without a word, since it was about something that nobody watches any
    more. A signal, since loaddata saves rows without calling `save`.
    """
    before = Monitor.objects.using(using).filter(pk=instance.pk).values(*_WATCHED, *_SCHEDULED).first() or {}
    saved = before.keys() if update_fields is None else before.keys() & update_fields
    changed = {name for name in saved if before[name] != getattr(instance, name)}
    # First the state, then the incident, then the monitor itself: a round locks them in this order too, and in another
    # each would wait for the other.
    state = MonitorState.objects.using(using).filter(monitor=instance.pk)
    if not changed.isdisjoint(_WATCHED):
        state.update(next_check_at=None, last_checked_at=None)
        instance.incidents.using(using).filter(closed_at=None).update(closed_at=Now())
    elif changed:
        state.update(next_check_at=None)
    instance.changed_at = database_now()  # compared with due moments, which are due by that clock too


@receiver(post_save, sender=Monitor)
def make_state(instance: Monitor, created: bool, using: str, **_: Any) -> None:
    if created:
        MonitorState.objects.using(using).get_or_create(monitor=instance)
