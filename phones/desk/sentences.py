"""What the desk says of each refusal, in the words of its pages: as the API does, unless that names an API field."""

from core.errors import NotFound, sentence_for
from core.secrets import CannotOpen
from integrations import errors as carriers
from phones import errors as phones
from phones.api import sentences as api

SENTENCES: dict[type[Exception], str] = {
    **api.SENTENCES,
    NotFound: "The number no longer exists, or is being removed.",
    CannotOpen: "The stored credentials cannot be read: their key is missing from CREDENTIAL_KEYS.",
    phones.PhoneExists: "This number already exists for this user, or is being added right now.",
    phones.RoutedElsewhere:
        "The number is already routed elsewhere. Choose “Take it over” to have its calls come here; its current "
        "routing is restored when you remove it.",
    phones.NoForwardTarget: "Enter the number that calls are forwarded to.",
    phones.ForwardLoop:
        "This number is in the workspace itself. Calls could go round in a loop, and each round is billed. Enter a "
        "number outside the workspace.",
    phones.NoSuchUser: "The user was not found in this workspace.",
    phones.TokenReplaced:
        "Someone else entered an auth token at the same moment. Enter yours again to end the old one.",
    phones.UnknownCursor: "The list cannot be continued from this page. List the account's numbers again.",
    carriers.InvalidCredentials:
        "{carrier} refused the credentials. Check the {auth_token_name} and {account_id_name}, and that the account is "
        "active.",
    carriers.UnknownApplication: "This {carrier} account has no application with this {account_id_name}.",
    carriers.WrongPublicKey:
        "{carrier} reports a different key for this account. Leave it empty: it is fetched from {carrier}.",
    carriers.UnusedPublicKey:
        "The account's webhooks are signed with a different key. Leave it empty: it is fetched from {carrier}.",
    carriers.NumberNotOwned: "This {carrier} account does not own the number. Check the number and the account.",
    carriers.NumberNotUsable:
        "The number cannot take voice calls at {carrier}. Check the number in the {carrier} console.",
    carriers.NumberNotActive: "The number is not active at {carrier}. Check the number in the {carrier} console.",
    carriers.MediaRangeRefused: "The recording is shorter than the part that was asked for. Play it from the start.",
}  # fmt: skip


def sentence(error: Exception) -> str:
    return sentence_for(error, SENTENCES)
