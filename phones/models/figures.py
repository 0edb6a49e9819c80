"""What the dashboard counts, as we store it."""

from django.db import models
from django.utils import timezone

from core.fields import MillisecondField, ObjectIdField


class Figure(models.Model):
    """A daily count for the dashboard (services/figures.py)."""

    id = ObjectIdField(primary_key=True)
    day = models.DateField()
    name = models.CharField(max_length=16)
    key = models.CharField(max_length=64, blank=True)
    count = models.PositiveIntegerField()
    counted_at = MillisecondField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "name", "key"], name="figure_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.name} {self.key}"
