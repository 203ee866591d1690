"""From the text of a key to whom it belongs: the second half of the first guard.

Store away: closed. A key that cannot be looked up is not refused as unknown, it is `StoreUnavailable`.

What was found is remembered until anything in the directory changes: hashing, looking up and decoding cost more than
asking whether it did. What is remembered of the key is its hash, and nothing is remembered of keys that are not known.
"""

import hmac
from collections.abc import Sequence

from askonce.domain.clock import Clock
from askonce.domain.credentials import is_sound, key_digest, token_digest
from askonce.domain.errors import Unauthorized
from askonce.domain.identity import Directory, Standing
from askonce.gate.scopes import require_address, require_standing

MISTYPED = "This key is mistyped or incomplete: its last letters do not fit the others. Copy it again, whole."
REMEMBERED = 20_000  # keys, as many as there may be in force: 20 MB; then the one that was found first goes
UNKNOWN = "This key is not known here. Check that it is for this server, or ask the operator for a valid one."


class Keyholders:
    """Know who holds which key. `peppers` are the keys of the hashes, that in force first, then the former."""

    def __init__(self, directory: Directory, peppers: Sequence[bytes], clock: Clock) -> None:
        self._directory = directory
        self._peppers = tuple(peppers)
        self._clock = clock
        self._stamp = -1
        self._remembered: dict[bytes, Standing] = {}

    async def standing(self, key: str, address: str) -> Standing:
        """Return the key and its holders, in force now and from here.

        Raises `Unauthorized` (mistyped, unknown, revoked, expired, disabled), `Forbidden` (the address),
        `StoreUnavailable`. How long it takes tells nothing about how much of a guess was right: what is looked up is
        a keyed hash, and what is found is compared whole.
        """
        shown = token_digest(key)
        stamp = await self._directory.stamp()  # before finding: a change in between makes what was found forgotten
        if stamp != self._stamp:
            self._remembered.clear()
            self._stamp = stamp
        standing = self._remembered.get(shown)
        if standing is None:
            standing = await self._find(key)
            if len(self._remembered) >= REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            if stamp == self._stamp:
                self._remembered[shown] = standing
        card = require_standing(standing, self._clock.wall_ms())
        require_address(card.addresses, address)
        return standing

    async def _find(self, key: str) -> Standing:
        if not is_sound(key):
            raise Unauthorized(MISTYPED)
        for pepper in self._peppers:
            digest = key_digest(pepper, key)
            standing = await self._directory.find(digest)
            if standing is not None and hmac.compare_digest(standing.card.digest, digest):
                return standing
        raise Unauthorized(UNKNOWN)
