"""The audit trail: what a row says, that it stays, and that the list of them is cheap however long it is."""

import re
import threading
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, transaction
from django.db.models.deletion import Collector
from django.test import Client

import manage
from core.paginator import COUNTED
from tests.support.api import add
from tests.support.database import plan_of, seen, table_away, walks
from tests.support.people import Tenant, new_staff, sign_in
from users.actor import actor_context, current_actor
from users.audit import record
from users.models import ApiToken, AppendOnly, AuditEntry, Workspace

pytestmark = [pytest.mark.engine, pytest.mark.django_db]


@pytest.fixture
def desk(db: None) -> Client:
    """A browser in which a superuser has signed in."""
    return sign_in(new_staff("root@example.com", is_superuser=True))


def test_a_row_says_who_what_and_when() -> None:
    with actor_context("staff", "ann@example.com", "192.0.2.1"):
        record(
            "phone.add",
            number="12125551234",
            phone_id="A" * 24,
            workspace_id="b" * 24,
            outcome="phone_exists",
            detail="label",
        )
    row = AuditEntry.objects.get()
    assert (row.actor_kind, row.actor, row.address) == ("staff", "ann@example.com", "192.0.2.1")
    assert (row.action, row.outcome, row.detail) == ("phone.add", "phone_exists", "label")
    assert (row.number, row.phone_id, row.workspace_id) == ("12125551234", "a" * 24, "b" * 24)
    assert row.request_id == "-"


def test_without_anybody_the_system_acts() -> None:
    record("phone.repair")
    assert AuditEntry.objects.values_list("actor_kind", "actor", "address").get() == ("system", "", "")


def test_texts_that_are_too_long_are_cut_and_stay_on_one_line() -> None:
    with actor_context("staff", "a" * 300, "b" * 300):
        record("c" * 300, outcome="d" * 300, number="1" * 300, detail="e\r\nf " * 300)
    row = AuditEntry.objects.get()
    row.full_clean()
    assert row.detail.startswith("e f e f")


def test_a_row_can_be_neither_changed_nor_deleted() -> None:
    record("phone.add")
    row = AuditEntry.objects.get()
    row.action = "nothing"
    entries: Any = AuditEntry.objects
    for attempt in (
        row.save,
        row.delete,
        entries.all().delete,
        lambda: entries.update(action="nothing"),
        lambda: entries.filter(pk=row.pk).update(action="nothing"),
        lambda: entries.bulk_update([row], ["action"]),
        lambda: entries.update_or_create(pk=row.pk, defaults={"action": "nothing"}),
        lambda: entries.bulk_create([row], update_conflicts=True, unique_fields=["id"], update_fields=["action"]),
        lambda: row.save(force_update=True),
    ):
        with pytest.raises(AppendOnly), transaction.atomic():
            attempt()
    assert AuditEntry.objects.get().action == "phone.add"


def test_a_row_with_the_id_of_another_does_not_replace_it() -> None:
    record("phone.add")
    with pytest.raises(IntegrityError):
        AuditEntry(pk=AuditEntry.objects.get().pk, action="nothing").save()


def test_history_outlives_its_rows(tenant: Tenant) -> None:
    record("user.delete", workspace_id=tenant.workspace.pk)
    collector = Collector(using="default")
    collector.collect([tenant.user])
    assert AuditEntry not in collector.data
    tenant.user.delete()
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_act_that_cannot_be_told_is_done_and_fails_visibly() -> None:
    desk = sign_in(new_staff("root@example.com", is_superuser=True))
    desk.raise_request_exception = False
    token = ApiToken.issue(Workspace.objects.create(name="one"))[0]
    with table_away(AuditEntry):
        reply = desk.post(f"/admin/users/apitoken/{token.pk}/revoke/")
    assert reply.status_code == 500 and "auditentry" not in reply.content.decode()
    assert ApiToken.objects.get().revoked_at


# -- who acts ---------------------------------------------------------------------------------------------------------


