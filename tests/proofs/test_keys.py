"""A wrong key stops the start, a lost one costs what it sealed and nothing else, and keys can be changed under load."""

import base64
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection, transaction

from core import keys
from core.models import SealingKey
from core.resealing import reseal_all
from core.secrets import Secret
from phones.models import Account, Line, PhoneNumber, token_digest
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE, PROJECT
from tests.support.api import add, check, data_of, reasons, send
from tests.support.carriers import TWILIO, Good
from tests.support.database import seen, shared_url, stored
from tests.support.live import run_manage, run_server, serve
from tests.support.people import Tenant
from users.models import StaffDevice

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("new_process")]

ROWS = 10_000 if EVERY_CASE else 400
KILLS = 20 if EVERY_CASE else 4


def new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def commanded(*arguments: str, credential_keys: list[str]) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"DATABASE_URL": shared_url(), "CREDENTIAL_KEYS": ",".join(credential_keys)}
    return run_manage("rotate_credential_keys", *arguments, env=env)


def lose_the_key(settings: Any) -> None:
    settings.CREDENTIAL_KEYS = [new_key()]
    keys.keep_only_configured()


# -- which keys belong to a database ----------------------------------------------------------------------------------


def test_a_server_with_a_wrong_key_does_not_start(sandbox: Sandbox, tmp_path: Path) -> None:
    with serve(tmp_path, sandbox) as live:
        body = {
            "userId": live.user,
            "phoneNumber": TWILIO.number,
            "integration": "twilio",
            "authToken": TWILIO.auth_token,
            "accSId": TWILIO.acc_sid,
        }
        bearer = {"Authorization": f"Bearer {live.token}"}
        reply = requests.post(f"{live.url}/api/call/add-phone", json=body, headers=bearer, timeout=30)
        assert reply.status_code == 201
        before = live.database.rows("phones_account", "auth_token")
        started = run_server(live.env | {"BIND": "127.0.0.1:0", "CREDENTIAL_KEYS": new_key()})
        assert started.returncode != 0
        assert "CREDENTIAL_KEYS has none of the keys" in started.stderr and "Traceback" not in started.stderr
        assert live.database.rows("phones_account", "auth_token") == before


def test_nothing_is_written_under_a_wrong_key(settings: Any) -> None:
    account = an_account(0)
    account.save()
    settings.CREDENTIAL_KEYS = [new_key()]
    with pytest.raises(keys.WrongKey):
        an_account(1).save()
    with pytest.raises(keys.WrongKey):
        Account.objects.update(auth_token=Secret.seal("another"))
    assert stored(Account, "auth_token") == [account.auth_token.sealed]


def test_a_new_key_in_front_is_admitted_and_a_missing_one_is_told(settings: Any) -> None:
    an_account(0).save()
    (old,) = settings.CREDENTIAL_KEYS
    settings.CREDENTIAL_KEYS = [new_key(), old]
    an_account(1).save()
    assert keys.missing() == []
    settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
    assert keys.missing() == [keys.check_value(old)]


def test_the_database_is_asked_for_its_keys_once_a_process_and_again_if_that_was_undone() -> None:
    def asks() -> bool:
        with seen() as statements, transaction.atomic():
            Account.objects.update(auth_token=Secret.seal("another"))
        return any(statement.table == SealingKey._meta.db_table for statement in statements)

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        an_account(0).save()
        raise ZeroDivisionError
    assert asks() == connection.features.supports_transactions, "MongoDB undoes nothing"
    assert not asks()


def test_a_check_value_tells_nothing_of_the_key() -> None:
    key = new_key()
    assert len({keys.check_value(key), keys.check_value(new_key())}) == 2
    assert keys.check_value(key) not in key


# -- a lost key -------------------------------------------------------------------------------------------------------


def test_with_a_lost_key_numbers_are_listed_and_entering_the_token_again_mends_them(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good, settings: Any
) -> None:
    sealed = stored(Account, "auth_token")
    lose_the_key(settings)

    assert [one["_id"] for one in data_of(send("GET", "phones", tenant))["items"]] == [phone.pk]
    checked = check(phone, tenant)
    assert (checked["health"], reasons(checked)) == ("drift", {"credentials_unreadable"})
    assert check(phone, tenant, repair=True)["repaired"] is False
    assert stored(Account, "auth_token") == sealed

    assert send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": carrier.auth_token}).status_code == 200
    assert check(phone, tenant)["health"] == "ok"
    assert Account.objects.get().auth_token.open() == carrier.auth_token


