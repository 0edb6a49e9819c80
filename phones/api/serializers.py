"""The fields of the API: request bodies, and the numbers in a reply."""

from typing import Any

from rest_framework import serializers

from core.errors import Unreadable
from core.wire import validated
from integrations import CARRIERS, PROVIDERS
from integrations.languages import VOICES
from integrations.types import Route
from phones.api.fields import (
    MAX_PAGE_SIZE,
    PAGE_SIZE,
    PUBLIC_KEY,
    AccountIdField,
    AuthTokenField,
    CarrierCursorField,
    ChoiceOfTexts,
    ConnectField,
    CursorField,
    ForwardField,
    IdField,
    LabelField,
    LanguageField,
    LimitField,
    NumberField,
    OwnerField,
    PatternField,
    SecondsField,
    TextField,
    TextOrNullField,
    TimeField,
    UserIdField,
)
from phones.models import MAX_RING_S, MIN_RING_S, Line, PhoneNumber
from phones.services.checking import reasons_of
from phones.services.handling import check_handling


class CredentialsSerializer(serializers.Serializer):
    """A body with an account's credentials. `accSId` is required for every integration but Telnyx."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        carrier = CARRIERS.get(str(data.get("integration")))
        self.fields["accSId"].required = carrier is None or carrier.account_id_is_required
        return super().run_validation(data)


class FlagField(serializers.Field):
    """A JSON boolean; nothing else is read as one."""

    default_error_messages = {"invalid": "send true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class InboundField(serializers.Field):
    """How a number answers. Keys that are left out stay as they are."""

    default_error_messages = {"invalid": "send an object with action, greeting, forwardTo and so on."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        try:
            return validated(InboundSerializer(), data)
        except Unreadable as invalid:
            raise serializers.ValidationError(str(invalid), "invalid_field") from None

    def to_representation(self, value: Any) -> Any:
        return value


class InboundSerializer(serializers.Serializer):
    """How a number answers."""

    action = ChoiceOfTexts(
        PhoneNumber.Action.values,
        required=False,
        help_text="voicemail, forward, connect (hand calls to a system of your own) or reject.",
    )
    greeting = TextField(
        1000, required=False, help_text="Spoken before a caller leaves a message; empty for the default greeting."
    )
    language = LanguageField(
        required=False,
        help_text="What the greeting is written in. There are default greetings in de, en, es, fr, hi, it, nl, pl and "
        "pt; in another language, greeting is required.",
    )
    forwardTo = ForwardField(source="forward_to", required=False, help_text="Number with country code.")
    connectTo = ConnectField(
        source="connect_to",
        required=False,
        help_text="A number with country code, `sip:user@host`, `sips:user@host` if the carrier encrypts calls, or `wss://host/path`.",
    )
    ringSeconds = SecondsField(
        MIN_RING_S,
        MAX_RING_S,
        source="ring_seconds",
        required=False,
        help_text="How long a number or SIP address rings.",
    )
    ifUnanswered = ChoiceOfTexts(
        PhoneNumber.IfUnanswered.values,
        source="if_unanswered",
        required=False,
        help_text="What follows if nobody takes a forwarded or connected call: voicemail or hangup.",
    )
    record = FlagField(required=False, help_text="Whether a forwarded or connected call is recorded; streams are not.")


# The fields of the model.
HANDLING = [str(field.source) for field in InboundSerializer().fields.values()]


class AddPhoneSerializer(CredentialsSerializer):
    """The body of add-phone. Fields are checked in this order; the reply names the first one that is wrong."""

    ignores_unknown_names = True  # as its public documentation says

    userId = UserIdField(source="user_id", help_text="ID of the user who will own this phone number.")
    phoneNumber = NumberField(
        source="number",
        help_text="Phone number with country code, such as 12125551234. A leading `+` is optional; ASCII spaces, dots, "
        "hyphens and parentheses may separate the digits.",
    )
    integration = ChoiceOfTexts(sorted(PROVIDERS), help_text="plivo, twilio or telnyx.")
    authToken = AuthTokenField(
        help_text="Plivo or Twilio Auth Token, Telnyx API Key.",
    )
    accSId = AccountIdField(
        required=False,
        help_text="Plivo Auth ID, Twilio Account SID; for Telnyx the App ID, which may be left out.",
    )
    onConflict = ChoiceOfTexts(
        ["replace", "refuse"],
        source="on_conflict",
        default="replace",
        help_text="What to do if the number is routed elsewhere: `replace` takes it over, `refuse` fails.",
    )
    publicKey = PatternField(
        PUBLIC_KEY,
        "send the 44 characters of the key as the Telnyx console shows it.",
        source="public_key",
        required=False,
        help_text="Telnyx webhook public key; needed only if the API key cannot fetch it.",
    )
    label = LabelField(200, required=False, help_text="A name for the number; may be empty.")  # type: ignore[assignment]
    inbound = InboundField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        inbound = attrs.get("inbound", attrs)  # in a row, the settings are fields of its own
        handling = {name: inbound[name] for name in HANDLING if name in inbound}
        check_handling(PhoneNumber(integration=attrs["integration"], **handling))
        return {"account_id": "", "public_key": "", **attrs}


class AddRowSerializer(AddPhoneSerializer):
    """A row of a bulk add: the body of add-phone, with a column for each field of `inbound`.

    The owner may be named by their e-mail address.
    """

    userId = OwnerField(source="user_id")
    inbound = None  # type: ignore[assignment]

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), **InboundSerializer().get_fields()}


class AddedPhoneSerializer(serializers.Serializer):
    """The number that was added."""

    _id = IdField(source="pk", help_text="Unique identifier for the phone number record.")
    userId = IdField(source="user_id")
    phoneNumber = serializers.CharField(source="number", help_text="Phone number that was added (with country code).")
    integration = serializers.ChoiceField(sorted(PROVIDERS), help_text="Integration provider used for this number.")
    createdAt = TimeField(source="created_at")


class PhoneQuerySerializer(serializers.Serializer):
    """Filters for the list of numbers."""

    userId = UserIdField(source="user_id", required=False)
    integration = ChoiceOfTexts(sorted(PROVIDERS), required=False)
    phoneNumber = NumberField(source="number", required=False)
    health = ChoiceOfTexts(Line.Health.values, required=False)
    limit = LimitField(default=PAGE_SIZE, help_text=f"Numbers per page, at most {MAX_PAGE_SIZE}.")
    cursor = CursorField(source="position", required=False, help_text="`nextCursor` of the previous page.")


class ChangePhoneSerializer(serializers.Serializer):
    """The body of a PATCH. Fields that are left out stay as they are."""

    label = LabelField(200, required=False, help_text="A name for the number; may be empty.")  # type: ignore[assignment]
    inbound = InboundField(required=False)
    authToken = AuthTokenField(
        required=False,
        help_text="The account's new Auth Token or API Key. It is verified with the carrier first.",
    )
    endOldToken = FlagField(
        source="end_old_token",
        required=False,
        help_text="With authToken: refuse webhooks signed with the old token at once, as after a theft.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "end_old_token" in attrs and "auth_token" not in attrs:
            raise serializers.ValidationError(
                {"endOldToken": ["send authToken too: the new one, or the present one again."]}, "invalid_field"
            )
        return attrs


class CheckPhoneSerializer(serializers.Serializer):
    """The body of a check; optional."""

    repair = FlagField(default=False, help_text="Whether to repair what differs.")


class AvailablePhonesSerializer(CredentialsSerializer):
    """The body of available-phones."""

    integration = ChoiceOfTexts(sorted(PROVIDERS))
    authToken = AuthTokenField()
    accSId = AccountIdField(required=False)
    cursor = CarrierCursorField(required=False, help_text="`nextCursor` of the previous page.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {"account_id": "", "cursor": "", **attrs}


class ReasonSerializer(serializers.Serializer):
    reason = serializers.CharField(help_text="For machines: not_set, url_mismatch, overridden_by_trunk, …")
    expected = serializers.CharField(allow_blank=True)
    actual = serializers.CharField(allow_blank=True)


class ReasonsField(serializers.ListSerializer):
    """The reasons why a number is not healthy."""

    def get_attribute(self, instance: PhoneNumber) -> list[dict[str, str]]:
        return reasons_of(instance)


class CheckedAtField(TimeField):
    """When the line was checked last or, of a retired number, when it was lost."""

    def get_attribute(self, instance: PhoneNumber) -> Any:
        return instance.retired_at or (instance.line.checked_at if instance.line else None)


class ShownInboundSerializer(serializers.Serializer):
    action = serializers.ChoiceField(PhoneNumber.Action.values)
    greeting = serializers.CharField(allow_blank=True)
    language = serializers.ChoiceField(list(VOICES))
    forwardTo = TextOrNullField(source="forward_to")
    connectTo = TextOrNullField(source="connect_to")
    ringSeconds = serializers.IntegerField(source="ring_seconds")
    ifUnanswered = serializers.ChoiceField(PhoneNumber.IfUnanswered.values, source="if_unanswered")
    record = serializers.BooleanField()


class PhoneSerializer(serializers.Serializer):
    """A number of the workspace."""

    _id = IdField(source="pk")
    userId = IdField(source="user_id")
    phoneNumber = serializers.CharField(source="number")
    integration = serializers.ChoiceField(sorted(PROVIDERS))
    accSId = serializers.CharField(source="account.account_id")
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]
    inbound = ShownInboundSerializer(source="*")
    health = serializers.ChoiceField(Line.Health.values)
    reasons = ReasonsField(child=ReasonSerializer())
    checkedAt = CheckedAtField(allow_null=True)
    sharedWith = serializers.IntegerField(
        source="shared_with", help_text="How many other users of the workspace have this number."
    )
    lastCallAt = TimeField(source="last_call_at", allow_null=True)
    createdAt = TimeField(source="created_at")


class PhonePageSerializer(serializers.Serializer):
    """A page of numbers, newest first."""

    items = PhoneSerializer(many=True)
    nextCursor = serializers.CharField(allow_null=True)


class RemovedPhoneSerializer(serializers.Serializer):
    _id = IdField(source="pk")
    restored = serializers.BooleanField(
        help_text="Whether the carrier's settings are restored. If not, we retry later where that can help."
    )


class CheckedPhoneSerializer(serializers.Serializer):
    """The result of a check, after the repair if one was requested."""

    _id = IdField(source="phone.pk")
    health = serializers.ChoiceField(Line.Health.values, source="check.health")
    reasons = ReasonSerializer(many=True, source="check.reasons")
    checkedAt = TimeField(source="check.checked_at")
    repaired = serializers.BooleanField(source="check.repaired")


class AvailablePhoneSerializer(serializers.Serializer):
    phoneNumber = serializers.CharField(source="listed.number")
    voice = serializers.BooleanField(source="listed.voice")
    active = serializers.BooleanField(source="listed.active")
    route = serializers.ChoiceField([route.value for route in Route], source="listed.route.value")
    added = serializers.BooleanField(help_text="Whether the workspace already has this number.")


class AvailablePhonePageSerializer(serializers.Serializer):
    items = AvailablePhoneSerializer(many=True)
    nextCursor = serializers.CharField(allow_null=True)
