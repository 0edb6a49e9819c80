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
    phones.ImpossibleNumber:
        "This number is not possible in any country, and the account does not have it. Enter it with the country code "
        "and without a prefix that is dialled only in the country, for example +1 212 555 1234.",
    phones.RoutedElsewhere:
        "The number is already routed elsewhere. Choose “Take it over” to have its calls come here; its current "
        "routing is restored when you remove it.",
    phones.NumberInAnotherWorkspace:
        "The number is in use in another workspace, whose credentials the carrier still accepts. Remove it there "
        "first, or have a supervisor move it.",
    phones.ApplicationInUse:
        "This application routes other numbers, too, and they would come here with it. Enter another one, leave it "
        "empty, or add these numbers first and choose “Take it over”.",
    phones.NumberRetired:
        "This number no longer belongs to this workspace, so nothing of it can be changed here. Remove it; if it is "
        "the customer's, add it again with valid credentials.",
    phones.SameWorkspace: "This user's workspace has the number already. Choose a user of another workspace.",
    phones.NoForwardTarget: "Enter the number that calls are forwarded to.",
    phones.NoConnectTarget: "Enter the number or address that calls are connected with.",
    phones.UnreachableTarget:
        "{carrier} cannot reach this address, or not as safely as it asks for. Enter {reachable}.",
    phones.NoGreeting: "There is no default greeting in {language}, only in {ours}. Enter a greeting.",
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
    carriers.ApiKeyAsAccountId:
        "This is an API key. Enter the {account_id_name} and the account's {auth_token_name}: {carrier} signs webhooks "
        "with it, not with API keys. {account_id_name}: {account_id_hint}",
    carriers.NotAnAccountId: "This is not the {account_id_name} of a {carrier} account. {account_id_hint}",
    carriers.NotAnAuthToken: "This is an id, not the {auth_token_name} of {carrier}. {auth_token_hint}",
    carriers.UnknownApplication: "This {carrier} account has no application with this {account_id_name}.",
    carriers.WrongPublicKey:
        "{carrier} reports a different key for this account. Leave it empty: it is fetched from {carrier}.",
    carriers.UnusedPublicKey:
        "The account's webhooks are signed with a different key. Leave it empty: it is fetched from {carrier}. If it "
        "was renewed there, enter it under “Change auth token” of a number, once webhooks are rejected.",
    carriers.NumberNotOwned: "This {carrier} account does not own the number. Check the number and the account.",
    carriers.NumberNotUsable:
        "The number cannot take voice calls at {carrier}. Check the number in the {carrier} console.",
    carriers.NumberNotActive: "The number is not active at {carrier}. Check the number in the {carrier} console.",
    carriers.MediaRangeRefused: "The recording is shorter than the part that was asked for. Play it from the start.",
}  # fmt: skip


def sentence(error: Exception) -> str:
    return sentence_for(error, SENTENCES)
