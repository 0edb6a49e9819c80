"""How staff sign in, what stops those who guess, and what each group may do."""

import contextlib
import json
import os
import re
import time
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from core.rates import parse_rate
from tests.support.database import seen, whole_database
from tests.support.live import run_manage
from tests.support.people import BAD_NAMES, GOOD_NAMES, Tenant, code_of, new_staff, shown_key, sign_in
from tests.support.races import together
from users import limits
from users.models import AuditEntry, LimitCounter, StaffDevice, User, Workspace
from users.staff import login
from users.staff.totp import PASSWORD_LASTS

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
CANARY = "Tr0ub4dor&3-canary"


@pytest.fixture(autouse=True)
def half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """In which the whole test takes place: codes are of half minutes."""
    now = time.time()
    monkeypatch.setattr("django_otp.oath.time", lambda: now)
    monkeypatch.setattr("users.models.time", SimpleNamespace(time=lambda: now))


@pytest.fixture(autouse=True)
def fast_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def not_at_the_turn_of_a_window() -> None:
    """Passwords are counted in quarters of the clock's hour."""
    while 900 - time.time() % 900 < 10:
        time.sleep(1)


@pytest.fixture
def ann(staff: User) -> User:
    staff.set_password(PASSWORD)
    staff.save()
    return staff


def give_password(client: Client, email: str, password: str, address: str = "192.0.2.1", **headers: str) -> Any:
    return client.post("/admin/login/", {"username": email, "password": password, "next": "/admin/users/user/"},
                       REMOTE_ADDR=address, headers=headers)  # fmt: skip


def give_code(client: Client, code: str) -> Any:
    return client.post("/admin/totp/", {"code": code, "next": "/admin/users/user/"})


def past_password(user: User) -> Client:
    """A browser in which the password was right and a code is asked for."""
    client = Client()
    assert give_password(client, user.email, PASSWORD).status_code == 302
    return client


def key_of(user: User) -> str:
    return StaffDevice.objects.get(user=user).secret.open()


def told() -> list[tuple[str, str]]:
    """What the audit trail says, oldest first."""
    return list(AuditEntry.objects.order_by("at", "id").values_list("action", "outcome"))


# -- the second factor ------------------------------------------------------------------------------------------------


def test_the_first_sign_in_sets_up_a_device_and_the_next_asks_for_its_code(ann: User) -> None:
    client = past_password(ann)
    page = client.get("/admin/", follow=True)
    assert page.redirect_chain[-1][0] == "/admin/totp/?next=%2Fadmin%2F"
    assert b'class="totp-qr"><svg' in page.content and b"data:" not in page.content and b"style=" not in page.content
    key = shown_key(page)
    assert shown_key(client.get("/admin/totp/")) == key, "opening the page again does not spoil what was scanned"
    done = give_code(client, code_of(key))
    assert (done.status_code, done["Location"]) == (302, "/admin/users/user/")
    assert client.get("/admin/users/user/").status_code == 200
    assert told() == [("login", "code_needed"), ("totp.enrolled", "ok"), ("login", "ok")]

    second = past_password(ann)
    page = second.get("/admin/totp/")
    assert b"totp-qr" not in page.content and key.encode() not in page.content
    code = code_of(key, steps=1)
    assert give_code(second, f"{code[:3]} {code[3:]}").status_code == 302
    assert second.get("/admin/users/user/").status_code == 200
    assert set(AuditEntry.objects.values_list("actor_kind", "actor")) == {("staff", ann.email)}


def admin_addresses(user: User) -> list[str]:
    return ["/admin/", "/admin/users/", "/admin/users/user/", f"/admin/users/user/{user.pk}/change/", "/admin/users/auditentry/",
            f"/admin/users/user/{user.pk}/password/", "/admin/users/apitoken/add/", "/admin/password_change/", "/admin/jsi18n/",
            "/admin/autocomplete/?term=a&app_label=users&model_name=user&field_name=workspace", "/admin/no/such/page"]  # fmt: skip


