"""Many lines at once."""

import json

from core.secrets import Secret
from phones.models import Account, Line, PhoneNumber, token_digest
from phones.services import carriers
from sandbox.sandbox import Sandbox
from tests.support.people import Tenant


def remembered(line: Line) -> dict[str, str]:
    """The settings that are restored at the carrier one day."""
    assert line.snapshot is not None
    settings: dict[str, str] = json.loads(line.snapshot.open())
    return settings


def many_lines(sandbox: Sandbox, tenant: Tenant, owner: str, count: int, first: int = 0) -> None:
    """Lines of one new Twilio account, all well, without adding each."""
    sandbox.add_account("twilio", owner, f"token-of-{owner}")
    account = Account.objects.create(
        workspace=tenant.workspace,
        integration="twilio",
        account_id=owner,
        auth_token=Secret.seal(f"token-of-{owner}"),
        token_digest=token_digest(f"token-of-{owner}"),
    )
    urls = carriers.urls_for(account)
    lines = []
    for index in range(count):
        number = f"1646{first + index:07}"
        resource = sandbox.add_number(
            "twilio", owner, number,
            voice_url=urls.answer, voice_fallback_url=urls.fallback, status_callback=urls.status,
        )  # fmt: skip
        lines.append(
            Line(
                account=account,
                integration="twilio",
                number=number,
                carrier_id=resource["sid"],
                snapshot=Secret.seal("{}"),
            )
        )
    Line.objects.bulk_create(lines)
    PhoneNumber.objects.bulk_create(
        PhoneNumber(
            user=tenant.user, line=line, number=line.number, integration="twilio", state=PhoneNumber.State.ACTIVE
        )
        for line in lines
    )
