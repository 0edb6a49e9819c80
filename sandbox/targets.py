"""Who can be dialed besides the sandbox's own numbers: telephones and SIP addresses, and what happens at each."""

import re
from typing import Literal, NamedTuple

Outcome = Literal["answers", "breaks off", "is busy", "rings out", "fails"]
"""`breaks off`: answers, and is cut off when the caller has talked for half of the time."""
TAKEN = ("answers", "breaks off")

SIP = re.compile(r"sips?:", re.IGNORECASE)


class Target(NamedTuple):
    """What happens when it is called. `rings_s`: how long it rings before it answers, in seconds."""

    outcome: Outcome
    rings_s: int = 5

    def within(self, timeout_s: int) -> Outcome:
        """The outcome for a caller who waits for this long, in seconds."""
        return "rings out" if self.outcome in TAKEN and self.rings_s > timeout_s else self.outcome


def key(address: str) -> str:
    """What identifies a target: the digits of a number, or the user and the host of a SIP address."""
    return re.split("[;?]", SIP.sub("", address.strip()))[0].lstrip("+").lower()
