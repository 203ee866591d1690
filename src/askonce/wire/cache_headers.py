"""The cache in HTTP headers: `Cache-Control` on the way in (RFC 9111), `Cache-Status` (RFC 9211) on the way out."""

from askonce.domain.answer import CacheState
from askonce.domain.call import CacheMode, CacheWish

# Ages beyond this mean "any age"; it also keeps absurd digits out of arithmetic (RFC 9111, 1.2.2 suggests 2³¹).
MAX_AGE_CEILING_S = 1 << 31

# One header can say several things; the most restrictive wins.
_MODES: tuple[tuple[str, CacheMode], ...] = (("no-store", "off"), ("only-if-cached", "only"), ("no-cache", "refresh"))


def read_cache_control(header: str | None, unsaid: CacheMode = "default") -> CacheWish:
    """Return what a request's Cache-Control asks for; directives that are not known or make no sense are ignored.

    `unsaid` is the mode of a request that names none. `max-age` says that a stored answer will do (RFC 9111, 5.2.1.1),
    which is the mode `default` whatever `unsaid` is.
    """
    if not header:
        return CacheWish(unsaid)
    directives: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        directives[name.strip().lower()] = value.strip().strip('"')
    age = directives.get("max-age", "")
    max_age_s = min(int(age), MAX_AGE_CEILING_S) if age.isascii() and age.isdigit() and len(age) <= 20 else None
    otherwise: CacheMode = unsaid if max_age_s is None else "default"
    mode = next((mode for name, mode in _MODES if name in directives), otherwise)
    return CacheWish(mode=mode, max_age_s=max_age_s)


# A hit as RFC 9211 means it (nothing was forwarded), but without a time to live: the question may not be stored at all.
REPLAY_STATUS = b"askonce; hit; detail=replayed"


def cache_status(state: CacheState, ttl_s: int, stored: bool) -> str:
    """Write the Cache-Status of an answer; `ttl_s` is the freshness left of a hit."""
    if state == "hit":
        return f"askonce; hit; ttl={ttl_s}"
    if state == "coalesced":
        return "askonce; fwd=miss; collapsed"
    reason = {"miss": "miss", "refresh": "request", "off": "bypass"}[state]
    return f"askonce; fwd={reason}; stored" if stored else f"askonce; fwd={reason}"
