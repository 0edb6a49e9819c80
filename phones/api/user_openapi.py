"""The API documentation of the views in user_views.py."""

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema
from rest_framework.views import APIView

from core.openapi import described, replies
from phones.api.user_serializers import MeSerializer, UserPageSerializer, UserQuerySerializer

TAGS = ["Workspace"]


class Users(OpenApiViewExtension):
    target_class = "phones.api.user_views.UsersView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            get=extend_schema(
                operation_id="listUsers",
                tags=TAGS,
                summary="List the workspace's active users, newest first",
                description="Each number belongs to one of them: `add-phone` takes a user's `_id` as `userId`.",
                parameters=[UserQuerySerializer],
                responses=replies(UserPageSerializer, success=200),
            ),
        )


class Me(OpenApiViewExtension):
    target_class = "phones.api.user_views.MeView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            get=extend_schema(
                operation_id="getMe",
                tags=TAGS,
                summary="Get the workspace and the token that you are using",
                responses=replies(MeSerializer, success=200),
            ),
        )
