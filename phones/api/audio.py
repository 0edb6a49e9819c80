"""A recording's audio as a reply, for the API and the admin."""

import re
from contextlib import ExitStack

from django.http import HttpRequest, StreamingHttpResponse

from phones.models import Recording
from phones.services.media import recording_media
from phones.services.slots import carrier_slot
from users import audit

RANGE = re.compile(r"bytes=([0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})")


def read_range(request: HttpRequest) -> str:
    """The Range header, or empty. One that is not understood is none (RFC 9110, 14.2), nor is one for a version that we
    do not know."""
    byte_range = request.headers.get("Range", "")
    return byte_range if RANGE.fullmatch(byte_range) and "If-Range" not in request.headers else ""


def stream_audio(
    recording: Recording, byte_range: str, *, session: str, workspace_id: str | None = None
) -> StreamingHttpResponse:
    """Stream the audio from the carrier; until the reply is closed it has a carrier slot.

    A session that hears a recording is in the audit trail, once, in however many parts its player asks for it.

    Args:
        session: tells one who listens from another.
        workspace_id: that of who listens; None for staff.

    Raises LimitReached when no slot is free, and what `recording_media` raises.
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
