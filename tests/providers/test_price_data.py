import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from genai_prices import types as source
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from askonce.domain.errors import ConfigError
from askonce.domain.money import Price, Rate
from askonce.domain.usage import Usage
from askonce.providers.catalog import VENDORS
from askonce.providers.price_data import Override, compile_table
from askonce.providers.prices import Model, decode_table, encode_table

# Moments on both sides of what the price data knows: peak hours, and prices that begin at new year.
COMPILED_AT = int(datetime(2026, 11, 15, 12, 0, tzinfo=UTC).timestamp())
MOMENTS = [
    datetime(2026, 11, 15, 12, 0, tzinfo=UTC),
    datetime(2026, 11, 22, 2, 30, tzinfo=UTC),  # inside DeepSeek's first peak
    datetime(2026, 11, 22, 4, 0, tzinfo=UTC),  # the moment it ends
    datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 0, tzinfo=UTC),
    datetime(2027, 6, 1, 7, 0, tzinfo=UTC),
]
USAGES = [
    Usage(0, 0),
    Usage(1, 1),
    Usage(57, 112),
    Usage(9_999, 7, cached_tokens=9_998),
    Usage(128_001, 3, cached_tokens=1, cache_write_tokens=77),
    Usage(200_000, 5),  # the last token before many tiers
    Usage(200_001, 5),
    Usage(272_001, 65_536, cached_tokens=100_000, cache_write_tokens=1_000),
]
TABLE = compile_table(VENDORS, {}, COMPILED_AT)
BY_ID = {provider.id: provider for provider in providers}
PREFIXES = {vendor.name: vendor.model_prefix for vendor in VENDORS}
SOURCES = {vendor.name: BY_ID[vendor.prices] for vendor in VENDORS if vendor.prices}


def their_nano(model: source.ModelInfo, provider: source.Provider, usage: Usage, moment: datetime) -> int:
    theirs = source.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    total = model.calc_price(theirs, provider, genai_request_timestamp=moment).total_price
    return int((total * 10**9).to_integral_value(rounding=ROUND_HALF_EVEN))


def pairs() -> Iterator[tuple[Model, source.ModelInfo, source.Provider]]:
    for name, provider in SOURCES.items():
        yield from (
            (ours, theirs, provider) for ours, theirs in zip(TABLE.vendors[name].models, provider.models, strict=True)
        )


def is_finer_than_a_nano(model: source.ModelInfo) -> bool:
    """Some of OpenRouter's cache writes are a third of a cent, which no integer holds; they may be a nano off."""
    conditions = [model.prices] if isinstance(model.prices, source.ModelPrice) else [c.prices for c in model.prices]
    amounts = [value for prices in conditions for value in vars(prices).values() if isinstance(value, Decimal)]
    return any(amount * 10**9 % 1 for amount in amounts)


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_costs_equal_the_sources_to_the_nano(moment: datetime) -> None:
    compared = 0
    for ours, theirs, provider in pairs():
        price = ours.price(int(moment.timestamp()))
        if price is None or (moment != MOMENTS[0] and len(ours.prices) == 1):
            continue
        slack = 1 if is_finer_than_a_nano(theirs) else 0
        for usage in USAGES:
            difference = price.cost_nano(usage) - their_nano(theirs, provider, usage, moment)
            assert abs(difference) <= slack, (ours.name, usage)
            compared += 1
    assert compared > (8_000 if moment == MOMENTS[0] else 100)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_costs_equal_the_sources_for_any_usage(data: st.DataObject) -> None:
    ours, theirs, provider = data.draw(st.sampled_from(PRICED))
    prompt = data.draw(st.integers(0, 2_000_000))
    cached = data.draw(st.integers(0, prompt))
    usage = Usage(prompt, data.draw(st.integers(0, 200_000)), cached, data.draw(st.integers(0, prompt - cached)))
    moment = data.draw(st.sampled_from(MOMENTS))
    price = ours.price(int(moment.timestamp()))
    assert price is not None
    assert price.cost_nano(usage) == their_nano(theirs, provider, usage, moment)


PRICED = [pair for pair in pairs() if pair[0].price(COMPILED_AT) is not None and not is_finer_than_a_nano(pair[1])]


def names() -> Iterator[tuple[str, str]]:
    """Yield every id, and ids as they come back from vendors: dated, prefixed, in capitals, with a tail."""
    dice = random.Random(7)
    for vendor, provider in SOURCES.items():
        for model in provider.models:
            yield vendor, model.id
            for change in ("{}-2026-10-01", "{}-20261001", "models/{}", "{}:free", "x{}", "{}-latest"):
                if dice.random() < 0.05:
                    yield vendor, change.format(model.id)
            yield vendor, model.id.upper()


