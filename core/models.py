"""What the installation knows of itself."""

from django.db import models
from django.utils import timezone

from core.fields import MillisecondField, ObjectIdField


class SealingKey(models.Model):
    """A key of CREDENTIAL_KEYS under which something here may be sealed; of the key itself its check value only."""

    id = ObjectIdField(primary_key=True)
    check_value = models.CharField(max_length=16, unique=True, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        db_table = "workspace_sealingkey"  # it began in the app `workspace`

    def __str__(self) -> str:
        return self.check_value
