"""The cost of a webhook compared with bare WSGI and sqlite3 that verify and write the same; and whether all are stored.

Ratio of CPU seconds, the median of interleaved rounds in one process: our whole application from the WSGI environ to
the response, against a callable without Django and SDKs, on a copy of the database, with as many commits.
Then 3,000 events through the server over 32 connections, those of one call in any order and at the same time.
"""

import argparse
import base64
import gc
import hashlib
import hmac
import http.client
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from bson import ObjectId
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.report import Line, finish
from sandbox import state as seeds
from sandbox.demo import SERVE, free_address, wait_until_ready
from sandbox.signing import signed

PUBLIC_URL = "https://phones.example.com"
KEY = base64.urlsafe_b64encode(bytes(32)).decode()
ROUNDS, CALLS_A_ROUND = 30, 15
CONNECTIONS, CALLS_OVER_HTTP, EVENTS_A_CALL = 32, 1000, 3
GOAL = 4
BARE_PATH = "/api/webhooks/bare"

Form = list[tuple[str, str]]
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class Carrier:
    """An account in the sandbox, its number, and its webhook URLs."""

    account: seeds.Account
    number: str
    token: str

    @property
    def name(self) -> str:
        return self.account.carrier

    def path(self, kind: str) -> str:
        return f"/api/webhooks/{self.name}/{self.token}/{kind}"


