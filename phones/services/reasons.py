"""What a check found, in words for people: what is the matter, and what to do."""

import re

# reason: (what is the matter, what to do)
REASONS: dict[str, tuple[str, str]] = {
    "url_mismatch": ("An address at the carrier is not ours.", "Repair writes ours again."),
    "not_set": ("An address at the carrier is empty.", "Repair writes it again."),
    "wrong_http_method": ("The carrier uses another HTTP method for an address.", "Repair sets it to POST."),
    "not_linked": ("The number is linked to nothing at the carrier.", "Repair links it to our application."),
    "overridden_by_trunk": ("A SIP trunk takes the calls before our addresses are asked.", "Repair detaches it."),
    "overridden_by_application": (
        "Another application or mode at the carrier takes the calls before our addresses are asked.",
        "Repair puts ours in its place.",
    ),
    "application_missing": ("The application that holds our addresses is gone.", "Repair makes it again."),
    "no_outbound_profile": (
        "Our application has no outbound voice profile, so calls cannot be forwarded.",
        "Repair finds or makes one.",
    ),
    "signature_key_missing": (
        "We do not know the account's public key, so its webhooks are proved by the secret in their address alone.",
        "Repair asks the carrier for it.",
    ),
    "signature_key_changed": (
        "The account's public key was renewed at the carrier, so its webhooks are refused.",
        "Repair takes the new key over.",
    ),
    "webhooks_refused": (
        "The account's webhooks are refused: they are not signed with the auth token, or the public key, that we have.",
        "Enter the auth token with which the carrier signs under “New auth token”; at Twilio that is the primary one.",
    ),
    "number_missing": (
        "The account does not have this number any more: sold, ported away or deleted.",
        "Ask the customer; remove the number here, or bring it back at the carrier.",
    ),
    "number_inactive": (
        "The number is not active at the carrier, or has no voice.",
        "The customer must put it right in the carrier's console.",
    ),
    "credentials_refused": (
        "The carrier refuses the credentials that we have: the auth token was changed, or the account is suspended.",
        "Ask the customer for the new auth token and enter it under “New auth token”.",
    ),
    "credentials_unreadable": (
        "We cannot read the credentials that we have: their key is missing on our server.",
        "Whoever runs the server puts the key back; or ask the customer for the auth token and enter it again.",
    ),
    "forward_loop": (
        "Calls are forwarded to a number of this workspace itself: they could go round in a circle, which is billed.",
        "Forward them to a number outside the workspace.",
    ),
    "carrier_unavailable": ("The carrier did not answer.", "Check again in a minute."),
}
UNKNOWN_REASON = (
    "The carrier's settings differ from ours.",
    "Check again; if it stays, look at the carrier's console.",
)
# Of an address what is hidden: that there is something stays to be seen, or two that differ in it would look alike.
HIDDEN = [
    (re.compile(r"(/api/webhooks/\w+/[\w-]{4})[\w-]*"), r"\1…"),
    (re.compile(r"^(\w[\w+.-]*:/{0,2})[^/?#]*@"), r"\1…@"),
    (re.compile(r"(?<=[?#]).+", re.DOTALL), "…"),
]


def in_words(reason: str) -> tuple[str, str]:
    """What is the matter, and what to do."""
    return REASONS.get(reason, UNKNOWN_REASON)


def public_setting(value: str) -> str:
    """A carrier's setting without what may be a secret in an address: our token, a user and password, a query."""
    for hidden, shown in HIDDEN:
        value = hidden.sub(shown, value)
    return value
