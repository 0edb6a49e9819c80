"""Model fields shared by all apps, identical on every database engine."""

import datetime
import itertools
import os
import re
import time
from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models

from core import keys
from core.secrets import Secret
from core.text import HIDDEN, UNFIT, trimmed

OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")


class Ids:
    """The part of ids that is unique to this process: five random bytes, and the start of its counter."""

    process: str
    count: Iterator[int]

    @classmethod
    def draw(cls) -> None:
        cls.process = os.urandom(5).hex()
        cls.count = itertools.count(int.from_bytes(os.urandom(3), "big"))


Ids.draw()
# Two workers forked from one process would otherwise generate the same ids.
os.register_at_fork(after_in_child=Ids.draw)


def new_object_id() -> str:
    """An id of the current second, the process and a counter, as in MongoDB's driver (pymongo 4.20, bson/objectid.py).

    Generated here because an installation on SQLite needs nothing else from the driver.
    """
    return f"{int(time.time()):08x}{Ids.process}{next(Ids.count) % 2**24:06x}"


class ObjectIdField(models.CharField):
    """An ObjectId of 24 hexadecimal digits: `str` in Python, char(24) in SQL, a BSON ObjectId in MongoDB."""

    description = "ObjectId"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 24
        if kwargs.get("primary_key"):
            kwargs.setdefault("default", new_object_id)
            kwargs.setdefault("editable", False)
            kwargs.setdefault("db_column", "_id")
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, args, kwargs

    def db_type(self, connection: Any) -> str | None:
        return "objectId" if connection.vendor == "mongodb" else super().db_type(connection)

    def to_python(self, value: Any) -> Any:
        if value is None or value == "":
            return None
        if not OBJECT_ID.fullmatch(str(value)):
            raise ValidationError("“%(value)s” is not an id of 24 hexadecimal digits.", "invalid", {"value": value})
        return str(value).lower()

    def get_prep_value(self, value: Any) -> Any:
        return value if hasattr(value, "resolve_expression") else self.to_python(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = value if prepared else self.get_prep_value(value)
        if connection.vendor != "mongodb" or not isinstance(value, str):
            return value
        from bson import ObjectId  # already loaded with MongoDB; `manage.py check` on SQLite does without it

        return ObjectId(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> str | None:
        return None if value is None else str(value)


def validate_name(text: str) -> None:
    if UNFIT.search(text):
        raise ValidationError("Write the name on one line, without control characters.", "unfit")


class NameField(models.CharField):
    """A name that people read: trimmed, on one line, and not blank unless the field may be."""

    default_validators = [validate_name]
    default_error_messages = {"blank": "Enter a name with at least one visible character."}

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return trimmed(value) if isinstance(value, str) else value

    def deconstruct(self) -> Any:
        # To the database it is a CharField, so that no table is rebuilt for it.
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


def validate_address(text: str) -> None:
    # Django's validator lets them into a domain.
    if HIDDEN.search(text):
        raise ValidationError("Enter an e-mail address without blanks and invisible characters in it.", "invalid")
    validate_email(text)


class AddressFormField(forms.EmailField):
    default_validators = [validate_address]

    def to_python(self, value: Any) -> Any:
        return trimmed(super().to_python(value) or "")


class AddressField(models.EmailField):
    """An e-mail address, without the blanks and invisible characters that come with a pasted one."""

    default_validators = [validate_address]

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return trimmed(value) if isinstance(value, str) else value

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": AddressFormField, **kwargs})

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.EmailField", args, kwargs


class MillisecondField(models.DateTimeField):
    """A time in UTC with millisecond precision, which is all that MongoDB stores and the API shows."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return whole_milliseconds(value) if isinstance(value, datetime.datetime) else value

    def pre_save(self, instance: models.Model, add: bool) -> Any:
        value = super().pre_save(instance, add)
        if isinstance(value, datetime.datetime):
            value = whole_milliseconds(value)
            setattr(instance, self.attname, value)
        return value


def whole_milliseconds(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class SecretField(models.Field):
    """An encrypted `Secret`. The field accepts nothing else, so that no plain text reaches the database by mistake.

    `if_lost` tells the operator what to do if the key is lost and the secret can no longer be decrypted.
    """

    description = "Encrypted text"

    def __init__(self, *args: Any, if_lost: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.if_lost = if_lost

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Secret | None:
        return None if value is None else Secret(value)

    def to_python(self, value: Any) -> Any:
        # `loaddata` passes the encrypted form that `dumpdata` wrote.
        return Secret(value) if isinstance(value, str) and value else value

    def get_prep_value(self, value: Any) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        if not isinstance(value, Secret):
            raise TypeError("A SecretField takes a Secret: Secret.seal(text).")
        return value.sealed

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if isinstance(value, Secret):
            keys.admit_key_of(value)
        return super().get_db_prep_save(value, connection)

    def value_to_string(self, obj: models.Model) -> str:
        secret: Any = self.value_from_object(obj)
        return secret.sealed if secret else ""
