"""`make demo`: the product on this machine with simulated carriers, and its own database and keys in `.demo/`."""

import argparse
import base64
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from rich.console import Console
from rich.json import JSON
from rich.markup import escape

from sandbox import state as seeds
from sandbox.sandbox import Sandbox

BASE_DIR = Path(__file__).resolve().parent.parent
DEMO_DIR = BASE_DIR / ".demo"
SERVE = [sys.executable, str(BASE_DIR / "manage.py"), "serve"]
READY_WITHIN_S = 60
# The exit status of add_phones when some rows failed; some rows of the sample file are meant to fail.
SOME_FAILED = 3
# The ids and credentials in the public page's example, so that its curl command works unchanged.
PAGE_USER, PAGE_SID, PAGE_TOKEN = "64e5f12345abcdef12345678", "your_account_sid", "your_auth_token"
PAGE_NUMBER = "12125551234"
NUMBERS = {"twilio": "12125550001", "plivo": "14155551234", "telnyx": "13125551234"}
# Shortened in the output, because it is long and hard to read.
WEBHOOK_URL = re.compile(r'http://[^"]+/(?=[a-z]+")')

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="exit after the tour instead of continuing to serve")
    stay = not parser.parse_args().exit

    # On SIGTERM, clean up and stop the server as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lock = (BASE_DIR / ".demo.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("Another demo is running in this directory. Stop it first.")
    os.umask(0o077)  # as manage.py
    shutil.rmtree(DEMO_DIR, ignore_errors=True)
    DEMO_DIR.mkdir(mode=0o700)
    with Sandbox() as sandbox:
        sandbox.add_account("twilio", PAGE_SID, PAGE_TOKEN)
        sandbox.add_number("twilio", PAGE_SID, PAGE_NUMBER)
        base_url = configure(sandbox)
        tenant = prepare_database()
        succeeded = False
        with suppress(KeyboardInterrupt), running_server(base_url) as server:
            succeeded = tour(base_url, tenant, sandbox)
            succeeded = succeeded and calls(base_url, tenant, sandbox) and drift(base_url, tenant, sandbox)
            succeeded = succeeded and bulk()
            if succeeded and stay:
                invite(base_url, tenant)
                server.wait()
    return 0 if succeeded else 1


# -- setting up -------------------------------------------------------------------------------------------------------


def configure(sandbox: Sandbox) -> str:
    """Set the environment of this process and its children. Returns the server's URL."""
    address = free_address()
    os.environ.update(
        DJANGO_SETTINGS_MODULE="workspace.settings",
        SECRET_KEY=secrets.token_hex(32),
        CREDENTIAL_KEYS=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        DATABASE_URL=f"sqlite:///{quote(str(DEMO_DIR / 'db.sqlite3'))}",
        ENV_FILE=os.devnull,
        PUBLIC_URL=f"http://{address}",
        ALLOWED_HOSTS="localhost,127.0.0.1",
        BIND=address,
        DEBUG="off",
        STAFF_TOTP="off",
        TWILIO_API_URL=sandbox.twilio_url,
        PLIVO_API_URL=sandbox.plivo_url,
        TELNYX_API_URL=sandbox.telnyx_url,
    )
    return f"http://{address}"