@pytest.mark.engine
@pytest.mark.parametrize("has_device", [False, True])
def test_before_the_code_nothing_of_the_admin_can_be_reached(ann: User, has_device: bool) -> None:
    ann.is_superuser = True
    ann.save()
    if has_device:
        sign_in(ann)
    client = past_password(ann)
    for address in admin_addresses(ann):
        for method in (client.get, client.post):
            reply = method(address)
            assert (reply.status_code, reply["Location"].split("?")[0]) == (302, "/admin/login/"), address
    assert client.post("/admin/logout/").status_code == 200
    assert client.get("/admin/totp/").status_code == 302


def test_a_wrong_code_is_said_beside_its_field(ann: User) -> None:
    sign_in(ann)
    client = past_password(ann)
    for code in ("000000", "", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "9" * 400):
        reply = give_code(client, code)
        assert reply.status_code == 200 and reply.context["form"].errors["code"], code
    assert client.get("/admin/users/user/").status_code == 302
    assert ("totp.failed", "wrong_code") in told()


def test_a_code_is_good_once(ann: User) -> None:
    sign_in(ann)
    used = StaffDevice.objects.get().last_step
    key = key_of(ann)
    assert give_code(past_password(ann), code_of(key)).status_code == 200, "it was used to set the device up"
    next_code = code_of(key, steps=1)
    assert give_code(past_password(ann), next_code).status_code == 302
    assert give_code(past_password(ann), next_code).status_code == 200
    assert StaffDevice.objects.get().last_step > used


@pytest.mark.engine
def test_of_two_who_show_a_code_at_once_one_wins(ann: User) -> None:
    sign_in(ann)
    code = code_of(key_of(ann), steps=1)
    first, second = StaffDevice.objects.get(), StaffDevice.objects.get()
    assert [first.verify_token(code), second.verify_token(code)] == [True, False]


def test_too_many_wrong_codes_are_refused_for_a_while_even_the_right_one(ann: User, settings: Any) -> None:
    settings.LIMITS = {**settings.LIMITS, "codes": parse_rate("3/hour")}
    sign_in(ann)
    client = past_password(ann)
    for _ in range(3):
        assert give_code(client, "000000").status_code == 200
    reply = give_code(past_password(ann), code_of(key_of(ann), steps=1))
    assert reply.status_code == 429 and int(reply["Retry-After"]) <= 3600
    assert re.search(r"Too many incorrect codes\. Try again in \d+ min\.", reply.content.decode())


@pytest.mark.engine
def test_a_key_is_sealed_and_nobody_else_is_shown_it(ann: User, caplog: pytest.LogCaptureFixture) -> None:
    mine, theirs = past_password(ann), past_password(ann)
    key, other = shown_key(mine.get("/admin/totp/")), shown_key(theirs.get("/admin/totp/"))
    assert key != other, "who also has the password sees another key"
    assert shown_key(give_code(theirs, "000000")) == other
    assert not StaffDevice.objects.exists()
    bare = key.replace(" ", "")
    assert give_code(mine, code_of(key)).status_code == 302
    assert give_code(theirs, code_of(other)).status_code == 200, "a device is there by now"
    assert not Client().get("/admin/totp/").content
    rows = whole_database()
    sessions = [str(session.get_decoded()) for session in Session.objects.all()]
    assert bare not in " ".join([*rows, *sessions, caplog.text]) and key_of(ann) == bare


