"""Encryption at rest. A `Secret` holds a token encrypted; its repr never shows it. Decrypt it only where it is used."""

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_BYTES = 32


class CannotOpen(Exception):
    """A stored secret was encrypted under a key that is not in CREDENTIAL_KEYS."""


@lru_cache
def _box(keys: tuple[str, ...]) -> "MultiFernet":
    # Imported on first use: otherwise it would take half of the run time of `manage.py check`.
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(key) for key in keys])


def is_key(text: str) -> bool:
    """Whether this is url-safe base64 of 32 bytes."""
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == KEY_BYTES
    except ValueError:
        return False


class Secret:
    """A text encrypted under CREDENTIAL_KEYS (Fernet: AES-128-CBC with HMAC-SHA256; the newest key encrypts).

    It holds only the encrypted form, so that a row whose key is missing can still be listed and saved without loss.
    """

    __slots__ = ("sealed",)

    def __init__(self, sealed: str) -> None:
        self.sealed = sealed

    @classmethod
    def seal(cls, text: str) -> "Secret":
        return cls(_box(tuple(settings.CREDENTIAL_KEYS)).encrypt(text.encode()).decode())

    def open(self) -> str:
        """Decrypt the text. Raises CannotOpen if no key fits or the stored bytes were altered."""
        return self._opened(settings.CREDENTIAL_KEYS)

    def is_readable(self, *, keys: int | None = None) -> bool:
        """Whether it can be decrypted with one of the newest `keys` keys of CREDENTIAL_KEYS, by default with any."""
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
            raise CannotOpen("A stored secret cannot be decrypted: its key is missing from CREDENTIAL_KEYS.") from None

    def resealed(self) -> "Secret":
        """The same text, encrypted under the newest key. Raises CannotOpen."""
        return Secret.seal(self.open())

    def __repr__(self) -> str:
        return "<Secret>"

    __str__ = __repr__
