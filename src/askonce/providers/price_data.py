"""Compile the price table from genai-prices (MIT), whose entries are kept by hand from the vendors' pages.

Importing this module costs 0.8 s and some 60 MB, so only the errand that writes the table does. Gateways read the
result. What our `Price` cannot express (a rate of its own for reasoning) is left without a price, not guessed.
"""

import calendar
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, time
from decimal import Decimal, InvalidOperation

from genai_prices import types as source
from genai_prices.data import providers as _providers
from msgspec import Struct
from msgspec.structs import replace

from askonce.domain.errors import ConfigError
from askonce.domain.money import Price, Rate, Tier, nano_from_decimal
from askonce.providers.catalog import Vendor
from askonce.providers.prices import Dated, Model, PriceTable, Rule, VendorPrices

_BY_ID = {provider.id: provider for provider in _providers}
# Rates of their own that our `Price` has no place for: a call that has such tokens would be priced wrong.
_INEXPRESSIBLE = ("output_reasoning_mtok", "output_citation_mtok")
# What other service tiers cost, as a percentage of all rates, by the price data's names of vendors. A vendor's tier
# that is not here (OpenAI's `priority` costs between 1.75 and 2.5 times as much, depending on the model; Anthropic's
# is paid for by contract) leaves a call without a price, as does one of a vendor that is not here.
# OpenAI, "Flex processing": tokens are priced at the rates of its Batch API, which are half of all the others.
# Anthropic, "Pricing", "Batch processing": half of input and output. Groq, "Flex Processing": the same as on demand.
_SERVICE_TIERS: dict[str, tuple[tuple[str, int], ...]] = {
    "openai": (("batch", 50), ("flex", 50)),
    "anthropic": (("batch", 50),),
    "groq": (("flex", 100),),
}
# Models whose prices look like a chat model's and that are none.
_NOT_CHAT = (
    "embed",
    "tts",
    "whisper",
    "transcribe",
    "realtime",
    "audio",
    "image",
    "moderation",
    "rerank",
    "ocr",
    "live",
    "instruct-",
    "computer-use",
    "deep-research",
    "-search",
    ".ft-",
    "ft:",
)
# Families that are long gone, or complete texts instead of answering messages.
_GONE = re.compile(r"(?:text-)?(?:ada|babbage|curie|davinci)(?:-\d+)?$|gpt-3\.5-turbo-instruct.*")


class Override(Struct, frozen=True):
    """Hold an owner's own price: dollars per million tokens, as decimal strings."""

    input: str
    output: str
    cache_read: str | None = None
    cache_write: str | None = None


def compile_table(vendors: Iterable[Vendor], overrides: Mapping[str, Mapping[str, Override]], now_s: int) -> PriceTable:
    """Compile the prices of these vendors, as of an epoch second. Raises `ConfigError` for a bad override."""
    rows = list(vendors)
    by_name = {row.name: row for row in rows}
    return PriceTable(
        vendors={row.name: _vendor(row, now_s) for row in rows if row.prices},
        free=tuple(row.name for row in rows if row.free),
        overrides={
            provider: {
                model: _on_terms(_override(f"{provider}:{model}", given), by_name.get(provider))
                for model, given in models.items()
            }
            for provider, models in overrides.items()
        },
    )


def _vendor(row: Vendor, now_s: int) -> VendorPrices:
    provider = _BY_ID[row.prices]
    lenders = [_BY_ID[name] for name in provider.fallback_model_providers or ()]
    own = (_model(model, now_s, row.model_prefix) for model in provider.models)
    lent = (_model(model, now_s) for lender in lenders for model in lender.models)
    return VendorPrices(
        tuple(_model_on_terms(one, row) for one in own), tuple(_model_on_terms(one, row) for one in lent)
    )


def _model_on_terms(model: Model, row: Vendor) -> Model:
    prices = tuple(replace(dated, price=dated.price and _on_terms(dated.price, row)) for dated in model.prices)
    return replace(model, prices=prices)


def _on_terms(price: Price, row: Vendor | None) -> Price:
    """Add what a vendor says of all its models alike, where the data does not say it.

    Anthropic, "Prompt caching", "Pricing": what is written for an hour costs twice the input's rate.
    """
    if row is None:
        return price
    if row.shape == "anthropic" and price.cache_write_1h is None:
        price = replace(price, cache_write_1h=_doubled(price.input))
    return replace(price, service_tiers=_SERVICE_TIERS.get(row.prices, ()))