@dataclass(frozen=True)
class Request:
    """A signed request from a carrier."""

    path: str
    body: bytes
    headers: dict[str, str]

    def environ(self) -> dict[str, Any]:
        """The WSGI environ, as created by workspace/asgi.py."""
        own = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()}
        return {
            "REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": self.path, "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000",
            "REMOTE_ADDR": "127.0.0.1", "CONTENT_TYPE": own.pop("HTTP_CONTENT_TYPE"),
            "CONTENT_LENGTH": str(len(self.body)), "HTTP_HOST": "127.0.0.1:8000", "HTTP_USER_AGENT": "carrier",
            "HTTP_ACCEPT": "*/*", "HTTP_CONNECTION": "close", **own,
            "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": BytesIO(self.body),
            "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ours, raw, served = (directory / f"{one}.sqlite3" for one in ("ours", "raw", "served"))
        os.environ.update(
            DJANGO_SETTINGS_MODULE="workspace.settings",
            SECRET_KEY="bench" * 12,
            CREDENTIAL_KEYS=KEY,
            PUBLIC_URL=PUBLIC_URL,
            DATABASE_URL=database_url(ours),
            ENV_FILE=os.devnull,
            DEBUG="off",
            BIND=free_address(),
        )
        carriers = make_database()
        for copy in (raw, served):
            shutil.copy(ours, copy)
        lines = compare(carriers, raw)
        lines += [Line("rows that differ between the two", len(rows_of(ours) ^ rows_of(raw)), 0, exact=True)]
        lines += through_http(carriers, directory, served)
    finish(lines, check=options.check)


def database_url(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"


def make_database() -> list[Carrier]:
    """Set up Django and create a workspace with one active number at each carrier."""
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    from core.secrets import Secret
    from phones.models import Account, Line, PhoneNumber
    from users.models import User, Workspace

    call_command("migrate", verbosity=0)
    user = User.objects.create_user("bench@example.com", workspace=Workspace.objects.create(name="Bench"))
    carriers = []
    for name, id, number in (
        ("twilio", seeds.TWILIO_SID, "12125551234"),
        ("plivo", seeds.PLIVO_ID, "14155551234"),
        ("telnyx", seeds.TELNYX_ACCOUNT, "13125551234"),
    ):
        theirs = seeds.seeded().account(name, id)
        account = Account.objects.create(
            workspace=user.workspace,
            integration=name,
            account_id=id,
            auth_token=Secret.seal(theirs.secret),
            public_key=theirs.public_key() if name == "telnyx" else "",
        )
        line = Line.objects.create(
            account=account, integration=name, number=number, carrier_id=number, snapshot=Secret.seal("{}")
        )
        active = PhoneNumber.State.ACTIVE
        PhoneNumber.objects.create(user=user, line=line, integration=name, number=number, state=active)
        carriers.append(Carrier(theirs, number, account.webhook_token))
    connections.close_all()
    return carriers


# -- what carriers send -----------------------------------------------------------------------------------------------


def requests_of_call(carrier: Carrier) -> list[Request]:
    """The webhooks of a call that leaves a message: the request for an answer, the end of the call, the recording."""
    now = datetime.now(UTC).replace(microsecond=0)
    forms = {"twilio": twilio_forms, "plivo": plivo_forms, "telnyx": telnyx_forms}[carrier.name](carrier, now)
    requests = []
    for kind, form in zip(("answer", "status", "recording"), forms, strict=True):
        body, headers = signed(carrier.account, PUBLIC_URL + carrier.path(kind), form)
        requests.append(Request(carrier.path(kind), body, headers))
    return requests


def twilio_forms(carrier: Carrier, now: datetime) -> list[Form]:
    """https://www.twilio.com/docs/voice/twiml#twilios-request-to-your-application (read 2026-11-23)"""
    call_id, recording_id = f"CA{uuid.uuid4().hex}", f"RE{uuid.uuid4().hex}"
    places = {"City": "NEW YORK", "State": "NY", "Zip": "10001", "Country": "US"}
    ends = [("Called", f"+{carrier.number}"), ("To", f"+{carrier.number}"), ("Caller", "+12125550100")]
    call = [
        ("AccountSid", carrier.account.id),
        ("ApiVersion", "2010-04-01"),
        ("CallSid", call_id),
        ("Direction", "inbound"),
        ("From", "+12125550100"),
        *ends,
        *((f"{end}{what}", place) for end in ("Called", "To", "Caller", "From") for what, place in places.items()),
    ]
    url = f"https://api.twilio.com/2010-04-01/Accounts/{carrier.account.id}/Recordings/{recording_id}"
    recording = [("RecordingUrl", url), ("RecordingSid", recording_id), ("RecordingDuration", "12")]
    end = [
        ("CallStatus", "completed"),
        ("CallDuration", "20"),
        ("Duration", "1"),
        ("Timestamp", format_datetime(now)),
        ("CallbackSource", "call-progress-events"),
        ("SequenceNumber", "0"),
    ]
    message = [
        ("AccountSid", carrier.account.id),
        ("CallSid", call_id),
        ("RecordingChannels", "1"),
        ("RecordingStartTime", format_datetime(now - timedelta(seconds=12))),
        ("RecordingSource", "RecordVerb"),
        ("RecordingTrack", "both"),
        ("RecordingStatus", "completed"),
    ]
    return [[*call, ("CallStatus", "ringing")], call + end + recording, message + recording]


def plivo_forms(carrier: Carrier, now: datetime) -> list[Form]:
    """https://docs.plivo.com/docs/voice/concepts/callbacks (read 2026-11-23)"""
    began, ended = (str(one.replace(tzinfo=None)) for one in (now, now + timedelta(seconds=20)))
    call = [
        ("CallUUID", str(uuid.uuid4())),
        ("From", "12125550100"),
        ("To", carrier.number),
        ("CallerName", "+12125550100"),
        ("Direction", "inbound"),
        ("ParentAuthID", carrier.account.id),
    ]
    answer = [("CallStatus", "ringing"), ("Event", "StartApp"), ("BillRate", "0.00550"), ("SessionStart", began)]
    end = [
        ("CallStatus", "completed"),
        ("Event", "Hangup"),
        ("Duration", "20"),
        ("BillDuration", "60"),
        ("BillRate", "0.00550"),
        ("TotalCost", "0.00550"),
        ("HangupCause", "NORMAL_CLEARING"),
        ("HangupCauseName", "Normal Hangup"),
        ("HangupCauseCode", "4000"),
        ("HangupSource", "Caller"),
        ("StartTime", began),
        ("AnswerTime", began),
        ("EndTime", ended),
    ]
    recording_id, milliseconds = str(uuid.uuid4()), int(now.timestamp() * 1000)
    message = [
        ("CallStatus", "in-progress"),
        ("Event", "RecordStop"),
        ("RecordUrl", f"https://media.plivo.com/v1/Account/{carrier.account.id}/Recording/{recording_id}.wav"),
        ("RecordingID", recording_id),
        ("RecordingDuration", "12"),
        ("RecordingDurationMs", "12000"),
        ("RecordingStartMs", str(milliseconds - 12_000)),
        ("RecordingEndMs", str(milliseconds)),
    ]
    return [call + answer, call + end, call + message]


def telnyx_forms(carrier: Carrier, now: datetime) -> list[Form]:
    """https://developers.telnyx.com/api-reference/callbacks/texml-call-completed (read 2026-11-23)"""
    call_id, recording_id = f"v3:{uuid.uuid4().hex}{uuid.uuid4().hex}", str(uuid.uuid4())
    began, ended = (one.isoformat().replace("+00:00", "Z") for one in (now, now + timedelta(seconds=20)))
    ids = [
        ("AccountSid", carrier.account.user_id),
        ("CallSid", call_id),
        ("CallSidLegacy", call_id),
        ("ConnectionId", seeds.TELNYX_CUSTOMER_APP),
    ]
    call = [*ids, ("From", "+12125550100"), ("To", f"+{carrier.number}"), ("Direction", "inbound")]
    end = [
        ("CallStatus", "completed"),
        ("CallInitiatedAt", began),
        ("CallbackSource", "call-progress-events"),
        ("SequenceNumber", "3"),
        ("Timestamp", ended),
        ("CallDuration", "20"),
        ("AnsweredTime", began),
    ]
    message = [
        ("RecordingChannels", "1"),
        ("RecordingDuration", "12"),
        ("RecordingSid", recording_id),
        ("RecordingSource", "RecordVerb"),
        ("RecordingUrl", f"https://media.telnyx.com/recordings/{recording_id}.wav"),
        ("RecordingStatus", "completed"),
    ]
    return [[*call, ("CallStatus", "ringing")], call + end, ids + message]


# -- the same without a framework -------------------------------------------------------------------------------------


class RawWebhook:
    """Verifies and writes the same as phones/webhooks.py, for well-formed requests that arrive in order."""

    rank = {"": 0, "ringing": 1, "in-progress": 2, "completed": 3}

    def __init__(self, database: Path) -> None:
        self.connection = sqlite3.connect(database, isolation_level=None)
        self.connection.executescript("PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        self.execute = self.connection.execute
        self.box = Fernet(KEY)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, body = environ["PATH_INFO"], environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        _, _, _, integration, token, kind = path.split("/")
        found = self.execute(
            "SELECT _id, auth_token, public_key FROM phones_account WHERE webhook_token = ? AND integration = ?",
            (token, integration),
        ).fetchone()
        if found is None:
            return self.refuse(start_response)
        account, sealed, public_key = found
        secret = self.box.decrypt(sealed.encode())
        fields = parse_qsl(body.decode(), keep_blank_values=True)
        signed_bytes = SIGNED[integration](environ, PUBLIC_URL + path, fields, body, secret, public_key)
        if signed_bytes is None:
            return self.refuse(start_response)
        self.keep(account, integration, kind, body.decode(), dict(fields), hashlib.sha256(signed_bytes).hexdigest())
        if kind != "answer":
            start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", "0")])
            return [b""]
        document = self.answer(account, fields, path)
        headers = [("Content-Type", "text/xml; charset=utf-8"), ("Content-Length", str(len(document)))]
        start_response("200 OK", headers)
        return [document]

    def refuse(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    def answer(self, account: str, fields: Form, path: str) -> bytes:
        handling = self.execute(
            "SELECT action, greeting, forward_to, record FROM phones_phonenumber JOIN phones_line"
            " ON phones_line._id = line_id WHERE account_id = ? AND phones_line.number = ? AND state = 'active'"
            " ORDER BY phones_phonenumber.created_at, phones_phonenumber._id LIMIT 1",
            (account, dict(fields)["To"].lstrip("+")),
        ).fetchone()
        if handling is None:
            return b"<Response><Hangup/></Response>"
        base = PUBLIC_URL + path.removesuffix("/answer")
        return DOCUMENT.format(greeting=handling[1] or "Leave a message.", base=base).encode()

    def keep(
        self, account: str, integration: str, kind: str, body: str, fields: dict[str, str], dedupe_key: str
    ) -> None:
        event, heard_at = str(ObjectId()), now_text()
        self.execute("BEGIN IMMEDIATE")
        try:
            self.count(account)
            self.execute(
                "INSERT INTO phones_callevent (_id, account_id, dedupe_key, kind, payload, received_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (event, account, dedupe_key, kind, body, heard_at),
            )
            call, recording = (plivo_report if integration == "plivo" else texml_report)(fields)
            call_id = self.merge_call(account, call, heard_at)
            if recording:
                self.merge_recording(account, call_id, recording)
            self.execute("UPDATE phones_callevent SET merged_at = ? WHERE _id = ?", (now_text(), event))
            self.execute("COMMIT")
        except sqlite3.IntegrityError:
            self.execute("ROLLBACK")

    def count(self, account: str) -> None:
        """LIMIT_EVENTS."""
        minute = int(time.time()) // 60 * 60
        counter = f"raw events:{account}:{minute}"
        counted = "UPDATE users_limitcounter SET used = used + 1 WHERE key = ? AND used < 20000 - held"
        if not self.execute(counted, (counter,)).rowcount:
            self.execute(
                "INSERT INTO users_limitcounter (_id, key, used, held, expires_at) VALUES (?, ?, 1, 0, ?)",
                (str(ObjectId()), counter, datetime.fromtimestamp(minute + 60, UTC).isoformat()),
            )

    def merge_call(self, account: str, said: dict[str, Any], heard_at: str) -> str:
        said["started_at"] = min(filter(None, (said["started_at"], heard_at)))
        names = ", ".join(said)
        row = self.execute(
            f"SELECT _id, version, {names} FROM phones_call WHERE account_id = ? AND carrier_id = ?",  # noqa: S608
            (account, said["carrier_id"]),
        ).fetchone()
        if row is None:
            id, number = str(ObjectId()), said["callee"]
            line = self.execute(
                "SELECT _id FROM phones_line WHERE account_id = ? AND number = ?", (account, number)
            ).fetchone()
            self.execute(
                f"INSERT INTO phones_call (_id, account_id, line_id, version, created_at, {names})"  # noqa: S608
                f" VALUES (?, ?, ?, 0, ?, {', '.join('?' * len(said))})",
                (id, account, line and line[0], heard_at, *said.values()),
            )
            return id
        id, version, *before = row
        had = dict(zip(said, before, strict=True))
        if self.rank[said["status"]] < self.rank[had["status"]]:
            said["status"] = ""
        said["started_at"] = min(said["started_at"], had["started_at"])
        self.update("phones_call", id, version, had, said)
        return id

    def merge_recording(self, account: str, call: str, said: dict[str, Any]) -> None:
        names = ", ".join(said)
        row = self.execute(
            f"SELECT _id, version, {names} FROM phones_recording WHERE account_id = ? AND carrier_id = ?",  # noqa: S608
            (account, said["carrier_id"]),
        ).fetchone()
        if row is None:
            self.execute(
                f"INSERT INTO phones_recording (_id, account_id, call_id, version, created_at, {names})"  # noqa: S608
                f" VALUES (?, ?, ?, 0, ?, {', '.join('?' * len(said))})",
                (str(ObjectId()), account, call, now_text(), *said.values()),
            )
            return
        id, version, *before = row
        self.update("phones_recording", id, version, dict(zip(said, before, strict=True)), said)

    def update(self, table: str, id: str, version: int, had: dict[str, Any], said: dict[str, Any]) -> None:
        changes = {name: value for name, value in said.items() if value not in ("", None) and value != had[name]}
        if changes:
            self.execute(
                f"UPDATE {table} SET version = ?, {', '.join(f'{name} = ?' for name in changes)}"  # noqa: S608
                " WHERE _id = ? AND version = ?",
                (version + 1, *changes.values(), id, version),
            )


DOCUMENT = (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Say>{greeting}</Say><Record action="{base}/done" finishOnKey="#"'
    ' maxLength="120" playBeep="true" recordingStatusCallback="{base}/recording" timeout="5"/><Hangup/></Response>'
)


def signed_by_twilio(environ: Any, url: str, fields: Form, body: bytes, secret: bytes, _: str) -> bytes | None:
    content = (url + "".join(name + value for name, value in sorted(fields))).encode()
    expected = base64.b64encode(hmac.new(secret, content, hashlib.sha1).digest())
    fits = hmac.compare_digest(environ["HTTP_X_TWILIO_SIGNATURE"].encode(), expected)
    return content if fits else None


def signed_by_plivo(environ: Any, url: str, fields: Form, body: bytes, secret: bytes, _: str) -> bytes | None:
    content = f"{url}?{''.join(name + value for name, value in sorted(fields))}".encode()
    nonce = environ["HTTP_X_PLIVO_SIGNATURE_V3_NONCE"].encode()
    expected = base64.b64encode(hmac.new(secret, content + b"." + nonce, hashlib.sha256).digest())
    fits = hmac.compare_digest(environ["HTTP_X_PLIVO_SIGNATURE_V3"].encode(), expected)
    return content if fits else None


def signed_by_telnyx(environ: Any, url: str, fields: Form, body: bytes, _: bytes, public_key: str) -> bytes | None:
    timestamp = environ["HTTP_TELNYX_TIMESTAMP"]
    if abs(time.time() - int(timestamp)) > 300:
        return None
    signature = base64.b64decode(environ["HTTP_TELNYX_SIGNATURE_ED25519"])
    Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key)).verify(signature, f"{timestamp}|".encode() + body)
    return body


SIGNED = {"twilio": signed_by_twilio, "plivo": signed_by_plivo, "telnyx": signed_by_telnyx}


def texml_report(fields: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    get = fields.get
    status, duration_s = get("CallStatus", ""), get("CallDuration")
    at = moment(get("Timestamp"))
    talked_since = at - timedelta(seconds=int(duration_s)) if at and duration_s else None
    began = moment(get("CallInitiatedAt")) or talked_since
    call = {
        "carrier_id": fields["CallSid"],
        "direction": get("Direction", ""),
        "caller": get("From", "").lstrip("+"),
        "callee": get("To", "").lstrip("+"),
        "status": status,
        "started_at": written(began or at),
        "answered_at": written(moment(get("AnsweredTime")) or talked_since),
        "ended_at": written(at if status == "completed" else None),
        "duration_s": int(duration_s) if duration_s else None,
        "hangup_cause": "",
        "cost": None,
        "currency": "",
    }
    if "RecordingSid" not in fields:
        return call, None
    recording = {
        "carrier_id": fields["RecordingSid"],
        "status": get("RecordingStatus", "unknown"),
        "started_at": written(moment(get("RecordingStartTime"))),
        "duration_s": int(fields["RecordingDuration"]),
        "channels": int(fields["RecordingChannels"]) if "RecordingChannels" in fields else None,
        "url": "",
    }
    return call, recording


def plivo_report(fields: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    get = fields.get
    has_ended = fields["Event"] == "Hangup"
    call = {
        "carrier_id": fields["CallUUID"],
        "direction": get("Direction", ""),
        "caller": get("From", "").lstrip("+"),
        "callee": get("To", "").lstrip("+"),
        "status": get("CallStatus", ""),
        "started_at": written(moment(get("StartTime") or get("SessionStart"))),
        "answered_at": written(moment(get("AnswerTime"))),
        "ended_at": written(moment(get("EndTime"))),
        "duration_s": int(fields["Duration"]) if has_ended else None,
        "hangup_cause": get("HangupCauseName", ""),
        "cost": float(fields["TotalCost"]) if has_ended else None,
        "currency": "USD" if has_ended else "",
    }
    if "RecordingID" not in fields:
        return call, None
    started_at = datetime.fromtimestamp(int(fields["RecordingStartMs"]) / 1000, UTC)
    recording = {
        "carrier_id": fields["RecordingID"],
        "status": "completed",
        "started_at": written(started_at),
        "duration_s": int(fields["RecordingDuration"]),
        "channels": None,
        "url": fields["RecordUrl"],
    }
    return call, recording


def moment(text: str | None) -> datetime | None:
    if not text:
        return None
    read = datetime.fromisoformat(text) if text[0].isdigit() else parsedate_to_datetime(text)
    return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)


def written(when: datetime | None) -> str | None:
    """A time in the format that Django writes."""
    return str(when.replace(tzinfo=None)) if when else None


def now_text() -> str:
    now = datetime.now(UTC)
    return str(now.replace(microsecond=now.microsecond // 1000 * 1000, tzinfo=None))


# -- measuring --------------------------------------------------------------------------------------------------------


def compare(carriers: list[Carrier], raw_database: Path) -> list[Line]:
    """CPU ratio of our application to bare WSGI, by carrier and in total; and of an empty view."""
    from django.http import HttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    from workspace.urls import urlpatterns
    from workspace.wsgi import application

    urlpatterns.append(path(BARE_PATH.removeprefix("/"), csrf_exempt(lambda request: HttpResponse())))
    raw = RawWebhook(raw_database)
    for carrier in carriers:  # imports and connections
        first = requests_of_call(carrier)
        for side in (application, raw):
            cpu_s(side, first)
        cpu_s(application, bare(first))
    gc.collect()
    gc.freeze()  # as the server does
    walls: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for round_number in range(ROUNDS):
        for carrier in carriers:
            requests = [request for _ in range(CALLS_A_ROUND) for request in requests_of_call(carrier)]
            work: list[tuple[Application, list[Request]]] = [
                (application, requests),
                (raw, requests),
                (application, bare(requests)),
            ]
            shift = round_number % len(work)
            spent = [cpu_s(*one) for one in work[shift:] + work[:shift]]
            ours_s, raw_s, bare_s = spent[-shift:] + spent[:-shift] if shift else spent
            walls[carrier.name].append((ours_s, raw_s, bare_s))
    by_round = [zip(*one, strict=True) for one in zip(*walls.values(), strict=True)]
    walls["all three"] = [(sum(ours), sum(raws), sum(bares)) for ours, raws, bares in by_round]
    lines = []
    for name, rounds in walls.items():
        share = len(carriers) if name == "all three" else 1
        ours_ms, raw_ms, bare_ms = (
            statistics.median(side) * 1000 / (CALLS_A_ROUND * EVENTS_A_CALL * share)
            for side in zip(*rounds, strict=True)
        )
        beside_bare = statistics.median(bare_s / raw_s for _, raw_s, bare_s in rounds)
        print(
            f"{name}: {ours_ms:.2f} ms of CPU, raw {raw_ms:.2f} ms,"
            f" a Django view that does nothing {bare_ms:.2f} ms or {beside_bare:.2f} of raw"
        )
        ratio = statistics.median(ours_s / raw_s for ours_s, raw_s, _ in rounds)
        lines.append(Line(f"{name}: webhook / raw WSGI + sqlite3", ratio, GOAL))
    return lines


def bare(requests: list[Request]) -> list[Request]:
    """The CPU seconds of the same requests to an empty view."""
    return [Request(BARE_PATH, one.body, one.headers) for one in requests]


def cpu_s(application: Application, requests: list[Request]) -> float:
    """The CPU seconds of these requests. Exits if one is rejected."""
    environs = [request.environ() for request in requests]
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        statuses.append(status)

    start = time.process_time()
    for environ in environs:
        reply = application(environ, start_response)
        b"".join(reply)
        if hasattr(reply, "close"):
            reply.close()
    spent = time.process_time() - start
    if set(statuses) != {"200 OK"}:
        sys.exit(f"not all were taken: {set(statuses)}")
    return spent


def rows_of(database: Path) -> set[tuple[Any, ...]]:
    """The rows that must be identical on both sides: all columns except ids, keys and times of receipt."""
    connection = sqlite3.connect(database)
    events = "SELECT 'event', account_id, kind, payload, merged_at IS NULL FROM phones_callevent"
    calls = (
        "SELECT 'call', account_id, line_id, carrier_id, direction, caller, callee, status, started_at, answered_at,"
        " ended_at, duration_s, hangup_cause, cost, currency, version FROM phones_call"
    )
    recordings = (
        "SELECT 'recording', account_id, carrier_id, status, started_at, duration_s, channels, url, version"
        " FROM phones_recording"
    )
    rows = [row for query in (events, calls, recordings) for row in connection.execute(query)]
    connection.close()
    return set(rows)


def through_http(carriers: list[Carrier], directory: Path, database: Path) -> list[Line]:
    """Whether the server stores all events sent over many connections at the same time."""
    environment = {**os.environ, "DATABASE_URL": database_url(database), "BIND": free_address()}
    requests = [
        request for index in range(CALLS_OVER_HTTP) for request in requests_of_call(carriers[index % len(carriers)])
    ]
    random.Random(1).shuffle(requests)
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(SERVE, env=environment, stdout=log, stderr=log)
    try:
        wait_until_ready(server, f"http://{environment['BIND']}", directory / "server.log")
        start = time.perf_counter()
        statuses = [status for status, _ in post_all(environment["BIND"], requests, CONNECTIONS)]
        print(f"through the server: {len(requests) / (time.perf_counter() - start):.0f} events per second")
        errors = Counter(re.findall(r"^ *(\S+Error: .*)", (directory / "server.log").read_text(), re.MULTILINE))
        for error, times in errors.most_common(5):
            print(f"in the server's log {times} times: {error}")
    finally:
        server.terminate()
        server.wait()
    connection = sqlite3.connect(database)

    def count(rows: str) -> int:
        return connection.execute(f"SELECT COUNT(*) FROM {rows}").fetchone()[0]  # noqa: S608

    completed, rows = "status = 'completed'", count("phones_call") + count("phones_recording")
    lines = [
        Line("responses with 200 / events sent", statuses.count(200) / len(requests), 1, exact=True),
        Line("events stored / sent", count("phones_callevent") / len(requests), 1, exact=True),
        Line("events not merged", count("phones_callevent WHERE merged_at IS NULL"), 0, exact=True),
        Line("calls completed / made", count(f"phones_call WHERE {completed}") / CALLS_OVER_HTTP, 1, exact=True),
        Line("recordings / made", count(f"phones_recording WHERE {completed}") / CALLS_OVER_HTTP, 1, exact=True),
        Line("calls and recordings / made", rows / (2 * CALLS_OVER_HTTP), 1, exact=True),
    ]
    connection.close()
    return lines


def post_all(address: str, requests: list[Request], connections: int) -> list[tuple[int, float]]:
    """Send the requests over persistent connections as fast as possible, last first.

    Returns the status of each response, 0 if there was none, and the seconds until it arrived.
    """
    waiting, replies = list(requests), []

    def post() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        while True:
            try:
                request = waiting.pop()
            except IndexError:
                break
            start, status = time.perf_counter(), 0
            try:
                connection.request("POST", request.path, request.body, request.headers)
                reply = connection.getresponse()
                reply.read()
                status = reply.status
            except (OSError, http.client.HTTPException):
                connection.close()
            replies.append((status, time.perf_counter() - start))
        connection.close()

    threads = [threading.Thread(target=post) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


if __name__ == "__main__":
    main()
