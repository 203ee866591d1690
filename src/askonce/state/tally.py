"""A tenant's sums as they are stored: sixteen signed 64-bit integers, in the order of `Tally`.

Signed 64 bits of nano-dollars are nine thousand million dollars; a sum that would be larger stays there,
so that no lying vendor can stop the books. Sums that were stored before there were so many end in zeros.
"""

import struct
from typing import NamedTuple

from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared, Totals

TALLY = struct.Struct("<16q")
_MOST = 2**63 - 1
NOTHING = bytes(TALLY.size)


class Tally(NamedTuple):
    """Hold what `Totals` says, apart from what is stored now and since when."""

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    failed: int = 0
    abandoned: int = 0
    uncounted: int = 0
    spent_nano: int = 0
    saved_exact_nano: int = 0
    saved_coalesced_nano: int = 0
    saved_tokens: int = 0
    saved_prompt_cache_nano: int = 0
    unpriced: int = 0
    estimated: int = 0
    estimated_nano: int = 0
    resumed: int = 0
    saved_resumed_nano: int = 0

    def totals(self, entries: int, stored_bytes: int, since_ms: int) -> Totals:
        """Complete the sums."""
        return Totals(**self._asdict(), entries=entries, bytes=stored_bytes, since_ms=since_ms)


def read(packed: bytes) -> Tally:
    """Read sums as they are stored, those of older versions too."""
    return Tally._make(TALLY.unpack(packed.ljust(TALLY.size, b"\0")))


def add_hit(packed: bytes, saved_nano: int, saved_tokens: int) -> bytes:
    """Add one answer from the store."""
    hits, m, c, f, a, u, spent, exact, coalesced, tokens, *rest = TALLY.unpack(packed.ljust(TALLY.size, b"\0"))
    exact, tokens = min(exact + saved_nano, _MOST), min(tokens + saved_tokens, _MOST)
    return TALLY.pack(hits + 1, m, c, f, a, u, spent, exact, coalesced, tokens, *rest)


def add(packed: bytes, ending: CallRow | Spared) -> bytes:
    """Add one ending."""
    sums = [mine + more for mine, more in zip(read(packed), worth(ending), strict=True)]
    return TALLY.pack(*(sums if max(sums) <= _MOST else [min(total, _MOST) for total in sums]))


def tenant_of(ending: CallRow | Spared) -> str:
    """Return whose sums an ending adds to."""
    return ending.tenant if isinstance(ending, Spared) else ending.origin.tenant


def worth(ending: CallRow | Spared) -> Tally:
    """Say what one ending adds to the sums."""
    if isinstance(ending, Spared):
        if ending.kind == "exact":
            return Tally(hits=1, saved_exact_nano=ending.saved_nano, saved_tokens=ending.saved_tokens)
        if ending.kind == "resumed":
            return Tally(resumed=1, saved_resumed_nano=ending.saved_nano, saved_tokens=ending.saved_tokens)
        return Tally(coalesced=1, saved_coalesced_nano=ending.saved_nano, saved_tokens=ending.saved_tokens)
    money = Tally(
        spent_nano=ending.cost_nano,
        saved_prompt_cache_nano=ending.saved_prompt_cache_nano,
        unpriced=int(not ending.priced),
        estimated=int(ending.estimated),
        estimated_nano=ending.cost_nano if ending.estimated else 0,
    )
    if ending.ending == "failed":
        return money._replace(failed=1)
    if ending.ending == "abandoned":
        return money._replace(abandoned=1)
    if ending.counted:
        return money._replace(misses=1)
    return money._replace(uncounted=1)
