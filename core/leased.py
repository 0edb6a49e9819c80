"""Rows that one operation at a time may change."""

from datetime import timedelta

from django.db import models

from core.fields import MillisecondField

# Longer than any operation that holds a lease (phones/services/leases.py).
LEASE = timedelta(seconds=60)


class Leased(models.Model):
    """A row that one operation at a time may change. If the lease expires, its holder has died."""

    lease_id = models.CharField(max_length=24, blank=True, editable=False)
    lease_until = MillisecondField(null=True, editable=False, db_index=True)

    class Meta:
        abstract = True
