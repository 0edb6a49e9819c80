"""Streaming the audio of a recording from its carrier."""

from datetime import timedelta

from django.utils import timezone

from integrations.events import RecordingStatus
from integrations.media import Media, open_media
from integrations.transport import Deadline
from phones.models import Recording
from phones.services.carriers import connect_stored

# Until the first byte arrives.
MEDIA_BUDGET_S = 20.0
# For this long after a recording appears, its carrier may still be writing the file.
NEW = timedelta(minutes=10)


def recording_media(recording: Recording, byte_range: str) -> Media:
    """Open the audio of a recording for streaming.

    Args:
        byte_range: the Range header to pass on to the carrier, or empty.

    Raises IntegrationError (MediaMissing, MediaRangeRefused, CarrierUnavailable, InvalidCredentials) and CannotOpen.
    """
    account = recording.account
    provider = connect_stored(account, Deadline(MEDIA_BUDGET_S))
    is_expected = recording.status not in (RecordingStatus.ABSENT, RecordingStatus.FAILED)
    may_be_new = is_expected and recording.created_at > timezone.now() - NEW
    return open_media(provider, recording.carrier_id, recording.url, byte_range, may_be_new=may_be_new)