def free_address() -> str:
    """127.0.0.1:8000, or another port if that one is taken."""
    for port in (8000, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{probe.getsockname()[1]}"
    raise OSError("no free port")


def prepare_database() -> dict[str, str]:
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    from users.models import ApiToken, User, Workspace

    call_command("migrate", verbosity=0)
    workspace: Workspace = Workspace.objects.create(name="Demo")
    User.objects.create_user("ann@example.com", workspace=workspace, id=PAGE_USER)
    colleague = User.objects.create_user("bob@example.com", workspace=workspace)
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser("admin@example.com", password)
    token = ApiToken.issue(workspace)[1]
    connections.close_all()
    (DEMO_DIR / "token").write_text(token + "\n")
    return {"userId": colleague.pk, "token": token, "password": password}


@contextmanager
def running_server(base_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the real server: ready when the block starts, stopped when it ends."""
    with (DEMO_DIR / "server.log").open("wb") as log:
        server = subprocess.Popen(SERVE, cwd=BASE_DIR, stdout=log, stderr=log)
    try:
        wait_until_ready(server, base_url, DEMO_DIR / "server.log")
        yield server
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_until_ready(server: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
    """Wait until the server is ready; if it does not become ready, exit with the path of its log."""
    give_up_at = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up_at and server.poll() is None:
        with suppress(requests.RequestException):
            if requests.get(f"{base_url}/readyz", timeout=2).ok:
                return
        time.sleep(0.1)
    sys.exit(f"The server did not start. See its log: {log}")


# -- showing ----------------------------------------------------------------------------------------------------------


def tour(base_url: str, tenant: dict[str, str], sandbox: Sandbox) -> bool:
    """Add a number for each carrier, then show each kind of error. Returns whether every reply was as expected."""
    twilio = {"integration": "twilio", "accSId": seeds.TWILIO_SID, "authToken": seeds.TWILIO_TOKEN}
    plivo = {"integration": "plivo", "accSId": seeds.PLIVO_ID, "authToken": seeds.PLIVO_TOKEN}
    telnyx = {"integration": "telnyx", "authToken": seeds.TELNYX_KEY}
    results = []

    def ask(title: str, expected: str, changes: dict[str, Any], token: str = tenant["token"], raw: str = "") -> None:
        body = {"userId": tenant["userId"], "phoneNumber": "12125550007", **twilio, **changes}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"{base_url}/api/call/add-phone"
        reply = requests.post(url, data=raw or json.dumps(body), headers=headers, timeout=60).json()
        outcome = "added" if reply["status"] else reply["data"]["error"]
        results.append(outcome == expected)
        show(title, raw or body, reply, in_full=expected == "added")

    console.rule("Three numbers, three carriers")
    ask("A Twilio number", "added", {**twilio, "phoneNumber": NUMBERS["twilio"]})
    ask("A Plivo number", "added", {"phoneNumber": NUMBERS["plivo"], **plivo})
    telnyx_number = {"userId": tenant["userId"], "phoneNumber": NUMBERS["telnyx"], **telnyx}
    ask("A Telnyx number (no accSId: the application is created)", "added", {}, raw=json.dumps(telnyx_number))
    results.append(voice_url(sandbox, NUMBERS["twilio"]).startswith(f"{base_url}/api/webhooks/twilio/"))
    console.print(f"\nThe Twilio number's voice URL at the carrier is now {base_url}/api/webhooks/twilio/…/answer\n")

    console.rule("Errors, and what the client receives")
    ask("No token", "not_authenticated", {}, token="none")
    ask("Not JSON", "invalid_json", {}, raw="{")
    ask("A field missing", "invalid_field", {"authToken": ""})
    ask("Not an id", "invalid_user_id", {"userId": "me"})
    ask("Not a number", "invalid_phone_number", {"phoneNumber": "911"})
    ask("An unknown user", "user_not_found", {"userId": "f" * 24})
    ask("The same number again", "phone_exists", {"phoneNumber": NUMBERS["twilio"]})
    ask("A wrong auth token", "invalid_credentials", {"authToken": "wrong"})
    ask("A number of another account", "number_not_owned", {"phoneNumber": "12125559999"})
    ask("A number without voice", "number_not_usable", {"phoneNumber": "12125550004"})
    ask("Routed elsewhere, with onConflict: refuse", "number_routed_elsewhere",
        {"phoneNumber": "12125550002", "onConflict": "refuse"})  # fmt: skip
    before = sandbox.snapshot()
    sandbox.fault("status", carrier="twilio", method="POST", status=503, times=None)
    ask("Twilio fails while webhooks are being set up", "webhook_setup_failed", {})
    sandbox.clear_faults()
    sandbox.fault("reset", carrier="twilio", times=None)
    ask("Twilio cannot be reached", "carrier_unavailable", {})
    sandbox.clear_faults()
    results.append(sandbox.snapshot() == before)
    verdict = "unchanged" if results[-1] else "CHANGED"
    console.print(f"\nAfter these failures the carrier's settings are {verdict}.")
    return all(results)


def calls(base_url: str, tenant: dict[str, str], sandbox: Sandbox) -> bool:
    """Place a call at each carrier, show the log and fetch the recordings. Returns whether all went as expected."""
    headers = {"Authorization": f"Bearer {tenant['token']}"}
    console.rule("A call at each carrier")
    for carrier, number in NUMBERS.items():
        placed = sandbox.place_call(carrier, number, talk_s=4)
        console.print(
            f"\n[bold]A call to {number} at {carrier}[/bold]\n  requests our answer URL and executes the document:"
        )
        document = WEBHOOK_URL.sub("…/", placed.documents[0].removeprefix('<?xml version="1.0" encoding="UTF-8"?>'))
        console.print(f"  {escape(document)}")
        replies = ", ".join(f"{request.kind} {request.reply_status}" for request in placed.requests)
        console.print(f"  signed requests from the carrier and our replies: {replies}")

    console.print("\n[bold]The call log[/bold]\nGET /api/call/calls")
    reply = requests.get(f"{base_url}/api/call/calls", headers=headers, timeout=60).json()
    console.print(JSON(json.dumps(reply)))
    heard = [hear(base_url, headers, recording) for call in reply["data"]["items"] for recording in call["recordings"]]
    return heard == [True] * len(NUMBERS)


def drift(base_url: str, tenant: dict[str, str], sandbox: Sandbox) -> bool:
    """Edit a number in the carrier's console, detect and repair the drift, then remove the number."""
    api, headers = f"{base_url}/api/call", {"Authorization": f"Bearer {tenant['token']}"}
    number = NUMBERS["twilio"]

    def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        reply = requests.request(method, f"{api}/{path}", json=body, headers=headers, timeout=60).json()
        console.print(f"\n{method} /api/call/{escape(path)}{' ' + escape(json.dumps(body)) if body else ''}")
        console.print(JSON(WEBHOOK_URL.sub("…/", json.dumps(reply["data"]))))
        return reply["data"]

    console.rule("Drift, repair, removal")
    found = requests.get(f"{api}/phones?phoneNumber={number}", headers=headers, timeout=60).json()["data"]["items"]
    path = f"phones/{found[0]['_id']}"
    console.print("Someone changes the voice URL in Twilio's console and attaches a trunk.")
    sandbox.console("twilio", seeds.TWILIO_SID, number=number, voice_url="https://elsewhere.example.com/",
                    trunk_sid=seeds.TWILIO_TRUNK)  # fmt: skip
    drifted = ask("POST", f"{path}/check")
    repaired = ask("POST", f"{path}/check", {"repair": True})
    removed = ask("DELETE", path)
    console.print(f"\nThe number's original voice URL is restored at the carrier: {voice_url(sandbox, number)}")
    seen = drifted["health"], repaired["health"], repaired["repaired"], removed["restored"], voice_url(sandbox, number)
    return seen == ("drift", "ok", True, True, f"{seeds.FOREIGN_URL}/twilio/answer")


def bulk() -> bool:
    """Run add_phones on the sample file, first with --dry-run. Returns whether both runs ended as expected."""
    console.rule("Many numbers at once")
    ended = []
    for option in (["--dry-run"], []):
        command = ["manage.py", "add_phones", "docs/sample-numbers.csv", *option]
        console.print(f"\n$ {' '.join(command)}")
        done = subprocess.run([sys.executable, *command], cwd=BASE_DIR, capture_output=True, text=True, check=False)
        console.print(escape(done.stdout))
        ended.append(done.returncode)
    return ended == [SOME_FAILED, SOME_FAILED]


def hear(base_url: str, headers: dict[str, str], recording: dict[str, Any]) -> bool:
    """Download a recording into the demo's folder. Returns whether its length matches the call log."""
    path = f"/api/call/recordings/{recording['_id']}/media"
    audio = requests.get(base_url + path, headers=headers, timeout=60)
    file = DEMO_DIR / f"{recording['_id']}.wav"
    file.write_bytes(audio.content)
    with wave.open(str(file)) as sound:
        seconds = sound.getnframes() / sound.getframerate()
    console.print(f"GET {path}: {audio.status_code}, {len(audio.content)} bytes, {seconds:.1f} s, in .demo/{file.name}")
    return round(seconds) == recording["durationSeconds"]


def voice_url(sandbox: Sandbox, number: str) -> str:
    return str(sandbox.state.accounts["twilio"][seeds.TWILIO_SID].numbers[number]["voice_url"])


def show(title: str, request: Any, reply: dict[str, Any], *, in_full: bool) -> None:
    if in_full:
        console.print(f"\n[bold]{escape(title)}[/bold]\nPOST /api/call/add-phone")
        console.print(JSON(request if isinstance(request, str) else json.dumps(request)))
        console.print(JSON(json.dumps(reply)))
    else:
        outcome = f"{reply['code']} {reply['data']['error']}: {reply['errorMessage']}"
        console.print(f"[bold]{escape(title)}[/bold]\n  {escape(outcome)}")


def invite(base_url: str, tenant: dict[str, str]) -> None:
    console.rule("Your turn")
    console.print(
        f"""
The server runs at {base_url} until you press Ctrl-C. The example from the public page works here:

curl --location '{base_url}/api/call/add-phone' \\
--header "Authorization: Bearer $(cat .demo/token)" \\
--header 'Content-Type: application/json' \\
--data '{{
"userId": "{PAGE_USER}",
"phoneNumber": "{PAGE_NUMBER}",
"integration": "twilio",
"authToken": "{PAGE_TOKEN}",
"accSId": "{PAGE_SID}"
}}'

API documentation  {base_url}/api/docs
Admin              {base_url}/admin/   admin@example.com   {tenant["password"]}
""",
        markup=False,
    )


if __name__ == "__main__":
    sys.exit(main())
