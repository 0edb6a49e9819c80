from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("phones", "0008_signed_and_refused"),
    ]

    operations = [
        migrations.RenameField(model_name="phonenumber", old_name="operation_id", new_name="lease_id"),
    ]
