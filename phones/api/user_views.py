"""Who uses the API: the users of the workspace, and the token itself."""

from django.http import HttpResponse
from rest_framework.request import Request

from core import envelope
from phones.api.user_serializers import MeSerializer, UserPageSerializer, UserQuerySerializer
from phones.services.user_list import newest_users
from users.api import ApiView
from users.authentication import token_of


class UsersView(ApiView):
    """The workspace's users, one of whom owns each number."""

    http_method_names = ["get"]
    query_class = UserQuerySerializer

    def get(self, request: Request) -> HttpResponse:
        users, position = newest_users(token_of(request).workspace_id, **self.query)
        data = UserPageSerializer({"items": users, "nextCursor": position}).data
        return envelope.success(data, message="Users listed successfully")


class MeView(ApiView):
    """The workspace and the token of the request."""

    http_method_names = ["get"]

    def get(self, request: Request) -> HttpResponse:
        return envelope.success(MeSerializer(token_of(request)).data, message="Token found successfully")
