from django.db import models

TICK = "tick"


class Heartbeat(models.Model):
    """Something of ours is alive: the last time it said so, by the database's clock."""

    name = models.CharField(max_length=100, primary_key=True)
    beat_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
