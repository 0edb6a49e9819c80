"""The cost of an add: carrier requests and rounds, time relative to the carrier's, and savings of shared connections.

The sandbox, with a delay of 50 ms, plays the carriers and counts requests and rounds. A round is as long as a bare
request to it takes in the same run. The cost of connections is measured over a network with TLS, where each new one
has its handshakes, against the SDKs as their documentation uses them: a new client per add, one call after the other.
"""

import argparse
import base64
import gc
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.network import FarServer, make_certificate
from bench.report import Line, finish
from sandbox import state as seeds
from sandbox.demo import SERVE, free_address, wait_until_ready
from sandbox.ledger import rounds
from sandbox.sandbox import Sandbox

ROUND_TRIP_S = 0.05
ADDS = 15
DJANGO = [sys.executable, "manage.py"]


@dataclass(frozen=True)
class Carrier:
    """Credentials in the sandbox, and the maximum rounds and requests of an add, with a known and a new application."""

    name: str
    account: str
    token: str
    account_id: str
    rounds_known: int
    rounds_first: int
    requests_known: int
    requests_first: int
    prefix: str


CARRIERS = [
    # CARRIERS 0, plus one read for Plivo's read-back; Telnyx's profile and public key are read in parallel.
    Carrier("twilio", seeds.TWILIO_SID, seeds.TWILIO_TOKEN, seeds.TWILIO_SID, 2, 2, 3, 3, "1212556"),
    Carrier("plivo", seeds.PLIVO_ID, seeds.PLIVO_TOKEN, seeds.PLIVO_ID, 3, 4, 4, 5, "1415556"),
    Carrier("telnyx", seeds.TELNYX_ACCOUNT, seeds.TELNYX_KEY, "", 2, 3, 4, 6, "1312556"),
]


def number(carrier: Carrier, index: int) -> str:
    return f"{carrier.prefix}{7000 + index}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--provider", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.provider:
        measure_provider(**json.loads(options.provider))
        return
    with tempfile.TemporaryDirectory() as name, Sandbox() as sandbox:
        for carrier in CARRIERS:
            for index in range(4 * ADDS):
                sandbox.add_number(carrier.name, carrier.account, number(carrier, index))
        lines = measure(Path(name), sandbox)
    finish(lines, check=options.check)


