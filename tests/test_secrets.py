"""No secret is ever shown, logged or stored in plain text: canaries, and a search for them everywhere."""

import base64
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from core.secrets import Secret
from phones.models import Account
from phones.numbers import to_e164
from phones.reconciling import reconcile
from phones.services import add_phone
from phones.services.accounts import Credentials
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.canaries import CANARY, canary_account, found
from tests.support.carriers import CARRIERS, TWILIO, Good
from tests.support.database import last_write, written
from tests.support.people import Tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def all_written(transactional_db: None) -> Callable[[], str]:
    """What the test has written, as it lies on the disk."""
    since = last_write()
    return lambda: written(since)


FAULTS: dict[str, Callable[[Sandbox], Any]] = {
    "none": lambda sandbox: None,
    "refused": lambda sandbox: sandbox.fault("status", status=401, times=None),
    "echo": lambda sandbox: sandbox.fault("status", status=400, times=None, body={"message": CANARY, "error": CANARY}),
    "echo-html": lambda sandbox: sandbox.fault("status", status=500, times=None, body=f"<html>{CANARY}</html>"),
    "echo-nonsense": lambda sandbox: sandbox.fault("status", status=200, times=None, body=f"{{{CANARY}"),
    "down": lambda sandbox: sandbox.fault("reset", times=None),
    "truncated": lambda sandbox: sandbox.fault("truncated", times=None),
    "empty": lambda sandbox: sandbox.fault("empty", times=None),
    "huge": lambda sandbox: sandbox.fault("huge", times=None),
    "redirect": lambda sandbox: sandbox.fault("redirect", times=None, location="https://evil.example/"),
    "write-refused": lambda sandbox: sandbox.fault(
        "status", method="POST", status=400, times=None, body={"message": CANARY}
    ),
    "write-lost": lambda sandbox: sandbox.fault("lost_reply", method="POST", times=None),
    "busy": lambda sandbox: sandbox.fault("status", status=429, times=None, body={"message": CANARY}),
}


def test_the_search_finds_what_was_planted(
    sandbox: Sandbox, every_log_line: Callable[[], str], tenant: Tenant, all_written: Callable[[], str]
) -> None:
    logging.getLogger("urllib3.connectionpool").debug("Authorization: %s", CANARY)
    basic = base64.b64encode(f"AC1:{CANARY}".encode()).decode()
    assert found([CANARY], every_log_line())
    assert found([f"AC1:{CANARY}"], f"Basic {basic}")
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        logging.getLogger("some.library").error("failed", exc_info=error)
        assert found([CANARY], "".join(traceback.format_exception(error)))
    tenant.workspace.name = CANARY
    tenant.workspace.save()
    assert found([CANARY], all_written())


@pytest.mark.parametrize("fault", FAULTS)
def test_no_secret_is_told_logged_or_stored(
    sandbox: Sandbox,
    tenant: Tenant,
    carrier: Good,
    every_log_line: Callable[[], str],
    all_written: Callable[[], str],
    fault: str,
) -> None:
    good = canary_account(sandbox, carrier)
    secrets = [CANARY, tenant.token, seeds.TWILIO_ACCOUNT_AUTH_TOKEN, f"{good.acc_sid}:{CANARY}"]
    FAULTS[fault](sandbox)

    reply = add(tenant, good.body(tenant.user), **{"Idempotency-Key": "k"})
    sandbox.clear_faults()
    reconcile()

    assert (reply.status_code == 201) is (fault == "none") or fault == "write-lost"
    assert not found(secrets, reply.content.decode() + str(reply.headers))
    log = every_log_line()
    assert log, "nothing was logged at all: the search would prove nothing"
    assert not found(secrets, log)
    assert not found(secrets, all_written())


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("none", "write-lost")])
def test_no_secret_rides_in_an_exception(sandbox: Sandbox, tenant: Tenant, carrier: Good, fault: str) -> None:
    good = canary_account(sandbox, carrier)
    FAULTS[fault](sandbox)
    with pytest.raises(Exception) as caught:
        add_phone(
            user=tenant.user,
            number=to_e164(good.number),
            integration=good.integration,
            account_id=good.acc_sid,
            auth_token=CANARY,
        )
    error: BaseException | None = caught.value
    told = repr(error) + str(vars(caught.value)) + "".join(traceback.format_exception(caught.value))
    assert not found([CANARY], told)
    assert error and error.__cause__ is None
    while error := error.__context__:
        assert not found([CANARY], repr(error)), "a chained error holds it, for whoever prints more than we do"


@pytest.mark.parametrize("name", sorted(CARRIERS))
def test_no_object_that_holds_a_secret_prints_it(name: str) -> None:
    credentials = Credentials(None, name, "AC1", CANARY, CANARY)
    account = Account(integration=name, account_id="AC1", auth_token=Secret.seal(CANARY), token_digest="x")
    for thing in (credentials, account, account.auth_token, Secret.seal(CANARY)):
        assert not found([CANARY], f"{thing} {thing!r}")


def test_bad_fields_are_not_repeated(tenant: Tenant, every_log_line: Callable[[], str]) -> None:
    for name in ("userId", "phoneNumber", "integration", "authToken", "accSId", "onConflict", "publicKey"):
        body = TWILIO.body(tenant.user, onConflict="replace") | {name: f"{CANARY} é"}
        reply = add(tenant, body)
        assert reply.status_code == 400
        assert CANARY not in reply.content.decode()
    assert add(tenant, json.dumps(TWILIO.body(tenant.user))[:-1] + CANARY).status_code == 400
    assert add(Tenant(tenant.workspace, tenant.user, CANARY), {}).status_code == 401
    assert CANARY not in every_log_line()
