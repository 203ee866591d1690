"""What is kept, how long, and which entries a request accepts."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from askonce.cache.fingerprint import ANY_SHAPE, Fingerprints, fingerprints
from askonce.cache.promise import PROMISED_OFF_S, PROMISED_S
from askonce.domain.answer import KEPT_FINISHES, Answer
from askonce.domain.call import CacheMode, CacheWish, Call, Candidate
from askonce.domain.caller import Caller
from askonce.domain.content import Foreign, Text, Thinking, text_of

# An answer larger than this is passed on but not kept: it would push out thousands of ordinary ones.
KEPT_TEXT_LIMIT = 8 << 20


class Unsaid(Struct, frozen=True):
    """Say what is done with a request that says nothing about the cache: mode `off` at some doors, for some callers.

    `doors` are paths; `callers` are tenants, or single keys as `key-` and their public id.
    """

    doors: frozenset[str] = frozenset()
    callers: frozenset[str] = frozenset()

    def mode(self, path: str, caller: Caller) -> CacheMode:
        """Return the mode of a request that names none."""
        if path in self.doors or (
            self.callers and (caller.tenant in self.callers or f"key-{caller.key_id}" in self.callers)
        ):
            return "off"
        return "default"


class Policy:
    """Decide about keeping, by the configured switch and time to live (seconds).

    `shapes` says in which shape each provider is asked (see `fingerprint`).
    """

    def __init__(self, enabled: bool, ttl_s: int, shapes: Mapping[str, str] = ANY_SHAPE) -> None:
        self._enabled = enabled
        self._ttl_s = ttl_s
        self._shapes = shapes

    def keys(self, call: Call, candidates: Sequence[Candidate]) -> Fingerprints:
        """Return the keys under which an answer of one of these may stand."""
        return fingerprints(call, candidates, self._shapes)

    def mode(self, wish: CacheWish) -> CacheMode:
        """Return the mode in force: with the cache switched off everything but `only` is `off`."""
        if self._enabled or wish.mode == "only":
            return wish.mode
        return "off"

    def expires_ms(self, wish: CacheWish, stored_ms: int) -> int:
        """Return the epoch millisecond at which an entry stored now runs out."""
        ttl_s = self._ttl_s if wish.ttl_s is None else wish.ttl_s
        return stored_ms + 1000 * ttl_s

    def promised_s(self, mode: CacheMode) -> int:
        """Return how long retries of a request in this mode are told its answer, by its name."""
        return PROMISED_S if self._enabled and mode != "off" else PROMISED_OFF_S

    def keeps(self, answer: Answer) -> bool:
        """Say whether an answer may be stored: it ended well, says something, and is not oversized."""
        return answer.finish in KEPT_FINISHES and _says_something(answer) and _size(answer) <= KEPT_TEXT_LIMIT


def _says_something(answer: Answer) -> bool:
    """Say whether there is more than blanks and thoughts."""
    return bool(answer.text.strip()) or any(not isinstance(part, Text | Thinking) for part in answer.parts)


def _size(answer: Answer) -> int:
    """Return about how many characters are stored."""
    foreign = sum(len(bytes(part.json)) for part in answer.parts if isinstance(part, Foreign))
    return len(text_of(answer.parts) or answer.text) + foreign


def fresh_after_ms(wish: CacheWish, mode: CacheMode, now_ms: int) -> int:
    """Return the epoch millisecond before which a stored entry is too old for this request (0: any age)."""
    if mode == "refresh":
        return now_ms
    if wish.max_age_s is None:
        return 0
    # max-age=0 asks for something newer than now, so that not even an entry of this millisecond will do.
    return now_ms - 1000 * wish.max_age_s + (wish.max_age_s == 0)
