from typing import Any

import django.db.models.deletion
import django.utils.timezone
import core.fields
from django.conf import settings
from django.db import migrations, models


def index_numbers(apps: Any, schema_editor: Any) -> None:
    from phones.services.searching import terms_of

    SearchTerm = apps.get_model('phones', 'SearchTerm')
    database = schema_editor.connection.alias
    phones = apps.get_model('phones', 'PhoneNumber').objects.using(database).filter(state='active').select_related('user')
    for phone in phones.iterator():
        SearchTerm.objects.using(database).bulk_create(SearchTerm(phone_number=phone, term=term) for term in sorted(terms_of(phone)))


class Migration(migrations.Migration):

    dependencies = [
        ('phones', '0003_health'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Figure',
            fields=[
                ('id', core.fields.ObjectIdField(db_column='_id', default=core.fields.new_object_id, editable=False, primary_key=True, serialize=False)),
                ('day', models.DateField()),
                ('name', models.CharField(max_length=16)),
                ('key', models.CharField(blank=True, max_length=64)),
                ('count', models.PositiveIntegerField()),
                ('counted_at', core.fields.MillisecondField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='SearchTerm',
            fields=[
                ('id', core.fields.ObjectIdField(db_column='_id', default=core.fields.new_object_id, editable=False, primary_key=True, serialize=False)),
                ('term', models.CharField(db_index=True, max_length=254)),
            ],
        ),
        migrations.AlterModelOptions(
            name='phonenumber',
            options={'permissions': [('check_phonenumber', 'Can check a phone number at its carrier'), ('repair_phonenumber', 'Can repair a phone number at its carrier'), ('rotate_phonenumber', 'Can replace the credentials of an account'), ('hear_recording', 'Can listen to recordings')]},
        ),
        migrations.AddField(
            model_name='account',
            name='refused_at',
            field=core.fields.MillisecondField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='account',
            name='refused_webhooks',
            field=models.TextField(blank=True, editable=False),
        ),
        migrations.AddField(
            model_name='callevent',
            name='call',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='events', to='phones.call'),
        ),
        migrations.AddField(
            model_name='line',
            name='unwell_since',
            field=core.fields.MillisecondField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name='call',
            name='created_at',
            field=core.fields.MillisecondField(db_index=True, default=django.utils.timezone.now, editable=False),
        ),
        migrations.AddIndex(
            model_name='line',
            index=models.Index(fields=['health', 'checked_at'], name='line_by_health'),
        ),
        migrations.AddIndex(
            model_name='line',
            index=models.Index(fields=['unwell_since'], name='line_unwell'),
        ),
        migrations.AddIndex(
            model_name='phonenumber',
            index=models.Index(fields=['created_at'], name='phone_number_newest_of_all'),
        ),
        migrations.AddIndex(
            model_name='phonenumber',
            index=models.Index(fields=['integration', 'created_at'], name='phone_number_newest_there'),
        ),
        migrations.AddConstraint(
            model_name='figure',
            constraint=models.UniqueConstraint(fields=('day', 'name', 'key'), name='figure_once'),
        ),
        migrations.AddField(
            model_name='searchterm',
            name='phone_number',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='search_terms', to='phones.phonenumber'),
        ),
        migrations.RunPython(index_numbers, migrations.RunPython.noop),
    ]
