"""Recording files: their content, their URLs and how they are served."""

import hashlib
import hmac
import io
import math
import re
import wave
from array import array
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .state import Account, State

RATE = 8000
TONES_HZ = (440, 660)
"""The tones of the first and the second channel."""
LINK_S = 600
"""How long a Telnyx link is valid."""


def wav(duration_s: int, channels: int) -> bytes:
    """A WAV file with a tone of this length: 8 kHz, 16-bit PCM."""
    second = array("h")
    for frame in range(RATE):
        second.extend(int(8000 * math.sin(math.tau * tone * frame / RATE)) for tone in TONES_HZ[:channels])
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(second.tobytes() * duration_s)
    return file.getvalue()


def cut(content: bytes, asked_range: str) -> tuple[int, bytes, dict[str, str]]:
    """The file, or the requested range of it (RFC 9110, section 14): status, body and headers."""
    headers = {"Accept-Ranges": "bytes"}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", asked_range)
    if not asked or not any(asked.groups()):
        return 200, content, headers
    first, last = asked.groups()
    size = len(content)
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        return 416, b"", headers | {"Content-Range": f"bytes */{size}"}
    return 206, content[start:stop], headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}


def plivo_url(state: "State", account: "Account", recording: str) -> str:
    return f"{state.origin}/plivo/v1/Account/{account.id}/Recording/{recording}.wav"


def telnyx_url(state: "State", account: "Account", recording: str) -> str:
    """A link that works for anyone for LINK_S seconds."""
    path = f"/telnyx-media/{account.user_id}/{recording}.wav"
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={date}&X-Amz-Expires={LINK_S}&X-Amz-SignedHeaders=host"
    return f"{state.origin}{path}?{query}&X-Amz-Signature={_signature(state, path, date)}"


def link_is_good(state: "State", path: str, date: str, signature: str) -> bool:
    """Whether the link was created here and has not expired."""
    if not hmac.compare_digest(_signature(state, path, date).encode(), signature.encode()):
        return False
    made = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return datetime.now(UTC) <= made + timedelta(seconds=LINK_S)


def _signature(state: "State", path: str, date: str) -> str:
    return hmac.new(state.link_key, f"{path} {date}".encode(), hashlib.sha256).hexdigest()
