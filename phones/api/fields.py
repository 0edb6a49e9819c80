"""The field types of the API: how each is read from a request and written into a reply."""

import re
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rest_framework import serializers

from core.fields import OBJECT_ID
from core.text import trimmed
from core.wire import WireField, wire_time
from integrations.languages import ALIASES, VOICES
from phones.numbers import digits_of, to_e164
from phones.services.paging import Position
from phones.services.picking import read_cursor
from phones.targets import read_target

ACCOUNT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
AUTH_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
PAGE_SIZE, MAX_PAGE_SIZE = 50, 100
MAX_EMAIL = 254
NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


class UserIdField(WireField):
    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not OBJECT_ID.fullmatch(text):
            raise serializers.ValidationError("not an id of 24 hexadecimal digits.", "invalid_user_id")
        return text.lower()


class OwnerField(UserIdField):
    """A user's id or e-mail address."""

    def to_internal_value(self, data: Any) -> str:
        is_email = isinstance(data, str) and "@" in data and len(data) <= MAX_EMAIL
        return trimmed(data).lower() if is_email else super().to_internal_value(data)


class NumberField(WireField):
    """A phone number, possible or not. If it is not, something must be known to have it: the carrier's account, or the
    workspace."""

    refusal = "invalid_phone_number"
    read = staticmethod(digits_of)

    def to_internal_value(self, data: Any) -> str:
        try:
            return self.read(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(str(error), self.refusal) from None


class ChoiceOfTexts(WireField):
    """One of a fixed set of strings, compared exactly."""

    def __init__(self, choices: list[str], **kwargs: Any) -> None:
        self.choices = dict.fromkeys(choices)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text not in self.choices:
            raise serializers.ValidationError(f"send one of {', '.join(self.choices)}.", "invalid_field")
        return text


class PatternField(WireField):
    """A string that matches a pattern as a whole. The error never repeats the value, which may be a secret."""

    def __init__(self, pattern: re.Pattern[str], hint: str, **kwargs: Any) -> None:
        self.pattern, self.hint = pattern, hint
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not self.pattern.fullmatch(text):
            raise serializers.ValidationError(self.hint, "invalid_field")
        return text


AuthTokenField = partial(PatternField, AUTH_TOKEN, "send 1 to 512 visible ASCII characters.", source="auth_token")
AccountIdField = partial(PatternField, ACCOUNT_ID, "send 1 to 64 letters, digits, - or _.", source="account_id")


class TimeField(WireField):
    """A time in ISO 8601; without a time zone it is read as UTC."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            moment = datetime.fromisoformat(super().to_internal_value(data))
            if not 2000 <= moment.year < 2100:
                raise ValueError
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except ValueError:
            raise serializers.ValidationError("send a time such as 2026-11-23T08:00:00Z.", "invalid_field") from None

    def to_representation(self, value: Any) -> Any:
        return wire_time(value)


class LimitField(WireField):
    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_PAGE_SIZE:
            raise serializers.ValidationError(f"send a whole number from 1 to {MAX_PAGE_SIZE}.", "invalid_field")
        return int(text)

    def to_representation(self, value: Any) -> Any:
        return value


class CursorField(WireField):
    def to_internal_value(self, data: Any) -> Any:
        try:
            return Position.read(super().to_internal_value(data))
        except ValueError:
            raise serializers.ValidationError("send the nextCursor of the previous page.", "invalid_field") from None


class CarrierCursorField(WireField):
    """The cursor of a list that comes from the carrier."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return read_cursor(super().to_internal_value(data))
        except ValueError:
            raise serializers.ValidationError("send the nextCursor of the previous page.", "invalid_field") from None


class TextField(WireField):
    """Text for people: at most `most` characters, no control characters; may be empty."""

    def __init__(self, most: int, **kwargs: Any) -> None:
        self.most = most
        super().__init__(allow_blank=True, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if len(text) > self.most:
            raise serializers.ValidationError(f"send at most {self.most} characters.", "invalid_field")
        if NOT_TEXT.search(text):
            raise serializers.ValidationError("send a text without control characters.", "invalid_field")
        return text


class LabelField(TextField):
    """A name that people read, on any number of lines; may be empty."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text and not trimmed(text):
            self.fail("blank")
        return text


class ForwardField(NumberField):
    """The number to forward calls to; null or empty for none."""

    refusal = "invalid_field"  # invalid_phone_number would blame phoneNumber
    read = staticmethod(to_e164)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, allow_blank=True, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return "" if data is None or data == "" else super().run_validation(data)


class ConnectField(WireField):
    """Where to connect calls: a number, or a `sip:`, `sips:` or `wss:` address; null or empty for none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, allow_blank=True, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return "" if data is None or data == "" else super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        try:
            return read_target(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(str(error), "invalid_field") from None


class LanguageField(ChoiceOfTexts):
    """The code of a language that all carriers' voices speak, in BCP 47, compared exactly."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__([*VOICES, *ALIASES], **kwargs)

    def to_internal_value(self, data: Any) -> str:
        code = super().to_internal_value(data)
        return ALIASES.get(code, code)


class SecondsField(serializers.Field):
    """A whole number of seconds within bounds; a text or a boolean is none."""

    def __init__(self, least: int, most: int, **kwargs: Any) -> None:
        self.least, self.most = least, most
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int) or not self.least <= data <= self.most:
            raise serializers.ValidationError(f"send a whole number from {self.least} to {self.most}.", "invalid_field")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


IdField = partial(serializers.RegexField, OBJECT_ID.pattern)


class EmptyIsNull(serializers.Field):
    """A field that is null in the reply if its value is empty."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_null=True, **kwargs)

    def get_attribute(self, instance: Any) -> Any:
        return super().get_attribute(instance) or None


class TextOrNullField(EmptyIsNull, serializers.CharField):
    pass


class ChoiceOrNullField(EmptyIsNull, serializers.ChoiceField):
    pass
