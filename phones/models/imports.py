"""Files of numbers that staff import, as we store them."""

from django.db import models
from django.utils import timezone

from core.fields import MillisecondField, ObjectIdField, SecretField
from core.leased import Leased


class Import(Leased):
    """A file of numbers that staff import (bulk/imports.py). The process that works on it holds the lease."""

    class State(models.TextChoices):
        PREVIEWING = "previewing"
        READY = "ready"
        ADDING = "adding"
        DONE = "done"

    id = ObjectIdField(primary_key=True)
    name = models.CharField("file", max_length=200)
    workspace = models.ForeignKey("users.Workspace", models.PROTECT, null=True, blank=True, related_name="+")
    staff = models.EmailField("brought by")
    state = models.CharField(max_length=16, choices=State.choices, default=State.PREVIEWING)
    created_at = MillisecondField("brought", default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.name

    @property
    def is_running(self) -> bool:
        return self.state in (Import.State.PREVIEWING, Import.State.ADDING)


class ImportRow(models.Model):
    """A row of an imported file and its outcome. Its fields are sealed, and cleared once it is done."""

    id = ObjectIdField(primary_key=True)
    file = models.ForeignKey(Import, models.CASCADE, related_name="rows")
    line = models.PositiveIntegerField()
    fields = SecretField(null=True, if_lost="Import the file again.")
    # JSON of the columns as they look in the file, without secrets. They stay when the fields are cleared.
    columns = models.TextField(default="{}")
    # A bulk.RowOutcome; empty until the preview reaches the row.
    outcome = models.CharField(max_length=16, blank=True)
    error = models.CharField(max_length=32, blank=True)
    message = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "line"], name="import_row_once")]
        indexes = [models.Index(fields=["file", "outcome", "line"], name="import_row_by_outcome")]

    def __str__(self) -> str:
        return f"{self.file} {self.line}"
