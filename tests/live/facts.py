"""What the product relies on and no carrier documents: the one list, and how each fact is checked.

docs/carriers.md has the same list. The code that relies on a fact has the mark `[U: its id]`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from integrations.errors import CarrierUnavailable, IntegrationError, InvalidCredentials, MediaMissing
from integrations.events import CallReport
from integrations.media import open_media
from tests.live.account import Account, is_down, status_in

# How old a recording may be whose file might not be there yet.
NEW_S = 60


class Verdict(StrEnum):
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    NOT_REACHED = "not reached"


class Finding(NamedTuple):
    """`seen` says what the verdict comes from: no secret, no number, nothing that identifies anybody."""

    verdict: Verdict
    seen: str


def confirmed(seen: str) -> Finding:
    return Finding(Verdict.CONFIRMED, seen)


def refuted(seen: str) -> Finding:
    return Finding(Verdict.REFUTED, seen)


def not_reached(why: str) -> Finding:
    return Finding(Verdict.NOT_REACHED, why)


@dataclass(frozen=True)
class Fact:
    """`relied_on_in` is the file that relies on it, and `look` checks it on an account. `look` may raise
    IntegrationError, and then the fact is not reached."""

    id: str
    sentence: str
    relied_on_in: str
    look: Callable[[Account], Finding]

    @property
    def carrier(self) -> str:
        return self.id.partition("-")[0]

    def check(self, account: Account) -> Finding:
        # Refused credentials are not tried again: a carrier may lock the account.
        is_nonsense = self.look is empty_settings and isinstance(account.access, CarrierUnavailable)
        if account.access and self.look is not refusals and not is_nonsense:
            return not_reached("no access to the account")
        try:
            return self.look(account)
        except IntegrationError as error:
            return not_reached(f"{account.label} could not be asked: {status_in(error)}")
        except Exception as error:  # a reply that nobody foresaw must not end the report
            return refuted(f"the reply could not be understood ({type(error).__name__})")


def only_shown_by(what: str) -> Callable[[Account], Finding]:
    """A check of what no reading shows."""
    return lambda account: not_reached(f"only {what} would show it")


# -- any carrier ------------------------------------------------------------------------------------------------------


def refusals(account: Account) -> Finding:
    """Wrong credentials are not tried on purpose: a carrier may lock the account."""
    error = account.access
    if isinstance(error, InvalidCredentials):
        return confirmed(status_in(error))
    if error is None or is_down(error):
        return not_reached("the credentials were not refused" if error is None else status_in(error))
    return refuted(f"refused with {status_in(error)}")


def newest_call(account: Account) -> CallReport | None:
    """The newest of the finished calls."""
    ended = [call for call in account.calls if call.started_at and call.ended_at]
    return max(ended, key=lambda call: str(call.started_at), default=None)


def since_its_day(account: Account) -> Finding:
    """A list since a moment before a known call must have it. The day of the call has begun before."""
    call = newest_call(account)
    if call is None or call.started_at is None:
        return not_reached("no finished call in the list of past calls")
    again = {one.id for one in account.calls_since(call.started_at - timedelta(seconds=1))}
    seen = f"a list since the start of the newest call has {len(again)} calls"
    return confirmed(seen) if call.id in again else refuted(f"{seen}, and not this one")


def audio(account: Account) -> Finding:
    """The newest recording's first bytes, as the product streams them."""
    done = [one for one in account.recordings if one.started_at]
    if not done:
        return not_reached("no recording in the list")
    newest = max(done, key=lambda one: one.started_at or datetime.min.replace(tzinfo=UTC))
    try:
        media = open_media(account.provider(), newest.id, newest.url, "bytes=0-0", may_be_new=False)
    except (InvalidCredentials, MediaMissing) as error:
        return refuted(type(error).__name__ + (f", {status_in(error)}" if error.detail else ""))
    media.close()
    return confirmed(f"status {media.status}, {media.content_type}")


# -- Twilio -----------------------------------------------------------------------------------------------------------


def empty_settings(account: Account) -> Finding:
    from integrations.twilio.provider import EMPTY, OMITTED

    page = account.read(lambda provider: provider.client().incoming_phone_numbers.page(page_size=50))
    entries = page._payload["incoming_phone_numbers"]
    if not entries:
        return not_reached("the account has no number")
    if omitted := {name for entry in entries for name in EMPTY if name not in OMITTED | entry}:
        return refuted(f"left out: {', '.join(sorted(omitted))}")
    values = [entry.get(name) for entry in entries for name in EMPTY]
    if strange := {type(value).__name__ for value in values if not isinstance(value, str | None)}:
        return refuted(f"a setting is {' or '.join(sorted(strange))}")
    if not (empty := Counter(repr(value) for value in values if not value)):
        return not_reached("no number has an empty setting")
    return confirmed(", ".join(f"{word} {count} times" for word, count in sorted(empty.items())))


