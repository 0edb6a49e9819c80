"""Fields about who uses the API: the users of a workspace, the workspace itself and its token."""

from rest_framework import serializers

from phones.api.fields import MAX_PAGE_SIZE, PAGE_SIZE, CursorField, IdField, LimitField, TimeField

# What a token may do. Every token may do everything.
SCOPES = ["read", "numbers"]


class UserQuerySerializer(serializers.Serializer):
    """The part of the list of users to return."""

    limit = LimitField(default=PAGE_SIZE, help_text=f"Users per page, at most {MAX_PAGE_SIZE}.")
    cursor = CursorField(source="position", required=False, help_text="`nextCursor` of the previous page.")


class UserSerializer(serializers.Serializer):
    """A user of the workspace, who can own numbers."""

    _id = IdField(source="pk", help_text="What add-phone takes as `userId`.")
    email = serializers.EmailField()
    createdAt = TimeField(source="created_at")


class UserPageSerializer(serializers.Serializer):
    """A page of users, newest first."""

    items = UserSerializer(many=True)
    nextCursor = serializers.CharField(allow_null=True, help_text="The cursor of the next page; null on the last page.")


class WorkspaceSerializer(serializers.Serializer):
    _id = IdField(source="pk")
    name = serializers.CharField()


class TokenSerializer(serializers.Serializer):
    prefix = serializers.CharField(help_text="The token's first characters, which the support desk shows too.")
    name = serializers.CharField(read_only=True, default="", help_text="Empty: tokens have no names.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(SCOPES),
        default=SCOPES,
        help_text="What the token may do; all tokens may do both.",
    )
    expiresAt = TimeField(source="expires_at", allow_null=True, help_text="Null if the token never expires.")


class MeSerializer(serializers.Serializer):
    """Whose token this is."""

    workspace = WorkspaceSerializer()
    token = TokenSerializer(source="*")