def test_names_are_matched_as_the_source_matches_them() -> None:
    for vendor, name in names():
        theirs = SOURCES[vendor].find_model(name, all_providers=providers)
        ours = TABLE.vendors[vendor].find(name)
        prefix = PREFIXES[vendor] if theirs in SOURCES[vendor].models else ""
        assert (ours and ours.name) == (theirs and prefix + theirs.id), (vendor, name)


def test_the_default_models_exist_and_have_a_price() -> None:
    for vendor in VENDORS:
        if vendor.prices and vendor.default_model:
            found = TABLE.vendors[vendor.name].find(vendor.default_model)
            assert found is not None, vendor.name
            assert found.chat, vendor.name
            assert not found.deprecated, vendor.name
            assert found.price(COMPILED_AT) is not None, vendor.name


def test_the_table_survives_its_journey_and_is_small() -> None:
    data = encode_table(TABLE)
    assert decode_table(data) == TABLE
    assert len(data) < 1_000_000


def test_what_is_no_chat_model_is_not_offered_as_one() -> None:
    openai = {model.name for model in TABLE.vendors["openai"].models if model.chat}
    assert {"gpt-4o", "gpt-4.1-mini", "o3"} <= openai
    assert not {"whisper-1", "tts-1", "text-embedding-3-small", "gpt-image-1", "moderation"} & openai


def test_overrides_are_compiled_exactly() -> None:
    table = compile_table((), {"openai": {"gpt-4o": Override("2.5", "10", cache_read="0.1")}}, COMPILED_AT)
    assert table.overrides == {
        "openai": {"gpt-4o": Price(Rate(2_500_000_000), Rate(10_000_000_000), Rate(100_000_000))}
    }


@pytest.mark.parametrize("amount", ["", "free", "-1", "NaN", "Infinity", "$2"])
def test_a_bad_override_names_its_place(amount: str) -> None:
    with pytest.raises(ConfigError, match=r"prices of mine:big: output"):
        compile_table((), {"mine": {"big": Override("1", amount)}}, COMPILED_AT)


@pytest.mark.parametrize("at", [COMPILED_AT, int(MOMENTS[-1].timestamp())])
def test_an_hour_in_anthropics_cache_costs_twice_the_input(at: int) -> None:
    """Anthropic, "Prompt caching", "Pricing": the data has that rate of some models, the rule has it of all."""
    for model in TABLE.vendors["anthropic"].models:
        price = model.price(at)
        assert price is not None
        for prompt in (1000, 300_000):
            usage = Usage(prompt, 0, 0, 100, cache_write_1h_tokens=100)
            expected = price.cost_nano(Usage(prompt + 100, 0)) if prompt == 1000 else price.cost_nano(Usage(prompt, 0))
            more = 0 if prompt == 1000 else 100 * price.input.at(prompt) // 10**6
            assert price.cost_nano(usage) == expected + more, model.name


def test_an_owners_price_of_anthropics_has_an_hours_rate_too() -> None:
    table = compile_table(VENDORS, {"anthropic": {"x": Override("3", "15", cache_write="3.75")}}, COMPILED_AT)
    assert table.overrides["anthropic"]["x"].cache_write_1h == Rate(6_000_000_000)


@pytest.mark.parametrize(
    ("vendor", "model", "tier", "percent"),
    [
        ("openai", "gpt-5", "flex", 50),  # OpenAI, "Pricing": $0.625, $0.0625 and $5 instead of $1.25, $0.125 and $10
        ("openai", "gpt-5", "default", 100),
        ("openai", "gpt-5", "priority", None),  # twice as much for this one, 1.75 times for gpt-4.1
        ("anthropic", "claude-sonnet-4-5", "standard", 100),
        ("anthropic", "claude-sonnet-4-5", "batch", 50),
        ("anthropic", "claude-sonnet-4-5", "priority", None),
        ("groq", "llama-3.3-70b-versatile", "flex", 100),  # Groq, "Flex Processing"
        ("mistral", "mistral-large-latest", "flex", None),
    ],
)
def test_a_service_tier_costs_what_its_vendor_says_or_is_not_known(
    vendor: str, model: str, tier: str, percent: int | None
) -> None:
    found = TABLE.vendors[vendor].find(model)
    assert found is not None
    price, usage = found.price(COMPILED_AT), Usage(100_000, 50_000, 20_000, service_tier=tier)
    assert price is not None
    assert price.covers(usage) is (percent is not None)
    usual = price.cost_nano(Usage(100_000, 50_000, 20_000))
    assert 100 * price.cost_nano(usage) == usual * (percent or 100)
