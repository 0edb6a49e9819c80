"""Redaction of log lines: secrets from the settings, and text that looks like a secret.

Loaded by the settings, so it imports nothing from Django.
"""

import json
import re
from datetime import datetime
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
# Clients decide what is in a log line, and how much of it. So each pattern must take time in proportion to the text:
# nothing of unlimited length may be tried from every place in it.
PATTERNS = [
    (re.compile(r"\b(Basic|Bearer) +[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\bwp_[\w-]{20,}"), HIDDEN),
    (re.compile(r"(/api/webhooks/\w+/)[\w-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(\w://)[^/\s@\"']+@"), rf"\1{HIDDEN}@"),
    (
        re.compile(
            r"""((?:(?:auth|webhook)_?token|api_?key|authorization|cookie|password|passwd|secret|sessionid|csrftoken|signature)
            [\w-]{0,40}\\?["']?\s*[:=]\s*(?:b?\\?["'])?+)(?!Basic\ |Bearer\ )[^\s"'\\,;&}>]+""",
            re.IGNORECASE | re.VERBOSE,
        ),
        rf"\1{HIDDEN}",
    ),
]

# The settings' secrets in all spellings, longest first, because a short one may be the start of a long one.
_hidden: list[str] = []


def spellings(secret: str) -> set[str]:
    """The secret in plain, URL-encoded and JSON-encoded form."""
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}


def hide(*secrets: str) -> None:
    """Redact these secrets from now on."""
    spelled = {spelling for secret in secrets if secret for spelling in spellings(secret)}
    _hidden[:] = sorted(spelled.union(_hidden), key=len, reverse=True)


def redact(text: str) -> str:
    for secret in _hidden:
        text = text.replace(secret, HIDDEN)
    for pattern, shown in PATTERNS:
        text = pattern.sub(shown, text)
    return text


def redact_all(value: Any) -> Any:
    """Redact strings at any depth of lists and dicts; other objects are converted to strings first."""
    match value:
        case dict():
            return {redact(str(name)): redact_named(str(name), one) for name, one in value.items()}
        case list() | tuple() | set():
            return [redact_all(one) for one in value]
        case None | bool() | int() | float() | datetime():
            return value
        case _:
            return redact(str(value))


def redact_named(name: str, value: Any) -> Any:
    """Redact a value; all of it if its name says that it is a secret."""
    if isinstance(value, str) and value and redact(f"{name}=x") != f"{name}=x":
        return HIDDEN
    return redact_all(value)
