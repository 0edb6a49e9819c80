"""Twilio's reports about calls and recordings, normalised. What its webhooks share with Telnyx's is in twiml.py."""

import re
from typing import Any

from integrations import twiml
from integrations.events import (
    CallReport,
    CallStatus,
    RecordingReport,
    RecordingStatus,
    amount,
    currency,
    foreign_link,
    moment,
    outcome_of_leg,
    party,
    text,
    translate,
    whole,
)
from integrations.types import identifier

# https://www.twilio.com/docs/voice/api/call-resource#call-status-values (read 2026-11-23)
CALL_STATUS = {
    "queued": CallStatus.QUEUED,
    "initiated": CallStatus.QUEUED,
    "ringing": CallStatus.RINGING,
    "in-progress": CallStatus.IN_PROGRESS,
    "completed": CallStatus.COMPLETED,
    "busy": CallStatus.BUSY,
    "failed": CallStatus.FAILED,
    "no-answer": CallStatus.NO_ANSWER,
    "canceled": CallStatus.CANCELED,
}


# Customers may have recordings stored in a bucket of their own. Then the URL is the one there. Twilio's own are also
# written with `http:` (github.com/eurica/PagerDutyCallDesk).
# https://www.twilio.com/en-us/blog/announcing-external-aws-s3-storage-support-for-voice-recordings (read 2026-11-30)
OWN_HOSTS = re.compile(r"([a-z0-9-]+\.)*twilio\.com")


def listed(call: Any) -> CallReport | None:
    """Convert an entry in the list of calls. Of the leg of a forwarded call, only its outcome is of interest."""
    if not call.parent_call_sid:
        return call_of(call)
    return outcome_of_leg(identifier(call.parent_call_sid), translate(CALL_STATUS, call.status, CallStatus.UNKNOWN))


def call_of(call: Any) -> CallReport:
    """Convert an entry in the list of calls. Twilio does not report when a call was answered."""
    return CallReport(
        id=identifier(call.sid),
        direction=twiml.direction_of(call.direction),
        caller=party(call._from),
        callee=party(call.to),
        status=translate(CALL_STATUS, call.status, CallStatus.UNKNOWN),
        started_at=moment(call.start_time),
        ended_at=moment(call.end_time),
        duration_s=whole(call.duration),
        cost=amount(call.price),
        currency="" if amount(call.price) is None else currency(call.price_unit),
    )


def recording_of(recording: Any) -> RecordingReport:
    return RecordingReport(
        id=identifier(recording.sid),
        call_id=identifier(recording.call_sid),
        status=translate(twiml.RECORDING_STATUS, recording.status, RecordingStatus.UNKNOWN),
        started_at=moment(recording.start_time),
        duration_s=whole(recording.duration),
        channels=twiml.CHANNELS.get(text(recording.channels)),
        url=foreign_link(recording.media_url, OWN_HOSTS),
    )
