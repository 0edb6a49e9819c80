"""Asking carriers for calls and recordings whose webhooks did not reach us."""

from datetime import timedelta

from django.utils import timezone

from integrations.events import CallReport, Direction
from integrations.transport import Deadline
from phones.models import Account, Call, Line
from phones.services.calls import merge_call, merge_recording
from phones.services.carriers import SETTLE_BUDGET_S, connect

# A call is listed by its start and ends up to four hours later; a carrier's lists lag behind a little.
OVERLAP = timedelta(hours=6)
FIRST_PULL = timedelta(hours=24)
# A carrier writes times in whole seconds, by its own clock.
CLOCK_SLACK = timedelta(minutes=1)


def pull(account: Account) -> None:
    """Merge the account's calls and recordings of the last hours, as far as they are on lines of ours.

    Raises IntegrationError and CannotOpen; then the next pull goes back as far as this one.
    """
    began_at = timezone.now()
    since = account.pulled_at - OVERLAP if account.pulled_at else began_at - FIRST_PULL
    provider = connect(account.integration, account.account_id, account.auth_token.open(), Deadline(SETTLE_BUDGET_S))
    lines = {line.number: line for line in account.lines.all()}
    for said in provider.list_calls(since):
        if is_on(lines, said):
            merge_call(account, said, began_at)
    for recording in provider.list_recordings(since):
        call = Call.objects.filter(account=account, carrier_id=recording.call_id).first()
        if call:
            merge_recording(call, recording)
    Account.objects.filter(pk=account.pk).update(pulled_at=began_at)


def is_on(lines: dict[str, Line], said: CallReport) -> bool:
    """Whether a call is on one of the lines, and not from before it was ours."""
    line = lines.get(said.callee if said.direction is Direction.INBOUND else said.caller)
    return line is not None and (said.started_at is None or said.started_at >= line.created_at - CLOCK_SLACK)
