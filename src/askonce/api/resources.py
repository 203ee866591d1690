"""The doors that look at what is there: cache, models, providers, health."""

from collections.abc import Sequence

from msgspec.structs import asdict

from askonce import __version__
from askonce.api import bodies
from askonce.api.rankings import rank
from askonce.cache.entry import encode
from askonce.domain.answer import Entry
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import Invalid, NotFound
from askonce.domain.fleet import Fleet, ModelInfo, PartHealth, Parts
from askonce.domain.money import NANO_PER_DOLLAR, Rate, dollars
from askonce.domain.outcome import Totals
from askonce.domain.ports import Answers, Books, Filters, Promises
from askonce.gate.scopes import may_ask

GOOD_RATE, LOW_RATE = 60, 30  # per cent, from the contract
NO_SUCH_ENTRY = "Nothing is stored under this key. GET /llm/cache/entries lists what is."


PURGED_AT_ONCE = 200


class CacheDoors:
    """Show and drop what one tenant has stored."""

    def __init__(self, answers: Answers, promises: Promises, books: Books, clock: Clock) -> None:
        self._answers = answers
        self._promises = promises
        self._books = books
        self._clock = clock

    async def stats(self, caller: Caller) -> bodies.CacheStats:
        """Return the tenant's statistics. Raises `StoreUnavailable`."""
        return stats_body(await self._books.totals(caller.tenant))

    async def entries(self, caller: Caller, query: bodies.EntriesQuery) -> bodies.EntryList:
        """Return one page of the tenant's entries: those of models that the caller may ask. Raises `Invalid`."""
        filters = Filters(query.provider, query.model, query.older_than)

        def may_see(entry: Entry) -> bool:
            return may_ask(caller, entry.provider, entry.model)

        if query.order != "key":
            if query.after:
                raise Invalid("`after` goes with the order `key` only: other orders have no pages, but a `limit`.")
            ranked = await rank(self._answers, caller.tenant, filters, query.order, query.limit, may_see)
            briefs = tuple(self._brief(entry, hits) for entry, hits in ranked.entries)
            return bodies.EntryList(briefs, None, ranked.complete)
        page = await self._answers.page(caller.tenant, filters, bytes.fromhex(query.after), query.limit)
        listed = zip(page.entries, page.hits, strict=True)
        briefs = tuple(self._brief(entry, hits) for entry, hits in listed if may_see(entry))
        return bodies.EntryList(briefs, page.after.hex() or None)

    async def entry(self, caller: Caller, key: str) -> bodies.EntryWhole:
        """Return one of the tenant's entries whole. Raises `NotFound`."""
        entry = await self._find(caller, key)
        answer = entry.open()
        return bodies.EntryWhole(
            **asdict(self._brief(entry, await self._answers.hits(caller.tenant, entry.key))),
            text=answer.text,
            finish_reason=answer.finish,
            model_version=answer.model_version,
        )

    async def drop(self, caller: Caller, key: str) -> bodies.Deleted:
        """Forget one of the tenant's entries. Raises `NotFound`."""
        await self._find(caller, key)
        if not await self._answers.drop(caller.tenant, _key(key)):
            raise NotFound(NO_SUCH_ENTRY)
        return bodies.Deleted(1)

    async def purge(self, caller: Caller, query: bodies.PurgeQuery) -> bodies.Deleted:
        """Forget all of the tenant's entries that match, and such answers where they are promised to retries.

        For a key that may ask some models only, the entries of these; what is promised then stays for its day.
        """
        filters = Filters(query.provider, query.model, query.older_than)
        if caller.standing is not None and (caller.standing.card.models or caller.standing.card.providers):
            return bodies.Deleted(await self._purge_own(caller, filters))
        deleted = await self._answers.purge(caller.tenant, filters)
        await self._promises.purge(caller.tenant, filters)  # after them, since a stored answer may be promised
        return bodies.Deleted(deleted)

    async def _find(self, caller: Caller, key: str) -> Entry:
        """Return an entry. Raises `NotFound`, also for one of a model that the caller may not ask."""
        entry = await self._answers.find(caller.tenant, (_key(key),), 0)
        if entry is None or not may_ask(caller, entry.provider, entry.model):
            raise NotFound(NO_SUCH_ENTRY)
        return entry

    async def _purge_own(self, caller: Caller, filters: Filters) -> int:
        """Forget the entries of models that the caller may ask."""
        deleted, after = 0, b""
        while True:
            page = await self._answers.page(caller.tenant, filters, after, PURGED_AT_ONCE)
            for entry in page.entries:
                if may_ask(caller, entry.provider, entry.model):
                    deleted += await self._answers.drop(caller.tenant, entry.key)
            if not page.after:
                return deleted
            after = page.after

    def _brief(self, entry: Entry, hits: int) -> bodies.EntryBrief:
        return bodies.EntryBrief(
            key=entry.key.hex(),
            provider=entry.provider,
            model=entry.model,
            stored_at=entry.stored_ms,
            expires_at=entry.expires_ms,
            age_seconds=max(0, self._clock.wall_ms() - entry.stored_ms) // 1000,
            cost=dollars(entry.cost_nano),
            cost_nano=entry.cost_nano,
            prompt_tokens=entry.prompt_tokens,
            completion_tokens=entry.completion_tokens,
            bytes=len(encode(entry)),
            hits=hits,
            saved=dollars(hits * entry.cost_nano),
            saved_nano=hits * entry.cost_nano,
        )