def _doubled(rate: Rate) -> Rate:
    tiers = tuple(Tier(tier.above_tokens, 2 * tier.nano_per_mtok) for tier in rate.tiers)
    return Rate(2 * rate.nano_per_mtok, tiers)


def _model(model: source.ModelInfo, now_s: int, prefix: str = "") -> Model:
    prices = _dated(model, now_s)
    spoken = any(
        dated.price and dated.price.input.nano_per_mtok and dated.price.output.nano_per_mtok for dated in prices
    )
    name = model.id.lower()
    chat = (spoken or ":free" in name) and not any(word in name for word in _NOT_CHAT) and not _GONE.fullmatch(name)
    return Model(prefix + model.id, _rule(model.match), prices, model.context_window, chat, bool(model.deprecated))


def _dated(model: source.ModelInfo, now_s: int) -> tuple[Dated, ...]:
    """Write a model's prices with their times, without those that a later one has replaced for good."""
    if isinstance(model.prices, source.ModelPrice):
        return (Dated(_price(model.prices)),)
    listed = [_condition(conditional) for conditional in model.prices]
    settled = [at for at, dated in enumerate(listed) if dated.day is None and dated.from_s <= now_s]
    return tuple(listed[settled[-1] if settled else 0 :]) or (Dated(None),)


def _condition(conditional: source.ConditionalPrice) -> Dated:
    price, constraint = _price(conditional.prices), conditional.constraint
    if isinstance(constraint, source.StartDateConstraint):
        return Dated(price, calendar.timegm(constraint.start_date.timetuple()))
    if isinstance(constraint, source.TimeOfDateConstraint):
        return Dated(price, 0, (_second_of_day(constraint.start_time), _second_of_day(constraint.end_time)))
    return Dated(price)


def _second_of_day(value: time) -> int:
    """Return a time of day in UTC seconds; the source has UTC or naive times, which it takes for UTC."""
    if value.tzinfo not in (None, UTC):
        raise ValueError(f"the price data holds a time that is not UTC: {value}")
    return value.hour * 3600 + value.minute * 60 + value.second


def _price(prices: source.ModelPrice) -> Price | None:
    held: dict[str, object] = {key: value for key, value in vars(prices).items() if value is not None}
    if not ("input_mtok" in held or "output_mtok" in held) or any(key in held for key in _INEXPRESSIBLE):
        return None
    requests = held.get("requests_kcount")
    return Price(
        input=_rate(held.get("input_mtok")) or Rate(0),
        output=_rate(held.get("output_mtok")) or Rate(0),
        cache_read=_rate(held.get("cache_read_mtok")),
        cache_write=_rate(held.get("cache_write_mtok")),
        cache_write_1h=_rate(held.get("cache_write_1h_mtok")),
        per_call_nano=nano_from_decimal(requests / 1000) if isinstance(requests, Decimal) else 0,
    )


def _rate(value: object) -> Rate | None:
    if isinstance(value, source.TieredPrices):
        tiers = tuple(Tier(tier.start, nano_from_decimal(tier.price)) for tier in value.tiers)
        return Rate(nano_from_decimal(value.base), tiers)
    return Rate(nano_from_decimal(value)) if isinstance(value, Decimal) else None


def _rule(clause: object) -> Rule:
    match clause:
        case source.ClauseStartsWith(text):
            return Rule("starts", text.lower())
        case source.ClauseEndsWith(text):
            return Rule("ends", text.lower())
        case source.ClauseContains(text):
            return Rule("contains", text.lower())
        case source.ClauseEquals(text):
            return Rule("equals", text.lower())
        case source.ClauseRegex(text):
            return Rule("regex", text)
        case source.ClauseOr(clauses):
            return Rule("any", parts=tuple(_rule(part) for part in clauses))
        case source.ClauseAnd(clauses):
            return Rule("all", parts=tuple(_rule(part) for part in clauses))
    raise TypeError(f"the price data holds a clause that is not known: {clause!r}")


def _override(where: str, given: Override) -> Price:
    def rate(field: str, amount: str | None) -> Rate | None:
        if amount is None:
            return None
        try:
            value = Decimal(amount)
        except InvalidOperation:
            value = Decimal(-1)
        if not value.is_finite() or value < 0:
            raise ConfigError(
                f"prices of {where}: {field} = {amount!r} is not an amount; write dollars per million tokens as '2.50'."
            )
        return Rate(nano_from_decimal(value))

    return Price(
        input=rate("input", given.input) or Rate(0),
        output=rate("output", given.output) or Rate(0),
        cache_read=rate("cache_read", given.cache_read),
        cache_write=rate("cache_write", given.cache_write),
    )
