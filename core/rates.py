"""The notation of rate limits: `20/hour`, or `off`."""

import re
from dataclasses import dataclass

WINDOWS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Rate:
    """At most `count` per window of `window_s` seconds."""

    count: int
    window_s: int


def parse_rate(text: str) -> Rate | None:
    """Parse `N/second|minute|hour|day`, or `off` as None. Raises ValueError, with a message, for anything else."""
    text = text.strip().lower()
    if text == "off":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,8})/(second|minute|hour|day)", text)
    if not match:
        raise ValueError("must be N/second, N/minute, N/hour or N/day with N above 0, or off.")
    return Rate(int(match[1]), WINDOWS_S[match[2]])
