"""The reasons of a health check in words: the problem, and what to do about it."""

import re

# reason: (problem, advice)
REASONS: dict[str, tuple[str, str]] = {
    "url_mismatch": ("A webhook URL at the carrier is not ours.", "Repair will set it to ours."),
    "not_set": ("A webhook URL at the carrier is empty.", "Repair will set it."),
    "wrong_http_method": ("The carrier calls a webhook URL with the wrong HTTP method.", "Repair will set it to POST."),
    "not_linked": ("The number is not linked to an application at the carrier.", "Repair will link it to ours."),
    "overridden_by_trunk": ("A SIP trunk handles calls before our webhooks are called.", "Repair will detach it."),
    "overridden_by_application": (
        "Another application or mode at the carrier handles calls before our webhooks are called.",
        "Repair will replace it with ours.",
    ),
    "application_missing": (
        "The application that holds our webhook URLs no longer exists.",
        "Repair will create it again.",
    ),
    "no_outbound_profile": (
        "Our application has no outbound voice profile, so calls cannot be forwarded.",
        "Repair will find or create one.",
    ),
    "signature_key_missing": (
        "We do not have the account's public key, so its webhooks are verified only by the secret in their URL.",
        "Repair will fetch it from the carrier.",
    ),
    "signature_key_changed": (
        "The account's public key was replaced at the carrier, so its webhooks are rejected.",
        "Repair will fetch the new key.",
    ),
    "webhooks_refused": (
        "The account's webhooks are rejected: they are not signed with the auth token or key that we have.",
        "Under “Change auth token”, enter what the carrier signs with: the primary token if there are several, or the "
        "public key if it was renewed and repair could not fetch it.",
    ),
    "webhooks_signed_otherwise": (
        "A rule of the account's at the carrier (Webhooks configuration API) makes the carrier sign its webhooks with "
        "a shared key, not with the auth token, so we cannot verify them.",
        "Ask the customer to remove this rule, or to exempt the URLs of this server from it.",
    ),
    "number_missing": (
        "The account no longer has this number: it was transferred, ported out or deleted.",
        "Ask the customer. Then remove the number here, or restore it at the carrier.",
    ),
    "number_inactive": (
        "The number is inactive at the carrier or does not support voice.",
        "The customer must fix this in the carrier's console.",
    ),
    "credentials_refused": (
        "The carrier rejects our credentials: the auth token was changed, or the account is suspended.",
        "Ask the customer for the new auth token and enter it under “Change auth token”.",
    ),
    "credentials_unreadable": (
        "The stored credentials cannot be read because their encryption key is missing on the server.",
        "Ask the server administrator to restore the key, or ask the customer for the auth token and enter it again.",
    ),
    "forward_loop": (
        "Calls go on to a number in the same workspace. They could loop, and each round is billed.",
        "Send them to a number outside the workspace.",
    ),
    "carrier_refuses": (
        "The carrier refuses to answer for this account or number, so its settings are unknown.",
        "Ask the customer to look at both in the carrier's console, or to ask the carrier about the account.",
    ),
    "carrier_unavailable": ("The carrier did not respond.", "Check again in a minute."),
}
# The same of a number that another workspace has taken (services/ownership.py).
RETIRED_REASONS: dict[str, tuple[str, str]] = {
    "credentials_refused": (
        "The carrier rejected this workspace's credentials when another workspace added the number, or another one of "
        "the same account, with valid ones. Its calls no longer belong here.",
        "The number can only be removed. If it is the customer's, remove it and add it again with valid credentials.",
    ),
    "number_missing": (
        "The carrier account no longer has this number: it was transferred, ported out or deleted. Another workspace "
        "has added it from the account that has it now.",
        "The number can only be removed. If it is the customer's, remove it and add it again from that account.",
    ),
}
UNKNOWN_REASON = (
    "The carrier's settings differ from the expected ones.",
    "Check again. If the problem persists, look at the number in the carrier's console.",
)
# Parts of a URL that are hidden. An ellipsis takes their place, or two URLs that differ only there would look the same.
HIDDEN = [
    (re.compile(r"(/api/webhooks/\w+/[\w-]{4})[\w-]*"), r"\1…"),
    (re.compile(r"^(\w[\w+.-]*:/{0,2})[^/?#]*@"), r"\1…@"),
    (re.compile(r"(?<=[?#]).+", re.DOTALL), "…"),
]


def in_words(reason: str, *, is_retired: bool = False) -> tuple[str, str]:
    """Return the problem and the advice."""
    return (RETIRED_REASONS if is_retired else REASONS).get(reason, UNKNOWN_REASON)


def public_setting(value: str) -> str:
    """Hide what may be secret in a setting that is a URL: our token, user and password, the query."""
    for hidden, shown in HIDDEN:
        value = hidden.sub(shown, value)
    return value
