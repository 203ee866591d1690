"""From the text of a key to whom it belongs: the second half of the first guard.

Store away: closed. A key that cannot be looked up is not refused as unknown, it is `StoreUnavailable`.
"""

import hmac
from collections.abc import Sequence

from askonce.domain.clock import Clock
from askonce.domain.credentials import is_sound, key_digest
from askonce.domain.errors import Unauthorized
from askonce.domain.identity import Directory, Standing
from askonce.gate.scopes import require_address, require_standing

MISTYPED = "This key is mistyped or incomplete: its last letters do not fit the others. Copy it again, whole."
UNKNOWN = "This key is not known here. Check that it is for this server, or ask the operator for a valid one."


class Keyholders:
    """Know who holds which key. `peppers` are the keys of the hashes, that in force first, then the former."""

    def __init__(self, directory: Directory, peppers: Sequence[bytes], clock: Clock) -> None:
        self._directory = directory
        self._peppers = tuple(peppers)
        self._clock = clock

    async def standing(self, key: str, address: str) -> Standing:
        """Return the key and its holders, in force now and from here.

        Raises `Unauthorized` (mistyped, unknown, revoked, expired, disabled), `Forbidden` (the address),
        `StoreUnavailable`. How long it takes tells nothing about how much of a guess was right: what is looked up is
        a keyed hash, and what is found is compared whole.
        """
        if not is_sound(key):
            raise Unauthorized(MISTYPED)
        standing = await self._find(key)
        if standing is None:
            raise Unauthorized(UNKNOWN)
        card = require_standing(standing, self._clock.wall_ms())
        require_address(card.addresses, address)
        return standing

    async def _find(self, key: str) -> Standing | None:
        for pepper in self._peppers:
            digest = key_digest(pepper, key)
            standing = await self._directory.find(digest)
            if standing is not None and hmac.compare_digest(standing.card.digest, digest):
                return standing
        return None
