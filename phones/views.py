"""Door 1: the REST API."""

from django.http import HttpResponse
from rest_framework.request import Request

from phones.serializers import AddPhoneSerializer, added_phone
from phones.services import add_phone
from users import idempotency, limits
from users.authentication import token_of
from users.models import User
from workspace import envelope
from workspace.api import ApiView
from workspace.errors import Refusal


class AddPhoneView(ApiView):
    http_method_names = ["post"]
    limits = ("requests", "adds")

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
        phone = add_phone(user=user, **fields)
        return envelope.success(added_phone(phone), message="Phone number added successfully", status=201)


def workspace_user(request: Request, user_id: str) -> User:
    """The user, if it is one of the caller's workspace; another's is as unknown as one that does not exist."""
    token = token_of(request)
    user = User.objects.filter(pk=user_id, workspace=token.workspace_id, is_active=True).first()
    if user is None:
        limits.spend(("unknown_users", token.pk))
        raise Refusal("userId: user not found in this workspace.", code="user_not_found", field="userId")
    return user
