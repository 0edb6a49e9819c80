"""The forms of the support desk. A form validates input with the API's serializers and changes nothing. The view calls
the service and passes a refusal to the form, which shows it beside the field to blame."""

import json
import time
from typing import Any

from django import forms
from django.contrib import admin
from django.core.validators import RegexValidator
from rest_framework.serializers import Serializer

from core.errors import Refusal
from core.pasted import pasted_number, pasted_target
from core.secrets import CannotOpen, Secret
from core.widgets import ObjectIdSelect
from integrations import CARRIERS, PROVIDERS
from integrations.errors import IntegrationError
from integrations.languages import DEFAULT_LANGUAGE, VOICES
from phones.api.fields import PUBLIC_KEY
from phones.api.sentences import wire_name
from phones.api.serializers import (
    HANDLING,
    AddPhoneSerializer,
    AvailablePhonesSerializer,
    ChangePhoneSerializer,
    InboundSerializer,
)
from phones.desk.sentences import sentence
from phones.models import MAX_RING_S, MIN_RING_S, PhoneNumber
from phones.services.accounts import Credentials
from phones.services.changing import check_inbound
from users.models import MAY_OWN_NUMBERS, User, Workspace

# API field: form field
FIELDS = {
    "userId": "user",
    "phoneNumber": "number",
    "integration": "integration",
    "authToken": "auth_token",
    "accSId": "account_id",
    "onConflict": "on_conflict",
    "publicKey": "public_key",
    "label": "label",
    **{name: str(field.source) for name, field in InboundSerializer().fields.items()},
}
TOKEN_KEPT_S = 15 * 60
ENTER_KEY = "Enter the 44 characters of the key as the console shows it."


class RefusableForm(forms.Form):
    """A form that can show the refusal of a service."""

    def read_with(self, serializer: Serializer) -> dict[str, Any]:
        """Return the serializer's validated data; empty if it is invalid, with each error added to its form field."""
        if serializer.is_valid():
            return serializer.validated_data
        for name, errors in serializer.errors.items():
            error = errors[0]
            code = error.code if error.code.startswith("invalid_") else "invalid_field"
            self.add_error(self.form_field(name), forms.ValidationError(capitalised(str(error)), code))
        return {}

    def refuse(self, refusal: Refusal | IntegrationError) -> None:
        """Show beside the field to blame why a service has refused."""
        name = refusal.field if refusal.field in self.fields else self.form_field(wire_name(refusal.field))
        self.add_error(name, forms.ValidationError(sentence(refusal), refusal.code))

    def form_field(self, api_name: str | None) -> str | None:
        name = FIELDS.get(api_name or "")
        return name if name in self.fields else None


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


class PasswordField(forms.CharField):
    """A credential. It is never rendered back into a page."""

    widget = forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"})


class InboundForm(RefusableForm):
    """A number's label and its call handling."""

    label = forms.CharField(max_length=200, required=False, help_text="A descriptive name, such as “Front desk”.")
    action = forms.ChoiceField(
        label="Incoming calls", initial="voicemail",
        choices=[
            ("voicemail", "Send to voicemail"), ("forward", "Forward"), ("connect", "Connect to the customer's system"),
            ("reject", "Reject"),
        ],
    )  # fmt: skip
    greeting = forms.CharField(
        max_length=1000, required=False, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Played before the caller leaves a message. Leave empty for the default greeting.",
    )  # fmt: skip
    language = forms.ChoiceField(
        required=False, initial=DEFAULT_LANGUAGE, choices=[(code, code) for code in VOICES],
        help_text="The language of the greeting, and of the default greeting if there is one.",
    )  # fmt: skip
    forward_to = forms.CharField(required=False, help_text="The number to forward calls to, with country code.")
    connect_to = forms.CharField(
        required=False, help_text="A number, or the address of the customer's system: sip:user@host or wss://host/path."
    )
    ring_seconds = forms.IntegerField(
        label="Ring for",
        required=False,
        initial=30,
        min_value=MIN_RING_S,
        max_value=MAX_RING_S,
        help_text="In seconds.",
    )
    if_unanswered = forms.ChoiceField(
        label="If nobody answers", required=False, initial="voicemail",
        choices=[("voicemail", "Send to voicemail"), ("hangup", "Hang up")],
    )  # fmt: skip
    record = forms.BooleanField(label="Record forwarded and connected calls", required=False)

    def read_changes(self, phone: PhoneNumber) -> dict[str, Any]:
        """Return the row's fields as entered; empty if there is an error, which is added to the form."""
        typed = self.cleaned_data
        inbound = {
            "action": typed["action"],
            "greeting": typed["greeting"].replace("\r\n", "\n"),
            "forwardTo": pasted_number(typed["forward_to"]),
            "connectTo": pasted_target(typed["connect_to"]),
            "record": typed["record"],
        }
        optional = {"language": "language", "ringSeconds": "ring_seconds", "ifUnanswered": "if_unanswered"}
        inbound |= {name: typed[field] for name, field in optional.items() if typed[field]}
        fields = self.read_with(ChangePhoneSerializer(data={"label": typed["label"]}))
        changes = self.read_with(InboundSerializer(data=inbound))
        changes = {**changes, **fields} if not self.errors else {}
        if changes:
            try:
                check_inbound(phone, changes)
            except Refusal as refusal:
                self.refuse(refusal)
                return {}
        return changes