def test_another_number_with_the_token_mends_the_account_too(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, colleague: Tenant, carrier: Good, settings: Any
) -> None:
    lose_the_key(settings)
    assert add(colleague, carrier.body(colleague.user)).status_code == 201
    assert check(phone, tenant)["health"] == "ok"


def test_a_number_whose_settings_before_are_lost_can_be_removed(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good, settings: Any
) -> None:
    lose_the_key(settings)
    assert send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": carrier.auth_token}).status_code == 200
    assert send("DELETE", f"phones/{phone.pk}", tenant).status_code == 200
    assert not PhoneNumber.objects.exists() and not Line.objects.exists()


def test_a_number_whose_key_may_come_back_is_removed_when_it_is_back(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, settings: Any
) -> None:
    before, own = sandbox.snapshot(), settings.CREDENTIAL_KEYS
    settings.CREDENTIAL_KEYS = [new_key()]
    assert data_of(send("DELETE", f"phones/{phone.pk}", tenant))["restored"] is False
    assert reconcile().failed and sandbox.snapshot() == before
    settings.CREDENTIAL_KEYS = own
    PhoneNumber.objects.update(lease_until="2020-01-01T00:00Z")
    assert not reconcile().failed
    assert not PhoneNumber.objects.exists() and sandbox.snapshot() != before


def test_an_add_whose_token_is_lost_is_ended(phone: PhoneNumber, settings: Any) -> None:
    """It was active and had a new token, and then its process died; now nobody can read that token."""
    kept = Secret.seal(json.dumps({"auth_token": "a new one"}))
    PhoneNumber.objects.update(operation=kept, lease_until="2020-01-01T00:00Z")
    own = settings.CREDENTIAL_KEYS
    settings.CREDENTIAL_KEYS = [new_key()]
    assert reconcile().failed == 1, "the key may come back"
    settings.CREDENTIAL_KEYS = own
    lose_the_key(settings)
    assert reconcile().failed == 0
    phone.refresh_from_db()
    assert (phone.state, phone.operation, phone.lease_until) == (PhoneNumber.State.ACTIVE, None, None)


def test_a_staff_member_whose_device_cannot_be_read_is_told(settings: Any, supervisor: Any, client: Any) -> None:
    settings.STAFF_TOTP = True
    StaffDevice.objects.create(user=supervisor, secret=Secret.seal("JBSWY3DPEHPK3PXP"))
    settings.CREDENTIAL_KEYS = [new_key()]
    client.force_login(supervisor)
    page = client.post("/admin/totp/", {"code": "123456"})
    assert page.status_code == 503 and "reset_totp" in page.content.decode()


# -- changing the key -------------------------------------------------------------------------------------------------


def test_rotation_leaves_nothing_under_the_old_key(phone: PhoneNumber, supervisor: Any, settings: Any) -> None:
    StaffDevice.objects.create(user=supervisor, secret=Secret.seal("JBSWY3DPEHPK3PXP"))
    (old,), new = settings.CREDENTIAL_KEYS, new_key()
    done = commanded(credential_keys=[new, old])
    assert done.returncode == 0, done.stderr
    assert "remove the other keys" in done.stdout
    settings.CREDENTIAL_KEYS = [new]
    for secret in (
        Account.objects.get().auth_token, Line.objects.get().snapshot, StaffDevice.objects.get().secret
    ):  # fmt: skip
        assert secret and secret.is_readable()
    assert [row.check_value for row in SealingKey.objects.all()] == [keys.check_value(new)]
    assert commanded(credential_keys=[new]).stdout.startswith("0 secrets")


