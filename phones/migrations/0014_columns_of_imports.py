import json
from typing import Any

from django.db import migrations, models


def fill(apps: Any, schema_editor: Any) -> None:
    rows = apps.get_model("phones", "ImportRow").objects.using(schema_editor.connection.alias)
    for row in rows.defer("fields").iterator():
        named = {"userId": row.user_id, "phoneNumber": row.number}
        columns = json.dumps({name: text for name, text in named.items() if text})
        rows.filter(pk=row.pk).update(columns=columns)


class Migration(migrations.Migration):

    dependencies = [
        ("phones", "0013_forwarding"),
    ]

    operations = [
        migrations.AddField(
            model_name="importrow",
            name="columns",
            field=models.TextField(default="{}"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