class ChangePhoneForm(InboundForm):
    """Change a number's label and its call handling."""

    def __init__(self, data: Any, *, phone: PhoneNumber) -> None:
        super().__init__(data, initial={name: getattr(phone, name) for name in ("label", *HANDLING)})
        self.phone = phone
        # After `is_valid()`: the row's fields that differ, for change_phone().
        self.changes: dict[str, Any] = {}

    def clean(self) -> None:
        if not self.errors:
            changes = self.read_changes(self.phone)
            self.changes = {name: value for name, value in changes.items() if value != getattr(self.phone, name)}


class AddPhoneForm(InboundForm):
    """Add a number, or list an account's numbers to choose one (`is_pick`)."""

    user = forms.ModelChoiceField(
        User.objects.filter(MAY_OWN_NUMBERS),
        label="User",
        widget=ObjectIdSelect(PhoneNumber._meta.get_field("user"), admin.site),
        help_text="The user who will own the number. Search by e-mail address or workspace.",
    )
    integration = forms.ChoiceField(label="Carrier", choices=[("", "Choose a carrier…"), *sorted(PROVIDERS.items())])
    account_id = forms.CharField(label="Account ID", required=False)
    auth_token = PasswordField(label="Auth token", required=False)
    public_key = forms.CharField(label="Public key", required=False)
    number = forms.CharField(
        label="Phone number", required=False, widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "off"}),
        help_text="With country code, in any common format: +1 (212) 555-1234.",
    )  # fmt: skip
    on_conflict = forms.ChoiceField(
        label="If the number is already routed elsewhere", initial="replace",
        choices=[("replace", "Take it over"), ("refuse", "Do not add it")],
        help_text="If you take it over, its current routing is restored when you remove it here.",
    )  # fmt: skip
    kept_token = forms.CharField(required=False, widget=forms.HiddenInput)
    cursor = forms.CharField(required=False, widget=forms.HiddenInput)

    fieldsets = [
        ("Owner", {"fields": ["user"]}),
        ("Carrier account", {"fields": ["integration", "account_id", "auth_token", "public_key", "kept_token"]}),
        ("Number", {"fields": ["number", "on_conflict", "label"]}),
        ("Call handling", {"fields": HANDLING}),
    ]

    def __init__(self, data: Any, *, staff: User) -> None:
        super().__init__(data)
        self.staff = staff
        self.token = ""
        # After `is_valid()`: the arguments of add_phone(), or of available_phones() if `is_pick`.
        self.arguments: dict[str, Any] = {}

    @property
    def is_pick(self) -> bool:
        return "_pick" in self.data

    def clean(self) -> None:
        # If the field is empty, use the token entered earlier.
        self.token = self.cleaned_data.get("auth_token") or self.token_kept()
        if not self.errors:
            self.arguments = self.read_pick() if self.is_pick else self.read_add()

    def read_add(self) -> dict[str, Any]:
        typed = self.cleaned_data
        user = typed["user"]
        wanted = {
            **self.credentials(),
            "userId": user.pk,
            "phoneNumber": pasted_number(typed["number"]),
            "onConflict": typed["on_conflict"],
            "publicKey": typed["public_key"],
        }
        fields = self.read_with(AddPhoneSerializer(data=without_blanks(wanted)))
        fields.pop("user_id", None)
        phone = PhoneNumber(user=user, integration=typed["integration"], number=fields.get("number", ""))
        changes = self.read_changes(phone) if fields else {}
        return {"user": user, **fields, "settings": changes}

    def read_pick(self) -> dict[str, Any]:
        typed = self.cleaned_data
        wanted = self.credentials() | {"cursor": typed["cursor"]}
        fields = self.read_with(AvailablePhonesSerializer(data=without_blanks(wanted)))
        if not fields:
            return {}
        cursor = fields.pop("cursor")
        return {"credentials": Credentials(typed["user"].workspace_id, **fields), "cursor": cursor}

    def credentials(self) -> dict[str, str]:
        """Return the credentials under the API's names."""
        typed = self.cleaned_data
        return {"integration": typed["integration"], "authToken": self.token, "accSId": typed["account_id"]}

    # -- between two pages -------------------------------------------------------------------------------------------

    def keep_token(self) -> None:
        """Seal the token into the form, unless it was refused, so that nobody has to enter it twice.

        Only this staff member can use it, and only for 15 minutes.
        """
        if not self.token or "auth_token" in self.errors:
            return
        kept = json.dumps({"token": self.token, "staff": self.staff.pk, "until": time.time() + TOKEN_KEPT_S})
        self.data = {**self.data.dict(), "kept_token": Secret.seal(kept).sealed}  # type: ignore[attr-defined]
        self.fields["auth_token"].widget.attrs["placeholder"] = "Already entered; type to replace it"

    def token_kept(self) -> str:
        try:
            kept = json.loads(Secret(self.cleaned_data["kept_token"]).open())
            return kept["token"] if kept["staff"] == self.staff.pk and kept["until"] > time.time() else ""
        except (CannotOpen, ValueError, KeyError, TypeError):
            return ""


