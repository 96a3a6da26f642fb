from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Task monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from monitoring import checks, tasks  # noqa: F401 - they register themselves
        from monitoring.recording.huey import connect

        connect(except_for=[tasks.tick_monitors, tasks.dispatch_owed, tasks.prune_history])
