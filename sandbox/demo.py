"""`make demo`: the product on this machine with simulated carriers, and its own settings and database.

They are in `.demo/`, but a server of MongoDB or PostgreSQL is started for the demo, and its data goes when it ends.
"""

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
from sandbox.postgresql import PostgreSQL, programs
from sandbox.replica_set import ReplicaSet, mongod
from sandbox.sandbox import Sandbox
from sandbox.voice_system import VOICE_HOST, VoiceSystem

BASE_DIR = Path(__file__).resolve().parent.parent
DEMO_DIR = BASE_DIR / ".demo"
MANAGE = [sys.executable, str(BASE_DIR / "manage.py")]
SERVE = [*MANAGE, "serve"]
READY_WITHIN_S, STARTS = 60, 3
# What .demo/env holds, for commands in another terminal.
SETTINGS = (
    "SECRET_KEY", "CREDENTIAL_KEYS", "DATABASE_URL", "ALLOWED_HOSTS", "PUBLIC_URL", "BIND", "STAFF_TOTP",
    "TWILIO_API_URL", "PLIVO_API_URL", "TELNYX_API_URL",
)  # fmt: skip
LOGINS = {
    "admin": "everything (superuser)", "supervisor": "removes and moves numbers, gives out tokens",
    "support": "helps customers",
}  # fmt: skip
DATABASES = ("sqlite", "mongodb", "postgresql")
NO_MONGOD = (
    "There is no mongod that runs on this machine: put one of MongoDB 6.0 or newer on PATH. On Linux with x86-64, "
    "make dev installs it."
)
NO_POSTGRESQL = "PostgreSQL is not installed on this machine. On Debian: apt-get install postgresql"
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
    parser.add_argument("--database", choices=DATABASES, default="sqlite", help="the engine to show it on")
    options = parser.parse_args()

    # On SIGTERM, clean up and stop the server as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lock = DEMO_DIR.with_name(".demo.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("Another demo is running in this directory. Stop it first.")
    os.umask(0o077)  # as manage.py
    shutil.rmtree(DEMO_DIR, ignore_errors=True)
    DEMO_DIR.mkdir(mode=0o700)
    console.print("Preparing a database, simulated carriers and the server. The tour takes about a minute.")
    with running_database(options.database) as database_url, Sandbox() as sandbox:
        sandbox.add_account("twilio", PAGE_SID, PAGE_TOKEN)
        sandbox.add_number("twilio", PAGE_SID, PAGE_NUMBER)
        configure(sandbox, database_url)
        tenant = prepare_database()
        succeeded = False
        with suppress(KeyboardInterrupt), running_server() as (base_url, server):
            succeeded = tour(base_url, tenant, sandbox)
            succeeded = succeeded and calls(base_url, tenant, sandbox) and stream(base_url, tenant, sandbox)
            succeeded = succeeded and drift(base_url, tenant, sandbox) and bulk()
            if succeeded and not options.exit:
                with running("worker"):
                    invite(base_url, tenant)
                    server.wait()
    return 0 if succeeded else 1


# -- setting up -------------------------------------------------------------------------------------------------------


@contextmanager
def running_database(engine: str) -> Iterator[str]:
    """An empty database. Yields its DATABASE_URL. Exits with what is missing if its server cannot be had."""
    if engine == "mongodb":
        if mongod() is None:
            sys.exit(NO_MONGOD)
        with ReplicaSet() as replica_set:
            yield replica_set.url("demo")
    elif engine == "postgresql":
        if programs() is None:
            sys.exit(NO_POSTGRESQL)
        with PostgreSQL() as server:
            server.create("demo")
            yield server.url("demo")
    else:
        yield f"sqlite:///{quote(str(DEMO_DIR / 'db.sqlite3'))}"


def configure(sandbox: Sandbox, database_url: str) -> None:
    """Set the environment of this process and its children, except for the server's address (`use`)."""
    os.environ.update(
        DJANGO_SETTINGS_MODULE="workspace.settings",
        SECRET_KEY=secrets.token_hex(32),
        CREDENTIAL_KEYS=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        DATABASE_URL=database_url,
        ENV_FILE=os.devnull,
        ALLOWED_HOSTS="localhost,127.0.0.1",
        DEBUG="off",
        STAFF_TOTP="off",
        TWILIO_API_URL=sandbox.twilio_url,
        PLIVO_API_URL=sandbox.plivo_url,
        TELNYX_API_URL=sandbox.telnyx_url,
    )
    use(free_address())


def use(address: str) -> str:
    """Let the server listen there. Returns its URL.

    Effects: writes the settings to a file as well, for commands in another terminal (ENV_FILE).
    """
    os.environ.update(PUBLIC_URL=f"http://{address}", BIND=address)
    lines = [f"{name}={os.environ[name]}\n" for name in SETTINGS]
    (DEMO_DIR / "env").write_text("".join(lines))
    return f"http://{address}"


