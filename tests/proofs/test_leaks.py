"""A canary for each secret, put through everything the product does, and a search for it in all that comes out.

The search first has to find what was planted, in each form and in what each sink has to say.
"""

import base64
import contextlib
import csv
import html
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests

from core.json_logs import JsonLines
from core.logs import RequestIdFilter, TextLines
from phones.models import Account, PhoneNumber
from sandbox.sandbox import Sandbox
from tests.support.api import add, send
from tests.support.canaries import canary_account
from tests.support.carriers import SUBJECTS, TWILIO, Good
from tests.support.database import last_write, whole_database, written
from tests.support.desk import page_of
from tests.support.killing import rotate_at_the_carrier
from tests.support.live import Live, run_manage, serve
from tests.support.people import Tenant, sign_in
from tests.support.tally import Tally
from users.models import User

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True)]

# Each with what URLs, JSON and HTML write otherwise.
TOKEN, NEXT_TOKEN, URL_PASSWORD, QUERY = (f'cnry"<&{word}/+7f3a9c51' for word in ("token", "next", "pass", "query"))
PLANTED = "planted-5a0c8e31"


def forms(secret: str) -> set[str]:
    """How a secret may look: as it is, escaped for URLs, JSON, HTML or Python, in hex, in base64 wherever it begins."""
    raw = secret.encode()
    found = {
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1],
        html.escape(secret), raw.hex(), "".join(f"\\u{ord(letter):04x}" for letter in secret),
    }  # fmt: skip
    for before in range(3):
        # The letters that stand for bytes of the secret alone.
        inside = base64.b64encode(b"\0" * before + raw)[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6].decode()
        found |= {inside, inside.replace("+", "-").replace("/", "_")}
    return found


@dataclass
class Search:
    """Looks through sinks for secrets, and counts what it has looked through."""

    secrets: dict[str, str]
    hits: list[str] = field(default_factory=list)
    sinks: set[str] = field(default_factory=set)
    size: int = 0

    def scan(self, sink: str, text: str, *, allowed: tuple[str, ...] = ()) -> None:
        """Whether one of the secrets is in what a sink says. `allowed` are those whose place is there."""
        assert text, f"{sink} says nothing: the search would prove nothing"
        assert self.found(f"{text}{PLANTED}{text}", {"planted": PLANTED}), sink
        self.sinks.add(sink)
        self.size += len(text)
        known = {name: secret for name, secret in self.secrets.items() if name not in allowed}
        self.hits += [f"{name} in {sink}" for name in self.found(text, known)]

    @staticmethod
    def found(text: str, secrets: dict[str, str]) -> list[str]:
        return [name for name, secret in secrets.items() if any(form in text for form in forms(secret))]

    def close(self, tally: Tally) -> None:
        tally("bytes scanned for canaries", self.size)
        tally("sinks scanned for canaries", len(self.sinks))
        tally("canaries found", len(self.hits))
        assert self.hits == []


def test_the_search_finds_a_secret_in_each_form() -> None:
    for form in forms(TOKEN):
        assert Search.found(f"x{form}y", {"token": TOKEN}) == ["token"], form
    for before in (b"", b"a", b"ab", b"abc:"):
        encoded = base64.b64encode(before + TOKEN.encode() + b"z").decode()
        assert Search.found(f"Basic {encoded}", {"token": TOKEN}) == ["token"], before
        assert Search.found(base64.urlsafe_b64encode(before + TOKEN.encode()).decode(), {"token": TOKEN})
    assert Search.found("nothing of the kind " * 100, {"token": TOKEN, "next": NEXT_TOKEN}) == []
    search = Search({"token": TOKEN})
    search.scan("a page", f"<p>{html.escape(TOKEN)}</p>")
    assert search.hits == ["token in a page"]


# -- in this process: replies, pages, logs at DEBUG, the database -----------------------------------------------------


def route_elsewhere(sandbox: Sandbox, good: Good) -> None:
    """The customer's own address has a password and a query; then somebody puts it in place of ours."""
    theirs = f"https://user:{quote(URL_PASSWORD, safe='')}@elsewhere.example.com/voice?key={quote(QUERY, safe='')}"
    owner = sandbox.state.account(good.integration, good.owner)
    if good.integration == "twilio":
        sandbox.console(good.integration, owner.id, number=good.number, voice_url=theirs)
        return
    account = Account.objects.filter(integration=good.integration).first()
    if account:
        name = "answer_url" if good.integration == "plivo" else "voice_url"
        sandbox.console(good.integration, owner.id, application=account.application_id, **{name: theirs})


