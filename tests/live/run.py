"""Tries the configured accounts and prints the report."""

import ipaddress
import socket
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from core.redaction import HIDDEN
from integrations import CARRIERS, PROVIDERS
from integrations.errors import IntegrationError, NumberNotOwned, NumberNotUsable
from integrations.types import Route
from tests.live import calling
from tests.live.account import HISTORY_DAYS, Account, is_down, status_in
from tests.live.configuration import (
    HOW,
    Call,
    Installation,
    Misconfigured,
    accounts,
    call_to_place,
    variable,
)
from tests.live.doors import DOORS, RING_S
from tests.live.facts import FACTS, Verdict, audio
from tests.live.guard import ChangeStopped, Guard

WELL, FAULTS, UNUSABLE = 0, 1, 2
WIDTH = 100
ROUTES = {Route.NONE: "routed nowhere", Route.OURS: "routed to this installation", Route.ELSEWHERE: "routed elsewhere"}


@dataclass
class Report:
    """Prints lines as they come, since a run takes a minute.

    Some texts come from carriers: of these, `hidden` words and what a terminal would obey are not printed. `faults`
    counts what is not well.
    """

    write: Callable[[str], object]
    hidden: Collection[str] = ()
    faults: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)

    def title(self, text: str) -> None:
        self.write(f"\n{text}\n")

    def line(self, name: str, text: str, *, is_fault: bool = False) -> None:
        self.faults += is_fault
        for word in self.hidden:
            text = text.replace(word, HIDDEN)
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
        lines = textwrap.wrap(f"{'FAULT: ' if is_fault else ''}{text}", WIDTH)
        self.write(
            "".join(f"  {first:13} {line}\n" for first, line in zip([name, *[""] * len(lines)], lines, strict=False))
        )


@dataclass(frozen=True)
class Placing:
    """The call to place, and what is needed for it; see run()."""

    call: Call
    guard: Guard
    ask: Callable[[str], str] | None
    pauses_s: Sequence[float]


def masked(number: str) -> str:
    """A number of which a report may be shown around: its country and its end."""
    return f"+{number[:2]}…{number[-4:]}"


def run(
    environment: Mapping[str, str],
    installed: Installation,
    write: Callable[[str], object],
    *,
    ask: Callable[[str], str] | None = None,
    pauses_s: Sequence[float] = calling.PAUSES_S,
) -> int:
    """Try everything, and return the exit status.

    Args:
        write: takes the report, piece by piece.
        ask: asks whether to place the call; None if nobody is there, and then LIVE_CALL_TO alone is the consent.
        pauses_s: before each look at the call.
    """
    try:
        configured = accounts(environment)
        call = call_to_place(environment, configured) if configured else None
    except Misconfigured as error:
        write(f"{error}\n")
        return UNUSABLE
    if not configured:
        write(f"{HOW}\n")
        return UNUSABLE
    report = Report(write, [value for one in configured for value in (one.auth_token, one.account_id) if value])
    try:
        with Guard() as guard:
            tried = [Account(one, installed) for one in configured]
            everything(report, tried, installed, Placing(call, guard, ask, pauses_s) if call else None)
    except ChangeStopped as error:
        write(f"\nSTOPPED: a {error} was about to be sent, which could change something. It was not sent.\n")
        write("This is an error of this program. Please report it.\n")
        return FAULTS
    return FAULTS if report.faults else WELL


def everything(report: Report, tried: list[Account], installed: Installation, placing: Placing | None) -> None:
    report.write(
        "Reads only: every request but GET is stopped before it is sent"
        f"{', except for the one call below' if placing else ''}.\n"
    )
    for account in tried:
        report.title(account.label)
        read_account(report, account)
    report.title("This installation")
    look_at(report, installed)
    if installed.public_url:
        for account in tried:
            look_from_outside(report, account)
    if placing:
        caller = next(account for account in tried if account.credentials == placing.call.credentials)
        report.title("The call")
        place_call(report, caller, placing)
    report.title("What no carrier documents")
    for account in tried:
        check_facts(report, account)
    left_out = [label for name, label in PROVIDERS.items() if name not in {account.carrier for account in tried}]
    close(report, left_out, has_called=placing is not None)


