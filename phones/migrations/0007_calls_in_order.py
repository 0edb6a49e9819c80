from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('phones', '0006_events_by_age'),
    ]

    # The new ones first, so that no list is without an index meanwhile.
    operations = [
        migrations.AddIndex(
            model_name='call',
            index=models.Index(fields=['line', 'started_at', 'id'], name='calls_of_line'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(fields=['line', 'status', 'started_at', 'id'], name='calls_by_status'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(fields=['line', 'direction', 'started_at', 'id'], name='calls_by_direction'),
        ),
        migrations.RemoveIndex(
            model_name='call',
            name='call_newest',
        ),
        migrations.RemoveIndex(
            model_name='call',
            name='call_by_status',
        ),
        migrations.RemoveIndex(
            model_name='call',
            name='call_by_direction',
        ),
    ]