def test_who_gave_the_password_long_ago_gives_it_again(ann: User) -> None:
    client = past_password(ann)
    session = client.session
    session["password_at"] = time.time() - PASSWORD_LASTS.total_seconds() - 1
    session.save()
    assert client.get("/admin/totp/")["Location"].startswith("/admin/login/")
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("next_url", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_it_does_not_lead_elsewhere(ann: User, next_url: str) -> None:
    client = past_password(ann)
    key = shown_key(client.get("/admin/totp/", {"next": next_url}))
    assert client.post("/admin/totp/", {"code": code_of(key), "next": next_url})["Location"] == "/admin/"


def test_it_can_be_switched_off(ann: User, settings: Any) -> None:
    settings.STAFF_TOTP = False
    assert past_password(ann).get("/admin/users/user/").status_code == 200
    assert told() == [("login", "ok")]


def test_production_demands_it(settings: Any) -> None:
    assert "workspace.E006" not in {found.id for found in run_checks(include_deployment_checks=True)}
    settings.STAFF_TOTP = False
    assert "workspace.E006" in {found.id for found in run_checks(include_deployment_checks=True)}


@pytest.mark.parametrize(("public_url", "on"), [("https://phones.example.com", True), ("http://127.0.0.1:8000", False)])
def test_it_is_on_wherever_carriers_can_call(public_url: str, on: bool) -> None:
    shown = run_manage("diffsettings", env=os.environ | {"PUBLIC_URL": public_url}).stdout
    assert f"STAFF_TOTP = {on}" in shown


# -- resetting it -----------------------------------------------------------------------------------------------------


def reset(client: Client, user: User) -> Any:
    data = {"action": "reset_totp", "_selected_action": [user.pk]}
    return client.post("/admin/users/user/", data, follow=True)


@pytest.mark.engine
def test_a_supervisor_resets_the_device_of_a_colleague(staff: User, supervisor: User) -> None:
    theirs, desk = sign_in(staff), sign_in(supervisor)
    assert reset(desk, staff).status_code == 200
    assert not StaffDevice.objects.filter(user=staff).exists()
    assert theirs.get("/admin/users/user/").status_code == 302, "open sessions are shut out"
    row = AuditEntry.objects.get(action="totp.reset")
    assert (row.actor, row.detail) == (supervisor.email, staff.email)
    sign_in(staff)


@pytest.mark.engine
def test_support_resets_nobody_and_a_supervisor_no_superuser(staff: User, supervisor: User) -> None:
    root = new_staff("root@example.com", is_superuser=True)
    sign_in(root)
    assert reset(sign_in(supervisor), root).status_code == 200
    reset(sign_in(staff), supervisor)
    assert StaffDevice.objects.count() == 3
    assert not AuditEntry.objects.filter(action="totp.reset").exists()


@pytest.mark.engine
def test_the_command_resets_too(staff: User) -> None:
    sign_in(staff)
    call_command("reset_totp", " Support@Example.com ", stdout=StringIO())
    assert not StaffDevice.objects.exists()
    with pytest.raises(CommandError, match="no user"):
        call_command("reset_totp", "nobody@example.com")


# -- guessing passwords -----------------------------------------------------------------------------------------------


def guess(email: str, times: int, address: str = "192.0.2.1") -> list[int]:
    return [give_password(Client(), email, CANARY, address).status_code for _ in range(times)]


@pytest.mark.engine
@pytest.mark.parametrize("email", ["support@example.com", "nobody@example.com"])
def test_five_wrong_passwords_lock_an_address_out_whether_or_not_the_account_exists(ann: User, email: str) -> None:
    assert guess(email, 7) == [200] * 5 + [429] * 2
    page = give_password(Client(), email, PASSWORD)
    assert page.status_code == 429 and 0 < int(page["Retry-After"]) <= 901
    assert "Try again in " in page.content.decode() and " minute" in page.content.decode()
    assert "Content-Security-Policy" in page.headers
    assert give_password(Client(), ann.email, PASSWORD, "192.0.2.2").status_code == 302, "elsewhere it can be used"
    assert told()[:6] == [("login.failed", "invalid_credentials")] * 5 + [("login.locked", "throttled")]
    assert AuditEntry.objects.filter(action="login.locked").count() == 1
    assert AuditEntry.objects.filter(action="login.failed").first().actor == email  # type: ignore[union-attr]


def test_neither_the_case_of_the_address_nor_another_browser_makes_a_difference(ann: User) -> None:
    for email in (
        "support@example.com",
        "SUPPORT@example.com",
        "Support@Example.COM",
        " support@example.com",
        "sUPPORT@example.com",
        "support@EXAMPLE.com",
    ):
        last = give_password(Client(), email, CANARY, **{"User-Agent": email})
    assert last.status_code == 429


def test_who_tries_many_accounts_is_locked_out_altogether(ann: User) -> None:
    statuses = [guess(f"user{number}@example.com", 1)[0] for number in range(20)]
    assert statuses == [200] * 20
    assert guess("another@example.com", 1) == [429]
    assert give_password(Client(), ann.email, PASSWORD).status_code == 429


def test_right_passwords_are_not_counted(ann: User) -> None:
    guess(ann.email, 4)
    for _ in range(8):
        past_password(ann)
    assert guess(ann.email, 2) == [200, 429]


@pytest.mark.engine
def test_the_lock_ends_by_itself(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    guess(ann.email, 5)
    locked = give_password(Client(), ann.email, PASSWORD)
    later = timezone.now() + timedelta(seconds=int(locked["Retry-After"]))
    monkeypatch.setattr("core.clock.now", lambda: later)
    past_password(ann)


def test_the_right_password_of_a_customer_is_a_failure_like_any_other(tenant: Tenant) -> None:
    tenant.user.set_password(PASSWORD)
    tenant.user.save()
    replies = [give_password(Client(), tenant.user.email, PASSWORD) for _ in range(5)]
    wrong = give_password(Client(), "nobody@example.com", CANARY, "192.0.2.9")
    assert [reply.status_code for reply in replies] == [200] * 5
    assert give_password(Client(), tenant.user.email, PASSWORD).status_code == 429
    assert replies[0].context["form"].errors == wrong.context["form"].errors


@pytest.mark.engine
@pytest.mark.parametrize(("proxies", "expected"), [(0, "192.0.2.1"), (1, "198.51.100.7")])
def test_the_address_is_the_one_that_our_own_proxies_saw(ann: User, settings: Any, proxies: int, expected: str) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    give_password(Client(), ann.email, CANARY, **{"X-Forwarded-For": "203.0.113.1, 198.51.100.7"})
    assert LimitCounter.objects.filter(key__startswith=f"address_passwords:{expected}:").exists()
    assert AuditEntry.objects.get().address == expected


@pytest.mark.engine
def test_nothing_that_was_typed_is_kept_or_logged_but_the_address(ann: User, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for email in (ann.email, CANARY, f"{CANARY}@"):
        Client().post(
            f"/admin/login/?password={CANARY}&x={CANARY}", {"username": email, "password": CANARY, "other": CANARY}
        )
        Client().post(f"/admin/login/?password={CANARY}", {"username": email, "password": CANARY, "other": CANARY})
    assert LimitCounter.objects.exists()
    rows = whole_database()
    assert CANARY not in " ".join(rows)
    assert CANARY not in caplog.text


def test_it_can_be_switched_off_too(ann: User, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"passwords": None, "address_passwords": None}
    assert guess(ann.email, 8) == [200] * 8


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_what_comes_at_once_is_counted_before_it_is_hashed(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of forty wrong passwords at once no more are hashed than may be tried, and no two more than there are places."""
    hashed, at_once = 0, 0
    check = User.check_password

    def slow_check(user: User, password: str) -> bool:
        nonlocal hashed, at_once
        hashed += 1
        at_once = max(at_once, login.HASHED_AT_ONCE - login.places._value)
        time.sleep(0.02)
        return check(user, password)

    monkeypatch.setattr(User, "check_password", slow_check)
    pages = together(*[lambda: give_password(Client(), ann.email, CANARY)] * 40)
    assert {page.status_code for page in pages} == {200, 429}
    assert 1 <= hashed <= 5 and at_once <= login.HASHED_AT_ONCE
    assert AuditEntry.objects.filter(action="login.failed").count() == hashed
    assert all(int(page["Retry-After"]) > 0 for page in pages if page.status_code == 429)
    guess(ann.email, 5)
    assert give_password(Client(), ann.email, PASSWORD).status_code == 429
    assert not LimitCounter.objects.filter(held__gt=0).exists()


@pytest.mark.parametrize("password", [PASSWORD, CANARY])
def test_who_finds_no_place_is_told_to_try_again_and_nothing_counts(ann: User, password: str) -> None:
    """Right passwords need a place, too: whoever knows one cannot keep the machine busy with it."""
    with contextlib.ExitStack() as stack:
        for _ in range(login.HASHED_AT_ONCE):
            stack.enter_context(login.places)
        page = give_password(Client(), ann.email, password)
        assert (page.status_code, page["Retry-After"]) == (429, str(login.RETRY_AFTER_S))
        assert "The server is busy" in page.content.decode() and "Content-Security-Policy" in page.headers
        assert told() == [] and not LimitCounter.objects.exists()
    past_password(ann)


def test_a_place_is_free_again_whatever_happens(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(limits.DatabaseStore, "take", lambda *_: 1 / 0)
        for _ in range(login.HASHED_AT_ONCE + 1):
            with pytest.raises(ZeroDivisionError):
                give_password(Client(), ann.email, PASSWORD)
    past_password(ann)


def test_a_session_of_who_is_no_staff_any_more_is_nobodys(ann: User) -> None:
    client = sign_in(ann)
    User.objects.filter(pk=ann.pk).update(is_staff=False)
    assert client.get("/admin/users/user/").status_code == 302


@pytest.mark.engine
def test_an_address_that_was_typed_in_capitals_signs_in(settings: Any) -> None:
    settings.STAFF_TOTP = False
    root = Client()
    root.force_login(new_staff("root@example.com", is_superuser=True))
    added = root.post(
        "/admin/users/user/add/",
        {"email": "Bob@Example.COM", "password1": CANARY, "password2": CANARY, "usable_password": "true"},
    )
    assert added.status_code == 302
    User.objects.filter(email="bob@example.com").update(is_staff=True)
    assert give_password(Client(), "BOB@example.com", CANARY).status_code == 302


def test_the_desk_takes_and_refuses_the_names_that_commands_do(settings: Any) -> None:
    settings.STAFF_TOTP = False
    root = Client()
    root.force_login(new_staff("root@example.com", is_superuser=True))

    def give(name: str) -> Any:
        return root.post("/admin/users/workspace/add/", {"name": name, "is_active": "on"})

    for name, _ in BAD_NAMES:
        if name != "\ud800":  # a form has no half characters
            assert 'class="errorlist"' in give(name).content.decode(), repr(name)
    assert "with at least one visible character" in give("\u3164").content.decode()
    assert not Workspace.objects.exists()
    for name, kept in GOOD_NAMES:
        assert give(name).status_code == 302
        Workspace.objects.get(name=kept).delete()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("\u200b ann@example.com\ufeff", "ann@example.com"),
        ("\u00a0Ann@example.com\u3164\n", "ann@example.com"),
        ("\u2066ann@example.com\u2069", "ann@example.com"),
        ("\u202aann@example.com\u202c\u200e", "ann@example.com"),
        ("ann@exam\u200bple.com", None),
        ("an n@example.com", None),
        ("\u2800", None),
    ],
)
def test_the_desk_takes_an_address_without_the_blanks_around_it(
    settings: Any, tenant: Tenant, given: str, kept: str | None
) -> None:
    settings.STAFF_TOTP = False
    root = Client()
    root.force_login(new_staff("root@example.com", is_superuser=True))
    address, before = f"/admin/users/user/{tenant.user.pk}/change/", tenant.user.email
    reply = root.post(address, {"email": given, "workspace": tenant.workspace.pk, "is_active": "on"})
    tenant.user.refresh_from_db()
    assert (reply.status_code, tenant.user.email) == ((302, kept) if kept else (200, before))


# -- sessions ---------------------------------------------------------------------------------------------------------


def test_cookies_are_for_https_only_and_not_for_scripts(ann: User) -> None:
    client = past_password(ann)
    for name in ("sessionid", "csrftoken"):
        cookie = client.cookies[name]
        assert cookie["secure"] and cookie["httponly"] and cookie["samesite"] == "Lax", name
    assert not client.cookies["sessionid"]["max-age"], "it goes with the browser"
    assert (client.session.get_expiry_date() - timezone.now()).total_seconds() <= 12 * 3600


def test_the_session_changes_its_name_with_each_step(ann: User) -> None:
    client = past_password(ann)
    before = client.cookies["sessionid"].value
    give_code(client, code_of(shown_key(client.get("/admin/totp/"))))
    assert client.cookies["sessionid"].value != before


def test_a_logout_is_in_the_trail(ann: User) -> None:
    client = sign_in(ann)
    client.post("/admin/logout/")
    row = AuditEntry.objects.get(action="logout")
    assert (row.actor_kind, row.actor) == ("staff", ann.email)


@pytest.mark.engine
def test_a_change_of_ones_own_password_is_in_the_trail(ann: User) -> None:
    client = sign_in(ann)
    new = {"new_password1": CANARY, "new_password2": CANARY}
    assert client.post("/admin/password_change/", {"old_password": "wrong", **new}).status_code == 200
    assert not AuditEntry.objects.filter(action="user.password").exists()
    assert client.post("/admin/password_change/", {"old_password": PASSWORD, **new}).status_code == 302
    assert AuditEntry.objects.get(action="user.password").actor == ann.email
    assert CANARY not in str(list(AuditEntry.objects.values_list()))


# -- groups -----------------------------------------------------------------------------------------------------------


def may(group: str) -> set[str]:
    return set(Group.objects.get(name=group).permissions.values_list("codename", flat=True))


def test_support_looks_and_adds_and_a_supervisor_also_removes() -> None:
    assert {
        "view_user",
        "view_workspace",
        "view_auditentry",
        "view_phonenumber",
        "add_phonenumber",
        "check_phonenumber",
        "repair_phonenumber",
        "hear_recording",
    } <= may("support")
    assert may("support") < may("supervisor")
    assert {"delete_phonenumber", "reset_totp", "add_apitoken", "change_apitoken", "view_apitoken"} <= may(
        "supervisor"
    ) - may("support")
    assert not {
        name
        for name in may("supervisor")
        if name.endswith(("_user", "_group", "_permission", "_staffdevice", "_session"))
    } - {"view_user"}


@pytest.mark.engine
def test_each_migrate_puts_the_groups_right() -> None:
    before = may("support"), may("supervisor")
    support = Group.objects.get(name="support")
    support.permissions.set(Permission.objects.filter(codename="delete_user"))
    Group.objects.get(name="supervisor").delete()
    call_command("migrate", verbosity=0)
    assert (may("support"), may("supervisor")) == before


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_an_emptied_database_has_them_too() -> None:
    call_command("flush", interactive=False, verbosity=0)
    assert may("support") < may("supervisor")


@pytest.mark.engine
def test_permissions_that_come_later_are_given_then() -> None:
    content_type = Permission.objects.get(codename="add_phonenumber").content_type
    for codename in ("check_phonenumber", "rotate_phonenumber"):
        Permission.objects.get_or_create(codename=codename, content_type=content_type, defaults={"name": codename})
    call_command("migrate", verbosity=0)
    assert "check_phonenumber" in may("support") and "rotate_phonenumber" not in may("support")
    assert "rotate_phonenumber" in may("supervisor")


def test_staff_without_a_group_sees_nothing(tenant: Tenant) -> None:
    client = sign_in(new_staff("new@example.com"))
    page = client.get("/admin/")
    assert page.status_code == 200 and not page.context["app_list"]
    for address in admin_addresses(tenant.user)[2:7]:
        assert client.get(address).status_code == 403, address


@pytest.mark.engine
@pytest.mark.parametrize("group", ["support", "supervisor"])
def test_nobody_but_a_superuser_changes_users(group: str, tenant: Tenant) -> None:
    user = new_staff("someone@example.com", group)
    client = sign_in(user)
    page = client.get(f"/admin/users/user/{user.pk}/change/")
    assert page.status_code == 200 and b"_save" not in page.content and b"md5$" not in page.content.lower()
    changes = {"email": user.email, "is_staff": "on", "is_superuser": "on", "is_active": "on"}
    for address in (
        f"{user.pk}/change/",
        f"{tenant.user.pk}/change/",
        "add/",
        f"{user.pk}/password/",
        f"{tenant.user.pk}/delete/",
    ):
        assert client.post(f"/admin/users/user/{address}", {**changes, "post": "yes"}).status_code == 403, address
    assert client.get("/admin/auth/group/").status_code == 403
    assert not User.objects.filter(is_superuser=True).exists()
    assert client.get("/admin/users/user/", {"password__startswith": "md5"}).status_code in (302, 400)


@pytest.mark.engine
def test_the_trail_names_the_fields_that_a_superuser_changed(tenant: Tenant) -> None:
    client = sign_in(new_staff("root@example.com", is_superuser=True))
    address = f"/admin/users/user/{tenant.user.pk}/change/"
    client.post(address, {"email": "renamed@example.com", "workspace": tenant.workspace.pk})
    client.post(
        f"/admin/users/user/{tenant.user.pk}/password/",
        {"password1": CANARY, "password2": CANARY, "usable_password": "true"},
    )
    client.post(f"/admin/users/workspace/{tenant.workspace.pk}/change/", {"name": "Renamed"})
    client.post("/admin/users/workspace/add/", {"name": "New", "is_active": "on"})
    rows = (
        AuditEntry.objects.exclude(action__startswith="login").exclude(action__startswith="totp").order_by("at", "id")
    )
    seen = [(row.action, row.detail) for row in rows]
    assert seen[0][0] == "user.change" and "Email" in seen[0][1] and "Is active" in seen[0][1]
    assert seen[1][0] == "user.change" and "assword" in seen[1][1]
    assert seen[2:] == [("workspace.change", "Renamed: Name, Is active"), ("workspace.add", "New")]
    assert rows[0].workspace_id == tenant.workspace.pk
    assert CANARY not in str(list(AuditEntry.objects.values_list()))


@pytest.mark.engine
def test_create_staff_prints_a_password_that_works_once_for_all() -> None:
    out = StringIO()
    call_command("create_staff", "--email", "Eve@Example.com", "--group", "support", stdout=out)
    made = json.loads(out.getvalue())
    assert list(made) == ["userId", "email", "password"]
    user = User.objects.get(pk=made["userId"])
    assert user.is_staff and not user.is_superuser and [group.name for group in user.groups.all()] == ["support"]
    assert give_password(Client(), "eve@example.com", made["password"]).status_code == 302
    assert made["password"] not in str(list(AuditEntry.objects.values_list()))
    for arguments in (["--email", "eve@example.com", "--group", "support"], ["--email", "x", "--group", "support"],
                      ["--email", "a@example.com", "--group", "boss"]):  # fmt: skip
        with pytest.raises(CommandError):
            call_command("create_staff", *arguments)


# -- what it costs others ---------------------------------------------------------------------------------------------


def test_the_api_and_webhooks_pay_nothing_for_it(tenant: Tenant) -> None:
    with seen() as captured:
        reply = Client().post(f"/api/webhooks/twilio/{'x' * 40}/answer", {})
    assert reply.status_code == 403 and len(captured) == 1
    assert not {"Content-Security-Policy", "Permissions-Policy", "Set-Cookie"} & set(reply.headers)
