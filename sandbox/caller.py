"""Places a test call at a running sandbox, from another process (`manage.py sandbox call`)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

DEMO_ENV = Path(__file__).resolve().parent.parent / ".demo/env"
DEFAULT_URL = "http://127.0.0.1:8100"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class NoCall(Exception):
    """The call could not be placed; the text says why and what to do."""


def sandbox_url(configured: str) -> str:
    """Find the running sandbox: the one of the settings, of `manage.py sandbox`, or of the demo. Raises NoCall.

    Args:
        configured: an API URL of the settings, which may be a real carrier's; then it is not asked.
    """
    for url in candidates(configured):
        try:
            if requests.get(f"{url}/_sandbox/health", timeout=5).ok:
                return url
        except requests.RequestException:
            continue
    raise NoCall(
        "No sandbox is running. Start manage.py sandbox or make demo in another terminal, or name it with --url."
    )


def candidates(configured: str) -> Iterator[str]:
    texts = [configured, DEFAULT_URL]
    if DEMO_ENV.is_file():
        texts += re.findall(r"^TWILIO_API_URL=(.*)$", DEMO_ENV.read_text(), re.MULTILINE)
    for parts in map(urlsplit, texts):
        if parts.hostname in LOOPBACK:
            yield f"{parts.scheme}://{parts.netloc}"


def place_call(url: str, number: str, *, carrier: str = "", caller: str = "") -> dict[str, Any]:
    """Call a number and return the call, which is over.

    Args:
        url: the sandbox.
        number: digits, with or without a plus sign, spaces and hyphens.
        carrier: the number's carrier; if empty, the only one that has it.

    Raises NoCall.
    """
    digits = re.sub(r"[^0-9]", "", number)
    try:
        state = requests.get(f"{url}/_sandbox/state", timeout=30).json()
    except requests.RequestException:
        raise NoCall(f"No sandbox answers at {url}.") from None
    having = [
        (name, account)
        for name, accounts in state.items()
        for account in accounts
        if digits in accounts[account]["numbers"]
    ]
    carriers = sorted({name for name, _ in having})
    if not carriers:
        raise NoCall(f"No simulated account has {digits or number}. manage.py sandbox lists the numbers at its start.")
    if carrier not in carriers and (carrier or len(carriers) > 1):
        raise NoCall(f"{digits} is a number at {' and '.join(carriers)}. Choose one with --carrier.")
    calls = (call_account(url, name, id, digits, caller) for name, id in having if name == (carrier or carriers[0]))
    # Accounts of the demo and of the sandbox have some numbers in common; the one that is routed is meant.
    tried = []
    for call in calls:
        if call["requests"]:
            return call
        tried.append(call)
    return tried[0]


def call_account(url: str, carrier: str, account: str, number: str, caller: str) -> dict[str, Any]:
    body = {"carrier": carrier, "account": account, "number": number, **({"caller": caller} if caller else {})}
    reply = requests.post(f"{url}/_sandbox/calls", json=body, timeout=120)
    if not reply.ok:
        raise NoCall(f"The sandbox refused the call: {reply.json()['error']}")
    call: dict[str, Any] = reply.json()
    return call


def describe(call: dict[str, Any]) -> Iterator[str]:
    """What was heard and what the server replied, in lines."""
    yield f"{call['caller']} called {call['number']} at {call['carrier']}: {call['status']}, {call['duration_s']} s"
    if not call["requests"]:
        yield "The number has no route at the carrier, so nothing was asked. Add it to a workspace first."
    for text, language in zip(call["spoken"], call["languages"], strict=True):
        yield f'Heard: "{text}" ({language})'
    for target, outcome in zip(call["dialed"], call["outcomes"], strict=True):
        yield f"Dialed {target}: {outcome}"
    for stream in call["streams"]:
        told = f"messages with audio: {stream['sent']} sent, {stream['received']} received"
        yield f"Streamed to {stream['url']}: {stream['failure'] or told}"
    if call["recordings"]:
        yield f"Recorded: {len(call['recordings'])}"
    for request in call["requests"]:
        status = request["reply_status"]
        outcome = f"no answer: {request['failure']}" if status is None else f"{status}"
        parts = urlsplit(request["url"])
        yield f"{request['kind']}: {request['method']} {parts.scheme}://{parts.netloc}: {outcome}"


def has_worked(call: dict[str, Any]) -> bool:
    """Whether the server answered every request of the call."""
    statuses = [request["reply_status"] for request in call["requests"]]
    return bool(statuses) and all(status is not None and status < 300 for status in statuses)