def free_address(ports: tuple[int, ...] = (8000, 0)) -> str:
    """127.0.0.1:8000, or another port if that one is taken."""
    for port in ports:
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
    from django.contrib.auth.models import Group

    from users.models import ApiToken, User, Workspace

    call_command("migrate", verbosity=0)
    workspace: Workspace = Workspace.objects.create(name="Demo")
    passwords = {name: secrets.token_urlsafe(12) for name in LOGINS}
    User.objects.create_user("ann@example.com", workspace=workspace, id=PAGE_USER)
    colleague = User.objects.create_user("bob@example.com", workspace=workspace)
    User.objects.create_superuser(email_of("admin"), passwords["admin"])
    for name in ("supervisor", "support"):
        staff = User.objects.create_user(email_of(name), passwords[name], is_staff=True)
        staff.groups.add(Group.objects.get(name=name))
    token = ApiToken.issue(workspace)[1]
    connections.close_all()
    (DEMO_DIR / "token").write_text(token + "\n")
    return {"userId": colleague.pk, "token": token, **passwords}


def email_of(login: str) -> str:
    return f"{login}@example.com"


@contextmanager
def running(command: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a command of manage.py while the block lasts. Yields the process and its log."""
    path = DEMO_DIR / f"{command}.log"
    with path.open("wb") as log:
        process = subprocess.Popen([*MANAGE, command], cwd=BASE_DIR, stdout=log, stderr=log)
    try:
        yield process, path
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def running_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the real server. Yields its URL and its process: ready when the block starts, stopped when it ends.

    If it does not start, another process may have taken its port after we found it free, so another one is tried.
    """
    base_url = os.environ["PUBLIC_URL"]
    for _ in range(STARTS):
        with running("serve") as (server, log):
            if is_ready(server, base_url):
                yield base_url, server
                return
        base_url = use(free_address((0,)))
    sys.exit(f"The server did not start. See its log: {log}")


def wait_until_ready(server: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
    """Wait until the server is ready; if it does not become ready, exit with the path of its log."""
    if not is_ready(server, base_url):
        sys.exit(f"The server did not start. See its log: {log}")


def is_ready(server: subprocess.Popen[bytes], base_url: str) -> bool:
    """Wait until the server is ready. Returns False if it has ended or takes too long."""
    give_up_at = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up_at and server.poll() is None:
        with suppress(requests.RequestException):
            if requests.get(f"{base_url}/readyz", timeout=2).ok:
                return server.poll() is None
        time.sleep(0.1)
    return False


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

    console.rule("Three numbers, three carriers: POST /api/call/add-phone")
    ask("A Twilio number", "added", {**twilio, "phoneNumber": NUMBERS["twilio"]})
    ask("A Plivo number", "added", {"phoneNumber": NUMBERS["plivo"], **plivo})
    telnyx_number = {"userId": tenant["userId"], "phoneNumber": NUMBERS["telnyx"], **telnyx}
    ask("A Telnyx number (no accSId: the application is created)", "added", {}, raw=json.dumps(telnyx_number))
    results.append(voice_url(sandbox, NUMBERS["twilio"]).startswith(f"{base_url}/api/webhooks/twilio/"))
    console.print(f"The Twilio number's voice URL at the carrier is now {base_url}/api/webhooks/twilio/…/answer")

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
    console.print(f"After these failures the carrier's settings are {verdict}.")
    return all(results)


def calls(base_url: str, tenant: dict[str, str], sandbox: Sandbox) -> bool:
    """Place a call at each carrier, show the log and fetch the recordings. Returns whether all went as expected."""
    headers = {"Authorization": f"Bearer {tenant['token']}"}
    console.rule("A call at each carrier")
    for carrier, number in NUMBERS.items():
        placed = sandbox.place_call(carrier, number, talk_s=4)
        replies = ", ".join(f"{request.kind} {request.reply_status}" for request in placed.requests)
        console.print(f"[bold]{carrier} calls {number}[/bold]: its signed requests and our replies: {replies}")
        document = WEBHOOK_URL.sub("…/", placed.documents[0].removeprefix('<?xml version="1.0" encoding="UTF-8"?>'))
        console.print(f"  executes {escape(document)}")

    console.rule("The call log: GET /api/call/calls")
    reply = requests.get(f"{base_url}/api/call/calls", headers=headers, timeout=60).json()
    for call in reply["data"]["items"]:
        console.print(as_json(call))
    heard = [hear(base_url, headers, recording) for call in reply["data"]["items"] for recording in call["recordings"]]
    return heard == [True] * len(NUMBERS)


def stream(base_url: str, tenant: dict[str, str], sandbox: Sandbox) -> bool:
    """Connect a number with a voice system, and call it. Returns whether each has heard the other."""
    api, headers = f"{base_url}/api/call", {"Authorization": f"Bearer {tenant['token']}"}
    number, body = NUMBERS["plivo"], {"inbound": {"action": "connect", "connectTo": f"wss://{VOICE_HOST}/calls"}}
    console.rule("A voice system of your own takes a call")
    found = requests.get(f"{api}/phones?phoneNumber={number}", headers=headers, timeout=60).json()["data"]["items"]
    path = f"phones/{found[0]['_id']}"
    console.print(f"PATCH /api/call/{path} {escape(json.dumps(body))}")
    requests.patch(f"{api}/{path}", json=body, headers=headers, timeout=60).raise_for_status()
    with VoiceSystem() as system:
        sandbox.hosts[VOICE_HOST] = system.address
        (placed,) = sandbox.place_call("plivo", number).streams
    heard = f"{placed.sent} messages of 20 ms go to the voice system, and {placed.received} come back."
    console.print(f"[bold]plivo calls {number}[/bold]: {heard}")
    return placed.connected and not placed.failure and placed.sent == placed.received > 0


def drift(base_url: str, tenant: dict[str, str], sandbox: Sandbox) -> bool:
    """Edit a number in the carrier's console, detect and repair the drift, then remove the number."""
    api, headers = f"{base_url}/api/call", {"Authorization": f"Bearer {tenant['token']}"}
    number = NUMBERS["twilio"]

    def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        reply = requests.request(method, f"{api}/{path}", json=body, headers=headers, timeout=60).json()
        console.print(f"{method} /api/call/{escape(path)}{' ' + escape(json.dumps(body)) if body else ''}")
        console.print(as_json(json.loads(WEBHOOK_URL.sub("…/", json.dumps(reply["data"])))))
        return reply["data"]

    console.rule("Drift, repair, removal")
    found = requests.get(f"{api}/phones?phoneNumber={number}", headers=headers, timeout=60).json()["data"]["items"]
    path = f"phones/{found[0]['_id']}"
    console.print("Somebody changes the voice URL in Twilio's console and attaches a trunk.")
    sandbox.console("twilio", seeds.TWILIO_SID, number=number, voice_url="https://elsewhere.example.com/",
                    trunk_sid=seeds.TWILIO_TRUNK)  # fmt: skip
    drifted = ask("POST", f"{path}/check")
    repaired = ask("POST", f"{path}/check", {"repair": True})
    removed = ask("DELETE", path)
    console.print(f"The number's original voice URL is restored at the carrier: {voice_url(sandbox, number)}")
    seen = drifted["health"], repaired["health"], repaired["repaired"], removed["restored"], voice_url(sandbox, number)
    return seen == ("drift", "ok", True, True, f"{seeds.FOREIGN_URL}/twilio/answer")


def bulk() -> bool:
    """Run add_phones on the sample file, first with --dry-run. Returns whether both runs ended as expected."""
    console.rule("Many numbers at once")
    ended = []
    for option in (["--dry-run"], []):
        command = ["manage.py", "add_phones", "docs/sample-numbers.csv", *option]
        done = subprocess.run([sys.executable, *command], cwd=BASE_DIR, capture_output=True, text=True, check=False)
        console.print(f"$ {' '.join(command)}: {escape(done.stdout.splitlines()[-1])}")
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
    console.print(f"GET {path}: {audio.status_code}, {seconds:.1f} s, in .demo/{file.name}")
    return round(seconds) == recording["durationSeconds"]


def voice_url(sandbox: Sandbox, number: str) -> str:
    return str(sandbox.state.accounts["twilio"][seeds.TWILIO_SID].numbers[number]["voice_url"])


def as_json(value: Any) -> JSON:
    """The value on one line."""
    return JSON(json.dumps(value), indent=None)


def show(title: str, request: Any, reply: dict[str, Any], *, in_full: bool) -> None:
    if in_full:
        console.print(f"[bold]{escape(title)}[/bold]")
        console.print(as_json(json.loads(request) if isinstance(request, str) else request))
        console.print(as_json(reply))
    else:
        outcome = f"{reply['code']} {reply['data']['error']}: {reply['errorMessage']}"
        console.print(f"[bold]{escape(title)}[/bold]: {escape(outcome)}")


def invite(base_url: str, tenant: dict[str, str]) -> None:
    console.rule("Your turn")
    logins = "\n".join(f"  {email_of(name):<24}{tenant[name]}  {what}" for name, what in LOGINS.items())
    console.print(
        f"""
The server runs at {base_url} until you press Ctrl-C. API documentation: {base_url}/api/docs

Sign in at {base_url}/admin/ as one of these:
{logins}

In another terminal, in this directory, the example of the README and of the product's public page "Add Phone Number":

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

The settings of the demo are in .demo/env, for any command:

export ENV_FILE=.demo/env
.venv/bin/python manage.py sandbox call {PAGE_NUMBER}
.venv/bin/python manage.py add_phones docs/sample-numbers.csv --dry-run
.venv/bin/python manage.py check_phones
""",
        markup=False,
    )


if __name__ == "__main__":
    sys.exit(main())
