"""What the API says of each refusal: why, and what to do next. Bulk reports say the same, as their columns have the
API's names."""

from core.envelope import INTERNAL_ERROR, NOT_FOUND
from core.errors import NotFound, Refusal, Unreadable, sentence_for
from core.secrets import CannotOpen
from integrations import errors as carriers
from phones import errors as phones
from users.idempotency import InvalidKey, KeyInProgress, KeyMismatch
from users.limits import LimitReached

# our name of a field: the API's, where it is another
WIRE_NAMES = {
    "user_id": "userId",
    "number": "phoneNumber",
    "auth_token": "authToken",
    "account_id": "accSId",
    "public_key": "publicKey",
    "forward_to": "inbound",
    "connect_to": "inbound",
    "greeting": "inbound",
}
SENTENCES: dict[type[Exception], str] = {
    Refusal: INTERNAL_ERROR,
    # Of the request.
    Unreadable: "{sentence}",
    NotFound: NOT_FOUND,
    LimitReached: "Too many requests. Try again in {retry_after_s} s.",
    InvalidKey: "Idempotency-Key: send 1 to 255 visible ASCII characters.",
    KeyMismatch: "This Idempotency-Key was sent before with another body. Use a new key for a new request.",
    KeyInProgress: "The first request with this Idempotency-Key is still in progress. Retry in a moment.",
    CannotOpen:
        "The stored credentials of this account can no longer be read. Enter the auth token again: PATCH one of its "
        "numbers with authToken.",
    # Of our own rows.
    phones.PhoneExists: "This phoneNumber already exists for this user, or is being added right now.",
    phones.ImpossibleNumber:
        "phoneNumber is not possible in any country, and it was not found. Send it with the country code and without a "
        "prefix that is dialled only in the country, for example 12125551234.",
    phones.RoutedElsewhere:
        "phoneNumber is already routed elsewhere. Send onConflict: replace to take it over; its current routing is "
        "restored when you remove the number.",
    phones.NumberInAnotherWorkspace:
        "phoneNumber is in use in another workspace, whose credentials the carrier still accepts. Remove it there "
        "first, or ask support to move it.",
    phones.ApplicationInUse:
        "accSId: this application routes other numbers, too, and they would come here with it. Send another "
        "application, leave accSId out, or bring these numbers into the workspace first and send onConflict: replace.",
    phones.NumberRetired:
        "This number is in use in another workspace now, so nothing of it can be changed here. Remove it; if it is "
        "yours, add it again with valid credentials.",
    phones.SameWorkspace: "userId: this user's workspace has the number already. Choose a user of another workspace.",
    phones.NoForwardTarget: "inbound: forward needs forwardTo, a number.",
    phones.NoConnectTarget: "inbound: connect needs connectTo, a number or the address of your own system.",
    phones.UnreachableTarget:
        "inbound: {carrier} cannot reach this connectTo, or not as safely as it asks for. Send {reachable}.",
    phones.NoGreeting:
        "inbound: there is no default greeting in {language}, only in {ours}. Send a greeting of your own.",
    phones.ForwardLoop:
        "inbound: forwardTo or connectTo is a number of this workspace. Calls could go round in a loop, and each round "
        "is billed: send a number outside the workspace.",
    phones.NoSuchUser: "userId: user not found in this workspace.",
    phones.TokenReplaced:
        "authToken: another token was saved at the same moment. Send yours again to end the old one.",
    phones.ChangeUncertain:
        "The new auth token is in use, but label and inbound may be unchanged. Send them again without authToken.",
    phones.UnknownCursor: "cursor: send the nextCursor of the previous page.",
    phones.LineBusy: "Another change to the webhooks of this number or account is in progress. Try again in a minute.",
    phones.LeaseLost: "The webhook set-up took too long and was rolled back. Try again.",
    phones.AccountBeingSetUp: "The webhooks of this account are being set up by another request. Try again.",
    # Of the carriers.
    carriers.InvalidCredentials:
        "{carrier} refused the credentials. Check the {auth_token_name} (authToken) and {account_id_name} (accSId), "
        "and that the account is active.",
    carriers.ApiKeyAsAccountId:
        "accSId: this is an API key. Send the {account_id_name} as accSId and the account's {auth_token_name} as "
        "authToken: {carrier} signs webhooks with it, not with API keys. {account_id_name}: {account_id_hint}",
    carriers.NotAnAccountId:
        "These are not the credentials of a {carrier} account: accSId is not the {account_id_name}. {account_id_hint}",
    carriers.NotAnAuthToken: "authToken: this is an id, not the {auth_token_name} of {carrier}. {auth_token_hint}",
    carriers.AccountNotActive:
        "The credentials belong to a {carrier} account that is not active. Ask {carrier} about the account.",
    carriers.UnknownApplication: "accSId: this {carrier} account has no application with this id.",
    carriers.WrongPublicKey:
        "publicKey: {carrier} reports a different key for this account. Leave publicKey out: it is fetched from "
        "{carrier}.",
    carriers.UnusedPublicKey:
        "publicKey: the account's webhooks are signed with a different key. Leave publicKey out: it is fetched from "
        "{carrier}. If it was renewed there and cannot be fetched, ask support to enter it.",
    carriers.NumberNotOwned: "This {carrier} account does not own phoneNumber. Check the number and the account.",
    carriers.NumberNotUsable:
        "phoneNumber cannot take voice calls at {carrier}. Check the number in the {carrier} console.",
    carriers.NumberNotActive: "phoneNumber is not active at {carrier}. Check the number in the {carrier} console.",
    carriers.CarrierUnavailable: "{carrier} cannot be reached or does not answer. Try again in a minute.",
    carriers.RequestRefused:
        "{carrier} refuses to answer for this account or number, and trying again will not help. Check both in the "
        "{carrier} console, or ask {carrier} about the account.",
    carriers.ChangeRefused:
        "{carrier} refused the webhook settings, and trying again will not help. Check in the {carrier} console "
        "whether the account may change the number, or ask {carrier}.",
    carriers.WebhookSetupFailed:
        "{carrier} did not apply the webhook settings. Try again. If it fails again, check the number in the {carrier} "
        "console.",
    carriers.RecordingNotReady: "{carrier} has not finished this recording yet. Try again in a minute.",
    carriers.MediaMissing: "{carrier} does not have the audio of this recording, or no longer has it.",
    carriers.MediaElsewhere:
        "The audio of this recording is neither at {carrier} nor in a store of {carrier}'s own, so it is not fetched. "
        "Listen to it where the account stores its recordings.",
    carriers.MediaRefused:
        "The audio of this recording is not handed out to this account. Check at {carrier} whether it was deleted, "
        "blocked or moved to a store of the account's own.",
    carriers.MediaRangeRefused:
        "Range: the requested range is past the end of the recording. Retry without the Range header.",
}  # fmt: skip


def sentence(error: Exception) -> str:
    return sentence_for(error, SENTENCES)


def wire_name(field: str | None) -> str | None:
    """What the API calls a field to blame."""
    return WIRE_NAMES.get(field, field) if field else None
