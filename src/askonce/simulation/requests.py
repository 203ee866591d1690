"""One request of the past, as far as the simulation needs to know it."""

from msgspec import Struct

from askonce.domain.call import CacheMode


class Prefix(Struct, frozen=True, array_like=True):
    """Name how a prompt begins, up to so many tokens: vendors' own prompt caches know it by that."""

    digest: bytes
    tokens: int


class PastRequest(Struct, frozen=True):
    """Hold a request: when it came (ms), who asked, its fingerprint, what it cost and how long it took.

    `caller` is who is limited, `tenant` who shares answers. `cost_nano` None: nobody knows what it cost. `prefixes`
    are the beginnings of its prompt, the shortest first. `mode` is what it wished of the cache. One that
    `failed` brought no answer that could be stored or joined.
    """

    at_ms: int
    tenant: str
    caller: str
    fingerprint: bytes
    model: str
    prompt_tokens: int
    completion_tokens: int
    took_ms: int
    answer_bytes: int
    cost_nano: int | None = None
    prefixes: tuple[Prefix, ...] = ()
    mode: CacheMode = "default"
    failed: bool = False
