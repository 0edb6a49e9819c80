from typing import Any

from django.db import migrations, models


class RemoveConstraintIfThere(migrations.RemoveConstraint):
    """MongoDB has no transactions for indexes: after an interruption, the index may be gone already."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        connection = schema_editor.connection
        with connection.cursor() as cursor:
            is_there = self.name in connection.introspection.get_constraints(cursor, table)
        if is_there:
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):

    dependencies = [
        ("phones", "0011_accounts_of_workspaces"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="account",
            constraint=models.UniqueConstraint(
                fields=("workspace", "integration", "account_id"), name="account_once_a_workspace"
            ),
        ),
        migrations.AddConstraint(
            model_name="line",
            constraint=models.UniqueConstraint(fields=("integration", "number"), name="line_once_a_number"),
        ),
        RemoveConstraintIfThere(model_name="account", name="account_once"),
        RemoveConstraintIfThere(model_name="line", name="line_once"),
    ]
