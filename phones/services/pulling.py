"""Asking carriers for calls and recordings whose webhooks we missed."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.utils import timezone

from integrations.events import CallReport, Direction
from integrations.transport import Deadline
from phones.models import Account, Call, Line
from phones.services.calls import merge_call, merge_recording
from phones.services.carriers import connect

# Carriers list calls by their start, a call can last four hours, and the lists lag a little. So every quarter of an
# hour we look back six hours, and in between only half an hour.
DEEP, SHALLOW, DEEP_EVERY = timedelta(hours=6), timedelta(minutes=30), timedelta(minutes=15)
FIRST_PULL = timedelta(hours=18)
# Carriers report times in whole seconds, by their own clocks.
CLOCK_SLACK = timedelta(minutes=1)

log = logging.getLogger(__name__)


def pull(account: Account, deadline: Deadline) -> None:
    """Merge the account's calls and recordings of the last hours that are on our lines.

    Raises IntegrationError and CannotOpen. Then the next pull looks back to the same time.
    """
    began_at = timezone.now()
    is_deep = account.pulled_at is None or account.pulled_at < began_at - DEEP_EVERY
    since = (account.pulled_at or began_at - FIRST_PULL) - DEEP if is_deep else began_at - SHALLOW
    provider = connect(account.integration, account.account_id, account.auth_token.open(), deadline)
    lines = {line.number: line for line in account.lines.all()}
    for said in provider.list_calls(since):
        if is_on(lines, said):
            merge_or_skip(said.id, partial(merge_call, account, said, began_at))
    for recording in provider.list_recordings(since):
        call = Call.objects.filter(account=account, carrier_id=recording.call_id).first()
        if call:
            merge_or_skip(recording.id, partial(merge_recording, call, recording))
    if is_deep:
        Account.objects.filter(pk=account.pk).update(pulled_at=began_at)


def merge_or_skip(carrier_id: str, merge: Callable[[], object]) -> None:
    """Merge an entry of a list. If that fails, log it, so that the other entries are still merged."""
    try:
        merge()
    except Exception as error:
        log.error("Entry %s of a carrier's list could not be merged", carrier_id, exc_info=error)


def is_on(lines: dict[str, Line], said: CallReport) -> bool:
    """Whether a call is on one of the lines and began after we added it."""
    line = lines.get(said.callee if said.direction is Direction.INBOUND else said.caller)
    return line is not None and (said.started_at is None or said.started_at >= line.created_at - CLOCK_SLACK)
