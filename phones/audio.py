"""A recording's audio as a reply, for the API and the admin."""

import re

from django.http import HttpRequest, StreamingHttpResponse

from phones.models import Recording
from phones.services.media import recording_media

RANGE = re.compile(r"bytes=([0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})")


def wanted_range(request: HttpRequest) -> str:
    """The Range header, or empty. One that is not understood is none (RFC 9110, 14.2), nor is one for a version that we
    do not know."""
    byte_range = request.headers.get("Range", "")
    return byte_range if RANGE.fullmatch(byte_range) and "If-Range" not in request.headers else ""


def audio(recording: Recording, byte_range: str) -> StreamingHttpResponse:
    """Stream the audio from the carrier. Raises as `recording_media` does."""
    media = recording_media(recording, byte_range)
    suffix = "mp3" if media.content_type == "audio/mpeg" else "wav"
    headers = media.headers | {
        "Content-Disposition": f'inline; filename="recording-{recording.pk}.{suffix}"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingHttpResponse(media, status=media.status, content_type=media.content_type, headers=headers)
