"""Who can be asked in this process: the roster that routing reads, and the lists that people read.

Three sources of names: what the owner configured, the price table, and what endpoints of one's own (Ollama, vLLM, …)
list when they are asked, which costs nothing.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from askonce.domain.clock import Clock
from askonce.domain.fleet import ModelInfo, Offer, ProviderInfo
from askonce.domain.money import Price
from askonce.domain.ports import Provider
from askonce.providers.abilities import abilities, makes_vectors
from askonce.providers.catalog import LOCAL, SCRIPTED, Vendor
from askonce.providers.price_file import PriceFile
from askonce.routing.health import Health
from askonce.routing.offers import offered
from askonce.routing.roster import Member, Roster

PROBE_COUNTS_S = 10  # so long a probe's word counts

# Anthropic's docs, "Context windows" and its release notes of August 2025 and March 2026: the header opened a million
# tokens on Sonnet 4 and 4.5 (at Anthropic until 30 April 2026; resellers keep their own dates). Models since 4.6 have
# that window without it, and the price table says so. Who is no longer let in hears it from the vendor, unpaid.
LONG_CONTEXT = "context-1m-2025-08-07"
LONG_CONTEXT_TOKENS = 1_000_000


class Berth(Struct, frozen=True):
    """Hold one provider of the catalog or the configuration. `provider` is None where it is not configured.

    `capabilities`: what its models can do besides what is known. `room`: how many calls it may have in the air.
    `windows`: how many tokens its models can read, where the owner says so.
    """

    vendor: Vendor
    provider: Provider | None = None
    default_model: str = ""
    models: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    room: int | None = None
    windows: Mapping[str, int] = {}


class Names(Struct, frozen=True):
    """Hold the names of a provider's models: those that answer in words, as far as is known, and those in vectors."""

    words: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()


class LocalWord(Struct, frozen=True):
    """Say how the embedded model is: "" or why it does not answer yet, its name, its window, whether it is a toy."""

    reason: str
    model: str = ""
    context_tokens: int = 0
    smoke_test: bool = False