def late_audio(account: Account) -> Finding:
    now = datetime.now(UTC)
    new = [one for one in account.recordings if one.started_at and now - one.started_at < timedelta(seconds=NEW_S)]
    if not new:
        return not_reached(f"no recording from the last {NEW_S} s")
    found = audio(account)
    if found.verdict is Verdict.REFUTED and MediaMissing.__name__ in found.seen:
        return confirmed("listed, and its file is not there yet")
    return not_reached("the file of the newest recording is there already")


# -- Plivo ------------------------------------------------------------------------------------------------------------


def name_filter(account: Account) -> Finding:
    names = account.application_names
    if not names:
        return not_reached("the account has no application")
    application_id, name = min(names.items())
    provider: Any = account.provider()
    with provider.reading():
        found = {one.id: one.name for one in provider.applications.scan(name)}
    if application_id not in found:
        return refuted(f"of {len(names)} applications, a list by the name of one has {len(found)}, and not this one")
    others = sum(1 for other in found.values() if other != name)
    return confirmed(f"found among {len(found)}, {others} of them with another name")


def links_elsewhere(account: Account) -> Finding:
    linked = {one.settings["application_id"] for one in account.numbers} - {"", *account.application_names}
    if not linked:
        return not_reached("every linked number is linked to an application of the list")
    provider: Any = account.provider()
    with provider.reading():
        readable = sum(1 for id in sorted(linked)[:5] if provider.kind_of(id))
    if readable:
        return refuted(f"applications that can be read and are not in the list: {readable}")
    return confirmed(f"links to something that cannot be read as an application: {len(linked)}")


def since_in_utc(account: Account) -> Finding:
    """A list since just before the end of a known call must have it, and one since just after must not."""
    call = newest_call(account)
    if call is None or call.ended_at is None:
        return not_reached("no finished call in the list of past calls")
    for name, moment, has_it in (
        ("before", call.ended_at - timedelta(minutes=1), True),
        ("after", call.ended_at + timedelta(minutes=1), False),
    ):
        if (call.id in {one.id for one in account.calls_since(moment)}) is not has_it:
            return refuted(f"a list since a minute {name} the end of the newest call {'lacks' if has_it else 'has'} it")
    return confirmed("lists since a minute before and after the end of the newest call")


def hangup_causes(account: Account) -> Finding:
    from integrations.plivo.events import UNANSWERED_STATUS

    causes = {call.hangup_cause for call in account.calls if not call.answered_at and call.hangup_cause}
    if not causes:
        return not_reached("no unanswered call in the list of past calls")
    if unknown := sorted(cause for cause in causes if cause.lower() not in UNANSWERED_STATUS):
        return refuted(f"also: {', '.join(unknown)}")
    return confirmed(", ".join(sorted(causes)))


# -- Telnyx -----------------------------------------------------------------------------------------------------------


def public_key(account: Account) -> Finding:
    if account.public_key:
        return confirmed("a key of 32 bytes")
    return refuted("no key; give it as publicKey when you add a number")


def key_prefix(account: Account) -> Finding:
    return (confirmed if account.credentials.auth_token.startswith("KEY") else refuted)("the given key was accepted")


def takes_calls(account: Account) -> Finding:
    """Numbers with voice settings are in a list of their own."""
    from integrations.telnyx.applications import PAGE_SIZE, listed

    active = {one.id for one in account.numbers if one.active}
    if not active:
        return not_reached("the account has no active number")
    entries = account.read(lambda provider: listed(provider.client().phone_numbers.voice.list(page_size=PAGE_SIZE)))
    if len(entries) == PAGE_SIZE < len(active):
        return not_reached("the account has more numbers than a page of the list")
    without = active - {str(entry.id) for entry in entries}
    if without:
        return refuted(f"{len(without)} of {len(active)} active numbers have no voice settings")
    return confirmed(f"all {len(active)} active numbers have voice settings")


def since_days(account: Account) -> Finding:
    """The provider leaves out what is too early, so whether the filter is heeded shows only in a list of the future."""
    found = since_its_day(account)
    if found.verdict is not Verdict.CONFIRMED:
        return found
    future = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")
    calls = account.read(
        lambda provider: (
            provider.client()
            .texml.accounts.calls.retrieve_calls(provider._user_id(), start_time_gt=future, page_size=1)
            .calls
        )
    )
    return refuted("a list since the day after tomorrow has calls: the filter is ignored") if calls else found


