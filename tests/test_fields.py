"""Model fields and the encryption behind them."""

import base64
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from django.core import serializers
from django.core.exceptions import ValidationError
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from core.fields import MillisecondField, ObjectIdField, new_object_id, whole_milliseconds
from core.secrets import CannotOpen, Secret, is_key
from phones.api.fields import OwnerField
from phones.models import Account
from tests.support.database import stored
from users.models import Workspace

pytestmark = pytest.mark.engine


def new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def new_account(**fields: Any) -> Account:
    given = {"integration": "twilio", "account_id": "AC1", "auth_token": Secret.seal("the token"), "token_digest": "x"}
    return Account.objects.create(**(given | fields))


# -- Secret -----------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_secret_is_opened_as_it_was_sealed(text: str) -> None:
    secret = Secret.seal(text)
    assert secret.open() == text
    assert Secret(secret.sealed).open() == text
    assert len(text) < 8 or text not in secret.sealed


def test_a_secret_never_prints_itself() -> None:
    secret = Secret.seal("hunter2-hunter2")
    shown = f"{secret} {secret!r} {[secret]}"
    assert shown == "<Secret> <Secret> [<Secret>]"
    assert secret.sealed not in shown


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert Secret.seal("x").sealed != Secret.seal("x").sealed


def test_the_newest_key_seals_and_every_key_opens(settings: Any) -> None:
    old, new = new_key(), new_key()
    settings.CREDENTIAL_KEYS = [old]
    sealed_before = Secret.seal("before")
    settings.CREDENTIAL_KEYS = [new, old]
    sealed_after = Secret.seal("after")
    assert (sealed_before.open(), sealed_after.open()) == ("before", "after")
    settings.CREDENTIAL_KEYS = [new]
    assert sealed_after.open() == "after"
    with pytest.raises(CannotOpen):
        sealed_before.open()


@pytest.mark.parametrize(
    "spoil", [lambda text: text[:-1], lambda text: "A" + text[1:], lambda text: "", lambda text: "plain"]
)
def test_changed_bytes_cannot_be_opened(spoil: Any) -> None:
    with pytest.raises(CannotOpen) as caught:
        Secret(spoil(Secret.seal("hunter2").sealed)).open()
    assert "CREDENTIAL_KEYS" in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "good"),
    [(base64.urlsafe_b64encode(bytes(range(224, 256))).decode(), True), ("", False), ("short", False), (base64.urlsafe_b64encode(bytes(31)).decode(), False),
     (base64.urlsafe_b64encode(bytes(33)).decode(), False), ("ключ" * 11, False), ("a" * 43, False), ("!" * 44, False)],
)  # fmt: skip
def test_a_key_is_url_safe_base64_of_32_bytes(text: str, good: bool) -> None:
    assert is_key(text) is good


# -- SecretField ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_database_holds_only_the_sealed_form() -> None:
    account = new_account()
    (sealed,) = stored(Account, "auth_token")
    assert "the token" not in sealed
    assert Account.objects.get(pk=account.pk).auth_token.open() == "the token"


@pytest.mark.django_db
@pytest.mark.parametrize("plain", ["the token", b"x", 5])
def test_plain_text_cannot_be_saved_by_mistake(plain: Any) -> None:
    account = new_account()
    for save in (
        lambda: Account.objects.filter(pk=account.pk).update(auth_token=plain),
        lambda: new_account(auth_token=plain),
    ):
        with pytest.raises(TypeError, match="Secret"), transaction.atomic():
            save()


@pytest.mark.django_db
def test_a_row_whose_key_is_gone_can_be_listed_and_saved_without_loss(settings: Any) -> None:
    account = new_account()
    sealed, keys = stored(Account, "auth_token"), settings.CREDENTIAL_KEYS
    settings.CREDENTIAL_KEYS = [new_key()]
    (listed,) = Account.objects.all()
    with pytest.raises(CannotOpen):
        listed.auth_token.open()
    listed.public_key = "changed"
    listed.save()
    assert stored(Account, "auth_token") == sealed
    settings.CREDENTIAL_KEYS = keys
    assert Account.objects.get(pk=account.pk).auth_token.open() == "the token"


@pytest.mark.django_db
def test_a_dump_holds_the_sealed_form_and_can_be_loaded() -> None:
    account = new_account()
    dump = serializers.serialize("json", [account])
    assert "the token" not in dump
    account.delete()
    for row in serializers.deserialize("json", dump):
        row.save()
    again = Account.objects.get()
    assert again.auth_token.open() == "the token"
    assert again.previous_auth_token is None


# -- ObjectIdField ----------------------------------------------------------------------------------------------------


def test_mongodb_reads_the_second_from_a_new_id() -> None:
    assert abs(ObjectId(new_object_id()).generation_time.timestamp() - time.time()) < 60


def test_a_forked_process_makes_other_ids() -> None:
    program = """
import os
from core.fields import new_object_id
new_object_id()
if os.fork():
    os.wait()
print(new_object_id())
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    ours, theirs = (one[8:18] for one in told)
    assert ours != theirs


def test_a_new_id_is_24_lower_case_hex_digits_and_new() -> None:
    ids = {new_object_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 24 and int(one, 16) and one == one.lower() for one in ids)


@pytest.mark.django_db
def test_an_id_in_upper_case_is_the_same_id() -> None:
    workspace = Workspace.objects.create(name="one")
    assert Workspace.objects.get(pk=workspace.pk.upper()) == workspace
    assert ObjectIdField().to_python(workspace.pk.upper()) == workspace.pk


@given(st.text().filter(lambda text: text != "") | st.integers() | st.binary(min_size=1))
def test_what_is_no_id_is_a_validation_error(value: Any) -> None:
    text = str(value)
    if len(text) == 24 and all(one in "0123456789abcdefABCDEF" for one in text):
        return
    with pytest.raises(ValidationError):
        ObjectIdField().to_python(value)


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_id_is_none(value: Any) -> None:
    assert ObjectIdField().to_python(value) is None


# -- MillisecondField -------------------------------------------------------------------------------------------------


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_loses_what_is_below_a_millisecond_and_nothing_else(moment: datetime) -> None:
    kept = whole_milliseconds(moment)
    assert kept.microsecond % 1000 == 0
    assert 0 <= (moment - kept).total_seconds() < 0.001
    assert MillisecondField().get_prep_value(moment) == kept


@pytest.mark.django_db
def test_a_saved_row_has_the_time_that_the_database_has() -> None:
    workspace = Workspace.objects.create(name="one")
    assert workspace.created_at == Workspace.objects.get(pk=workspace.pk).created_at


@pytest.mark.parametrize(
    "around", ["\u200b{}", "{}\ufeff", "\u202a{}\u202c", "\u2068{}\u2069", "\u200e{}\u200f", " {}\n"]
)
def test_an_owner_is_read_without_what_is_pasted_around_the_address(around: str) -> None:
    assert OwnerField().run_validation(around.format("Ann@example.com")) == "ann@example.com"
