"""Adding a number over HTTP, against the sandbox carriers through the real SDKs."""

import pytest

from integrations.sandbox import Sandbox
from tests.conftest import Good, Tenant, add

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_added_number_is_told_as_the_public_page_says(sandbox: Sandbox, tenant: Tenant, carrier: Good):
    reply = add(tenant, carrier.body(tenant.user))
    assert reply.status_code == 201, reply.content
    body = reply.json()
    assert list(body) == ["message", "status", "code", "errorMessage", "data"]