class Fleet:
    """Know the providers (port `domain.fleet.Fleet`), and tell routing what is known of them (its port `Lore`).

    `wishes` is a roster without members: what the owner wants.
    """

    def __init__(
        self,
        berths: Sequence[Berth],
        prices: PriceFile,
        wishes: Roster,
        local: Callable[[], LocalWord],
        health: Health,
        clock: Clock,
    ) -> None:
        self._berths = tuple(berths)
        self._by_name = {berth.vendor.name: berth for berth in self._berths}
        self._prices = prices
        self._wishes = wishes
        self._local = local
        self._health = health
        self._clock = clock
        self._discovered: dict[str, tuple[str, ...]] = {}
        self._probed: dict[str, tuple[int, str]] = {}
        self._made_of: tuple[object, ...] = ()
        self._roster = wishes

    def refit(self, berths: Sequence[Berth]) -> None:
        """Put others in the places of all that are known; what was learnt of them stays."""
        self._berths = tuple(berths)
        self._by_name = {berth.vendor.name: berth for berth in self._berths}
        self._made_of = ()

    def roster(self) -> Roster:
        """Return what routing may look at, as of now; the very same while nothing changed."""
        made_of = (self._prices.book, dict(self._discovered), self._local().model)
        if made_of != self._made_of:
            self._made_of, self._roster = made_of, self._make_roster()
        return self._roster

    def _make_roster(self) -> Roster:
        named = [(berth, self._names_of(berth)) for berth in self._berths]
        return replace(
            self._wishes,
            members=tuple(self._member(berth, names) for berth, names in named),
            embedders=tuple(self._embedder(berth, names) for berth, names in named),
        )

    async def loaded(self) -> None:
        """Wait, within a bound, until prices are known at all."""
        await self._prices.loaded()

    def price(self, provider: str, model: str, version: str) -> Price | None:
        """Return a model's price, None where it is not known."""
        return self._prices.price(provider, model, version)

    @property
    def names_awaited(self) -> bool:
        """Say whether names of models are still to come that belong to somebody who can be asked."""
        return self._prices.is_awaited and any(b.provider is not None and b.vendor.prices for b in self._berths)

    def context_window(self, provider: str, model: str, features: Collection[str] = ()) -> int | None:
        """Return how many tokens a model can read with these experiments of its vendor, None where it is not known."""
        if provider == LOCAL:
            return self._local().context_tokens or None
        berth = self._by_name.get(provider)
        if berth is not None and model in berth.windows:
            return berth.windows[model]
        known = self._prices.book.context_window(provider, model)
        if known is not None and LONG_CONTEXT in features and berth is not None and berth.vendor.shape == "anthropic":
            return max(known, LONG_CONTEXT_TOKENS)
        return known

    def abilities(self, provider: str, model: str) -> frozenset[str]:
        """Return what a model can do: by its vendor, by its name, and by the owner's word."""
        berth = self._by_name.get(provider)
        told = frozenset((*berth.vendor.capabilities, *berth.capabilities)) if berth else frozenset[str]()
        return abilities(model) | (told & {"local"} if makes_vectors(model) else told)

    def room(self, provider: str) -> int | None:
        """Return how many calls a provider may have in the air, None for any number."""
        berth = self._by_name.get(provider)
        return berth.room if berth else None

    async def discover(self) -> None:
        """Ask endpoints whose models no list names what they have. Unpaid; failures leave what was known."""
        asked = [b for b in self._berths if b.provider is not None and _is_ones_own(b.vendor)]
        found = await asyncio.gather(*(b.provider.models() for b in asked if b.provider is not None))
        for berth, names in zip(asked, found, strict=True):
            if names:
                self._discovered[berth.vendor.name] = names

    @property
    def is_waiting(self) -> bool:
        """Say whether an endpoint of one's own has not told yet what it has."""
        own = (b for b in self._berths if b.provider is not None and _is_ones_own(b.vendor))
        return any(not berth.models and berth.vendor.name not in self._discovered for berth in own)

    async def models(self) -> tuple[ModelInfo, ...]:
        """List what can be asked now."""
        found: list[ModelInfo] = []
        for berth in self._berths:
            if berth.provider is not None:
                found += self._models_of(berth)
        return tuple(found)

    async def offers(self) -> tuple[Offer, ...]:
        """List the names that callers may send as `model` now."""
        return offered(await self.models(), self.roster())

    async def providers(self) -> tuple[ProviderInfo, ...]:
        """List all providers; those that are configured are probed, which is never a paid call."""
        return tuple(await asyncio.gather(*(self._info(berth) for berth in self._berths)))

    def _member(self, berth: Berth, names: Names) -> Member:
        vendor = berth.vendor
        return Member(
            name=vendor.name,
            title=vendor.title,
            configured=berth.provider is not None,
            cure=vendor.cure,
            default_model=self._default_of(berth),
            models=names.words,
            unfit=names.vectors,
            # A vendor's newest model is younger than any list: a name asked for with its provider is passed on.
            open_ended=vendor.name != LOCAL,
            # A small model, or a script, answers only where it is asked for by name, or is all there is.
            stands_in=vendor.name not in (LOCAL, SCRIPTED),
        )

    def _embedder(self, berth: Berth, names: Names) -> Member:
        """Return a provider as it is for embeddings. What an endpoint of one's own lists may make them by any name."""
        vendor = berth.vendor
        own = _is_ones_own(vendor) or vendor.name == SCRIPTED
        listed = (*berth.models, *self._discovered.get(vendor.name, ())) if own else ()
        default = self._default_of(berth)  # known before the price table is there
        return Member(
            name=vendor.name,
            title=vendor.title,
            configured=berth.provider is not None,
            cure=vendor.cure,
            models=names.vectors,
            open_ended=vendor.name != LOCAL,
            stands_in=False,
            also=tuple(model for model in listed if model not in names.vectors),
            unfit=tuple(model for model in dict.fromkeys((default, *names.words)) if model and model not in listed),
        )

    def _default_of(self, berth: Berth) -> str:
        name = berth.vendor.name
        if name == LOCAL:
            return self._local().model or berth.default_model
        chosen = berth.default_model or berth.vendor.default_model
        known = (*berth.models, *self._discovered.get(name, ()))
        return chosen or next((model for model in known if not makes_vectors(model)), "")

    def _names_of(self, berth: Berth) -> Names:
        name = berth.vendor.name
        if name == LOCAL:
            default = self._default_of(berth)
            return Names((default,) if default else ())
        priced = (facts.name for facts in self._prices.book.models(name))
        others = (facts.name for facts in self._prices.book.others(name) if makes_vectors(facts.name))
        known = dict.fromkeys([*berth.models, *self._discovered.get(name, ()), *priced, *others])
        vectors = tuple(model for model in known if makes_vectors(model))
        return Names(tuple(model for model in known if not makes_vectors(model)), vectors)

    def _models_of(self, berth: Berth) -> list[ModelInfo]:
        name, default = berth.vendor.name, self._default_of(berth)
        # What an endpoint of one's own lists is what it has, whatever its vendor has elsewhere.
        listed = (*berth.models, *self._discovered.get(name, ())) if _is_ones_own(berth.vendor) else ()
        names = self._names_of(berth)
        named = dict.fromkeys([*([default] if default else []), *(listed or (*names.words, *names.vectors))])
        rows = [self._model(berth, model, model == default) for model in named]
        if name == LOCAL:
            word = self._local()
            note = word.reason or (
                "A smoke-test model: it shows that all works, not how well." if word.smoke_test else ""
            )
            rows = [replace(row, context_window=word.context_tokens or None, note=note) for row in rows]
        return rows

    def _model(self, berth: Berth, model: str, default: bool) -> ModelInfo:
        name = berth.vendor.name
        return ModelInfo(
            provider=name,
            model=model,
            default=default,
            context_window=self.context_window(name, model),
            price=self._prices.price(name, model, ""),
            capabilities=tuple(sorted(self.abilities(name, model))),
            aliases=self._aliases_of(name, model),
            kind="embedding" if makes_vectors(model) else "chat",
        )

    def _aliases_of(self, provider: str, model: str) -> tuple[str, ...]:
        """Return the aliases of a model, and the groups that it is in."""
        names = (model, f"{provider}:{model}")
        aliases = [alias for alias, target in self._wishes.aliases.items() if target in names]
        groups = [g for g, group in self._wishes.groups.items() if any(share.model in names for share in group.members)]
        return (*aliases, *groups)

    async def _info(self, berth: Berth) -> ProviderInfo:
        vendor = berth.vendor
        info = ProviderInfo(
            name=vendor.name,
            title=vendor.title,
            configured=berth.provider is not None,
            reason="" if berth.provider is not None else vendor.cure,
            default_model=self._default_of(berth),
            base_url=vendor.base_url,
            breaker=self._health.breaker_state(vendor.name),
        )
        if berth.provider is None:
            return info
        reason = self._local().reason if vendor.name == LOCAL else await self._probe(vendor.name, berth.provider)
        return replace(info, healthy=not reason, reason=reason)

    async def _probe(self, name: str, provider: Provider) -> str:
        now_ms = self._clock.wall_ms()
        at_ms, reason = self._probed.get(name, (0, ""))
        if now_ms - at_ms > 1000 * PROBE_COUNTS_S:
            reason = await provider.probe()
            self._probed[name] = (now_ms, reason)
        return reason


def _is_ones_own(vendor: Vendor) -> bool:
    """Say whether an endpoint is not its vendor's: what it has is known from its own list only."""
    return vendor.name not in (LOCAL, SCRIPTED) and not vendor.needs_key
