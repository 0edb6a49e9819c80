"""Strict JSON: anything that two parsers could interpret differently is rejected."""

import json
import re
from typing import Any, NoReturn

from django.http import HttpRequest

from core.errors import Unreadable

MAX_DEPTH = 16
# The closing quote is optional, so that a text full of opening quotes is scanned once instead of once per quote.
STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


class InvalidJson(Unreadable):
    code = "invalid_json"


def read_json(request: HttpRequest) -> dict[str, Any]:
    """Parse the JSON object in the body of a request.

    Raises Unreadable: `unsupported_media_type` unless the type is application/json in UTF-8; `invalid_json` unless the
    body is a single object in strict JSON (RFC 8259): UTF-8 without BOM, no NaN or Infinity, no duplicate keys, at
    most 16 levels deep.
    """
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if request.content_type != "application/json" or charset not in ("utf-8", "utf8"):
        raise Unreadable(
            "Unsupported media type: send Content-Type: application/json in UTF-8.", code="unsupported_media_type"
        )
    return parse_object(request.body)


def parse_object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
        if depth(text) > MAX_DEPTH:
            raise InvalidJson(f"The JSON is nested more than {MAX_DEPTH} levels deep.")
        document = json.loads(text, object_pairs_hook=object_without_duplicates, parse_constant=refuse_constant)
    except UnicodeDecodeError:
        raise InvalidJson("The body is not JSON in UTF-8.") from None
    except ValueError:  # a JSONDecodeError, or an integer with more digits than Python converts
        raise InvalidJson("The body is not valid JSON. Send one JSON object.") from None
    if not isinstance(document, dict):
        raise InvalidJson("The body must be a JSON object.")
    return document


def depth(text: str) -> int:
    """The nesting depth of the brackets. Counted before parsing, so that a deep document cannot exhaust the stack."""
    deepest = level = 0
    for character in STRING.sub("", text):
        if character in "[{":
            level += 1
            deepest = max(deepest, level)
        elif character in "]}":
            level -= 1
    return deepest


def object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise InvalidJson("The JSON has a duplicate key. Send each key once.")
    return members


def refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not valid JSON.")
