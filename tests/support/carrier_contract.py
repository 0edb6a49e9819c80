"""Does a request to a carrier, and its reply, keep to the carrier's OpenAPI document? (`tests/carrier_specs/`)

    assert violations(exchange) == []

Stricter than OpenAPI, which lets unknown fields pass: a field or a query parameter that the document does not name
is reported, for it is a misspelling or works by accident.
"""

import copy
import json
import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jsonschema import FormatChecker
from openapi_schema_validator import OAS30Validator, OAS31Validator

from sandbox.ledger import Exchange
from tests.support import PROJECT

SPECS = PROJECT / "tests" / "carrier_specs"

UNDOCUMENTED_PATHS = {("telnyx", "/public_key")}
"""Used on purpose though no document names them."""
UNDOCUMENTED_FIELDS = {("twilio", "subresource_uris")}
"""Fields that the carriers send and their documents lack."""
UNDOCUMENTED_ERRORS = {400, 401, 403, 404, 405, 429}
"""Statuses that any carrier may answer, as it may any 5xx; the Twilio document lists no errors at all."""

formats = FormatChecker(formats=())


@formats.checks("uri")
@formats.checks("url")
def _is_uri(value: object) -> bool:
    """Absolute, or relative to the host as the addresses of Twilio's pages are."""
    return (
        not isinstance(value, str) or value.startswith("/") or bool(urlsplit(value).scheme and urlsplit(value).netloc)
    )


@formats.checks("phone-number")
def _is_phone_number(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"\+?[0-9*]+", value) is not None


@formats.checks("date-time-rfc-2822")
def _is_rfc2822(value: object) -> bool:
    pattern = r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
    return not isinstance(value, str) or re.fullmatch(pattern, value) is not None


@formats.checks("date-time")
def _is_date_time(value: object) -> bool:
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    return not isinstance(value, str) or re.fullmatch(pattern, value) is not None


def violations(exchange: Exchange) -> list[str]:
    """What is wrong with the exchange, in words; an empty list if nothing is."""
    return request_violations(exchange) + reply_violations(exchange)


def request_violations(exchange: Exchange) -> list[str]:
    """Path, method, query parameters and body against the document."""
    if (exchange.carrier, exchange.path) in UNDOCUMENTED_PATHS:
        return []
    found = _operation(exchange)
    if isinstance(found, str):
        return [found]
    operation, path_values = found
    problems = []
    parameters = [_resolved(exchange.carrier, parameter) for parameter in operation.get("parameters", [])]
    for parameter in parameters:
        if parameter["in"] == "path":
            problems += _problems(
                exchange.carrier, parameter["schema"], path_values[parameter["name"]], parameter["name"]
            )
    by_name = {parameter["name"]: parameter for parameter in parameters if parameter["in"] == "query"}
    query = _nested(exchange.query)
    for name, value in query.items():
        if name not in by_name:
            problems.append(f"query: {name} is unknown")
        else:
            problems += _problems(exchange.carrier, by_name[name]["schema"], value, f"query {name}", from_text=True)
    for name, parameter in by_name.items():
        if parameter.get("required") and name not in query:
            problems.append(f"query: {name} is missing")
    return problems + _body_problems(exchange, operation)


def reply_violations(exchange: Exchange) -> list[str]:
    """Status and body against the document; nothing if there was no reply."""
    found = _operation(exchange)
    if isinstance(found, str) or exchange.status is None:
        return []
    replies, status = found[0]["responses"], exchange.status
    reply = replies.get(str(status)) or (replies.get("default") if status >= 400 else None)
    if reply is None:
        expected = status in UNDOCUMENTED_ERRORS or status >= 500
        return [] if expected else [f"reply: status {status} is not documented"]
    content = _resolved(exchange.carrier, reply).get("content", {})
    schemas = [media["schema"] for media in content.values()]
    if not schemas:
        return [f"reply: status {status} has no body"] if exchange.response not in (None, "") and status < 300 else []
    attempts = [_problems(exchange.carrier, schema, exchange.response, "reply") for schema in schemas]
    return min(attempts, key=len)


