"""Replay requests of the past through the real cache and windows, at the times at which they came.

    request ─▶ window ─▶ stored? ─▶ in the air? ─▶ paid: lands after as long as it took, and is stored then

Answers have no text here: an entry stands for one, and weighs what that would. Entries that ran out leave at their
time, so that memory is what the simulated cache would hold, at some hundred bytes an entry.
"""

from collections import deque
from heapq import heappop, heappush

import msgspec
from msgspec import Struct

from askonce.domain.answer import Entry
from askonce.domain.ports import Window
from askonce.limits import window as rule
from askonce.simulation.requests import PastRequest
from askonce.state.memory import MemoryAnswers
from askonce.state.shelf import Shelf

PROMPT_CACHE_MS = 300_000  # how long vendors keep a prefix, from its last use on
PROMPT_CACHE_MIN = 1_024  # tokens: shorter prefixes are not kept by them
_NOTHING = msgspec.Raw(msgspec.msgpack.encode(None))


class Plan(Struct, frozen=True):
    """Choose how long answers are kept, how much room there is, and how many requests a caller may make."""

    ttl_s: int = 3600
    capacity_bytes: int = 2 << 30
    limit: int = 0  # requests per `span_s`; 0: no limit
    span_s: int = 60


class Outcome(Struct):
    """Add up what came of it. Money in nano-dollars, tokens of prompts and answers together."""

    requests: int = 0
    refused: int = 0
    hits: int = 0
    coalesced: int = 0
    paid: int = 0
    evicted: int = 0
    input_tokens: int = 0  # of what was paid
    prompt_cached_tokens: int = 0  # of these, what vendors' own caches could have known
    saved_tokens: int = 0
    cost_nano: int = 0
    saved_exact_nano: int = 0
    saved_coalesced_nano: int = 0
    peak_bytes: int = 0
    peak_entries: int = 0
    peak_in_flight: int = 0

    @property
    def hit_rate(self) -> float:
        """Return the share of the admitted requests that cost nothing, in percent."""
        admitted = self.requests - self.refused
        return 100 * (self.hits + self.coalesced) / admitted if admitted else 0.0


class _Time:
    """Tell the simulated time (port `Clock`)."""

    def __init__(self) -> None:
        self.ms = 0

    def steady_ns(self) -> int:
        return self.ms * 1_000_000

    def wall_ms(self) -> int:
        return self.ms


