"""What is there after an act: our rows, the carriers' settings, and whether the two agree."""

from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.utils import timezone

from integrations.types import NAME_PREFIX, made_name
from phones.models import Account, Line, PhoneNumber
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.api import ENVELOPE
from tests.support.carriers import SUBJECTS, Subject
from tests.support.lines import remembered
from tests.support.people import Tenant
from users.models import LimitCounter

PASSING = {"used_by", "lease_id", "lease_until", "checked_at", "pulled_at"}


def rows() -> dict[str, list[dict[str, Any]]]:
    """All that we keep, without leases and the note of who used an account last."""
    return {
        model.__name__: sorted(
            (
                {
                    field.attname: getattr(value, "sealed", value)
                    for field in row._meta.concrete_fields
                    if field.attname not in PASSING
                    for value in [getattr(row, field.attname)]
                }
                for row in model.objects.all()
            ),
            key=lambda row: row["id"],
        )
        for model in (Account, Line, PhoneNumber)
    }


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """What differs between two snapshots of the carriers, one line each."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [] if before == after else [f"{path}: {before!r} became {after!r}"]
    names = sorted(before.keys() | after.keys())
    return [line for name in names for line in changes(before.get(name), after.get(name), f"{path}/{name}")]


def assert_envelope(reply: Any, code: str) -> None:
    body = reply.json()
    assert list(body) == ENVELOPE
    assert body["code"] == reply.status_code
    assert "sandbox" not in reply.content.decode().lower(), "a token or a carrier's body is in the reply"
    if not code:
        assert reply.status_code == 201, body
        return
    assert reply.status_code != 201, f"{code} was expected"
    assert body["data"]["error"] == code, body
    assert reply.status_code == (500 if code in ("webhook_setup_failed", "carrier_unavailable") else 400)


def our_applications(sandbox: Sandbox, subject: Subject, workspace_id: str | None = None) -> list[dict[str, Any]]:
    """What we made in the subject's account at its carrier, for all workspaces or for one."""
    name = made_name(f"{django_settings.PUBLIC_URL} {workspace_id}") if workspace_id else NAME_PREFIX
    owner = sandbox.state.account(subject.integration, subject.owner)
    named = owner.applications.values()
    return [one for one in named if str(one.get("app_name") or one.get("friendly_name") or "").startswith(name)]


def assert_routed(sandbox: Sandbox, subject: Subject, number: str, account: Account) -> None:
    """The number's calls come to us, and nothing was made twice."""
    base_url = f"{django_settings.PUBLIC_URL}/api/webhooks/{subject.integration}/{account.webhook_token}"
    there = sandbox.state.account(subject.integration, subject.owner).numbers[number]
    if subject.integration == "twilio":
        assert there["voice_url"] == f"{base_url}/answer"
        assert there["voice_fallback_url"] == f"{base_url}/fallback"
        assert there["status_callback"] == f"{base_url}/status"
        assert not there["trunk_sid"] and not there["voice_application_sid"]
        return
    (application,) = our_applications(sandbox, subject, account.workspace_id)
    if subject.integration == "plivo":
        assert there["application"].endswith(f"/Application/{application['app_id']}/")
        assert application["answer_url"] == f"{base_url}/answer"
        assert application["hangup_url"] == f"{base_url}/status"
    else:
        assert there["connection_id"] == application["id"]
        assert application["voice_url"] == f"{base_url}/answer"
        assert application["status_callback"] == f"{base_url}/status"
    assert account.application_id in (application.get("app_id"), application.get("id"))


def assert_active(sandbox: Sandbox, subject: Subject, tenant: Tenant, number: str) -> PhoneNumber:
    """The user has the number, once, complete and routed."""
    phone = PhoneNumber.objects.get(user=tenant.user, number=number)
    assert phone.state == PhoneNumber.State.ACTIVE
    assert (phone.lease_id, phone.lease_until, phone.operation) == ("", None, None)
    assert phone.line is not None
    assert phone.line.lease_id == "", "the line is still leased"
    assert phone.line.account.lease_id == "", "the account is still leased"
    assert phone.line.account.auth_token.open() == subject.good.auth_token
    assert_routed(sandbox, subject, number, phone.line.account)
    return phone


def assert_remembers(phone: PhoneNumber, name: str) -> None:
    field, value = SUBJECTS[name].good.remembered
    assert phone.line is not None
    assert remembered(phone.line)[field] == value, "the line does not remember the customer's route"


def asked_of_carrier(sandbox: Sandbox) -> int:
    """How many times the account was asked about: once for each try of credentials."""
    return len(
        [call for call in sandbox.ledger if call.path.endswith(".json") and "IncomingPhoneNumbers" not in call.path]
    )


def start_over(sandbox: Sandbox) -> None:
    sandbox.reset()
    for model in (PhoneNumber, Line, Account, LimitCounter):
        model.objects.all().delete()


def assert_gone(sandbox: Sandbox, rows_before: dict[str, list[dict[str, Any]]], carriers_before: Any) -> None:
    """No number and no setting is other than before, nor is any row once what is in doubt is settled."""
    assert changes(carriers_before, sandbox.snapshot()) == []
    assert rows()["PhoneNumber"] == rows_before["PhoneNumber"]
    settle()
    assert changes(carriers_before, sandbox.snapshot()) == []
    assert rows() == rows_before


def is_in_doubt() -> bool:
    """Whether we look again at a line, because the carrier may still carry out a change of ours."""
    return Line.objects.exclude(unsettled_until=None).exists()


def settle() -> None:
    """What `reconcile` does of its own, until it has looked at each line in doubt for the last time."""
    for _ in range(2):
        age_leases()
        assert reconcile().failed == 0


def age_leases() -> None:
    """As if the time that a lease lasts, or a late change may take, had gone by."""
    past = timezone.now() - timedelta(hours=1)
    Line.objects.exclude(unsettled_until=None).update(unsettled_until=past)
    for model in (PhoneNumber, Line, Account):
        model.objects.exclude(lease_until=None).update(lease_until=past)
