# The constraints are where a current makemigrations writes them for a new model: in CreateModel.
from django.conf import settings
from django.db import migrations, models
import django.db.models.deletion
import django.utils.timezone
import djongo.models.fields


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Account',
            fields=[
                ('id', djongo.models.fields.ObjectIdField(auto_created=True, db_column='_id', primary_key=True, serialize=False)),
                ('lease_id', models.CharField(blank=True, max_length=24)),
                ('lease_until', models.DateTimeField(db_index=True, null=True)),
                ('integration', models.CharField(max_length=16)),
                ('account_id', models.CharField(max_length=64)),
                ('auth_token', models.TextField()),
                ('previous_auth_token', models.TextField(null=True)),
                ('rotated_at', models.DateTimeField(null=True)),
                ('token_digest', models.CharField(db_index=True, max_length=64)),
                ('public_key', models.CharField(blank=True, max_length=64)),
                ('application_id', models.CharField(blank=True, max_length=64)),
                ('application_snapshot', models.TextField(null=True)),
                ('application_is_customers', models.BooleanField(default=False)),
                ('application_is_made', models.BooleanField(default=False)),
                ('webhook_token', models.CharField(max_length=64, unique=True)),
                ('used_by', models.CharField(blank=True, max_length=24)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={'constraints': [models.UniqueConstraint(fields=('integration', 'account_id'), name='account_once')]},
        ),
        migrations.CreateModel(
            name='Call',
            fields=[
                ('id', djongo.models.fields.ObjectIdField(auto_created=True, db_column='_id', primary_key=True, serialize=False)),
                ('carrier_id', models.CharField(max_length=128)),
                ('direction', models.CharField(blank=True, max_length=8)),
                ('caller', models.CharField(blank=True, max_length=128)),
                ('callee', models.CharField(blank=True, max_length=128)),
                ('status', models.CharField(default='unknown', max_length=16)),
                ('started_at', models.DateTimeField(null=True)),
                ('answered_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('duration_s', models.PositiveIntegerField(null=True)),
                ('hangup_cause', models.CharField(blank=True, max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='CallEvent',
            fields=[
                ('id', djongo.models.fields.ObjectIdField(auto_created=True, db_column='_id', primary_key=True, serialize=False)),
                ('dedupe_key', models.CharField(max_length=64, unique=True)),
                ('kind', models.CharField(max_length=32)),
                ('payload', models.JSONField()),
                ('received_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('merged_at', models.DateTimeField(db_index=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Line',
            fields=[
                ('id', djongo.models.fields.ObjectIdField(auto_created=True, db_column='_id', primary_key=True, serialize=False)),
                ('lease_id', models.CharField(blank=True, max_length=24)),
                ('lease_until', models.DateTimeField(db_index=True, null=True)),
                ('number', models.CharField(max_length=15)),
                ('carrier_id', models.CharField(max_length=64)),
                ('snapshot', models.TextField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='MadeApplication',
            fields=[
                ('id', djongo.models.fields.ObjectIdField(auto_created=True, db_column='_id', primary_key=True, serialize=False)),
                ('integration', models.CharField(max_length=16)),
                ('application_id', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={'constraints': [models.UniqueConstraint(fields=('integration', 'application_id'), name='made_application_once')]},
        ),
        migrations.CreateModel(
            name='Recording',
            fields=[
                ('id', djongo.models.fields.ObjectIdField(auto_created=True, db_column='_id', primary_key=True, serialize=False)),
                ('carrier_id', models.CharField(max_length=128)),
                ('status', models.CharField(blank=True, max_length=16)),
                ('duration_s', models.PositiveIntegerField(null=True)),
                ('channels', models.PositiveSmallIntegerField(null=True)),
                ('url', models.CharField(blank=True, max_length=2000)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='phones.account')),
                ('call', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to='phones.call')),
            ],
        ),
        migrations.CreateModel(
            name='PhoneNumber',
            fields=[
                ('id', djongo.models.fields.ObjectIdField(auto_created=True, db_column='_id', primary_key=True, serialize=False)),
                ('integration', models.CharField(max_length=16)),
                ('number', models.CharField(db_index=True, max_length=15)),
                ('state', models.CharField(default='reserved', max_length=16)),
                ('label', models.CharField(blank=True, max_length=200)),
                ('action', models.CharField(default='voicemail', max_length=16)),
                ('greeting', models.CharField(blank=True, max_length=1000)),
                ('forward_to', models.CharField(blank=True, max_length=15)),
                ('record', models.BooleanField(default=False)),
                ('operation_id', models.CharField(blank=True, max_length=24)),
                ('lease_until', models.DateTimeField(null=True)),
                ('operation', models.TextField(null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('line', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to='phones.line')),
            ],
        ),
        migrations.AddField(
            model_name='phonenumber',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='line',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='phones.account'),
        ),
        migrations.AddField(
            model_name='callevent',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='phones.account'),
        ),
        migrations.AddField(
            model_name='call',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='phones.account'),
        ),
        migrations.AddField(
            model_name='call',
            name='line',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to='phones.line'),
        ),
        migrations.AddConstraint(
            model_name='recording',
            constraint=models.UniqueConstraint(fields=('account', 'carrier_id'), name='recording_once'),
        ),
        migrations.AddIndex(
            model_name='phonenumber',
            index=models.Index(fields=['state', 'lease_until'], name='phone_number_unfinished'),
        ),
        migrations.AddConstraint(
            model_name='phonenumber',
            constraint=models.UniqueConstraint(fields=('user', 'number'), name='phone_number_once_per_user'),
        ),
        migrations.AddConstraint(
            model_name='line',
            constraint=models.UniqueConstraint(fields=('account', 'number'), name='line_once'),
        ),
        migrations.AddConstraint(
            model_name='call',
            constraint=models.UniqueConstraint(fields=('account', 'carrier_id'), name='call_once'),
        ),
    ]
