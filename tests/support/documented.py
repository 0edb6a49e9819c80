"""Whether replies of our API are as its own documentation says."""

import json
import re
from functools import cache
from typing import Any

from django.test import Client
from openapi_schema_validator import OAS30Validator


@cache
def schema() -> dict[str, Any]:
    reply = Client().get("/api/schema", headers={"Accept": "text/html"})
    assert reply.status_code == 200
    assert "json" in reply.headers["Content-Type"]
    return json.loads(reply.content)


@cache
def validator(method: str, template: str, status: str) -> OAS30Validator:
    said = schema()["paths"][template][method]["responses"][status]["content"]["application/json"]["schema"]
    # A reference to a component is looked up in the document itself.
    return OAS30Validator({**said, "components": schema()["components"]})


def documented(reply: Any) -> Any:
    """The reply of Django's test client, if its JSON is as the schema says of its request and status.

    Replies to requests that the schema does not know, and audio, are not looked at.
    """
    if reply.headers.get("Content-Type") != "application/json":
        return reply
    method, path = reply.request["REQUEST_METHOD"].lower(), reply.request["PATH_INFO"]
    for template, operations in schema()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method in operations:
            validator(method, template, str(reply.status_code)).validate(reply.json())
    return reply
