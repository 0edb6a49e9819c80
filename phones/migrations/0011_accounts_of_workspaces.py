from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from django.db.models import F

import core.fields
import phones.models


def fill(apps: Any, schema_editor: Any) -> None:
    """Give each account to the workspace of its numbers, and each line the carrier of its account. That an account has
    the numbers of one workspace is checked before any migration runs (phones/upgrading.py)."""
    using = schema_editor.connection.alias
    accounts = apps.get_model("phones", "Account").objects.using(using)
    lines = apps.get_model("phones", "Line").objects.using(using)
    phones = apps.get_model("phones", "PhoneNumber").objects.using(using)
    for account in accounts.iterator():
        numbers = phones.filter(line__account=account.pk)
        workspace_id = numbers.values_list("user__workspace_id", flat=True).first()
        accounts.filter(pk=account.pk).update(workspace_id=workspace_id)
        lines.filter(account=account.pk).update(integration=account.integration)
    lines.update(held_since=F("created_at"))
    for line in lines.iterator():
        keep_own_calls(apps, using, line)


def keep_own_calls(apps: Any, using: str, line: Any) -> None:
    """If another workspace had the number, too, and has removed it for this migration, the earlier calls are not those
    of the workspace that has it now."""
    phones = apps.get_model("phones", "PhoneNumber").objects.using(using).filter(line=line.pk).order_by("created_at")
    first = phones.select_related("user").first()
    if first is None:
        return
    adds = apps.get_model("users", "AuditEntry").objects.using(using).filter(action="phone.add", outcome="ok")
    if adds.filter(number=line.number).exclude(workspace_id=first.user.workspace_id).exists():
        apps.get_model("phones", "Line").objects.using(using).filter(pk=line.pk).update(held_since=first.created_at)
        calls = apps.get_model("phones", "Call").objects.using(using).filter(line=line.pk)
        calls.filter(created_at__lt=first.created_at).update(line=None)


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("users", "0003_staff_access"),
        ("phones", "0010_carriers_by_name"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="workspace",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="accounts",
                to="users.workspace",
            ),
        ),
        migrations.AddField(
            model_name="account",
            name="retired_digest",
            field=models.CharField(blank=True, default="", editable=False, max_length=64),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="account",
            name="released_at",
            field=core.fields.MillisecondField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="line",
            name="snapshot",
            field=core.fields.SecretField(editable=False, if_lost=phones.models.NOT_RESTORED, null=True),
        ),
        migrations.AddField(
            model_name="line",
            name="integration",
            field=models.CharField(choices=phones.models.carrier_choices, default="", max_length=16),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="line",
            name="held_since",
            field=core.fields.MillisecondField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.AddField(
            model_name="line",
            name="unsettled_until",
            field=core.fields.MillisecondField(db_index=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="line",
            name="unsettled_token",
            field=core.fields.SecretField(
                editable=False, if_lost="Nothing to do: the account's token is tried.", null=True
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="retired_from",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="retired_numbers",
                to="phones.account",
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="retired_for",
            field=models.CharField(blank=True, default="", editable=False, max_length=32),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="retired_at",
            field=core.fields.MillisecondField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="phonenumber",
            name="state",
            field=models.CharField(
                choices=[
                    ("reserved", "Reserved"),
                    ("applying", "Applying"),
                    ("active", "Active"),
                    ("removing", "Removing"),
                    ("retired", "Retired"),
                ],
                default="reserved",
                editable=False,
                max_length=16,
            ),
        ),
        migrations.AlterModelOptions(
            name="phonenumber",
            options={
                "permissions": [
                    ("check_phonenumber", "Can check a phone number at its carrier"),
                    ("repair_phonenumber", "Can repair a phone number at its carrier"),
                    ("rotate_phonenumber", "Can replace the credentials of an account"),
                    ("hear_recording", "Can listen to recordings"),
                    ("move_phonenumber", "Can move a phone number to another workspace"),
                ]
            },
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