# -- an account -------------------------------------------------------------------------------------------------------


def read_account(report: Report, account: Account) -> None:
    error = account.access
    if error:
        names = " and ".join(
            variable(account.carrier, name) for name in ("ACCOUNT_ID", "AUTH_TOKEN") if has(account, name)
        )
        what = f"{account.label} did not answer" if is_down(error) else f"refused; check {names}"
        report.line("credentials", f"{what} ({status_in(error)})", is_fault=True)
        return
    report.line("credentials", "accepted")
    routes = Counter(number.route for number in account.numbers)
    kinds = ", ".join(f"{routes[route]} {text}" for route, text in ROUTES.items() if routes[route])
    report.line("numbers", f"{len(account.numbers)}" + (f": {kinds}" if kinds else ""))
    steps = {"number": number, "public key": key, "calls": calls, "recordings": recordings}
    for name, step in steps.items():
        try:
            step(report, name, account)
        except IntegrationError as failure:
            report.line(name, f"could not be read ({status_in(failure)})", is_fault=True)
        except Exception as failure:  # a reply that nobody foresaw must not end the report
            report.line(name, f"could not be understood ({type(failure).__name__})", is_fault=True)


def has(account: Account, name: str) -> bool:
    return name == "AUTH_TOKEN" or bool(account.credentials.account_id)


def number(report: Report, name: str, account: Account) -> None:
    if not account.number:
        report.line(name, f"not looked at: {variable(account.carrier, 'NUMBER')} is not set")
        return
    try:
        route = account.verified.route
    except NumberNotOwned:
        report.line(name, f"{masked(account.number)} is not a number of this account", is_fault=True)
    except NumberNotUsable:
        report.line(name, f"{masked(account.number)} is owned, but cannot take calls now", is_fault=True)
    else:
        report.line(name, f"{masked(account.number)} is owned and can take calls; {ROUTES[route]}")


def key(report: Report, name: str, account: Account) -> None:
    if CARRIERS[account.carrier].public_key_hint:
        report.line(name, "read" if account.public_key else "not returned; give it as publicKey")


def calls(report: Report, name: str, account: Account) -> None:
    statuses = Counter(call.status.value for call in account.calls)
    kinds = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    report.line(name, f"{len(account.calls)} in the last {HISTORY_DAYS} days" + (f": {kinds}" if kinds else ""))


def recordings(report: Report, name: str, account: Account) -> None:
    text = f"{len(account.recordings)} in the last {HISTORY_DAYS} days"
    if not account.recordings:
        report.line(name, text)
        return
    verdict, seen = audio(account)
    report.line(name, f"{text}; the audio of the newest: {seen}", is_fault=verdict is Verdict.REFUTED)


# -- this installation ------------------------------------------------------------------------------------------------


def look_at(report: Report, installed: Installation) -> None:
    """See what can be seen of PUBLIC_URL from this machine."""
    url = installed.public_url
    if not url:
        report.line("PUBLIC_URL", "not looked at: there are no valid settings here")
        return
    parts = urlsplit(url)
    if parts.scheme != "https":
        report.line("PUBLIC_URL", "is not https, which carriers need to reach it safely", is_fault=True)
    private = private_addresses(parts.hostname or "")
    if private is None:
        report.line("PUBLIC_URL", "its host name is unknown to this machine", is_fault=True)
        return
    if private:
        report.line("PUBLIC_URL", f"leads to {', '.join(private)}, where no carrier can reach it", is_fault=True)
    try:
        status = requests.get(f"{url}/readyz", timeout=installed.timeouts, allow_redirects=False).status_code
    except requests.exceptions.SSLError:
        report.line("PUBLIC_URL", "its certificate is not valid for this machine", is_fault=True)
    except requests.RequestException as error:
        report.line("PUBLIC_URL", f"does not answer here ({type(error).__name__})", is_fault=True)
    else:
        is_ready = status == requests.codes.ok
        text = "ready, as seen from here" if is_ready else f"/readyz answers {status} instead of 200"
        report.line("PUBLIC_URL", text, is_fault=not is_ready)