def measure(directory: Path, sandbox: Sandbox) -> list[Line]:
    environment = {
        **os.environ,
        "SECRET_KEY": "bench" * 12,
        "CREDENTIAL_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
        "PUBLIC_URL": "https://phones.example.com",
        "DATABASE_URL": f"sqlite:///{quote(str(directory / 'bench.sqlite3'))}",
        "ENV_FILE": os.devnull,
        "BIND": free_address(),
        "LIMIT_ADDS": "off",
        "LIMIT_REQUESTS": "off",
        "TWILIO_API_URL": sandbox.twilio_url,
        "PLIVO_API_URL": sandbox.plivo_url,
        "TELNYX_API_URL": sandbox.telnyx_url,
    }
    subprocess.run([*DJANGO, "migrate", "--verbosity", "0"], env=environment, check=True)
    made = subprocess.run(
        [*DJANGO, "create_workspace", "Bench", "--email", "bench@example.com"],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    tenant = json.loads(made.stdout)
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(SERVE, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://{environment['BIND']}"
        wait_until_ready(server, url, directory / "server.log")
        lines = through_http(url, tenant, sandbox)
    finally:
        server.terminate()
        server.wait()
    return lines + provider_alone(directory, environment, sandbox)


def measured_round_trip_s(sandbox: Sandbox) -> float:
    """The minimum duration of a round, in seconds: the median of bare requests over one open connection."""
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    walls = []
    for _ in range(ADDS):
        start = time.perf_counter()
        connection.request("GET", "/twilio/2010-04-01/Accounts.json")
        connection.getresponse().read()
        walls.append(time.perf_counter() - start)
    connection.close()
    return statistics.median(walls)


def through_http(url: str, tenant: dict[str, str], sandbox: Sandbox) -> list[Line]:
    """Counts and times of adds through the API: the first of an account, and subsequent ones."""
    lines = []
    client = http.client.HTTPConnection(url.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {tenant['token']}", "Content-Type": "application/json"}
    sandbox.delay_s = ROUND_TRIP_S

    def add(carrier: Carrier, index: int) -> float:
        body = {
            "userId": tenant["userId"], "phoneNumber": number(carrier, index), "integration": carrier.name,
            "authToken": carrier.token, **({"accSId": carrier.account_id} if carrier.account_id else {}),
        }  # fmt: skip
        sandbox.clear_ledger()
        start = time.perf_counter()
        client.request("POST", "/api/call/add-phone", json.dumps(body), headers)
        reply = client.getresponse()
        told = reply.read()
        wall_s = time.perf_counter() - start
        if reply.status != 201:
            sys.exit(f"{carrier.name}: {told.decode()}")
        return wall_s

    for carrier in CARRIERS:
        add(carrier, 0)
        first = list(sandbox.ledger)
        lines += [
            Line(f"{carrier.name}: rounds, new application", rounds(first), carrier.rounds_first, exact=True),
            Line(f"{carrier.name}: requests, new application", len(first), carrier.requests_first),
        ]
        for index in (1, 2, 3):  # both workers open their connections
            add(carrier, index)
        walls = [add(carrier, index) for index in range(4, 4 + ADDS)]
        known = list(sandbox.ledger)
        ideal_s = carrier.rounds_known * measured_round_trip_s(sandbox)
        lines += [
            Line(f"{carrier.name}: rounds, known application", rounds(known), carrier.rounds_known, exact=True),
            Line(f"{carrier.name}: requests, known application", len(known), carrier.requests_known),
            Line(f"{carrier.name}: add over HTTP / its rounds", statistics.median(walls) / ideal_s, 1.25),
        ]
    sandbox.delay_s = 0.0
    return lines


def provider_alone(directory: Path, environment: dict[str, str], sandbox: Sandbox) -> list[Line]:
    """The provider's time, in a separate process: relative to its rounds, and with shared against new connections."""
    certificate = make_certificate(directory)
    far = FarServer(int(sandbox.url.rsplit(":", 1)[1]), certificate, ROUND_TRIP_S)
    trust = {"REQUESTS_CA_BUNDLE": str(certificate), "SSL_CERT_FILE": str(certificate)}
    lines = []
    for carrier in CARRIERS:
        near_url = {"twilio": sandbox.twilio_url, "plivo": sandbox.plivo_url, "telnyx": sandbox.telnyx_url}[
            carrier.name
        ]
        sandbox.delay_s = ROUND_TRIP_S
        ideal_s = carrier.rounds_known * measured_round_trip_s(sandbox)
        near = run_provider(carrier, near_url, environment, new_clients=False)
        sandbox.delay_s = 0.0
        lines.append(
            Line(f"{carrier.name}: provider's time / its rounds", statistics.median(near["shared"]) / ideal_s, 1.10)
        )
        far_url = near_url.replace(sandbox.url, far.url)
        both = run_provider(carrier, far_url, environment | trust, new_clients=True)
        ratio = statistics.median(both["shared"]) / statistics.median(both["new"])
        lines.append(Line(f"{carrier.name}: shared connections / a new SDK client per add", ratio, 0.55))
    return lines


def run_provider(carrier: Carrier, api_url: str, environment: dict[str, str], *, new_clients: bool) -> Any:
    arguments = {
        "name": carrier.name, "account_id": carrier.account_id, "token": carrier.token, "api_url": api_url,
        "numbers": [number(carrier, index) for index in range(2 * ADDS, 4 * ADDS)], "new_clients": new_clients,
    }  # fmt: skip
    command = [sys.executable, "-m", "bench.add_phone", "--provider", json.dumps(arguments)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    return json.loads(done.stdout)


def plain_twilio(account_id: str, token: str, api_url: str, application_id: str) -> Callable[[str], None]:
    """The same add as in the SDK's documentation: a new client per add, one call after the other."""
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    class Rewriting(TwilioHttpClient):
        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, url.replace("https://api.twilio.com", api_url), *args, **kwargs)

    def add(one: str) -> None:
        client = Client(account_id, token, http_client=Rewriting(timeout=10))
        (number,) = client.incoming_phone_numbers.list(phone_number=f"+{one}", limit=1)
        client.api.v2010.accounts(account_id).fetch()
        client.incoming_phone_numbers(number.sid).update(voice_url="https://phones.example.com/", voice_method="POST")

    return add


def plain_plivo(account_id: str, token: str, api_url: str, application_id: str) -> Callable[[str], None]:
    import plivo

    from integrations.transport import CarrierAdapter

    def add(one: str) -> None:
        client = plivo.RestClient(account_id, token, timeout=(3, 10))
        client.session.mount("https://api.plivo.com", CarrierAdapter("https://api.plivo.com", api_url))
        client.numbers.get(one)
        client.applications.get(application_id)
        client.numbers.update(one, app_id=application_id)
        client.numbers.get(one)

    return add


def plain_telnyx(account_id: str, token: str, api_url: str, application_id: str) -> Callable[[str], None]:
    import telnyx

    def add(one: str) -> None:
        client = telnyx.Telnyx(api_key=token, base_url=api_url)
        (number,) = client.phone_numbers.list(filter={"phone_number": one}, page_size=1).data or []
        client.texml_applications.retrieve(application_id)
        client.phone_numbers.update(str(number.id), connection_id=application_id)

    return add


PLAIN = {"twilio": plain_twilio, "plivo": plain_plivo, "telnyx": plain_telnyx}


def measure_provider(
    *, name: str, account_id: str, token: str, api_url: str, numbers: list[str], new_clients: bool
) -> None:
    """Print the provider's seconds for each add, alternately with shared and with new connections."""
    from integrations import provider_class, transport
    from integrations.base import Provider
    from integrations.types import Site
    from integrations.webhooks import Urls

    kind = provider_class(name)
    kind.warm_up()
    gc.freeze()  # as the server does
    site = Site("https://phones.example.com", api_url, transport.Timeouts(3, 10), "")
    urls = Urls.under(f"{site.webhooks_url}{name}/bench")

    def connect() -> Provider:
        return kind(account_id=account_id, auth_token=token, site=site, deadline=transport.Deadline(25))

    applications = connect().applications
    application_id = (applications.find() or applications.make(urls, "")).id if applications else ""

    def add(one: str) -> None:
        provider = connect()
        verified = provider.verify(one, application_id=application_id)
        settings = provider.apply(verified.id, urls, application_id) or provider.read(verified.id)
        if not provider.routes_to_us(settings, urls, application_id):
            sys.exit("not routed")

    plain = PLAIN[name](account_id, token, api_url, application_id)

    def timed(work: Callable[[str], None], one: str) -> float:
        start = time.perf_counter()
        work(one)
        return time.perf_counter() - start

    for one in numbers[:3]:
        add(one)
    walls: dict[str, list[float]] = {"shared": [], "new": []}
    for one in numbers[3 : 3 + ADDS]:
        if new_clients:
            walls["new"].append(timed(plain, one))
        walls["shared"].append(timed(add, one))
    print(json.dumps(walls))


if __name__ == "__main__":
    main()
