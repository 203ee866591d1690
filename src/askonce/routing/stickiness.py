"""Who answers a conversation, so that its beginning is read from the vendor's prompt cache.

The choice is by rendezvous: every member draws a number from the conversation's beginning and its own name, and the
lowest leads. So the same beginning always has the same order, and a member that comes or goes moves only what was its
own. Weights: the number is -ln(u) ÷ weight with u uniform, which makes a member lead in proportion to its weight
(the first of competing exponential clocks; Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir").
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

from askonce.domain.call import Call
from askonce.domain.content import text_of

T = TypeVar("T")

_DRAW_BITS = 53  # what a float holds exactly


def beginning(call: Call) -> bytes:
    """Return a digest of what vendors' prompt caches share: tenant, leading instructions, the first user message."""
    digest = hashlib.sha256(call.tenant.encode("utf-8", "surrogatepass"))
    for message in call.messages:
        words = text_of(message.content).encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b:%d:" % (len(message.role), message.role.encode(), len(words)))
        digest.update(words)
        if message.role == "user":
            break
    return digest.digest()


def by_rendezvous(start: bytes, members: Sequence[tuple[str, float, T]]) -> list[T]:
    """Order members, given as (name, weight, what it is), for a conversation's beginning. Weights are above 0."""
    drawn = sorted((_draw(start, name) / weight, name, at) for at, (name, weight, _) in enumerate(members))
    return [members[at][2] for _, _, at in drawn]


def _draw(start: bytes, name: str) -> float:
    number = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=start[:64], digest_size=8).digest()
    uniform = ((int.from_bytes(number, "big") >> (64 - _DRAW_BITS)) + 0.5) / 2**_DRAW_BITS
    return -math.log(uniform)