def user_id(account: Account) -> Finding:
    id = account.read(lambda provider: provider._user_id())
    if not id:
        return not_reached("no webhook was ever delivered for this account")
    try:
        account.read(lambda provider: provider.client().texml.accounts.calls.retrieve_calls(id, page_size=1).calls)
    except IntegrationError as error:
        if is_down(error):
            raise
        return refuted(f"the list of calls refuses the id: {status_in(error)}")
    return confirmed("the list of calls takes the id of a delivered webhook")


# -- the list ---------------------------------------------------------------------------------------------------------

CHANGE = "a change at the carrier"
WEBHOOK = "a webhook"

FACTS = [
    Fact(
        "twilio-refusals",
        "Wrong credentials, and those of a suspended or closed account, are refused with 401, 403 or 404, "
        "or the account can still be read and says so in its `status`.",
        "integrations/twilio/provider.py",
        refusals,
    ),
    Fact(
        "twilio-empty-settings",
        "An empty setting of a number is null or an empty string; only `voice_receive_mode` may be left out.",
        "integrations/twilio/provider.py",
        empty_settings,
    ),
    Fact(
        "twilio-since",
        "The list of past calls takes a time of day, although it is documented for days: "
        "the calls of the same day are in it.",
        "integrations/twilio/provider.py",
        since_its_day,
    ),
    Fact(
        "twilio-late-audio",
        "The file of a recording may be missing for some seconds after it was reported.",
        "integrations/media.py",
        late_audio,
    ),
    Fact(
        "plivo-refusals",
        "Wrong credentials, and those of a suspended account, are refused with 401 or 403.",
        "integrations/plivo/provider.py",
        refusals,
    ),
    Fact(
        "plivo-name-filter",
        "A list of applications by name has at least those with exactly this name.",
        "integrations/applications.py",
        name_filter,
    ),
    Fact(
        "plivo-links-elsewhere",
        "A number that is linked to a trunk or a PHLO names something that cannot be read as an application.",
        "integrations/plivo/provider.py",
        links_elsewhere,
    ),
    Fact(
        "plivo-hangup-causes",
        "The cause of an unanswered call is one of those that we know; any other one counts as a failed call.",
        "integrations/plivo/events.py",
        hangup_causes,
    ),
    Fact("plivo-since", "Times in filters of past calls are in UTC.", "integrations/plivo/provider.py", since_in_utc),
    Fact(
        "plivo-audio",
        "The file of a recording is sent to whoever has the account's credentials, "
        "whether or not the account protects its recordings.",
        "integrations/plivo/provider.py",
        audio,
    ),
    Fact(
        "plivo-unlinking",
        "A number whose application is set to null has none, instead of the account's default application.",
        "integrations/plivo/provider.py",
        only_shown_by(CHANGE),
    ),
    Fact(
        "plivo-deletion",
        "An application that numbers are linked to is deleted, and the numbers are left without one.",
        "integrations/plivo/applications.py",
        only_shown_by(CHANGE),
    ),
    Fact(
        "plivo-canceled",
        "The status of a call whose caller hung up early is `cancel` or `canceled`.",
        "integrations/plivo/events.py",
        only_shown_by(WEBHOOK),
    ),
    Fact(
        "plivo-recording-fields",
        "A webhook about a recording names it `RecordingID`, and its file `RecordUrl` or `RecordingUrl`.",
        "integrations/plivo/events.py",
        only_shown_by(WEBHOOK),
    ),
    Fact(
        "telnyx-refusals",
        "Wrong keys, and those of a suspended account, are refused with 401 or 403.",
        "integrations/telnyx/provider.py",
        refusals,
    ),
    Fact(
        "telnyx-key-prefix",
        "API keys start with KEY.",
        "integrations/__init__.py",
        key_prefix,
    ),
    Fact(
        "telnyx-public-key",
        "`GET /public_key` returns the key that webhooks are signed with.",
        "integrations/telnyx/provider.py",
        public_key,
    ),
    Fact(
        "telnyx-takes-calls",
        "Every active number can take calls.",
        "integrations/telnyx/provider.py",
        takes_calls,
    ),
    Fact(
        "telnyx-user-id",
        "The `user_id` of a delivered webhook is the account's id in TeXML, and there is one after the first call.",
        "integrations/telnyx/provider.py",
        user_id,
    ),
    Fact(
        "telnyx-since",
        "The list of past calls is filtered by whole days with `StartTime_gt`, which the OpenAPI document names; "
        "a page names `StartTime>`.",
        "integrations/telnyx/provider.py",
        since_days,
    ),
    Fact(
        "telnyx-unassigning",
        "A number whose `connection_id` is set to an empty string has none.",
        "integrations/telnyx/provider.py",
        only_shown_by(CHANGE),
    ),
    Fact(
        "telnyx-deletion",
        "An application that numbers are linked to is not deleted, with a status that we do not know.",
        "integrations/telnyx/applications.py",
        only_shown_by(CHANGE),
    ),
]
