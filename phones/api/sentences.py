"""What the API says of each refusal: why, and what to do next. Bulk reports say the same, as their columns have the
API's names."""

from core.envelope import NOT_FOUND
from core.errors import NotFound, Unreadable, sentence_for
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
}
SENTENCES: dict[type[Exception], str] = {
    # Of the request.
    Unreadable: "{sentence}",
    NotFound: NOT_FOUND,
    LimitReached: "Too many requests. Try again in {retry_after_s} s.",
    InvalidKey: "Idempotency-Key: send 1 to 255 visible ASCII characters.",
    KeyMismatch: "This Idempotency-Key was sent before with another body. Use a new key for a new request.",
    KeyInProgress: "The first request with this Idempotency-Key is still in progress. Ask again in a moment.",
    CannotOpen:
        "The stored credentials of this account cannot be read any more. Enter the auth token again: PATCH one of its "
        "numbers with authToken.",
    # Of our own rows.
    phones.PhoneExists: "This phoneNumber already exists for this user, or is being added right now.",
    phones.RoutedElsewhere:
        "The calls of phoneNumber go elsewhere now. Send onConflict: replace to take it over; "
        "what is there now comes back when the number is removed.",
    phones.NoForwardTarget: "inbound: forward needs forwardTo, a number.",
    phones.ForwardLoop:
        "inbound: forwardTo is a number of this workspace itself. Calls could go round in a circle, and each round "
        "is billed: send a number outside the workspace.",
    phones.NoSuchUser: "userId: user not found in this workspace.",
    phones.TokenReplaced:
        "authToken: another one was entered in the same moment. Send this one again to end the old one.",
    phones.ChangeUncertain:
        "The new auth token is in use, but label and inbound may be unchanged. Send them again without authToken.",
    phones.UnknownCursor: "cursor: send the nextCursor of the page before.",
    phones.LineBusy: "Another change of the webhooks of this number or account is running. Try again in a minute.",
    phones.LeaseLost: "The webhook set-up took too long and was taken back. Try again.",
    phones.AccountBeingSetUp: "The webhooks of this account are being set up right now. Try again.",
    # Of the carriers.
    carriers.InvalidCredentials:
        "{carrier} refused the credentials. Check the {auth_token_name} (authToken) and {account_id_name} (accSId), "
        "and that the account is active.",
    carriers.AccountNotActive:
        "The credentials belong to a {carrier} account that is not active. Ask {carrier} about the account.",
    carriers.UnknownApplication: "accSId: this {carrier} account has no application with this id.",
    carriers.WrongPublicKey:
        "publicKey: {carrier} says that the account has another key. Leave publicKey out: {carrier} is asked for the "
        "key.",
    carriers.UnusedPublicKey:
        "publicKey: the account's webhooks are signed with another key. Leave publicKey out: {carrier} is asked for "
        "the key.",
    carriers.NumberNotOwned: "This {carrier} account does not own phoneNumber. Check the number and the account.",
    carriers.NumberNotUsable:
        "phoneNumber cannot take voice calls at {carrier}. Check the number in the {carrier} console.",
    carriers.NumberNotActive: "phoneNumber is not active at {carrier}. Check the number in the {carrier} console.",
    carriers.CarrierUnavailable: "{carrier} cannot be reached or does not answer. Try again in a minute.",
    carriers.WebhookSetupFailed:
        "{carrier} did not take over the webhook settings. Try again; if it stays, look at the number in the {carrier} "
        "console.",
    carriers.RecordingNotReady: "{carrier} has not finished this recording yet. Try again in a minute.",
    carriers.MediaMissing: "{carrier} does not have the audio of this recording (any more).",
    carriers.MediaElsewhere:
        "The audio of this recording is neither at {carrier} nor in a store of {carrier}'s own, so it is not fetched. "
        "Listen to it where the account stores its recordings.",
    carriers.MediaRangeRefused: "Range: the recording is shorter than that. Ask without Range.",
}  # fmt: skip


def sentence(error: Exception) -> str:
    return sentence_for(error, SENTENCES)


def wire_name(field: str | None) -> str | None:
    """What the API calls a field to blame."""
    return WIRE_NAMES.get(field, field) if field else None