def test_the_api_acts_as_its_token_and_only_during_its_request(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("users.authentication.note_use", lambda token: seen.append(current_actor()))
    add(tenant, {})
    assert seen == [("token", ApiToken.objects.get().prefix, "127.0.0.1")]
    assert current_actor() == ("system", "", "")


def test_a_refused_token_acts_as_nobody(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("users.limits.spend", lambda *limits: seen.append(current_actor()))
    add(Tenant(tenant.workspace, tenant.user, "wp_wrong"), {})
    assert seen == [("system", "", "127.0.0.1")]


@pytest.mark.django_db(transaction=True)  # a command closes its connections
def test_a_command_acts_by_its_name(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = ApiToken.objects.get().prefix
    for arguments in (["create_token", "--workspace", tenant.workspace.pk], ["revoke_token", prefix]):
        monkeypatch.setattr("sys.argv", ["manage.py", *arguments])
        manage.main()
    rows = AuditEntry.objects.order_by("at", "id").values_list("actor_kind", "actor", "action", "workspace_id")
    assert list(rows) == [
        ("command", "create_token", "token.issue", tenant.workspace.pk),
        ("command", "revoke_token", "token.revoke", tenant.workspace.pk),
    ]
    assert current_actor() == ("system", "", "")


def test_who_acts_in_one_thread_does_not_act_in_another() -> None:
    seen = []
    with actor_context("command", "reconcile"):
        thread = threading.Thread(target=lambda: seen.append(current_actor()))
        thread.start()
        thread.join()
    assert seen == [("system", "", "")]


# -- rights -----------------------------------------------------------------------------------------------------------


def rights_told(action: str) -> list[str]:
    return list(AuditEntry.objects.filter(action=action).order_by("at", "id").values_list("detail", flat=True))


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


def test_what_a_group_may_do_is_told_as_it_comes_and_goes(desk: Client) -> None:
    view, delete = permission("view_phonenumber"), permission("delete_phonenumber")
    desk.post("/admin/auth/group/add/", {"name": "night", "permissions": [view.pk]})
    group = Group.objects.get(name="night")
    page = f"/admin/auth/group/{group.pk}/"
    desk.post(f"{page}change/", {"name": "night", "permissions": [delete.pk]})
    desk.post(f"{page}change/", {"name": "late", "permissions": [delete.pk]})
    desk.post(f"{page}delete/", {"post": "yes"})
    assert rights_told("group.add") == ["night: +view_phonenumber"]
    assert rights_told("group.change") == [
        "night: Permissions, +delete_phonenumber, -view_phonenumber", "late: Name"
    ]  # fmt: skip
    assert rights_told("group.delete") == ["late"]
    assert set(AuditEntry.objects.filter(action__startswith="group.").values_list("actor", flat=True)) == {
        "root@example.com"
    }


def test_no_right_of_a_group_is_cut_off(desk: Client) -> None:
    every = list(Permission.objects.values_list("pk", "codename"))
    desk.post("/admin/auth/group/add/", {"name": "all", "permissions": [pk for pk, _ in every]})
    told = ", ".join(rights_told("group.add"))
    assert [codename for _, codename in every if f"+{codename}" not in told] == []


def test_what_a_user_may_do_is_told_as_it_comes_and_goes(desk: Client) -> None:
    user = new_staff("ann@example.com", "support")
    supervisor = Group.objects.get(name="supervisor")
    fields = {"email": user.email, "is_active": "on", "is_staff": "on", "groups": [supervisor.pk],
              "user_permissions": [permission("view_apitoken").pk]}  # fmt: skip
    reply = desk.post(f"/admin/users/user/{user.pk}/change/", fields)
    assert reply.status_code == 302, reply.context["adminform"].form.errors
    (told,) = rights_told("user.change")
    assert told.startswith("ann@example.com: ") and told.endswith("+supervisor, +view_apitoken, -support")


# -- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_is_read_only_even_for_a_superuser(desk: Client) -> None:
    record("phone.add", number="12125551234", detail="<b>bold</b>")
    row = AuditEntry.objects.get(action="phone.add")
    page = desk.get(f"/admin/users/auditentry/{row.pk}/change/")
    assert page.status_code == 200 and b'name="_save"' not in page.content and b"<b>bold" not in page.content
    for path in ("add/", f"{row.pk}/delete/"):
        assert desk.get(f"/admin/users/auditentry/{path}").status_code == 403
        assert desk.post(f"/admin/users/auditentry/{path}", {"post": "yes"}).status_code == 403
    assert desk.post(f"/admin/users/auditentry/{row.pk}/change/", {"action": "x"}).status_code == 403
    listed = desk.post(
        "/admin/users/auditentry/", {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    )
    assert listed.status_code in (200, 302)
    assert AuditEntry.objects.filter(pk=row.pk, action="phone.add").exists()


def found(desk: Client, **query: str) -> list[str]:
    page = desk.get("/admin/users/auditentry/", query)
    assert page.status_code == 200
    return [entry.detail for entry in page.context["cl"].result_list]


def test_it_is_searched_by_number_actor_and_request(desk: Client) -> None:
    for number, name in (
        ("12125551234", "ann@example.com"),
        ("14155551234", "anna@example.com"),
        ("", "bob@example.com"),
    ):
        with actor_context("staff", name):
            record("phone.add", number=number, detail=name)
    everybody = found(desk)
    assert everybody[:3] == ["bob@example.com", "anna@example.com", "ann@example.com"], "newest first"
    for written in (
        "+14155551234",
        "+1 (415) 555-1234",
        "1.415.555.1234",
        "\u202a+1\u00a0415\u2011555\u20111234\u202c",
    ):
        assert found(desk, q=written) == ["anna@example.com"]
    assert found(desk, q="1415555") == []
    record("phone.add", number="390612345678", detail="Rome")
    assert found(desk, q="+39 (0)6 1234 5678") == ["Rome"]
    assert found(desk, q="ann") == ["anna@example.com", "ann@example.com"]
    assert found(desk, q="%") == []
    assert found(desk, action="phone.add", outcome="phone_exists") == []
    AuditEntry.objects.create(action="x", request_id="ours-1", detail="that request")
    assert found(desk, q="ours-1") == ["that request"]


@pytest.mark.parametrize("given", ["0123456789abcdef" * 2, "of-somebody-else", "-"])
def test_a_client_does_not_choose_the_id_of_its_entries(tenant: Tenant, given: str) -> None:
    """Whether it signs in, uses a token or is refused."""
    headers = {"X-Request-ID": given}
    page = Client().post("/admin/login/", {"username": "a@b.example", "password": "x"}, headers=headers)
    assert AuditEntry.objects.get(action="login.failed").request_id == page["X-Request-ID"] != given
    refused = Client().get("/api/call/phones", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", refused["X-Request-ID"]) and refused["X-Request-ID"] != given


def test_each_request_has_an_id_of_its_own_whoever_repeats_one() -> None:
    replies = [Client().get("/healthz", headers={"X-Request-ID": "a" * 32})["X-Request-ID"] for _ in range(3)]
    assert len({*replies, "a" * 32}) == 4


@pytest.mark.parametrize(
    "query",
    [{}, {"q": "12125551234"}, {"q": "ann"}, {"q": "some-request"}, {"action": "login"}, {"outcome": "throttled"},
     {"at__gte": "2026-01-01 00:00:00+00:00"}, {"p": "3"}, {"action": "login", "outcome": "ok"}, {"_facets": "True"},
     {"phone_id": "a" * 24}, {"workspace_id": "a" * 24}],
)  # fmt: skip
def test_no_question_reads_the_whole_trail(desk: Client, query: dict[str, str]) -> None:
    AuditEntry.objects.bulk_create(AuditEntry(action="login", actor="ann@example.com") for _ in range(300))
    with seen() as statements:
        found(desk, **query)
    ours = [one for one in statements if one.table == "users_auditentry"]
    assert ours
    for one in ours:
        assert not walks(one, may_sort="q" in query), (one, plan_of(one))


def test_the_list_counts_no_further_than_it_must(desk: Client) -> None:
    AuditEntry.objects.bulk_create(AuditEntry(action="login") for _ in range(COUNTED + 1))
    page = desk.get("/admin/users/auditentry/", {"p": "100"})
    assert page.context["cl"].paginator.num_pages == COUNTED / 50
    assert f"{COUNTED}+ " in page.content.decode()
    few = desk.get("/admin/users/auditentry/", {"action": "logout"})
    assert "0 audit entrys" not in few.content.decode() and "+" not in str(few.context["cl"].result_count)
