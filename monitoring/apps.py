import sys

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Task monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from monitoring import checks, tasks  # noqa: F401 - checks register themselves
        from monitoring.alerting import tracking
        from monitoring.recording import huey

        huey.connect(except_for=tasks.OURS_UNRECORDED)
        tracking.connect()

        # A project that uses Celery has imported it by now; Celery workers import it first. Other projects pay nothing.
        if "celery" in sys.modules:
            from monitoring.recording import celery

            celery.connect()
