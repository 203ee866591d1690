"""Seal and open what others must not read, under keys that are derived from the secret (`config.secret`).

AES-256-GCM with a fresh nonce for each sealing (random, 96 bits: fit for 2³² sealings), and the place where it stands
as associated data, so that a sealed text opens in its own place only. Beside each stands the fingerprint of the key
that sealed it: a secret that changed is told by name, and former secrets still open.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from askonce.domain.accounts import SecretChanged
from askonce.domain.credentials import fingerprint

NONCE_BYTES = 12


class Sealed(Struct, frozen=True):
    """Hold what is stored of a secret. `seal` is the fingerprint of the key that sealed it."""

    seal: str
    nonce: bytes
    text: bytes


class Sealer:
    """Seal and open. `secret_keys` are of 32 bytes, that in force first, then the former."""

    def __init__(self, secret_keys: Sequence[bytes]) -> None:
        self._ciphers = {fingerprint(key): AESGCM(key) for key in reversed(secret_keys)}
        self.seal_id = fingerprint(secret_keys[0])

    def seal(self, secret: str, place: str) -> Sealed:
        """Encrypt a secret for one place."""
        nonce = os.urandom(NONCE_BYTES)
        return Sealed(self.seal_id, nonce, self._ciphers[self.seal_id].encrypt(nonce, secret.encode(), place.encode()))

    def open(self, sealed: Sealed, place: str) -> str:
        """Decrypt. Raises `SecretChanged` for another secret's, and where anything of it was altered."""
        cipher = self._ciphers.get(sealed.seal)
        if cipher is None:
            raise SecretChanged(
                f"ASKONCE_SECRET: {place} was sealed with another secret ({sealed.seal}; in force is {self.seal_id}). "
                "Add the former secret behind the new one, separated by a comma, or enter the key anew."
            )
        try:
            return cipher.decrypt(sealed.nonce, sealed.text, place.encode()).decode()
        except InvalidTag:
            raise SecretChanged(
                f"{place} was altered in the database: it does not open although its secret is known. Enter it anew."
            ) from None
