from django.db import models

from monitoring.models.monitor import Monitor
from monitoring.values.text import NAME_MAX


class Incident(models.Model):
    """A span of time in which a monitor is not as expected; open while `closed_at` is empty.

    `facts` are those of the last failing check (see `values.facts`). `told_at` is when the last alert about it was
    raised, not when a mail went out; it is empty before the first one.
    """

    # No index of its own: `monitoring_incident_newest` begins with this column.
    monitor = models.ForeignKey(
        Monitor, models.SET_NULL, null=True, blank=True, related_name="incidents", db_index=False
    )
    monitor_name = models.CharField(max_length=2 * NAME_MAX + 3)
    task_name = models.CharField(max_length=NAME_MAX)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    last_failed_at = models.DateTimeField()
    failing_checks = models.PositiveIntegerField(default=1, db_default=1, help_text="in a row")
    facts = models.JSONField()
    # No foreign key: with one, each run that is pruned or recorded would be looked up here.
    run_id = models.BigIntegerField(null=True, blank=True, help_text="the run that its last failing check found")
    told_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=NAME_MAX, blank=True, default="", db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["monitor"], condition=models.Q(closed_at=None), name="monitoring_one_open_incident"
            )
        ]
        indexes = [
            models.Index(fields=["monitor", "-opened_at"], name="monitoring_incident_newest"),
            models.Index(fields=["run_id"], condition=models.Q(run_id__isnull=False), name="monitoring_incident_run"),
        ]

    def __str__(self) -> str:
        return f"{self.monitor_name} since {self.opened_at:%Y-%m-%d %H:%M %Z}"
