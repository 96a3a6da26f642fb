from django.db import models

from monitoring.models.background_task import WORKER_MAX

TICK = "tick"


class Heartbeat(models.Model):
    """A sign of life of the tick, or of a process that records runs. `beat_at` is by the database's clock.

    `dropped` and `set_aside` count the events that such a process could not write since it started: those for which its
    memory was too full, and those that the database refused. `trouble_at` is when either count last grew. The process
    has beaten without a break since `unbroken_since`, which older versions leave empty. `took` is how many seconds the
    tick's last round took.
    """

    name = models.CharField(max_length=WORKER_MAX, primary_key=True)
    beat_at = models.DateTimeField()
    dropped = models.PositiveBigIntegerField(default=0, db_default=0)
    set_aside = models.PositiveBigIntegerField(default=0, db_default=0)
    trouble_at = models.DateTimeField(null=True, blank=True)
    unbroken_since = models.DateTimeField(null=True, blank=True)
    took = models.FloatField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name
