"""The first of a tenant's stored answers by some order that the store does not keep: it is looked through once.

What is looked at is bounded, and others get their turn between pages. Keys are as good as random, so of a store beyond
the bound it is a fair sample.
"""

import heapq
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from askonce.domain.answer import Entry
from askonce.domain.ports import Answers, Filters

LOOKED_AT = 100_000  # entries; some seconds of one core
AT_ONCE = 500

Order = Literal["newest", "oldest", "size", "cost", "hits", "saved"]

_WORTH: dict[Order, Callable[[Entry, int], int]] = {
    "newest": lambda entry, _: entry.stored_ms,
    "oldest": lambda entry, _: -entry.stored_ms,
    "size": lambda entry, _: len(bytes(entry.answer)) + len(entry.rendition),
    "cost": lambda entry, _: entry.cost_nano,
    "hits": lambda _, hits: hits,
    "saved": lambda entry, hits: hits * entry.cost_nano,
}


class Ranked(Struct, frozen=True):
    """Hold the first ones with their hits. `complete`: all that there are were looked at."""

    entries: tuple[tuple[Entry, int], ...]
    complete: bool


async def rank(
    answers: Answers, tenant: str, filters: Filters, order: Order, size: int, may_see: Callable[[Entry], bool]
) -> Ranked:
    """Return the first `size` entries that may be seen, equals by their keys. Raises `StoreUnavailable`."""
    worth = _WORTH[order]
    best: list[tuple[int, bytes, Entry, int]] = []  # a heap: its worst is at the top
    looked, after = 0, b""
    while True:
        page = await answers.page(tenant, filters, after, AT_ONCE)
        looked, after = looked + len(page.entries), page.after
        for entry, hits in zip(page.entries, page.hits, strict=True):
            place = worth(entry, hits), _backwards(entry.key)
            if (len(best) < size or place > best[0][:2]) and may_see(entry):
                (heapq.heappush if len(best) < size else heapq.heapreplace)(best, (*place, entry, hits))
        if not after or looked >= LOOKED_AT:
            return Ranked(tuple((entry, hits) for _, _, entry, hits in sorted(best, reverse=True)), not after)


def _backwards(key: bytes) -> bytes:
    return bytes(255 - byte for byte in key)
