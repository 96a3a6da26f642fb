from django.db import models
from django.db.models import Q

from monitoring.values.run_event import RunStatus
from monitoring.values.text import NAME_MAX

WORKER_MAX = 100  # characters of a worker's name


class BackgroundTask(models.Model):
    """One run of one task; a retry updates the same row.

    Written by `monitoring.recording`, or by any other code: task id, name, status and start are enough.
    """

    Status = RunStatus

    task_id = models.CharField(max_length=NAME_MAX, unique=True)
    task_name = models.CharField(max_length=NAME_MAX)
    status = models.CharField(max_length=20, choices=RunStatus.choices)
    submitted_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(
        null=True, blank=True, help_text="start of the newest attempt; empty: never started"
    )
    finished_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    errors = models.TextField(blank=True, default="", db_default="")
    earlier_errors = models.TextField(
        blank=True, default="", db_default="", help_text="a line for each failed attempt that another followed"
    )
    parameters = models.TextField(
        blank=True, default="", db_default="", help_text="JSON, secrets masked, long values cut"
    )
    # Nullable, since the partial index leaves out runs without a context.
    context_id = models.CharField(  # noqa: DJ001
        max_length=NAME_MAX,
        null=True,
        blank=True,
        help_text="the business object that this run is about",
    )
    worker = models.CharField(
        max_length=WORKER_MAX, blank=True, default="", db_default="", help_text="host, process id and a random part"
    )
    seq = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="place of the newest recorded event in the run's true order"
    )

    class Meta:
        verbose_name = "run"
        verbose_name_plural = "runs"
        # Add no more: this is the hot table. The id comes last, since PostgreSQL would otherwise sort a whole window to
        # break ties (measured: 11 times slower).
        indexes = [
            models.Index(fields=["task_name", "started_at", "id"], name="monitoring_run_newest"),
            models.Index(
                fields=["task_name", "context_id", "started_at", "id"],
                condition=Q(context_id__isnull=False),
                name="monitoring_run_context",
            ),
            models.Index(fields=["worker"], condition=Q(status="Running"), name="monitoring_run_running"),
        ]

    def __str__(self) -> str:
        return f"{self.task_name} {self.task_id}: {self.status}"
