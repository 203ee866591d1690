"""What models cost, as integers: the table that `price_data` compiles once, read by every process.

The table keeps the order and the matching rules of its source, so that `gpt-4o-2024-08-06` or a fine-tuned name is
found as the source would find it. Prices that begin later, and those of certain hours, stand in the table with their
times; what is long over was left out when it was compiled.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import Struct

from askonce.domain.clock import Clock
from askonce.domain.money import Price, Rate

LAYOUT = 2  # of the table, and of how it is compiled: raised where either changes, so that it is compiled anew
DAY_S = 86_400
MAX_REMEMBERED = 4096  # distinct names asked for, or listed at once; each costs a walk over up to 900 rules

FREE = Price(Rate(0), Rate(0))

RuleKind = Literal["starts", "ends", "contains", "regex", "equals", "any", "all"]


class Rule(Struct, frozen=True, array_like=True):
    """Match a model's name in lower case. `text` is in lower case but for regular expressions."""

    kind: RuleKind
    text: str = ""
    parts: tuple["Rule", ...] = ()

    def fits(self, name: str) -> bool:
        """Say whether the rule matches."""
        return _FITS[self.kind](self, name)


@lru_cache(maxsize=256)  # the source has about sixty
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


_FITS: dict[RuleKind, Callable[[Rule, str], bool]] = {
    "starts": lambda rule, name: name.startswith(rule.text),
    "ends": lambda rule, name: name.endswith(rule.text),
    "contains": lambda rule, name: rule.text in name,
    "regex": lambda rule, name: _pattern(rule.text).search(name) is not None,
    "equals": lambda rule, name: name == rule.text,
    "any": lambda rule, name: any(part.fits(name) for part in rule.parts),
    "all": lambda rule, name: all(part.fits(name) for part in rule.parts),
}


class Dated(Struct, frozen=True, array_like=True):
    """Hold a price from epoch second `from_s` on, in the hours `day` (UTC seconds of the day; may pass midnight)."""

    price: Price | None
    from_s: int = 0
    day: tuple[int, int] | None = None

    def holds(self, at_s: int) -> bool:
        """Say whether the price holds at an epoch second."""
        if at_s < self.from_s:
            return False
        if self.day is None:
            return True
        begin, end = self.day
        now = at_s % DAY_S
        return begin <= now < end if begin <= end else now >= begin or now < end


class Model(Struct, frozen=True, array_like=True):
    """Hold one model: its name, its prices (the last that holds counts, else the first), and what else is known.

    `chat`: can it be asked for text, as far as its prices tell?
    """

    name: str
    rule: Rule
    prices: tuple[Dated, ...]
    context_window: int | None = None
    chat: bool = True
    deprecated: bool = False

    def price(self, at_s: int) -> Price | None:
        """Return the price at an epoch second."""
        return next((dated for dated in reversed(self.prices) if dated.holds(at_s)), self.prices[0]).price


class VendorPrices(Struct, frozen=True, array_like=True):
    """Hold one vendor's models in the source's order (the first that matches counts), then those it lends from."""

    models: tuple[Model, ...]
    lends: tuple[Model, ...] = ()

    def find(self, name: str) -> Model | None:
        """Find a model by any of its names."""
        return self._match(name.lower()) or self._match(_dashed(name.lower()))

    def _match(self, name: str) -> Model | None:
        return next((model for models in (self.models, self.lends) for model in models if model.rule.fits(name)), None)


_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")


def _dashed(name: str) -> str:
    """Write a date like `-20251211` as `-2025-12-11`: some routers shorten what vendors spell out."""
    return _COMPACT_DATE.sub(r"-\1-\2-\3", name)


class PriceTable(Struct, frozen=True):
    """Hold all prices by our providers' names. `overrides` are the owner's, by provider and model, and win."""

    vendors: dict[str, VendorPrices] = {}
    free: tuple[str, ...] = ()
    overrides: dict[str, dict[str, Price]] = {}


class ModelFacts(Struct, frozen=True):
    """Tell what a list of models shows."""

    name: str
    context_window: int | None
    price: Price | None


class PriceBook:
    """Look prices up for one process; the port `Prices`. Pure but for its clock and its memory of names."""

    def __init__(self, table: PriceTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._remembered: OrderedDict[tuple[str, str], Model | None] = OrderedDict()

    def price(self, provider: str, model: str, version: str) -> Price | None:
        """Return the price of the vendor's version of a model, else of the model as asked for; None if unknown.

        The owner's override for either name wins, and where nothing is charged the price is zero.
        """
        overrides = self._table.overrides.get(provider, {})
        if own := overrides.get(model) or overrides.get(version):
            return own
        if provider in self._table.free:
            return FREE
        found = (version and self._find(provider, version)) or self._find(provider, model)
        return found.price(self._clock.wall_ms() // 1000) if found else None

    def models(self, provider: str) -> tuple[ModelFacts, ...]:
        """List a provider's models that can be asked for text and are not deprecated, in the source's order."""
        overrides = self._table.overrides.get(provider, {})
        listed = self._listed(provider, lambda model: model.chat)
        names = {facts.name for facts in listed}
        return (*listed, *(ModelFacts(name, None, price) for name, price in overrides.items() if name not in names))

    def others(self, provider: str) -> tuple[ModelFacts, ...]:
        """List a provider's models that cannot be asked for text and are not deprecated, in the source's order."""
        return self._listed(provider, lambda model: not model.chat)

    def _listed(self, provider: str, wanted: Callable[[Model], bool]) -> tuple[ModelFacts, ...]:
        vendor = self._table.vendors.get(provider)
        at_s = self._clock.wall_ms() // 1000
        overrides = self._table.overrides.get(provider, {})
        models = vendor.models if vendor else ()
        listed = {model.name: model for model in models if wanted(model) and not model.deprecated}
        return tuple(
            ModelFacts(name, model.context_window, overrides.get(name) or model.price(at_s))
            for name, model in listed.items()
        )

    def context_window(self, provider: str, model: str) -> int | None:
        """Return a model's context window in tokens, if it is known."""
        found = self._find(provider, model)
        return found.context_window if found else None

    def knows(self, provider: str, model: str) -> bool:
        """Say whether the table has the model under any of its names."""
        return model in self._table.overrides.get(provider, {}) or self._find(provider, model) is not None

    def _find(self, provider: str, name: str) -> Model | None:
        vendor = self._table.vendors.get(provider)
        if vendor is None:
            return None
        key = (provider, name)
        if key not in self._remembered:
            self._remembered[key] = vendor.find(name)
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return self._remembered[key]


def encode_table(table: PriceTable) -> bytes:
    """Write a table for other processes (JSON)."""
    return msgspec.json.encode(table)


def decode_table(data: bytes) -> PriceTable:
    """Read what `encode_table` wrote. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(data, type=PriceTable)
