"""How the API's fields are read and shown."""

import re
from typing import Any

from rest_framework import serializers

from integrations import PROVIDERS
from phones.models import PhoneNumber
from phones.numbers import to_e164
from workspace.api import WireField, wire_time
from workspace.fields import OBJECT_ID

ACCOUNT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
AUTH_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


class UserIdField(WireField):
    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not OBJECT_ID.fullmatch(text):
            raise serializers.ValidationError("not an id of 24 hexadecimal digits.", "invalid_user_id")
        return text.lower()


class NumberField(WireField):
    def to_internal_value(self, data: Any) -> str:
        try:
            return to_e164(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(str(error), "invalid_phone_number") from None


class ChoiceOfTexts(WireField):
    """One of a few texts, to the letter."""

    def __init__(self, choices: list[str], **kwargs: Any) -> None:
        self.choices = dict.fromkeys(choices)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text not in self.choices:
            raise serializers.ValidationError(f"send one of {', '.join(self.choices)}.", "invalid_field")
        return text


class PatternField(WireField):
    """A text that matches a pattern as a whole. What was sent is never repeated in the error."""

    def __init__(self, pattern: re.Pattern[str], hint: str, **kwargs: Any) -> None:
        self.pattern, self.hint = pattern, hint
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not self.pattern.fullmatch(text):
            raise serializers.ValidationError(self.hint, "invalid_field")
        return text


class AddPhoneSerializer(serializers.Serializer):
    """The body of add-phone. Fields are checked in this order; the first that is wrong is told."""

    userId = UserIdField(source="user_id", help_text="ID of the user who will own this phone number.")
    phoneNumber = NumberField(source="number", help_text="Phone number with country code, such as 12125551234.")
    integration = ChoiceOfTexts(sorted(PROVIDERS), help_text="plivo, twilio or telnyx.")
    authToken = PatternField(
        AUTH_TOKEN,
        "send 1 to 512 visible ASCII characters.",
        source="auth_token",
        help_text="Plivo or Twilio Auth Token, Telnyx API Key.",
    )
    accSId = PatternField(
        ACCOUNT_ID,
        "send 1 to 64 letters, digits, - or _.",
        source="account_id",
        required=False,
        help_text="Plivo Auth ID, Twilio Account SID; for Telnyx the App ID, which may be left out.",
    )
    onConflict = ChoiceOfTexts(
        ["replace", "refuse"],
        source="on_conflict",
        default="replace",
        help_text="What to do with a number that is routed elsewhere: replace takes it over.",
    )
    publicKey = PatternField(
        PUBLIC_KEY,
        "send the 44 characters of the key as the Telnyx console shows it.",
        source="public_key",
        required=False,
        help_text="Telnyx webhook public key, if it cannot be fetched with the API key.",
    )

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = super().get_fields()
        given = getattr(self, "initial_data", {"integration": "telnyx"})  # none when the documentation asks
        fields["accSId"].required = given.get("integration") != "telnyx"
        return fields

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {"account_id": "", "public_key": "", **attrs}


def added_phone(phone: PhoneNumber) -> dict[str, str | None]:
    """`data` of a 201."""
    return {
        "_id": phone.pk,
        "userId": phone.user_id,
        "phoneNumber": phone.number,
        "integration": phone.integration,
        "createdAt": wire_time(phone.created_at),
    }


class AddedPhoneSerializer(serializers.Serializer):
    """The number that was added."""

    _id = serializers.RegexField(OBJECT_ID.pattern, help_text="Unique identifier for the phone number record.")
    userId = serializers.RegexField(OBJECT_ID.pattern)
    phoneNumber = serializers.CharField(help_text="Phone number that was added (with country code).")
    integration = serializers.ChoiceField(sorted(PROVIDERS), help_text="Integration provider used for this number.")
    createdAt = serializers.DateTimeField()