def test_a_secret_whose_key_is_missing_is_told_and_left_alone(phone: PhoneNumber, settings: Any) -> None:
    sealed, spare = stored(Account, "auth_token"), new_key()
    assert commanded(credential_keys=[spare]).returncode == 1, "a wrong key"
    settings.CREDENTIAL_KEYS = [spare, *settings.CREDENTIAL_KEYS]
    keys.admit_newest()
    done = commanded(credential_keys=[spare])
    assert done.returncode == 3
    assert "Enter the auth token again" in done.stdout and "--key-lost" in done.stdout
    assert stored(Account, "auth_token") == sealed
    assert len(keys.missing()) == 0 and SealingKey.objects.count() == 2

    lost = commanded("--key-lost", credential_keys=[spare])
    assert lost.returncode == 3 and "Enter the auth token again" in lost.stdout
    assert stored(Account, "auth_token") == sealed
    assert [row.check_value for row in SealingKey.objects.all()] == [keys.check_value(spare)]


@pytest.mark.parametrize("by_new_key", [True, False])
def test_what_is_written_meanwhile_stays(settings: Any, monkeypatch: pytest.MonkeyPatch, by_new_key: bool) -> None:
    an_account(0).save()
    (old,) = settings.CREDENTIAL_KEYS
    settings.CREDENTIAL_KEYS = [new_key(), old]
    resealed = Secret.resealed

    def overtaken(self: Secret) -> Secret:
        monkeypatch.setattr(Secret, "resealed", resealed)
        both = settings.CREDENTIAL_KEYS
        settings.CREDENTIAL_KEYS = both if by_new_key else [old]  # a process that was not restarted yet
        Account.objects.update(auth_token=Secret.seal("newer"))
        settings.CREDENTIAL_KEYS = both
        return resealed(self)

    monkeypatch.setattr(Secret, "resealed", overtaken)
    reseal_all()
    settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
    assert Account.objects.get().auth_token.open() == "newer"


def is_rotated(account: Account) -> bool:
    """Its previous token is sealed with the newest key."""
    assert account.previous_auth_token is not None
    return account.previous_auth_token.is_readable(keys=1)


def test_rotation_under_load_and_kills_loses_nothing(settings: Any) -> None:
    """Others write tokens all the while, and the command is killed again and again."""
    Account.objects.bulk_create([an_account(number) for number in range(ROWS)], batch_size=500)
    (old,), new = settings.CREDENTIAL_KEYS, new_key()
    settings.CREDENTIAL_KEYS = [new, old]  # as a server after its restart
    ids, written, stop = list(Account.objects.order_by("pk").values_list("pk", flat=True)), {}, threading.Event()

    def load() -> None:
        try:
            while not stop.is_set():
                pk, token = random.choice(ids), f"token-{random.randrange(10**12)}"
                Account.objects.filter(pk=pk).update(auth_token=Secret.seal(token))
                written[pk] = token
                time.sleep(0.002)
        finally:
            connection.close()

    writer = threading.Thread(target=load)
    writer.start()
    env = os.environ | {"DATABASE_URL": shared_url(), "CREDENTIAL_KEYS": f"{new},{old}"}
    command = [sys.executable, "manage.py", "rotate_credential_keys"]
    killed = 0
    try:
        for place in range(1, KILLS + 1):
            marked = Account.objects.filter(pk=ids[ROWS * place // (KILLS + 1)])
            rotation = subprocess.Popen(command, cwd=PROJECT, env=env, stdout=subprocess.DEVNULL)
            while rotation.poll() is None and not is_rotated(marked.get()):
                time.sleep(0.001)
            rotation.kill()
            killed += rotation.wait() < 0
        done = commanded(credential_keys=[new, old])
    finally:
        stop.set()
        writer.join()
    assert done.returncode == 0, done.stderr
    assert killed == KILLS and written
    settings.CREDENTIAL_KEYS = [new]
    tokens = {account.pk: account.auth_token.open() for account in Account.objects.iterator()}
    assert len(tokens) == ROWS
    assert {pk: tokens[pk] for pk in written} == written
    assert keys.missing() == []


def an_account(number: int) -> Account:
    token = f"the token of {number}"
    return Account(
        integration="twilio",
        account_id=f"AC{number:032x}",
        auth_token=Secret.seal(token),
        token_digest=token_digest(token),
        previous_auth_token=Secret.seal(f"before {token}"),
    )
