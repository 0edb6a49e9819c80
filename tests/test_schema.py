"""The API's own documentation."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from openapi_spec_validator import validate

from integrations.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import TWILIO
from tests.support.people import Tenant


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    reply = Client().get("/api/schema", headers={"Accept": "text/html"})
    assert reply.status_code == 200
    assert "json" in reply.headers["Content-Type"]
    return json.loads(reply.content)


def test_the_schema_is_valid_openapi_3(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.")
    validate(schema)


def test_the_schema_tells_how_to_add_a_number(schema: dict[str, Any]) -> None:
    post = schema["paths"]["/api/call/add-phone"]["post"]
    assert post["operationId"] == "addPhone"
    assert set(post["responses"]) >= {"201", "400", "401", "404", "405", "409", "413", "415", "422", "429", "500"}
    assert post["security"] == [{"bearer": []}]
    assert schema["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert [one["name"] for one in post["parameters"]] == ["Idempotency-Key"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    body = schema["components"]["schemas"][reference.rpartition("/")[2]]
    assert list(body["properties"]) == [
        "userId",
        "phoneNumber",
        "integration",
        "authToken",
        "accSId",
        "onConflict",
        "publicKey",
    ]
    assert set(body["required"]) == {"userId", "phoneNumber", "integration", "authToken"}
    assert schema["components"]["schemas"]["IntegrationEnum"]["enum"] == ["plivo", "telnyx", "twilio"]


@pytest.mark.django_db
def test_replies_are_as_the_schema_says(schema: dict[str, Any], sandbox: Sandbox, tenant: Tenant) -> None:
    from jsonschema import Draft202012Validator

    responses = schema["paths"]["/api/call/add-phone"]["post"]["responses"]
    for body, status in [(TWILIO.body(tenant.user), "201"), ({}, "400")]:
        reply = add(tenant, body)
        assert str(reply.status_code) == status
        said = responses[status]["content"]["application/json"]["schema"]
        # A reference to a component is looked up in the document itself.
        Draft202012Validator({**said, "components": schema["components"]}).validate(reply.json())


@pytest.mark.django_db
def test_the_page_needs_nothing_from_elsewhere(settings: Any) -> None:
    settings.WHITENOISE_USE_FINDERS = True
    client = Client()
    page = client.get("/api/docs")
    assert page.status_code == 200
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert len(assets) >= 3
    for asset in assets:
        assert asset.startswith("/"), asset
        assert not asset.startswith("//"), asset
        reply = client.get(asset)
        assert reply.status_code == 200, asset
        reply.close()
    assert not re.findall(r"https?://", page.content.decode())
    code = client.get("/api/docs?script=").content.decode()
    assert '"/api/schema"' in code and not re.findall(r"https?://", code)


@pytest.mark.parametrize("path", ["/api/schema", "/api/docs"])
def test_other_methods_get_the_envelope(path: str) -> None:
    reply = Client(raise_request_exception=False).post(path, "{}", content_type="application/json")
    assert reply.status_code == 405
    assert reply.json()["data"] == {"error": "method_not_allowed", "field": None}
