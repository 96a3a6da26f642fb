import django.db.models.deletion
from django.db import migrations, models


def leave_room(apps, schema_editor):
    """Each failing check rewrites its incident's row: if its page has room, PostgreSQL need not update any index."""
    _set_on_incidents(schema_editor, "SET (fillfactor = 50)")


def leave_none(apps, schema_editor):
    _set_on_incidents(schema_editor, "RESET (fillfactor)")


def _set_on_incidents(schema_editor, storage):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE monitoring_incident {storage}")


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0006_outages"),
    ]

    operations = [
        migrations.AlterField(
            model_name="delivery",
            name="alert",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="deliveries",
                to="monitoring.alert",
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="monitor",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="incidents",
                to="monitoring.monitor",
            ),
        ),
        migrations.RunPython(leave_room, leave_none, elidable=False),
    ]
