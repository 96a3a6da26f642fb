from django.db import models


class Outage(models.Model):
    """A time in which the monitor itself did not work, from the last round before it to the first one after it.

    From `silent_from` to `silent_until`, if these are set, is the part that `values.outage` calls silent.
    """

    began_at = models.DateTimeField(unique=True)  # so that it is recorded, and told, only once
    ended_at = models.DateTimeField()
    silent_from = models.DateTimeField(null=True, blank=True)
    silent_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"from {self.began_at:%Y-%m-%d %H:%M} to {self.ended_at:%Y-%m-%d %H:%M}"
