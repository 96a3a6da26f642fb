from django.db import models


class Session(models.Model):
    """What an ingestor or collector run works on; a run's first parameter is its id."""

    ingestor_type = models.CharField(max_length=100)
    run_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.ingestor_type} {self.pk}"


class IngestorSession(Session):
    pass


class CollectorSession(Session):
    pass