def look_from_outside(report: Report, account: Account) -> None:
    """See what the carrier has recorded of its own webhooks to PUBLIC_URL, newest first."""
    webhooks = DOORS[account.carrier].webhooks
    name = f"by {account.label}"
    if not webhooks or account.access:
        report.line(name, "not looked at: " + ("no access to the account" if webhooks else "it does not tell"))
        return
    try:
        statuses = [sent.status for sent in webhooks(account) if sent.url.startswith(account.site.webhooks_url)]
    except IntegrationError as error:
        report.line(name, f"not looked at: {status_in(error)}")
        return
    well = sum(1 for status in statuses if 200 <= status < 300)
    others = ", ".join(str(status or "no reply") for status in sorted({*statuses}) if not 200 <= status < 300)
    text = f"{well} of {len(statuses)} webhooks arrived" if statuses else "none of the newest webhooks went to it"
    report.line(name, text + (f"; the others: {others}" if others else ""), is_fault=bool(statuses) and not well)


def private_addresses(host: str) -> list[str] | None:
    """The addresses of a host that are not on the Internet; None if it has none at all."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return None
    return sorted(address for address in found if not ipaddress.ip_address(address.partition("%")[0]).is_global)


# -- the call ---------------------------------------------------------------------------------------------------------


def place_call(report: Report, account: Account, placing: Placing) -> None:
    callee = placing.call.to
    if account.access:
        report.line("call", f"not placed: no access to the account at {account.label}")
        return
    try:
        calling.application_of(account)
    except (calling.NoCallPossible, IntegrationError) as error:
        why = status_in(error) if isinstance(error, IntegrationError) else str(error)
        report.line("call", f"not placed. {why or type(error).__name__}", is_fault=True)
        return
    report.line(
        "what happens",
        f"{account.label} will call {masked(callee)} from {masked(account.number)}. It rings for at most {RING_S} s, "
        f"says one sentence to whoever or whatever answers, and hangs up. The request is "
        "sent once and never repeated. Nothing else is changed.",
    )
    report.line(
        "what it costs",
        f"what {account.label} charges for a call of up to a minute to that number, even if a mailbox answers. "
        "The price is not known here; it is charged to your account there.",
    )
    if placing.ask and placing.ask("  Type yes to place the call: ").strip().lower() != "yes":
        report.line("call", "not placed")
        return
    try:
        call_id = calling.place(account, callee, placing.guard)
    except IntegrationError as error:
        report.line("call", f"failed ({status_in(error)})", is_fault=True)
        return
    report.line("call", f"{account.label} has taken the request")
    status = calling.follow(account, call_id, placing.pauses_s)
    report.line("its end", status or "not seen: look at the call in the carrier's console")
    for name in ("calls", "recordings"):
        account.__dict__.pop(name, None)  # they are read again, with this call


# -- the facts --------------------------------------------------------------------------------------------------------


def check_facts(report: Report, account: Account) -> None:
    for fact in FACTS:
        if fact.carrier != account.carrier:
            continue
        verdict, seen = fact.check(account)
        report.verdicts[verdict] += 1
        report.faults += verdict is Verdict.REFUTED
        report.line(verdict.upper() if verdict is Verdict.REFUTED else verdict, f"{fact.id}: {fact.sentence}")
        report.line("", f"{'Why' if verdict is Verdict.NOT_REACHED else 'Seen'}: {seen}.")


def close(report: Report, left_out: list[str], *, has_called: bool) -> None:
    report.title("Summary")
    report.line("facts", ", ".join(f"{report.verdicts[verdict]} {verdict}" for verdict in Verdict))
    report.line("faults", f"{report.faults or 'none'}")
    if left_out:
        report.line("not tried", f"{', '.join(left_out)}: no credentials")
    report.line(
        "not seen",
        "PUBLIC_URL from the Internet, but for what is said above. To see it, call a number that has been added here: "
        "carriers reach PUBLIC_URL if the call appears in the support desk.",
    )
    if not has_called:
        report.line("not done", "a call, which costs money: LIVE_CALL_TO")
    if report.verdicts[Verdict.REFUTED]:
        report.line("next", "a refuted fact may be an error of the product: please report it with these lines")