def test_nothing_that_is_told_logged_or_stored_holds_a_secret(
    sandbox: Sandbox, tenant: Tenant, supervisor: User, carrier: Good, tally: Tally,
    caplog: pytest.LogCaptureFixture, every_log_line: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    since = last_write()
    search = Search(
        {"token": TOKEN, "next token": NEXT_TOKEN, "password of a URL": URL_PASSWORD, "query of a URL": QUERY,
         "bearer token": tenant.token}
    )  # fmt: skip
    good = canary_account(sandbox, carrier, TOKEN)
    replies: list[Any] = []
    route_elsewhere(sandbox, good)

    replies.append(add(tenant, good.body(tenant.user, authToken=f"wrong {TOKEN}", phoneNumber=good.another)))
    replies.append(add(tenant, good.body(tenant.user, label=PLANTED)))
    phone = PhoneNumber.objects.get()
    assert phone.line is not None
    search.secrets["webhook token"] = phone.line.account.webhook_token
    route_elsewhere(sandbox, good)
    for method, path, body in [
        ("POST", f"phones/{phone.pk}/check", {}),
        ("GET", "phones", None),
        ("GET", f"phones/{phone.pk}", None),
        ("PATCH", f"phones/{phone.pk}", {"label": PLANTED}),
        ("PATCH", f"phones/{phone.pk}", {"authToken": f"wrong {TOKEN}"}),
        ("POST", "available-phones", {"integration": good.integration, "authToken": TOKEN, "accSId": good.acc_sid}),
        ("GET", "calls", None),
    ]:
        replies.append(send(method, path, tenant, body))

    desk = sign_in(supervisor)
    desk.raise_request_exception = False
    pages = [
        desk.get(page_of(phone)), desk.get("/admin/"), desk.get("/admin/phones/phonenumber/"),
        desk.post(f"/admin/phones/phonenumber/{phone.pk}/token/", {"auth_token": f"wrong {TOKEN}"}),
        desk.post(f"/admin/phones/phonenumber/{phone.pk}/move/", {"auth_token": f"wrong {TOKEN}"}),
        desk.get(f"/admin/phones/phonenumber/{phone.pk}/delete/"), desk.get("/admin/users/auditentry/"),
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("phones.desk.number_admin.check_phone", crash)
        pages.append(desk.post(f"/admin/phones/phonenumber/{phone.pk}/check/", {"check": ""}))
        patch.setattr("phones.api.views.check_phone", crash)
        replies.append(send("POST", f"phones/{phone.pk}/check", tenant, {}))
    assert [pages[-1].status_code, replies[-1].status_code] == [500, 500]

    rotate_at_the_carrier(sandbox, SUBJECTS[carrier.integration], NEXT_TOKEN)
    replies.append(send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": NEXT_TOKEN}))
    assert replies[-1].status_code == 200, replies[-1].content
    replies.append(send("DELETE", f"phones/{phone.pk}", tenant))
    assert json.loads(replies[-1].content)["data"]["restored"] is True

    search.scan("replies", "".join(one.content.decode() + str(one.headers) for one in replies))
    search.scan("pages", "".join(one.content.decode() + str(one.headers) for one in pages))
    search.scan("log at DEBUG", "\n".join(line for one in caplog.records for line in as_written(one)))
    # The SDK of Telnyx tells at DEBUG what it sends, with our address in it.
    search.scan("log before redaction", every_log_line(), allowed=("webhook token",))
    # The address that the carrier calls must be found by its token.
    search.scan("database", "".join(whole_database()), allowed=("webhook token",))
    search.scan("database on the disk", written(since), allowed=("webhook token",))
    assert PLANTED in "".join(one.content.decode() for one in replies) and PLANTED in written(since)
    search.close(tally)


def as_written(record: logging.LogRecord) -> list[str]:
    """The lines of production's handler."""
    RequestIdFilter().filter(record)
    return [TextLines().format(record), JsonLines().format(record)]


def crash(*args: Any, **kwargs: Any) -> None:
    secret = TOKEN  # noqa: F841  a local variable, as a traceback with variables would show it
    raise RuntimeError("on purpose")


# -- a server and commands: their output, their files, the list of processes ------------------------------------------


@contextlib.contextmanager
def process_list() -> Iterator[list[str]]:
    """The arguments of all processes, looked at again and again meanwhile."""
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            # Not by a glob: that fails when a process ends meanwhile.
            for process in Path("/proc").iterdir():
                with contextlib.suppress(OSError):
                    seen.add((process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            time.sleep(0.02)

    thread = threading.Thread(target=look)
    thread.start()
    lines: list[str] = []
    try:
        yield lines
    finally:
        stop.set()
        thread.join()
        lines.extend(seen)


def test_a_server_and_its_commands_give_no_secret_away(sandbox: Sandbox, tmp_path: Path, tally: Tally) -> None:
    good = canary_account(sandbox, TWILIO, TOKEN)
    key = base64.urlsafe_b64encode(b"canary-key-0123456789-canary-key"[:32]).decode()
    secrets: dict[str, Any] = {
        "SECRET_KEY": "canary-Qz81-signs-cookies-Lw93xTb6nV", "CREDENTIAL_KEYS": key,
        "METRICS_TOKEN": "canary-Hs72-metrics-token-Jd4k8Yw",
    }  # fmt: skip
    with serve(tmp_path, sandbox, LOG_FORMAT="json", **secrets) as live, process_list() as processes:
        search = Search({"token": TOKEN, "bearer token": live.token} | secrets)
        replies = talk(live, good, secrets["METRICS_TOKEN"])
        output = run_commands(live, good, tmp_path)
        ((search.secrets["webhook token"],),) = live.database.rows("phones_account", "webhook_token")
        search.scan("replies of a server", replies)
        search.scan("output of commands", output)
        stored = live.database.written()
        assert live.user in stored
        search.scan("files of the database", stored, allowed=("webhook token",))
    search.scan("arguments of processes", "\n".join(processes))
    for file in sorted(tmp_path.glob("*.*")):
        if file.suffix in (".log", ".csv", ".json"):
            allowed = ("token",) if file.name == "numbers.csv" else ()  # it is brought, not made
            search.scan(file.name, file.read_text(), allowed=allowed)
    assert {"server.log", "report.csv"} <= search.sinks
    search.close(tally)


def talk(live: Live, good: Good, metrics_token: str) -> str:
    """All that the server answers to good and bad requests."""
    bearer = {"Authorization": f"Bearer {live.token}"}
    body = {"userId": live.user, "phoneNumber": good.number, "integration": "twilio"}
    body |= {"authToken": good.auth_token, "accSId": good.acc_sid}
    said = [
        requests.post(f"{live.url}/api/call/add-phone", json=body | {"authToken": f"wrong {TOKEN}"}, headers=bearer, timeout=30),
        requests.post(f"{live.url}/api/call/add-phone", json=body, headers=bearer, timeout=30),
        requests.post(f"{live.url}/api/call/add-phone", json=body, headers={"Authorization": f"Bearer x{live.token}"}, timeout=30),
        requests.get(f"{live.url}/api/call/phones", headers=bearer, timeout=30),
        requests.get(f"{live.url}/metrics", headers={"Authorization": f"Bearer {metrics_token}"}, timeout=30),
        requests.get(f"{live.url}/metrics", headers={"Authorization": "Bearer wrong"}, timeout=30),
        requests.get(f"{live.url}/readyz", timeout=30),
        requests.get(f"{live.url}/api/schema", timeout=30),
        requests.get(f"{live.url}/admin/login/", timeout=30),
    ]  # fmt: skip
    assert [one.status_code for one in said[:5]] == [400, 201, 401, 200, 200]
    ((webhook_token,),) = live.database.rows("phones_account", "webhook_token")
    said.append(requests.post(f"{live.url}/api/webhooks/twilio/{webhook_token}/status", data="CallSid=1", timeout=30))
    said.append(requests.post(f"{live.url}/api/webhooks/twilio/{webhook_token}x/status", data="CallSid=1", timeout=30))
    return "".join(one.text + str(one.headers) for one in said)


def run_commands(live: Live, good: Good, folder: Path) -> str:
    """What commands print, a file of numbers with good and bad tokens among them."""
    with (folder / "numbers.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["userId", "phoneNumber", "integration", "authToken", "accSId"])
        rows.writerow([live.user, good.another, "twilio", TOKEN, good.acc_sid])
        rows.writerow([live.user, good.not_owned, "twilio", f"wrong {TOKEN}", good.acc_sid])
        rows.writerow([live.user, TOKEN, "twilio", TOKEN, TOKEN])
    output = ""
    for arguments in (
        ["add_phones", str(folder / "numbers.csv"), "--output", "json", "--report", str(folder / "report.csv")],
        ["check_phones", "--output", "json"], ["reconcile"], ["check"], ["rotate_credential_keys"], ["purge"],
    ):  # fmt: skip
        done = run_manage(*arguments, env=live.env)
        output += done.stdout + done.stderr
    return output
