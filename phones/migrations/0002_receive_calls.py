# The tables of calls were empty until now: nothing wrote them.

import django.db.models.deletion
import core.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('phones', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='account',
            name='pulled_at',
            field=core.fields.MillisecondField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='call',
            name='cost',
            field=models.DecimalField(decimal_places=6, max_digits=12, null=True),
        ),
        migrations.AddField(
            model_name='call',
            name='currency',
            field=models.CharField(blank=True, max_length=3),
        ),
        migrations.AddField(
            model_name='call',
            name='version',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='recording',
            name='started_at',
            field=core.fields.MillisecondField(null=True),
        ),
        migrations.AddField(
            model_name='recording',
            name='version',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AlterField(
            model_name='call',
            name='direction',
            field=models.CharField(blank=True, choices=[('inbound', 'inbound'), ('outbound', 'outbound')], max_length=8),
        ),
        migrations.AlterField(
            model_name='call',
            name='hangup_cause',
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AlterField(
            model_name='call',
            name='started_at',
            field=core.fields.MillisecondField(),
        ),
        migrations.AlterField(
            model_name='call',
            name='status',
            field=models.CharField(choices=[('unknown', 'unknown'), ('queued', 'queued'), ('ringing', 'ringing'), ('in-progress', 'in-progress'), ('canceled', 'canceled'), ('failed', 'failed'), ('no-answer', 'no-answer'), ('busy', 'busy'), ('completed', 'completed')], default='unknown', max_length=16),
        ),
        migrations.AlterField(
            model_name='callevent',
            name='payload',
            field=models.TextField(),
        ),
        migrations.AlterField(
            model_name='recording',
            name='call',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='recordings', to='phones.call'),
        ),
        migrations.AlterField(
            model_name='recording',
            name='status',
            field=models.CharField(choices=[('unknown', 'unknown'), ('in-progress', 'in-progress'), ('failed', 'failed'), ('absent', 'absent'), ('completed', 'completed')], default='unknown', max_length=16),
        ),
        migrations.AlterField(
            model_name='recording',
            name='url',
            field=models.TextField(blank=True),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(fields=['line', 'started_at'], name='call_newest'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(fields=['line', 'status', 'started_at'], name='call_by_status'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(fields=['line', 'direction', 'started_at'], name='call_by_direction'),
        ),
    ]
