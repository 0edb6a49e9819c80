from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("phones", "0015_columns_replace_fields"),
    ]

    operations = [
        migrations.AddField(
            model_name="phonenumber",
            name="language",
            field=models.CharField(default="en-US", max_length=8),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="connect_to",
            field=models.CharField(blank=True, max_length=500),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="ring_seconds",
            field=models.PositiveSmallIntegerField(default=30),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="if_unanswered",
            field=models.CharField(
                choices=[("voicemail", "Voicemail"), ("hangup", "Hangup")], default="voicemail", max_length=16
            ),
        ),
        migrations.AlterField(
            model_name="phonenumber",
            name="action",
            field=models.CharField(
                choices=[
                    ("voicemail", "Voicemail"),
                    ("forward", "Forward"),
                    ("connect", "Connect"),
                    ("reject", "Reject"),
                ],
                default="voicemail",
                max_length=16,
            ),
        ),
    ]
