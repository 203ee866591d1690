"""How those who can be asked have been doing lately, as this process sees it: breakers, rests, speed, load.

Nothing here is shared between processes: each learns for itself within a few calls, and nobody's order of candidates
has to agree with anybody else's, because a flight is named by the set of them.
"""

from collections import OrderedDict
from typing import NamedTuple, TypeVar

from msgspec import Struct

from askonce.domain.answer import Answer
from askonce.domain.call import Candidate
from askonce.domain.clock import Clock
from askonce.domain.errors import (
    AskonceError,
    ContentRefused,
    ContextExceeded,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderRejected,
    ProviderTimeout,
    UnknownModel,
)
from askonce.routing.breaker import Breaker, State

MAX_TRACKED = 1024  # models of which something is remembered; callers may make names up
# The weight of the newest measurement: after ten calls nine tenths of what is known is from them.
NEWEST_WEIGHT = 0.2
# What is taken for granted of those that nobody has measured: an ordinary hosted model.
ASSUMED_FIRST_TOKEN_MS = 1000.0
ASSUMED_TOKENS_PER_S = 50.0
# Vendors name waits of hours where a quota is used up; a refusal costs nothing, so nobody is left out for so long.
MAX_REST_S = 60.0
# A key that was refused is asked last for so long: whoever corrects it restarts us, or the vendor has a hiccup.
DENIED_S = 60.0

# Endings that show that the endpoint is there and thinks.
_ALIVE = (ContentRefused, ContextExceeded, ProviderRejected, UnknownModel)
_DOWN = (ProviderFailed, ProviderTimeout)

K = TypeVar("K")
V = TypeVar("V")


class Target(NamedTuple):
    """Name what is asked: a candidate with one of its provider's keys, numbered from 0."""

    candidate: Candidate
    key: int


class Pace(Struct, frozen=True):
    """Hold moving averages of one candidate. `failing` is the share of failures, 0 to 1."""

    first_token_ms: float = ASSUMED_FIRST_TOKEN_MS
    tokens_per_s: float = ASSUMED_TOKENS_PER_S
    failing: float = 0.0


UNMEASURED = Pace()


class Health:
    """Remember how calls went. One per process; nothing in it waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breakers: OrderedDict[Candidate, Breaker] = OrderedDict()
        self._paces: OrderedDict[Candidate, Pace] = OrderedDict()
        self._rests: OrderedDict[Target, float] = OrderedDict()
        self._denied: dict[tuple[str, int], float] = {}
        self._load: dict[str, int] = {}

    def wait_s(self, target: Target) -> float:
        """Return in how many seconds the target may be asked: 0 for now."""
        now = self._now_s()
        breaker = self._breakers.get(target.candidate)
        resting = self._rests.get(target, 0.0) - now
        return max(0.0, resting, breaker.wait_s(now) if breaker else 0.0)

    def is_denied(self, provider: str, key: int) -> bool:
        """Say whether the vendor refused this key a short while ago."""
        return self._denied.get((provider, key), 0.0) > self._now_s()

    def load(self, provider: str) -> int:
        """Return how many calls to a provider are in the air."""
        return self._load.get(provider, 0)

    def pace(self, candidate: Candidate) -> Pace:
        """Return what was measured of a candidate."""
        return self._paces.get(candidate, UNMEASURED)

    def breaker_state(self, provider: str) -> State:
        """Return the worst state among a provider's models."""
        states = {breaker.state for who, breaker in self._breakers.items() if who.provider == provider}
        return "open" if "open" in states else "half-open" if "half-open" in states else "closed"

    def is_open(self, candidate: Candidate) -> bool:
        """Say whether the breaker keeps a candidate from being asked right now."""
        breaker = self._breakers.get(candidate)
        return breaker is not None and breaker.wait_s(self._now_s()) > 0

    def begin(self, target: Target) -> bool:
        """Note that a call is being made; say whether it is a breaker's trial. `end` it."""
        provider = target.candidate.provider
        self._load[provider] = self._load.get(provider, 0) + 1
        breaker = self._breakers.get(target.candidate)
        return breaker is not None and breaker.begin(self._now_s())

    def end(self, target: Target, trial: bool) -> None:
        """Note that a call is over, however it ended; what it tells was told before."""
        self._load[target.candidate.provider] -= 1
        breaker = self._breakers.get(target.candidate)
        if trial and breaker is not None:
            breaker.abandon_trial()

    def succeed(self, target: Target, answer: Answer) -> None:
        """Learn from an answer."""
        self._alive(target)
        self._denied.pop((target.candidate.provider, target.key), None)
        pace = self.pace(target.candidate)
        first_ms = answer.first_token_ms or answer.took_ms
        writing_s = max(answer.took_ms - answer.first_token_ms, 1) / 1000
        tokens = answer.usage.completion_tokens
        learnt = Pace(
            _blend(pace.first_token_ms, first_ms) if first_ms else pace.first_token_ms,
            _blend(pace.tokens_per_s, tokens / writing_s) if tokens and answer.took_ms else pace.tokens_per_s,
            _blend(pace.failing, 0.0),
        )
        _remember(self._paces, target.candidate, learnt)

    def fail(self, target: Target, error: AskonceError) -> None:
        """Learn from a failure."""
        now, wait_s = self._now_s(), float(error.retry_after_s or 0)
        if isinstance(error, _ALIVE) or (isinstance(error, ProviderFailed) and not error.is_down):
            self._alive(target)
        elif isinstance(error, _DOWN):
            breaker = self._breakers.get(target.candidate) or Breaker()
            _remember(self._breakers, target.candidate, breaker)
            breaker.fail(now, wait_s)
            pace = self.pace(target.candidate)
            _remember(self._paces, target.candidate, Pace(*_speeds(pace), _blend(pace.failing, 1.0)))
        if isinstance(error, ProviderDenied):
            self._denied[target.candidate.provider, target.key] = now + DENIED_S
        elif isinstance(error, ProviderBusy | ProviderFailed) and wait_s:
            _remember(self._rests, target, now + min(wait_s, MAX_REST_S))

    def _alive(self, target: Target) -> None:
        breaker = self._breakers.get(target.candidate)
        if breaker is not None:
            breaker.succeed()

    def _now_s(self) -> float:
        return self._clock.steady_ns() / 1e9


def _speeds(pace: Pace) -> tuple[float, float]:
    return pace.first_token_ms, pace.tokens_per_s


def _blend(known: float, newest: float) -> float:
    return known + NEWEST_WEIGHT * (newest - known)


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MAX_TRACKED:
        memory.popitem(last=False)
