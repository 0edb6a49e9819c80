"""What clients and carriers send to a server that runs apart."""

import time

import requests

from sandbox.sandbox import Sandbox
from sandbox.signing import signed
from tests.support.carriers import TWILIO
from tests.support.live import Live
from users.models import User

# So long carriers wait for an answer.
PATIENCE_S = 15


def send_add(live: Live, number: str, *, token: str = "", key: str = "", **fields: str) -> requests.Response:
    body = TWILIO.body(User(pk=live.user), phoneNumber=number)
    headers = {"Authorization": f"Bearer {token or live.token}"} | ({"Idempotency-Key": key} if key else {})
    return requests.post(f"{live.url}/api/call/add-phone", json=body | fields, headers=headers, timeout=60)


def signed_webhook(live: Live, sandbox: Sandbox, call_id: str) -> tuple[str, bytes, dict[str, str]]:
    """A call that begins: the path, the body and the headers of its request."""
    ((token,),) = live.database.rows("phones_account", "webhook_token")
    path = f"/api/webhooks/twilio/{token}/answer"
    form = [("CallSid", call_id), ("From", "+441632960083"), ("To", f"+{TWILIO.number}"), ("CallStatus", "ringing")]
    account = sandbox.state.account("twilio", TWILIO.acc_sid)
    body, headers = signed(account, f"https://phones.example.com{path}", [*form, ("Direction", "inbound")])
    return path, body, dict(headers)


def send_webhook(live: Live, sandbox: Sandbox, call_id: str, *, port: int = 0) -> tuple[int, float]:
    """A call that begins, through a proxy's port or not. Returns the status of the reply and the seconds that it took."""
    path, body, headers = signed_webhook(live, sandbox, call_id)
    began = time.monotonic()
    reply = requests.post(f"http://127.0.0.1:{port or live.port}{path}", body, headers=headers, timeout=30)
    return reply.status_code, time.monotonic() - began
