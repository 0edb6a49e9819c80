"""Replies with a recording's audio, for the API and the admin."""

import re
from contextlib import ExitStack

from django.http import HttpRequest, StreamingHttpResponse

from phones.models import Recording
from phones.services.media import recording_media
from phones.services.slots import carrier_slot
from users import audit

RANGE = re.compile(r"bytes=([0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})")


def read_range(request: HttpRequest) -> str:
    """Return the Range header, or an empty string if there is none to honour.

    A header that we do not understand is ignored (RFC 9110, 14.2), and so is one that depends on a version of the
    audio (If-Range), as we know of no versions.
    """
    byte_range = request.headers.get("Range", "")
    return byte_range if RANGE.fullmatch(byte_range) and "If-Range" not in request.headers else ""


def stream_audio(
    recording: Recording, byte_range: str, *, session: str, workspace_id: str | None = None
) -> StreamingHttpResponse:
    """Stream the audio from the carrier. The reply holds a carrier slot until it is closed.

    Writes one audit entry for each session and recording, however many parts the player asks for.

    Args:
        byte_range: a Range header from `read_range`; empty for the whole recording.
        session: identifies the listener in the audit trail.
        workspace_id: the listener's workspace; None for staff.

    Raises LimitReached if no slot is free, and whatever `recording_media` raises.
    """
    with ExitStack() as slot:
        slot.enter_context(carrier_slot())
        media = recording_media(recording, byte_range)
        slot.callback(media.response.close)
        line = recording.call.line
        audit.record(
            "recording.hear",
            number=line.number if line else "",
            workspace_id=workspace_id,
            detail=f"recording {recording.pk}",
            once=f"{session} {recording.pk}",
        )
        suffix = "mp3" if media.content_type == "audio/mpeg" else "wav"
        headers = media.headers | {
            "Content-Disposition": f'inline; filename="recording-{recording.pk}.{suffix}"',
            "X-Content-Type-Options": "nosniff",
        }
        reply = StreamingHttpResponse(media, status=media.status, content_type=media.content_type, headers=headers)
        media.closed_with = slot.pop_all()
        return reply
