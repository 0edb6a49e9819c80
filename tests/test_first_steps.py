"""The addresses that people type."""

import pytest
from django.test import Client

from tests.support.people import sign_in
from users.models import User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("address", ["/", "/admin", "/?utm=x"])
def test_the_root_and_the_admin_without_its_slash_lead_to_the_admin(client: Client, address: str) -> None:
    reply = client.get(address)
    assert (reply.status_code, reply["Location"]) == (302, "/admin/")
    assert client.get(address, follow=True).redirect_chain[-1][0] == "/admin/login/?next=/admin/"


@pytest.mark.parametrize("page", ["login", "phones/phonenumber", "users/user", "phones/phonenumber/add"])
def test_a_page_of_the_admin_without_its_slash_is_found(supervisor: User, page: str) -> None:
    desk = sign_in(supervisor)
    reply = desk.get(f"/admin/{page}?q=1")
    assert (reply.status_code, reply["Location"]) == (302, f"/admin/{page}/?q=1")


@pytest.mark.parametrize("page", ["nothing", "phones/nothing", "phones/phonenumber//", "/example.com/phones"])
def test_what_is_no_page_is_not_found(supervisor: User, page: str) -> None:
    assert sign_in(supervisor).get(f"/admin/{page}").status_code == 404


@pytest.mark.parametrize("path", ["/healthz/", "/api/docs/", "/api/call/phones/", "/metrics/", "/nothing"])
def test_nothing_else_is_redirected(client: Client, path: str) -> None:
    assert client.get(path).status_code in (401, 404)


def test_a_body_is_not_lost_in_a_redirect(supervisor: User) -> None:
    assert sign_in(supervisor).post("/admin/phones/phonenumber/add", {}).status_code == 404