class Simulation:
    """Hold one cache with one plan. Requests come in the order of their times."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._clock = _Time()
        self._answers = MemoryAnswers(self._clock, plan.capacity_bytes, weigh=_weight)
        self._windows = Shelf()
        self._aloft: dict[bytes, int] = {}  # who is being answered, until when
        self._landing: list[tuple[int, int, PastRequest]] = []
        self._ending: deque[tuple[int, str, bytes]] = deque()
        self._prefixes: dict[bytes, int] = {}
        self._swept_ms = 0
        self.outcome = Outcome()

    async def take(self, request: PastRequest) -> None:
        """Do what the server would have done with a request."""
        await self._advance(request.at_ms)
        outcome = self.outcome
        outcome.requests += 1
        if self._plan.limit:
            window = Window(request.caller, self._plan.limit, self._plan.span_s * 1_000_000_000)
            if not rule.take(self._windows, window, self._clock.steady_ns()).admitted:
                outcome.refused += 1
                return
        tokens = request.prompt_tokens + request.completion_tokens
        reads = request.mode in {"default", "only"}
        entry = await self._answers.find(request.tenant, (request.fingerprint,), 0) if reads else None
        if entry is not None:
            self._answers.touch(entry)
            outcome.hits += 1
            outcome.saved_exact_nano += entry.cost_nano
            outcome.saved_tokens += tokens
        elif request.mode == "only":
            outcome.refused += 1
        elif request.mode != "off" and request.fingerprint in self._aloft:
            outcome.coalesced += 1
            outcome.saved_coalesced_nano += request.cost_nano or 0
            outcome.saved_tokens += tokens
        else:
            self._pay(request)

    async def end(self) -> Outcome:
        """Let everything land and return the sums."""
        while self._landing:
            await self._advance(self._landing[0][0])
        return self.outcome

    def _pay(self, request: PastRequest) -> None:
        outcome = self.outcome
        outcome.paid += 1
        outcome.cost_nano += request.cost_nano or 0
        outcome.input_tokens += request.prompt_tokens
        outcome.prompt_cached_tokens += self._known(request)
        lands_ms = request.at_ms + request.took_ms
        if _is_shared(request):
            self._aloft[request.fingerprint] = lands_ms
        heappush(self._landing, (lands_ms, outcome.paid, request))
        outcome.peak_in_flight = max(outcome.peak_in_flight, len(self._landing))

    def _known(self, request: PastRequest) -> int:
        """Return how many tokens of a prompt an ideal prompt cache of its vendor knows, and tell it the prompt."""
        since_ms, known = request.at_ms - PROMPT_CACHE_MS, 0
        for prefix in request.prefixes:
            if prefix.tokens < PROMPT_CACHE_MIN:
                continue
            used_ms = self._prefixes.get(prefix.digest)
            if used_ms is not None and used_ms > since_ms:
                known = prefix.tokens
            self._prefixes[prefix.digest] = request.at_ms
        return known

    async def _advance(self, now_ms: int) -> None:
        """Let land and leave what is due by now."""
        while self._landing and self._landing[0][0] <= now_ms:
            lands_ms, _, request = heappop(self._landing)
            self._clock.ms = max(self._clock.ms, lands_ms)
            await self._drop_old()
            if _is_shared(request):
                self._aloft.pop(request.fingerprint, None)
                await self._store(request)
        self._clock.ms = max(self._clock.ms, now_ms)
        await self._drop_old()

    async def _store(self, request: PastRequest) -> None:
        now_ms = self._clock.ms
        expires_ms = now_ms + 1000 * self._plan.ttl_s
        entry = Entry(
            key=request.fingerprint,
            tenant=request.tenant,
            provider="",
            model=request.model,
            stored_ms=now_ms,
            expires_ms=expires_ms,
            cost_nano=request.cost_nano or 0,
            prompt_tokens=request.prompt_tokens,
            completion_tokens=request.answer_bytes,  # what `_weight` reads
            answer=_NOTHING,
        )
        replaces = await self._answers.find(request.tenant, (request.fingerprint,), 0) is not None
        before = len(self._answers) + (not replaces)
        if await self._answers.keep(entry):
            self.outcome.evicted += before - len(self._answers)
            self._ending.append((expires_ms, request.tenant, request.fingerprint))
        self.outcome.peak_bytes = max(self.outcome.peak_bytes, self._answers.size)
        self.outcome.peak_entries = max(self.outcome.peak_entries, len(self._answers))

    async def _drop_old(self) -> None:
        now_ms = self._clock.ms
        while self._ending and self._ending[0][0] <= now_ms:
            _, tenant, key = self._ending.popleft()
            if await self._answers.find(tenant, (key,), 0) is None:  # it may have been stored anew meanwhile
                await self._answers.drop(tenant, key)
        if now_ms - self._swept_ms > PROMPT_CACHE_MS:
            self._swept_ms = now_ms
            old = [digest for digest, used in self._prefixes.items() if used <= now_ms - PROMPT_CACHE_MS]
            for digest in old:
                del self._prefixes[digest]
            for key in [key for key, value in self._windows.items() if rule.expired(value, self._clock.steady_ns())]:
                del self._windows[key]


def _is_shared(request: PastRequest) -> bool:
    """Say whether others may have its answer."""
    return request.mode != "off" and not request.failed


def _weight(entry: Entry, _: bytes) -> int:
    """Return what the entry's answer would weigh."""
    return entry.completion_tokens
