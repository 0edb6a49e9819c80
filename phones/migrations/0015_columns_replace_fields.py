from django.db import migrations


class Migration(migrations.Migration):
    """Apart from the migration that reads these fields: on MongoDB, one that is interrupted begins again."""

    dependencies = [
        ("phones", "0014_columns_of_imports"),
    ]

    operations = [
        migrations.RemoveField(model_name="importrow", name="user_id"),
        migrations.RemoveField(model_name="importrow", name="number"),
    ]
