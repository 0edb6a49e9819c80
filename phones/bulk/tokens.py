"""What of a file may be an auth token. No result and no message repeats it: cells get into the wrong column."""

import re
from collections.abc import Iterable

# Tokens of carriers are at least this long; shorter ones could be a part of any word.
MIN_TOKEN = 8
# What looks like a token has at least so many characters; the title of a sheet has room for no more.
SHORTEST = 31
# A word of letters and digits, or a UUID, of which the title of a sheet may lack the end.
LIKE_A_TOKEN = re.compile(
    r"(?<!\w)(?=\w*[0-9])(?=\w*[A-Za-z])[A-Za-z0-9_]{31,}"
    r"|(?<!\w)[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{7,12}(?!\w)",
    re.ASCII,
)
# Base64 has slashes or dashes too, as a sentence may. It has digits, and small and capital letters.
WORD, OF_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{32,}"), [re.compile(kind) for kind in ("[0-9]", "[a-z]", "[A-Z]")]
ACCOUNT_SID = re.compile(r"(?<!\w)AC[0-9a-f]{32}(?!\w)", re.ASCII)
UNTOLD = "(looks like an auth token)"


def has_token(text: str, tokens: Iterable[str] = (), *, is_free_text: bool = False) -> bool:
    """Whether the text holds one of the tokens, or looks like one; `is_free_text` if it may be a sentence."""
    if any(token in text and (len(token) >= MIN_TOKEN or is_word(token, text)) for token in tokens):
        return True
    if len(text) < SHORTEST:
        return False
    text = ACCOUNT_SID.sub(" ", text)
    return bool(LIKE_A_TOKEN.search(text)) or (not is_free_text and any(map(is_base64, WORD.findall(text))))


def is_word(token: str, text: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(token)}(?!\w)", text))


def is_base64(word: str) -> bool:
    return all(kind.search(word) for kind in OF_BASE64)


def safe_name(name: str, tokens: Iterable[str] = ()) -> str:
    """The name of a column or sheet, as it may be told."""
    return UNTOLD if has_token(name, tokens) else name
