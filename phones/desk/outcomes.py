"""The messages about what has become of a number: their level and their text."""

from django.contrib import messages

from phones.services.checking import Check
from phones.services.reasons import in_words
from phones.services.restoring import Restoration

# Of a removed number; the text follows the number.
OF_REMOVAL = {
    Restoration.DONE: (messages.SUCCESS, "was removed, and the carrier's previous settings were restored."),
    Restoration.STILL_NEEDED: (
        messages.SUCCESS,
        "was removed. Nothing was changed at the carrier, because another user here also has this number.",
    ),
    Restoration.NUMBER_GONE: (
        messages.WARNING,
        "was removed. The carrier account no longer has it, so nothing was restored.",
    ),
    Restoration.SETTINGS_LOST: (
        messages.WARNING,
        "was removed, but its previous settings cannot be read. Restore them in the carrier's console.",
    ),
    Restoration.UNCHANGED: (
        messages.SUCCESS,
        "was removed. Its calls were no longer routed here, so nothing was changed at the carrier.",
    ),
    Restoration.LEFT_ALONE: (
        messages.SUCCESS,
        "was removed. It no longer belonged to this workspace, so nothing was changed at the carrier.",
    ),
    Restoration.LATER: (
        messages.WARNING,
        "was removed here. The carrier did not respond; its previous settings will be restored automatically.",
    ),
}


def of_check(check: Check | None) -> tuple[int, str]:
    """The level and the text of the message about a check; None: it failed."""
    if check is None:
        return messages.ERROR, "could not be checked; see the log for the reason."
    if check.repaired:
        return messages.SUCCESS, "Repaired: the carrier has the expected settings again."
    if not check.reasons:
        return messages.SUCCESS, "Checked: the carrier has the expected settings."
    return messages.WARNING, " ".join(" ".join(in_words(one.reason)) for one in check.reasons)
