"""The call log and the recordings of a workspace."""

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request

from core import envelope
from core.wire import get_or_404
from phones.api.audio import read_range, stream_audio
from phones.api.call_serializers import CallPageSerializer, CallQuerySerializer, CallSerializer
from phones.models import PhoneNumber
from phones.services.call_log import active_numbers, calls_of, newest_calls, recordings_of, shown_numbers, with_digits
from users.api import ApiView
from users.authentication import token_of


class CallsView(ApiView):
    """The calls of all the workspace's numbers."""

    http_method_names = ["get"]
    query_class = CallQuerySerializer

    def get(self, request: Request) -> HttpResponse:
        return self.page(request, shown_numbers(token_of(request).workspace_id))

    def page(self, request: Request, numbers: QuerySet[PhoneNumber]) -> HttpResponse:
        query = self.query
        if "number" in query:
            asked = with_digits(shown_numbers(token_of(request).workspace_id), query["number"])
            numbers = numbers.filter(pk__in=list(asked.values_list("pk", flat=True)))
        equal = {name: query[name] for name in ("status", "direction") if name in query}
        bounds = {name: query[name] for name in ("limit", "after", "before", "position") if name in query}
        calls, position = newest_calls(calls_of(numbers, token_of(request).workspace_id).filter(**equal), **bounds)
        data = CallPageSerializer({"items": calls, "nextCursor": position}).data
        return envelope.success(data, message="Calls listed successfully")


class PhoneCallsView(CallsView):
    """The calls of one of the workspace's numbers."""

    def get(self, request: Request, id: str) -> HttpResponse:  # type: ignore[override]
        numbers = shown_numbers(token_of(request).workspace_id)
        return self.page(request, numbers.filter(pk=get_or_404(numbers, id).pk))


class CallView(ApiView):
    """A call of one of the workspace's numbers."""

    http_method_names = ["get"]

    def get(self, request: Request, id: str) -> HttpResponse:
        workspace_id = token_of(request).workspace_id
        calls = calls_of(shown_numbers(workspace_id), workspace_id).select_related("line", "account")
        return envelope.success(CallSerializer(get_or_404(calls, id)).data, message="Call found successfully")


class RecordingMediaView(ApiView):
    """The audio of a recording."""

    http_method_names = ["get"]

    def get(self, request: Request, id: str) -> HttpResponseBase:
        token = token_of(request)
        numbers = active_numbers(token.workspace_id)
        recordings = recordings_of(numbers, token.workspace_id).select_related("account", "call__line")
        # A token lives for months, so each day counts as a session of its own in the audit trail.
        session = f"{token.pk} {timezone.now():%Y-%m-%d}"
        return stream_audio(
            get_or_404(recordings, id), read_range(request._request), session=session, workspace_id=token.workspace_id
        )
