import core.fields
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('phones', '0002_receive_calls'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='line',
            name='checked_at',
            field=core.fields.MillisecondField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='line',
            name='health',
            field=models.CharField(choices=[('ok', 'Ok'), ('drift', 'Drift'), ('unreachable', 'Unreachable')], default='ok', editable=False, max_length=16),
        ),
        migrations.AddField(
            model_name='line',
            name='reasons',
            field=core.fields.SecretField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='phonenumber',
            index=models.Index(fields=['user', 'state', 'created_at'], name='phone_number_newest'),
        ),
    ]
