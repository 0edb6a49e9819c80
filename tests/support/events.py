"""Tell events at the door and compare the call log."""

import itertools
from typing import Any

from integrations.webhooks import digest
from phones.models import Call
from phones.services.calls import record_event
from tests.support.carriers import CARRIERS
from tests.support.dialects import Body, Dialect, encoded
from tests.support.webhooks import Party, send

# Which address a carrier would use matters to none of them.
KINDS = ("answer", "status", "recording", "done", "fallback", "status", "recording")


def post(party: Party, body: Body, kind: str = "status") -> Any:
    """As the carrier does, signed now."""
    query = ""
    if isinstance(body, bytes) and party.row.integration == "twilio":
        query = f"bodySHA256={digest(body)}"
    return send(party.knock(kind, body, query=query, timestamp=None))


TOLD = itertools.count()


def tell(party: Party, body: Body) -> None:
    """Past the door, as an event of its own."""
    record_event(party.row, "status", encoded(body), digest(f"{next(TOLD)}".encode()))


OUR_BOOKKEEPING = {"id", "version", "created_at"}


def fields(row: Any) -> dict[str, Any]:
    """All that a row says, but when and under which id we wrote it."""
    names = [field.attname for field in row._meta.concrete_fields if field.attname not in OUR_BOOKKEEPING]
    return {name: getattr(row, name) for name in names}


def log_of(call_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    call = Call.objects.get(carrier_id=call_id)
    recordings = [fields(one) | {"call_id": "its"} for one in call.recordings.order_by("carrier_id")]
    return fields(call), recordings


def assert_log(party: Party, dialect: Dialect, call_id: str) -> None:
    call, recordings = log_of(call_id)
    number = CARRIERS[dialect.carrier].number
    line = party.row.lines.get()
    own = {"account_id": party.row.pk, "line_id": line.pk, "carrier_id": call_id, "callee": number}
    assert call == dialect.known | own
    (recording,) = recordings
    link = recording["url"]
    assert recording == dialect.recorded | {
        "account_id": party.row.pk, "call_id": "its", "carrier_id": f"RE-{call_id}", "url": dialect.recorded.get("url", link),
    }  # fmt: skip
    assert link == "" or f"RE-{call_id}" in link