def _body_problems(exchange: Exchange, operation: dict[str, Any]) -> list[str]:
    if "requestBody" not in operation:
        return [] if exchange.body in (None, {}) else ["body: there must be none"]
    request_body = _resolved(exchange.carrier, operation["requestBody"])
    ((media_type, media),) = request_body["content"].items()
    if exchange.body is None:
        return ["body: is missing"] if request_body.get("required") else []
    if not isinstance(exchange.body, dict):
        return ["body: is not an object"]
    if not media_type.startswith("application/x-www-form-urlencoded"):
        return _problems(exchange.carrier, media["schema"], exchange.body, "body")
    filled = {name: value for name, value in exchange.body.items() if value != ""}  # in a form, an empty value clears
    unknown = exchange.body.keys() - filled.keys() - _resolved(exchange.carrier, media["schema"])["properties"].keys()
    return [f"body: {name} is unknown" for name in sorted(unknown)] + _problems(
        exchange.carrier, media["schema"], filled, "body", from_text=True
    )


@cache
def spec(carrier: str) -> dict[str, Any]:
    """The carrier's OpenAPI document."""
    (document,) = SPECS.glob(f"{carrier}*.openapi.json")
    return json.loads(document.read_text())


def _operation(exchange: Exchange) -> tuple[dict[str, Any], dict[str, str]] | str:
    """The operation and the values in its path, or what is wrong. A path without variables goes before one with."""
    paths = spec(exchange.carrier)["paths"]
    for template in sorted(paths, key=lambda template: template.count("{")):
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+?)", re.escape(template))
        if match := re.fullmatch(pattern, exchange.path):
            operation = paths[template].get(exchange.method.lower())
            return (
                (operation, match.groupdict()) if operation else f"method: {exchange.method} is unknown for {template}"
            )
    return f"path: {exchange.path} is unknown"


def _resolved(carrier: str, node: dict[str, Any]) -> dict[str, Any]:
    """The object itself or the one that it refers to."""
    while "$ref" in node:
        target: Any = spec(carrier)
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def _closed(carrier: str, schema: Any) -> Any:
    """A copy with every reference filled in and every object closed against fields that it does not name."""
    if isinstance(schema, list):
        return [_closed(carrier, item) for item in schema]
    if not isinstance(schema, dict):
        return copy.copy(schema)
    if isinstance(schema.get("$ref"), str):
        schema = _resolved(carrier, schema)
    closed = {key: _closed(carrier, value) for key, value in schema.items() if key not in ("example", "examples")}
    if isinstance(closed.get("properties"), dict) and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
        for name in (name for other, name in UNDOCUMENTED_FIELDS if other == carrier):
            closed["properties"].setdefault(name, {})
    return closed


def _problems(carrier: str, schema: dict[str, Any], value: Any, where: str, from_text: bool = False) -> list[str]:
    closed = _closed(carrier, schema)
    if from_text:
        value = _typed(closed, value)
    validator = OAS31Validator if spec(carrier)["openapi"].startswith("3.1") else OAS30Validator
    errors = validator(closed, format_checker=formats).iter_errors(value)
    return [f"{'.'.join([where, *map(str, error.absolute_path)])}: {error.message[:200]}" for error in errors]


def _typed(schema: dict[str, Any], value: Any) -> Any:
    """What a text in a query or a form means under the schema."""
    if isinstance(value, dict):
        return {name: _typed(schema.get("properties", {}).get(name, {}), item) for name, item in value.items()}
    if schema.get("type") == "integer" and re.fullmatch(r"-?\d+", str(value)):
        return int(value)
    if schema.get("type") == "boolean" and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    return value


def _nested(query: dict[str, list[str]]) -> dict[str, Any]:
    """`filter[name][contains]=x` is {"filter": {"name": {"contains": "x"}}}."""
    nested: dict[str, Any] = {}
    for name, values in query.items():
        *path, last = re.findall(r"[^\[\]]+", name)
        place = nested
        for key in path:
            place = place.setdefault(key, {})
        place[last] = values[0] if len(values) == 1 else values
    return nested
