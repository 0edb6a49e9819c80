"""The API's own documentation. `tests.support.api` holds every reply against it."""

import re
from typing import Any

import pytest
from django.test import Client
from openapi_spec_validator import validate

from integrations import PROVIDERS
from tests.support.documented import schema


def test_the_schema_is_valid_openapi_3() -> None:
    assert schema()["openapi"].startswith("3.")
    validate(schema())


def test_the_schema_tells_how_to_add_a_number() -> None:
    components = schema()["components"]
    post = schema()["paths"]["/api/call/add-phone"]["post"]
    assert post["operationId"] == "addPhone"
    assert set(post["responses"]) >= {"201", "400", "401", "404", "405", "409", "413", "415", "422", "429", "500"}
    assert post["security"] == [{"bearer": []}]
    assert components["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert [one["name"] for one in post["parameters"]] == ["Idempotency-Key"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    body = components["schemas"][reference.rpartition("/")[2]]
    assert list(body["properties"]) == [
        "userId",
        "phoneNumber",
        "integration",
        "authToken",
        "accSId",
        "onConflict",
        "publicKey",
        "label",
        "inbound",
    ]
    assert set(body["required"]) == {"userId", "phoneNumber", "integration", "authToken"}
    assert components["schemas"]["IntegrationEnum"]["enum"] == sorted(PROVIDERS)


def test_the_schema_says_which_bodies_refuse_unknown_names() -> None:
    components = schema()["components"]["schemas"]
    strict = {name for name, one in components.items() if one.get("additionalProperties") is False}
    assert strict == {"PatchedChangePhoneRequest", "InboundRequest", "CheckPhoneRequest", "AvailablePhonesRequest"}


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


def test_it_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask for it, as often as they like."""
    first = Client().get("/api/schema")
    monkeypatch.setattr("workspace.openapi.Generator.get_schema", lambda *_, **__: 1 / 0)
    for client in (Client(), Client(headers={"Accept": "application/yaml", "Host": "localhost"})):
        again = client.get("/api/schema?version=2&lang=de")
        assert (again.status_code, again.content) == (200, first.content)
