from datetime import datetime

from django.db import migrations, models


def find_runs(apps, schema_editor):
    """Facts identify the run by its task id or, if they are older, by its task's name and start."""
    using = schema_editor.connection.alias
    incidents = apps.get_model("monitoring", "Incident").objects.using(using)
    runs = apps.get_model("monitoring", "BackgroundTask").objects.using(using)
    for incident in incidents.only("task_name", "facts").iterator():
        if task_id := incident.facts.get("task_id"):
            found = runs.filter(task_id=task_id)
        elif started_at := incident.facts.get("started_at"):
            found = runs.filter(task_name=incident.task_name, started_at=datetime.fromisoformat(started_at))
        else:
            continue
        incident.run_id = found.order_by("-id").values_list("id", flat=True).first()
        incident.save(using=using, update_fields=["run_id"])


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0004_recording"),
    ]

    operations = [
        migrations.AddField(
            model_name="incident",
            name="run_id",
            field=models.BigIntegerField(blank=True, help_text="the run that its last failing check found", null=True),
        ),
        migrations.RunPython(find_runs, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(
                condition=models.Q(("run_id__isnull", False)), fields=["run_id"], name="monitoring_incident_run"
            ),
        ),
    ]
