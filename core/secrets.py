"""Encryption at rest. `Secret` is how a token travels: it never prints itself and is opened only where it is used."""

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_BYTES = 32


class CannotOpen(Exception):
    """A stored secret was sealed with a key that is not in CREDENTIAL_KEYS."""


@lru_cache
def _box(keys: tuple[str, ...]) -> "MultiFernet":
    # Imported when first used: half of what `manage.py check` would otherwise wait for.
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(key) for key in keys])


def is_key(text: str) -> bool:
    """Whether this is url-safe base64 of 32 bytes."""
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == KEY_BYTES
    except ValueError:
        return False


class Secret:
    """A text kept encrypted under CREDENTIAL_KEYS (Fernet: AES-128-CBC with HMAC-SHA256; the newest key seals).

    Holds the sealed form only, so that a row whose key is missing can still be listed and saved without loss.
    """

    __slots__ = ("sealed",)

    def __init__(self, sealed: str) -> None:
        self.sealed = sealed

    @classmethod
    def seal(cls, text: str) -> "Secret":
        return cls(_box(tuple(settings.CREDENTIAL_KEYS)).encrypt(text.encode()).decode())

    def open(self) -> str:
        """The text. Raises CannotOpen when no key fits or the stored bytes were changed."""
        return self._opened(settings.CREDENTIAL_KEYS)

    def is_readable(self, *, keys: int | None = None) -> bool:
        """Whether it can be opened, with the newest `keys` of CREDENTIAL_KEYS or with any."""
        try:
            self._opened(settings.CREDENTIAL_KEYS[:keys])
        except CannotOpen:
            return False
        return True

    def _opened(self, keys: list[str]) -> str:
        from cryptography.fernet import InvalidToken

        try:
            return _box(tuple(keys)).decrypt(self.sealed.encode()).decode()
        except InvalidToken:
            raise CannotOpen("A stored secret cannot be opened: its key is missing from CREDENTIAL_KEYS.") from None

    def resealed(self) -> "Secret":
        """The same under the newest key. Raises CannotOpen."""
        return Secret.seal(self.open())

    def __repr__(self) -> str:
        return "<Secret>"

    __str__ = __repr__
