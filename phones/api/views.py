"""Door 1: the REST API."""

import logging
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from core import envelope
from core.errors import Refusal
from core.wire import get_or_404
from phones.api.serializers import (
    AddedPhoneSerializer,
    AddPhoneSerializer,
    AvailablePhonePageSerializer,
    AvailablePhonesSerializer,
    ChangePhoneSerializer,
    CheckedPhoneSerializer,
    CheckPhoneSerializer,
    PhonePageSerializer,
    PhoneQuerySerializer,
    PhoneSerializer,
    RemovedPhoneSerializer,
)
from phones.errors import ChangeUncertain, NoSuchUser
from phones.models import PhoneNumber
from phones.services import (
    add_phone,
    available_phones,
    change_phone,
    check_phone,
    remove_phone,
    rotate_auth_token,
)
from phones.services.accounts import Credentials
from phones.services.changing import check_inbound
from phones.services.phone_list import count_sharing, listed_numbers, newest_numbers
from phones.services.picking import write_cursor
from phones.services.slots import carrier_slot
from users import idempotency, limits
from users.api import ApiView
from users.authentication import token_of
from users.models import User

log = logging.getLogger(__name__)


class AddPhoneView(ApiView):
    """Add a number."""

    http_method_names = ["post"]
    limits = ("requests", "adds")
    query_class = None

    def post(self, request: Request) -> HttpResponse:
        return idempotency.once(request, lambda: self.reply(request))

    def reply(self, request: Request) -> HttpResponse:
        try:
            return self.add(request)
        except Exception as error:
            return self.handle_exception(error)

    def add(self, request: Request) -> HttpResponse:
        fields = self.read(request, AddPhoneSerializer)
        user = workspace_user(request, fields.pop("user_id"))
        settings = {"label": fields.pop("label", ""), **fields.pop("inbound", {})}
        with carrier_slot():
            phone = add_phone(user=user, **fields, settings=settings)
        return confirm_add(phone)


def confirm_add(phone: PhoneNumber) -> HttpResponse:
    """The reply to a successful add; also the example in the documentation."""
    data = AddedPhoneSerializer(phone).data
    return envelope.success(data, message="Phone number added successfully", status=201)


class PhonesView(ApiView):
    """The workspace's numbers."""

    http_method_names = ["get"]
    query_class = PhoneQuerySerializer

    def get(self, request: Request) -> HttpResponse:
        phones, position = newest_numbers(token_of(request).workspace_id, **self.query)
        data = PhonePageSerializer({"items": phones, "nextCursor": position}).data
        return envelope.success(data, message="Phone numbers listed successfully")


class PhoneView(ApiView):
    """One of the workspace's numbers."""

    http_method_names = ["get", "patch", "delete"]

    def get(self, request: Request, id: str) -> HttpResponse:
        data = self.shown(request, id)
        return envelope.success(data, message="Phone number found successfully")

    def patch(self, request: Request, id: str) -> HttpResponse:
        phone = self.phone(request, id)
        fields = self.read(request, ChangePhoneSerializer)
        auth_token, end_old_token = fields.pop("auth_token", None), fields.pop("end_old_token", False)
        changes = {**fields.pop("inbound", {}), **fields}
        check_inbound(phone, changes)
        if auth_token:
            with carrier_slot():
                rotate_auth_token(phone, auth_token, end_old_token=end_old_token)
            change_after_rotation(phone, changes)
        else:
            change_phone(phone, changes)
        data = self.shown(request, id)
        return envelope.success(data, message="Phone number changed successfully")

    def delete(self, request: Request, id: str) -> HttpResponse:
        self.check_query(request)
        phone = self.phone(request, id)
        with carrier_slot():
            restoration = remove_phone(phone)
        data = RemovedPhoneSerializer({"pk": phone.pk, "restored": restoration.is_complete}).data
        return envelope.success(data, message="Phone number removed successfully")

    def phone(self, request: Request, id: str) -> PhoneNumber:
        return get_or_404(listed_numbers(token_of(request).workspace_id), id)

    def shown(self, request: Request, id: str) -> dict[str, Any]:
        phone = self.phone(request, id)
        count_sharing([phone])
        return PhoneSerializer(phone).data


def change_after_rotation(phone: PhoneNumber, changes: dict[str, Any]) -> None:
    """Change the number; if that crashes, the reply must not hide that the new token is in use.

    Raises NoSuchPhone as `change_phone` does, and ChangeUncertain after a crash.
    """
    try:
        change_phone(phone, changes)
    except Refusal:
        raise
    except Exception as error:
        log.exception("A number was not changed after its auth token was replaced")
        raise ChangeUncertain from error


class CheckPhoneView(ApiView):
    """Check a number at its carrier."""

    http_method_names = ["post"]

    def post(self, request: Request, id: str) -> HttpResponse:
        phone = get_or_404(listed_numbers(token_of(request).workspace_id), id)
        repair = self.read(request, CheckPhoneSerializer, is_optional=True)["repair"]
        with carrier_slot():
            check = check_phone(phone, repair=repair)
        data = CheckedPhoneSerializer({"phone": phone, "check": check}).data
        return envelope.success(data, message="Phone number checked successfully")


class AvailablePhonesView(ApiView):
    """The numbers of a carrier account, to choose from."""

    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        fields = self.read(request, AvailablePhonesSerializer)
        cursor = fields.pop("cursor")
        with carrier_slot():
            credentials = Credentials(token_of(request).workspace_id, **fields)
            phones, following = available_phones(credentials, cursor)
        next_cursor = write_cursor(following) if following else None
        data = AvailablePhonePageSerializer({"items": phones, "nextCursor": next_cursor}).data
        return envelope.success(data, message="Available phone numbers listed successfully")


def workspace_user(request: Request, user_id: str) -> User:
    """Return the user if they belong to the caller's workspace.

    Raises NoSuchUser otherwise, whether or not another workspace has such a user.
    """
    token = token_of(request)
    user = User.objects.filter(pk=user_id, workspace=token.workspace_id, is_active=True).first()
    if user is None:
        limits.spend(("unknown_users", token.pk))
        raise NoSuchUser
    return user
