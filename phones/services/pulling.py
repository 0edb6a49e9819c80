"""Asking carriers for calls and recordings whose webhooks we missed."""

import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.utils import timezone

from core.stopping import raise_if_stopping
from integrations.events import CallStatus, Direction
from integrations.transport import Deadline
from phones.models import Account, Call
from phones.services.calls import merge_call, merge_recording
from phones.services.carriers import connect_as
from phones.services.ownership import tenures

# Carriers list calls by their start, a call can last four hours, and the lists lag a little. So every quarter of an
# hour we look back six hours, and in between only half an hour.
DEEP, SHALLOW, DEEP_EVERY = timedelta(hours=6), timedelta(minutes=30), timedelta(minutes=15)
FIRST_PULL = timedelta(hours=18)

log = logging.getLogger(__name__)


def pull(account: Account, deadline: Deadline) -> None:
    """Merge the account's calls and recordings of the last hours that were on its workspace's numbers.

    Raises IntegrationError, CannotOpen and core.stopping.Stopped. Then the next pull looks back to the same time.
    """
    began_at = timezone.now()
    is_deep = account.pulled_at is None or account.pulled_at < began_at - DEEP_EVERY
    since = (account.pulled_at or began_at - FIRST_PULL) - DEEP if is_deep else began_at - SHALLOW
    provider = connect_as(account, account.auth_token.open(), deadline)
    times = defaultdict(list)
    for tenure in tenures(account):
        times[tenure.line.number].append(tenure)
    outcomes = []
    for said in provider.list_calls(since):
        raise_if_stopping()
        if said.forwarding is not CallStatus.UNKNOWN:
            outcomes.append(said)  # of a leg, which may be listed before its call
            continue
        number = said.callee if said.direction is Direction.INBOUND else said.caller
        if any(tenure.covers(said.started_at or began_at) for tenure in times[number]):
            merge_or_skip(said.id, partial(merge_call, account, said, began_at, is_listed=True))
    for said in outcomes:
        raise_if_stopping()
        if Call.objects.filter(account=account, carrier_id=said.id).exists():
            merge_or_skip(said.id, partial(merge_call, account, said, began_at, is_listed=True))
    for recording in provider.list_recordings(since):
        raise_if_stopping()
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