def without_blanks(fields: dict[str, str]) -> dict[str, str]:
    """Drop empty fields: the API treats them as not sent."""
    return {name: value for name, value in fields.items() if value}


class RotateForm(RefusableForm):
    """The account's new auth token, or its new public key if the carrier has one and does not report it, or both."""

    auth_token = PasswordField(label="New auth token", required=False)
    end_old_token = forms.BooleanField(
        label="Reject the old auth token immediately", required=False,
        help_text="Use this if it was leaked. Webhooks that the carrier still signs with it are lost.",
    )  # fmt: skip
    public_key = forms.CharField(
        label="New public key", required=False, strip=True,
        validators=[RegexValidator(rf"^{PUBLIC_KEY.pattern}\Z", ENTER_KEY)],
    )  # fmt: skip

    def __init__(self, data: Any, *, phone: PhoneNumber) -> None:
        super().__init__(data)
        hint = CARRIERS[phone.integration].public_key_hint
        self.fields["public_key"].help_text = hint
        if not hint:
            del self.fields["public_key"]

    def clean(self) -> None:
        if self.cleaned_data.get("end_old_token") and not self.cleaned_data.get("auth_token"):
            self.add_error("auth_token", "Enter the new auth token, without which the old one cannot be rejected.")
        if not self.errors and not (self.cleaned_data.get("public_key") and not self.cleaned_data["auth_token"]):
            self.cleaned_data |= self.read_with(
                ChangePhoneSerializer(data={"authToken": self.cleaned_data["auth_token"]})
            )


class MoveForm(RefusableForm):
    """The user of another workspace who gets a number, and that workspace's own credentials."""

    user = forms.ModelChoiceField(
        User.objects.filter(MAY_OWN_NUMBERS),
        label="User",
        widget=ObjectIdSelect(PhoneNumber._meta.get_field("user"), admin.site),
        help_text="The user of another workspace who gets the number. Search by e-mail address or workspace.",
    )
    account_id = forms.CharField(required=False)
    auth_token = PasswordField(required=False)
    public_key = forms.CharField(label="Public key", required=False)

    def __init__(self, data: Any, *, phone: PhoneNumber) -> None:
        super().__init__(data)
        self.phone, carrier = phone, CARRIERS[phone.integration]
        # After `is_valid()`: the arguments of move_phone().
        self.arguments: dict[str, Any] = {}
        self.fields["user"].widget.search = {"outside": str(phone.user.workspace_id)}
        for name in ("account_id", "auth_token"):
            self.fields[name].label = getattr(carrier, f"{name}_name")
        for name in ("account_id", "auth_token", "public_key"):
            self.fields[name].help_text = getattr(carrier, f"{name}_hint")
        if not carrier.public_key_hint:
            del self.fields["public_key"]
        owner, *credentials = self.fields
        self.fieldsets = [
            ("New owner", {"fields": [owner]}),
            ("Carrier account of the new workspace", {"fields": credentials}),
        ]

    def clean(self) -> None:
        if self.errors:
            return
        typed = self.cleaned_data
        wanted = {
            "userId": typed["user"].pk,
            "phoneNumber": self.phone.number,
            "integration": self.phone.integration,
            "authToken": typed["auth_token"],
            "accSId": typed["account_id"],
            "publicKey": typed.get("public_key", ""),
        }
        fields = self.read_with(AddPhoneSerializer(data=without_blanks(wanted)))
        names = ("account_id", "auth_token", "public_key")
        self.arguments = {"user": typed["user"], **{name: fields[name] for name in names if name in fields}}


class ImportForm(forms.Form):
    """A file of numbers, and defaults for fields that its rows leave out."""

    file = forms.FileField(help_text="CSV, XLSX, JSON or JSON Lines; at most 10 MB and 20,000 rows.")
    workspace = forms.ModelChoiceField(
        Workspace.objects, required=False,
        widget=ObjectIdSelect(User._meta.get_field("workspace"), admin.site),
        help_text="If set, only users of this workspace can own the numbers.",
    )  # fmt: skip
    account_id = forms.CharField(label="Account ID", required=False, help_text="For rows without accSId.")
    auth_token = PasswordField(label="Auth token", required=False, help_text="For rows without authToken.")

    def defaults(self) -> dict[str, str]:
        """Return the values for rows that leave these fields out, under the API's names."""
        typed = self.cleaned_data
        return without_blanks({"accSId": typed["account_id"], "authToken": typed["auth_token"]})
