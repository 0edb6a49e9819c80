"""The carriers as the tests have them: their accounts and numbers at the sandbox, and what is true of one of them only.

A new carrier is one more `Good` in CARRIERS: every test that is about no carrier in particular then runs for it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest

from integrations import provider_class
from integrations.applications import ApplicationProvider
from sandbox import resources
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from users.models import User


class Refused(NamedTuple):
    """An account that the carrier does not let in, and a number to try."""

    acc_sid: str
    auth_token: str
    number: str


class RecordingPaths(NamedTuple):
    """Paths below the sandbox: to the accounts; below an account, to its recordings and to something else."""

    accounts: str
    recordings: str
    another: str


@dataclass(frozen=True, eq=False)
class Good:
    """Credentials and numbers that the sandbox knows, for one carrier, and how this carrier is."""

    # An account: its id at the carrier, and what a client sends for it.
    integration: str
    owner: str
    acc_sid: str
    auth_token: str
    # Two numbers that are routed nowhere, one that is routed elsewhere, and one of another account.
    number: str
    another: str
    routed_elsewhere: str
    not_owned: str
    # More of the account's numbers; of the unusable ones, what the list of numbers to pick from says.
    elsewhere: tuple[str, ...]
    on_a_trunk: str
    demo: tuple[str, ...]
    unusable: dict[str, dict[str, Any]]
    # The first is suspended.
    refused: tuple[Refused, ...]
    # Of the ids that the carrier gives to accounts.
    id_pattern: str
    # The words of the carrier's console for account id and auth token.
    words: tuple[str, str]
    # Where the vendor publishes code, at GitHub.
    publishers: tuple[str, ...]

    # In the resource of a number: the field that has its route, and the end of what stands there when it is ours.
    route_field: str
    route_end: str
    # What somebody sets in the console to have calls elsewhere, and what the desk shows of it.
    console_route: dict[str, Any]
    shown_route: str
    # A trunk that a number may be linked to, and the same in the resource of a number.
    trunk: str
    trunk_route: dict[str, Any]
    # What a line remembers of `routed_elsewhere`, in the provider's words.
    remembered: tuple[str, str]

    # The methods of all requests that add and give back.
    methods: set[str]
    # How many requests a check of a number that is well makes, and a repair after several drifts, and after the loss of
    # the application.
    check_requests: int
    repair_requests: dict[str, int]
    # What is said of a call that was rejected.
    rejected_status: str
    # Of the request after a forwarding: the field of its outcome, and the carrier's words for "nobody took the call" with
    # what the log says then.
    outcome_field: str
    outcomes: dict[str, str]
    # What customers send in place of the account's credentials, the field to blame, and a part of the sentence.
    mistaken: tuple[tuple[dict[str, str], str, str], ...]
    # Pairs of an account's id and token that may be right.
    possible: tuple[tuple[str, str], ...]
    # The headers with signatures, and those that are signed along.
    signature_headers: tuple[str, ...]
    signed_headers: tuple[str, ...] = ()

    # Addresses of recordings, and whether they are admitted; addresses where this carrier stores none.
    recording_urls: tuple[tuple[str, bool], ...] = ()
    foreign_stores: tuple[str, ...] = ()
    recording_paths: RecordingPaths | None = None
    # Of an application: the fields of its address for calls and of its name; another one in the account, to which a
    # number may be linked.
    answer_field: str = ""
    name_field: str = ""
    another_link: str = ""

    def body(self, user: User, **changes: Any) -> dict[str, Any]:
        """The body of an add; a field changed to None is left out."""
        body = {
            "userId": user.pk,
            "phoneNumber": self.number,
            "integration": self.integration,
            "authToken": self.auth_token,
            "accSId": self.acc_sid or None,
            **changes,
        }
        return {name: value for name, value in body.items() if value is not None}

    def new_owner(self, index: int) -> tuple[str, str]:
        """The id of an account that the sandbox does not have yet, and the accSId for it."""
        id = self.id_pattern.format(index)
        return id, id if self.acc_sid else ""

    def routes_to(
        self, there: dict[str, Any], *, webhook_token: str, application_id: str, public_url: str = ""
    ) -> bool:
        """Whether a number that is so at the carrier brings its calls to the account with this token and application.

        Without `public_url` any of our addresses will do.
        """
        end = self.route_end.format(webhook_token=webhook_token, application_id=application_id, public_url=public_url)
        return bool(end) and str(there.get(self.route_field) or "").endswith(end)


TWILIO = Good(
    integration="twilio",
    owner=seeds.TWILIO_SID,
    acc_sid=seeds.TWILIO_SID,
    auth_token=seeds.TWILIO_TOKEN,
    number="12125551234",
    another="12125550007",
    routed_elsewhere="12125550001",
    not_owned="12125559999",
    elsewhere=("12125550001", "12125550002", "12125550003", "12125550006"),
    on_a_trunk="12125550002",
    demo=("12125550005",),
    unusable={"12125550004": {"voice": False}},
    refused=(
        Refused(seeds.TWILIO_SUSPENDED_SID, seeds.TWILIO_SUSPENDED_TOKEN, "12125558888"),
        Refused(seeds.TWILIO_CLOSED_SID, seeds.TWILIO_CLOSED_TOKEN, "12125558888"),
        Refused(seeds.TWILIO_OTHER_SID, seeds.TWILIO_TOKEN, "12125551234"),
    ),
    id_pattern="AC{:032}",
    words=("Account SID", "Auth Token"),
    publishers=("twilio", "twilio-labs"),
    route_field="voice_url",
    route_end="{public_url}/api/webhooks/twilio/{webhook_token}/answer",
    console_route={"voice_url": f"{seeds.FOREIGN_URL}/answer", "voice_method": "GET"},
    shown_route=f"Voice URL: {seeds.FOREIGN_URL}/answer",
    trunk=seeds.TWILIO_TRUNK,
    trunk_route={"trunk_sid": seeds.TWILIO_TRUNK},
    remembered=("voice_url", f"{seeds.FOREIGN_URL}/twilio/answer"),
    methods={"GET", "POST"},
    check_requests=2,
    repair_requests={"several": 6},
    rejected_status="no-answer",
    outcome_field="DialCallStatus",
    outcomes={"no-answer": "no-answer", "busy": "busy", "failed": "failed", "canceled": "no-answer"},
    # API keys are what users ask for: novuhq/novu#5708, n8n-io/n8n#1782.
    mistaken=(
        ({"accSId": "SK" + "a1" * 16, "authToken": "secretofthekey"}, "accSId", "an API key"),
        ({"accSId": "SKshort"}, "accSId", "signs webhooks with it"),
        ({"accSId": "PN" + "a1" * 16}, "authToken", "not the Account SID"),
        ({"accSId": "AP" + "A1" * 16}, "authToken", "Starts with AC"),
        ({"authToken": "SK" + "a1" * 16}, "authToken", "not the Auth Token"),
        ({"authToken": seeds.TWILIO_SID}, "authToken", "not the Auth Token"),
    ),
    possible=(("your_account_sid", "0123456789abcdef0123456789abcdef"), ("ACa1", "token")),
    signature_headers=("X-Twilio-Signature",),
    recording_urls=(
        ("https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1.wav", True),
        ("https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/AC1/Balance.json", False),
    ),
    foreign_stores=(
        "https://any-bucket.s3.amazonaws.com/x.wav",
        "https://www.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1.wav",
    ),
    recording_paths=RecordingPaths("/twilio/2010-04-01/Accounts/", "Recordings", "Balance.json"),
)
PLIVO = Good(
    integration="plivo",
    owner=seeds.PLIVO_ID,
    acc_sid=seeds.PLIVO_ID,
    auth_token=seeds.PLIVO_TOKEN,
    number="14155551234",
    another="14155550007",
    routed_elsewhere="14155550001",
    not_owned="14155559999",
    elsewhere=("14155550001", "14155550002"),
    on_a_trunk="14155550002",
    demo=(),
    unusable={"14155550003": {"voice": False}, "14155550004": {"active": False}},
    refused=(
        Refused(seeds.PLIVO_SUSPENDED_ID, seeds.PLIVO_SUSPENDED_TOKEN, "14155558888"),
        Refused("not-an-auth-id", seeds.PLIVO_TOKEN, "14155551234"),
    ),
    id_pattern="MA{:018}",
    words=("Auth ID", "Auth Token"),
    publishers=("plivo",),
    route_field="application",
    route_end="/Application/{application_id}/",
    console_route={"application": resources.plivo_application_uri(seeds.PLIVO_ID, seeds.PLIVO_CUSTOMER_APP)},
    shown_route=seeds.PLIVO_CUSTOMER_APP,
    trunk=seeds.PLIVO_TRUNK,
    trunk_route={"application": resources.plivo_application_uri(seeds.PLIVO_ID, seeds.PLIVO_TRUNK)},
    remembered=("application_id", seeds.PLIVO_CUSTOMER_APP),
    methods={"GET", "POST", "DELETE"},
    check_requests=2,
    repair_requests={"several": 11, "no application": 10},
    rejected_status="completed",
    outcome_field="DialStatus",
    outcomes={
        "no-answer": "no-answer",
        "busy": "busy",
        "failed": "failed",
        "cancel": "no-answer",
        "timeout": "no-answer",
    },
    mistaken=(
        ({"accSId": "20468599130939301"}, "authToken", "not the Auth ID"),
        ({"accSId": "MASHORT"}, "authToken", "Starts with MA"),
        ({"accSId": "ma" + "0" * 18}, "authToken", "Starts with MA"),
        ({"authToken": "SA" + "A1" * 9}, "authToken", "not the Auth Token"),
        ({"authToken": seeds.PLIVO_ID}, "authToken", "not the Auth Token"),
    ),
    possible=(("MAZJQYMDE2OTVJODQ0MT", "ZjQ2YjQwYjQtMzQ4Zi00"), ("SAZJQYMDE2OTVJODQ0MT", "ZjQ2YjQwYjQtMzQ4Zi00")),
    signature_headers=("X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"),
    signed_headers=("X-Plivo-Signature-V3-Nonce",),
    recording_urls=(
        ("https://media.plivo.com/v1/Account/MA1/Recording/6c5b-4a39.mp3", True),
        ("https://s3.amazonaws.com/recordings_2013/c2186400-1c8c.mp3", True),
    ),
    foreign_stores=(
        "https://any-bucket.s3.amazonaws.com/x.mp3",
        "https://any-bucket.s3.eu-west-1.amazonaws.com/x.mp3",
        "https://s3.amazonaws.com/",
        "https://docs.plivo.com/x.mp3",
        "https://media.plivo.com/x.mp3",
    ),
    recording_paths=RecordingPaths("/plivo/v1/Account/", "Recording", "Application/"),
    answer_field="answer_url",
    name_field="app_name",
    another_link=seeds.PLIVO_DEFAULT_APP,
)
TELNYX = Good(
    integration="telnyx",
    owner=seeds.TELNYX_ACCOUNT,
    acc_sid="",
    auth_token=seeds.TELNYX_KEY,
    number="13125551234",
    another="13125550007",
    routed_elsewhere="13125550001",
    not_owned="13125559999",
    elsewhere=("13125550001", "13125550002", "13125550003"),
    on_a_trunk="13125550002",
    demo=(),
    unusable={"13125550004": {"active": False}},
    refused=(Refused("", seeds.TELNYX_SUSPENDED_KEY, "13125558888"),),
    id_pattern="telnyx-new-{}",
    words=("App ID", "API Key"),
    publishers=("team-telnyx",),
    route_field="connection_id",
    route_end="{application_id}",
    console_route={"connection_id": seeds.TELNYX_CUSTOMER_APP, "connection_name": "customer-ivr"},
    shown_route=seeds.TELNYX_CUSTOMER_APP,
    trunk=seeds.TELNYX_SIP_CONNECTION,
    trunk_route={"connection_id": seeds.TELNYX_SIP_CONNECTION},
    remembered=("application_id", seeds.TELNYX_CUSTOMER_APP),
    methods={"GET", "POST", "PATCH", "DELETE"},
    check_requests=3,
    repair_requests={"several": 14, "no application": 15},
    rejected_status="no-answer",
    outcome_field="DialCallStatus",
    outcomes={"no-answer": "no-answer", "busy": "busy", "failed": "failed", "canceled": "no-answer"},
    mistaken=(
        ({"accSId": "KEY0123456789ABCDEF_x"}, "authToken", "not the App ID"),
        ({"accSId": seeds.TELNYX_KEY, "authToken": seeds.TELNYX_KEY}, "authToken", "Leave"),
        ({"authToken": seeds.TELNYX_CUSTOMER_APP}, "authToken", "Starts with KEY"),
        ({"authToken": "3f9d1c7a-5b2e-4a60-8f14-c6e0b7d2a935"}, "authToken", "Starts with KEY"),
    ),
    possible=(("", "KEY0123456789ABCDEF_x"), ("1400000000000000001", "KEY0123456789ABCDEF_x"), ("", "another-form")),
    signature_headers=("telnyx-signature-ed25519",),
    signed_headers=("telnyx-timestamp",),
    recording_urls=(
        ("https://s3.amazonaws.com/telephony-recorder-prod/a/b.wav?X-Amz-Expires=600", True),
        ("https://s3.eu-central-1.amazonaws.com/telephony-recorder-prod/a/b.wav", True),
    ),
    foreign_stores=(
        "https://any-bucket.s3.amazonaws.com/x.wav",
        "https://storage.example.com/x.wav",
        "https://s3.amazonaws.com.example.com/bucket/x.wav",
    ),
    answer_field="voice_url",
    name_field="friendly_name",
    another_link=seeds.TELNYX_SIP_CONNECTION,
)
CARRIERS = {good.integration: good for good in (TWILIO, PLIVO, TELNYX)}
# A second account at each carrier, with its own token and, where there is one, its own key.
OTHERS = {
    good.integration: replace(good, owner=owner, acc_sid=acc_sid, auth_token=token, number=good.not_owned)
    for good, owner, acc_sid, token in (
        (TWILIO, seeds.TWILIO_OTHER_SID, seeds.TWILIO_OTHER_SID, seeds.TWILIO_OTHER_TOKEN),
        (PLIVO, seeds.PLIVO_OTHER_ID, seeds.PLIVO_OTHER_ID, seeds.PLIVO_OTHER_TOKEN),
        (TELNYX, seeds.TELNYX_OTHER_ACCOUNT, "", seeds.TELNYX_OTHER_KEY),
    )
}
NO_PROFILE = replace(
    TELNYX,
    owner=seeds.TELNYX_NOPROFILE_ACCOUNT,
    auth_token=seeds.TELNYX_NOPROFILE_KEY,
    number="13125557777",
    another="13125557778",
    routed_elsewhere="13125557777",
    remembered=("application_id", ""),
)

# An application of the customer's at Telnyx that routes no number, once prepare_spare_application() has made it.
SPARE_APPLICATION = "1400000000000000009"


def prepare_spare_application(sandbox: Sandbox) -> str:
    """The customer makes an application like the one that it has, and links no number to it. Returns its id."""
    applications = sandbox.state.account("telnyx", TELNYX.owner).applications
    applications[SPARE_APPLICATION] = applications[seeds.TELNYX_CUSTOMER_APP] | {
        "id": SPARE_APPLICATION,
        "friendly_name": "customer-spare",
    }
    return SPARE_APPLICATION


def those(chosen: Callable[[str], bool]) -> dict[str, Good]:
    return {name: good for name, good in CARRIERS.items() if chosen(name)}


WITH_APPLICATIONS = those(lambda name: issubclass(provider_class(name), ApplicationProvider))
SIGNING_WITH_TOKENS = those(lambda name: not provider_class(name).signs_with_public_key)
WITH_RECORDING_PATHS = those(lambda name: bool(provider_class(name).recording_path))
each_with_application = pytest.mark.parametrize("good", WITH_APPLICATIONS.values(), ids=list(WITH_APPLICATIONS))
each_signing_with_tokens = pytest.mark.parametrize("good", SIGNING_WITH_TOKENS.values(), ids=list(SIGNING_WITH_TOKENS))


@dataclass(frozen=True)
class Subject:
    """A carrier account as the sandbox has it, and a number of it that the customer has routed elsewhere."""

    good: Good
    owner: str
    number: str
    another: str

    @property
    def integration(self) -> str:
        return self.good.integration


SUBJECTS = {
    name: Subject(good, good.owner, good.routed_elsewhere, good.another)
    for name, good in (CARRIERS | {"telnyx without a voice profile": NO_PROFILE}).items()
}


def api_urls(sandbox: Sandbox) -> dict[str, str]:
    """Where the simulated carriers are."""
    return {name: getattr(sandbox, f"{name}_url") for name in CARRIERS}


def environment_of(sandbox: Sandbox) -> dict[str, str]:
    """The same as variables for a process of its own."""
    return {f"{name.upper()}_API_URL": url for name, url in api_urls(sandbox).items()}


def brand_new(sandbox: Sandbox, name: str, count: int) -> tuple[Subject, list[str]]:
    """An account that nobody has added yet, with numbers that are routed nowhere."""
    owner, acc_sid = CARRIERS[name].new_owner(9)
    secret = f"{name}-race-token"
    numbers = [f"1617555{3000 + index}" for index in range(count)]
    sandbox.add_account(name, owner, secret)
    for number in numbers:
        sandbox.add_number(name, owner, number)
    good = replace(
        CARRIERS[name], owner=owner, acc_sid=acc_sid, auth_token=secret,
        number=numbers[0], another=numbers[-1], routed_elsewhere=numbers[0], not_owned="16175559999",
    )  # fmt: skip
    return Subject(good, owner, numbers[0], numbers[-1]), numbers