def _key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NotFound(NO_SUCH_ENTRY) from None


def stats_body(totals: Totals) -> bodies.CacheStats:
    """Turn sums into the contract's statistics."""
    asked = totals.hits + totals.misses
    rate = hit_rate(totals.hits, totals.misses)
    saved = totals.saved_exact_nano + totals.saved_coalesced_nano + totals.saved_resumed_nano
    return bodies.CacheStats(
        hits=totals.hits,
        misses=totals.misses,
        hit_rate=rate,
        estimated_savings=dollars(saved, 2),
        savings_nano=saved,
        coalesced=totals.coalesced,
        entries=totals.entries,
        bytes=totals.bytes,
        saved_tokens=totals.saved_tokens,
        savings=bodies.Savings(
            exact=totals.saved_exact_nano,
            coalesced=totals.saved_coalesced_nano,
            resumed=totals.saved_resumed_nano,
            provider_prompt_cache=totals.saved_prompt_cache_nano,
        ),
        spent=dollars(totals.spent_nano),
        spent_nano=totals.spent_nano,
        failed=totals.failed,
        abandoned=totals.abandoned,
        uncached=totals.uncounted,
        unpriced=totals.unpriced,
        estimated=totals.estimated,
        estimated_nano=totals.estimated_nano,
        since=totals.since_ms,
        advice=" ".join([advice(asked, rate), *_provisos(totals)]),
    )


def _provisos(totals: Totals) -> list[str]:
    """Say what the sums of money leave out, and what of them is not the vendor's word."""
    said = []
    if totals.unpriced:
        calls = "1 call has" if totals.unpriced == 1 else f"{totals.unpriced} calls have"
        said.append(f"{calls} no known price: what they cost is not in `spent`, nor what they save in the savings.")
    if totals.estimated:
        calls = "1 call was" if totals.estimated == 1 else f"{totals.estimated} calls were"
        said.append(f"{calls} booked by an estimate: {dollars(totals.estimated_nano)} of `spent`.")
    return said


def hit_rate(hits: int, misses: int) -> float:
    """Return how many of a hundred questions were answered before; 0 where none was asked."""
    return round(100 * hits / (hits + misses), 2) if hits + misses else 0.0


def advice(asked: int, rate: float) -> str:
    """Say what the contract says of a hit rate (per cent)."""
    if not asked:
        return "No traffic yet."
    if rate > GOOD_RATE:
        return "Good: most questions were answered before."
    if rate < LOW_RATE:
        return "Low: keep answers longer (ASKONCE_CACHE_TTL), or look at whether your questions really repeat."
    return "Fair: a longer ASKONCE_CACHE_TTL may raise it."


class FleetDoors:
    """Show who can be asked, and whether this process can serve."""

    def __init__(self, fleet: Fleet, parts: Parts) -> None:
        self._fleet = fleet
        self._parts = parts

    async def models(self, caller: Caller) -> bodies.ModelList:
        """List models that the caller may ask."""
        models = await self._fleet.models()
        return bodies.ModelList(tuple(_model_row(one) for one in models if may_ask(caller, one.provider, one.model)))

    async def providers(self) -> bodies.ProviderList:
        """List providers."""
        rows = (
            bodies.ProviderRow(
                name=p.name,
                title=p.title,
                configured=p.configured,
                healthy=p.healthy,
                reason=p.reason,
                default_model=p.default_model,
                base_url=p.base_url,
                breaker=p.breaker,
            )
            for p in await self._fleet.providers()
        )
        return bodies.ProviderList(tuple(rows))

    def health(self) -> bodies.Health:
        """Say that this process is alive."""
        return bodies.Health(version=__version__)

    async def ready(self) -> bodies.Readiness:
        """Look at every part."""
        return readiness(await self._parts.look())


def readiness(parts: Sequence[PartHealth]) -> bodies.Readiness:
    """Sum up the parts: ready unless a needed one is down."""
    reasons = tuple(f"{p.name}: {p.detail}" for p in parts if p.status in ("down", "degraded"))
    return bodies.Readiness(
        ready=not any(p.needed and p.status == "down" for p in parts),
        parts={p.name: bodies.Part(p.status, p.detail) for p in parts},
        reasons=reasons,
    )


def _model_row(model: ModelInfo) -> bodies.ModelRow:
    price = model.price
    return bodies.ModelRow(
        id=f"{model.provider}:{model.model}",
        provider=model.provider,
        name=model.model,
        default=model.default,
        context_window=model.context_window,
        prices=None
        if price is None
        else bodies.ModelPrices(
            _dollars_per_mtok(price.input),
            _dollars_per_mtok(price.output),
            _dollars_per_mtok(price.cache_read),
            _dollars_per_mtok(price.cache_write),
            _dollars_per_mtok(price.cache_write_1h),
        ),
        capabilities=model.capabilities,
        aliases=model.aliases,
        note=model.note,
    )


def _dollars_per_mtok(rate: Rate | None) -> str | None:
    if rate is None:
        return None
    whole, part = divmod(rate.nano_per_mtok, NANO_PER_DOLLAR)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")
