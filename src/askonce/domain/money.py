"""Money is an integer of nano-dollars (1 $ = 10⁹ nano). Rounding happens here and nowhere else."""

from decimal import ROUND_HALF_EVEN, Decimal

from msgspec import Struct

from askonce.domain.usage import Usage

NANO_PER_DOLLAR = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000


class Tier(Struct, frozen=True):
    """Replace the base price for the whole call once its prompt is longer than `above_tokens`."""

    above_tokens: int
    nano_per_mtok: int


class Rate(Struct, frozen=True):
    """Hold what a million tokens of one kind cost, in nano-dollars, with tiers by prompt length (ascending)."""

    nano_per_mtok: int
    tiers: tuple[Tier, ...] = ()

    def at(self, prompt_tokens: int) -> int:
        """Return the nano-dollars per million tokens for a call with this many prompt tokens."""
        rate = self.nano_per_mtok
        for tier in self.tiers:
            if prompt_tokens > tier.above_tokens:
                rate = tier.nano_per_mtok
        return rate


# Vendors' words for the service that a price is the price of.
USUAL_SERVICE = frozenset({"", "default", "standard", "auto", "on_demand"})


class Price(Struct, frozen=True):
    """Hold a model's rates. A kind without a rate of its own is charged as the kind it is part of.

    `cache_write_1h` is for what is written to the vendor's cache for an hour. `service_tiers` tells what the vendor's
    other services cost, as a percentage of all rates.
    """

    input: Rate
    output: Rate
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    per_call_nano: int = 0
    cache_write_1h: Rate | None = None
    service_tiers: tuple[tuple[str, int], ...] = ()

    def covers(self, usage: Usage) -> bool:
        """Say whether what the call's service tier costs is known. Where nothing is charged, it is."""
        return self._is_free or self._percent(usage.service_tier) is not None

    def saved_nano(self, usage: Usage) -> int:
        """Return what the vendor's prompt cache took off a call: cached tokens × (input rate - cache read rate)."""
        if self.cache_read is None or not usage.cached_tokens:
            return 0
        n = usage.prompt_tokens
        less = self.input.at(n) - self.cache_read.at(n)
        scaled = usage.cached_tokens * max(0, less) * self._charged_percent(usage)
        return divide_half_even(scaled, 100 * TOKENS_PER_PRICE)

    def cost_nano(self, usage: Usage) -> int:
        """Price one call in nano-dollars, rounded once, half to even.

        `usage.prompt_tokens` includes the cached and cache-written ones, as in OpenAI's usage object. A service tier
        that the price does not cover is charged as the usual one.
        """
        n = usage.prompt_tokens
        # A vendor that counts its cache apart from the prompt must not make the rest negative.
        plain = max(0, n - usage.cached_tokens - usage.cache_write_tokens)
        input_rate = self.input.at(n)
        read_rate = self.cache_read.at(n) if self.cache_read else input_rate
        write_rate = self.cache_write.at(n) if self.cache_write else input_rate
        hour_rate = self.cache_write_1h.at(n) if self.cache_write_1h else write_rate
        scaled = (
            plain * input_rate
            + usage.cached_tokens * read_rate
            + max(0, usage.cache_write_tokens - usage.hour_tokens) * write_rate
            + usage.hour_tokens * hour_rate
            + usage.completion_tokens * self.output.at(n)
        )
        return divide_half_even(scaled * self._charged_percent(usage), 100 * TOKENS_PER_PRICE) + self.per_call_nano

    @property
    def _is_free(self) -> bool:
        rates = (self.input, self.output, self.cache_read, self.cache_write, self.cache_write_1h)
        return not self.per_call_nano and not any(rate.nano_per_mtok or rate.tiers for rate in rates if rate)

    def _percent(self, tier: str) -> int | None:
        return 100 if tier in USUAL_SERVICE else dict(self.service_tiers).get(tier)

    def _charged_percent(self, usage: Usage) -> int:
        percent = self._percent(usage.service_tier)
        return 100 if percent is None else percent


def divide_half_even(numerator: int, denominator: int) -> int:
    """Divide integers exactly, rounding half to even. `denominator` is positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient % 2):
        return quotient + 1
    return quotient


def dollars(nano: int, places: int = 4) -> str:
    """Write nano-dollars for people: a dollar sign and `places` (0 to 9) decimals, rounded half to even."""
    units = divide_half_even(nano, 10 ** (9 - places))
    sign, units = ("-", -units) if units < 0 else ("", units)
    whole, part = divmod(units, 10**places)
    return f"{sign}${whole}.{part:0{places}d}" if places else f"{sign}${whole}"


def nano_from_decimal(amount: Decimal) -> int:
    """Turn an amount in dollars into nano-dollars, rounded half to even."""
    return int((amount * NANO_PER_DOLLAR).to_integral_value(rounding=ROUND_HALF_EVEN))
