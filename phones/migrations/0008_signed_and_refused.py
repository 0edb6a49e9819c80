from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.db.models import F
from django.utils import timezone

import core.fields


def take_rotations_for_done(apps: Any, schema_editor: Any) -> None:
    """What was a token before a rotation stays good no longer than it was to be. A key was never looked at."""
    accounts = apps.get_model("phones", "Account").objects.using(schema_editor.connection.alias)
    over = timezone.now() - timedelta(seconds=settings.TOKEN_ROTATION_WINDOW_S)
    accounts.filter(rotated_at__lt=over).exclude(integration="telnyx").update(signed_at=F("rotated_at"))


class Migration(migrations.Migration):

    dependencies = [
        ("phones", "0007_calls_in_order"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="refused_count",
            field=models.PositiveSmallIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="account",
            name="signed_at",
            field=core.fields.MillisecondField(editable=False, null=True),
        ),
        migrations.RunPython(take_rotations_for_done, migrations.RunPython.noop),
    ]
