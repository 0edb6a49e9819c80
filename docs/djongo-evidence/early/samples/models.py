"""One table for each thing that djongo does in its own way. The tests load this app under Django 5.2 too."""

from django.db import models


class Key(models.Model):
    """A unique constraint of a new model."""

    id = models.AutoField(primary_key=True)
    owner = models.IntegerField()
    text = models.CharField(max_length=20)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "text"], name="key_once")]

    def __str__(self) -> str:
        return self.text


class Slot(models.Model):
    """A unique constraint with a condition."""

    id = models.AutoField(primary_key=True)
    owner = models.IntegerField()
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner"], condition=models.Q(active=True), name="slot_once_active")
        ]

    def __str__(self) -> str:
        return str(self.owner)


class Note(models.Model):
    """JSON, and a unique field that may be empty."""

    id = models.AutoField(primary_key=True)
    slug = models.CharField(max_length=20, null=True, unique=True)
    data = models.JSONField(null=True)

    def __str__(self) -> str:
        return str(self.slug)
