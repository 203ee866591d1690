"""Prices appear when their file does, and nobody waits for them for ever."""

import asyncio
from pathlib import Path

from askonce.domain.money import Price, Rate
from askonce.providers.price_file import PATIENCE_S, PriceFile
from askonce.providers.prices import PriceTable, encode_table


class Clock:
    """Tell the time that sleeping makes pass."""

    def __init__(self) -> None:
        self.ns = 0

    def steady_ns(self) -> int:
        return self.ns

    def wall_ms(self) -> int:
        return self.ns // 1_000_000

    async def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


PRICE = Price(Rate(1), Rate(2))
TABLE = encode_table(PriceTable(overrides={"openai": {"gpt-4o": PRICE}}))


def test_a_call_waits_for_the_first_table_and_later_ones_replace_it(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    clock = Clock()

    async def appear(seconds: float) -> None:
        await clock.sleep(seconds)
        if clock.ns > 1_000_000_000 and not path.exists():
            path.write_bytes(TABLE)

    prices = PriceFile(path, clock, appear)
    assert prices.price("openai", "gpt-4o", "") is None
    asyncio.run(prices.loaded())
    assert prices.price("openai", "gpt-4o", "") == PRICE
    assert not prices.refresh()


def test_without_a_table_only_a_young_process_waits(tmp_path: Path) -> None:
    clock = Clock()
    prices = PriceFile(tmp_path / "never.json", clock, clock.sleep)
    asyncio.run(prices.loaded())
    waited = clock.ns
    assert PATIENCE_S <= waited / 1e9 < PATIENCE_S + 1
    for _ in range(3):
        asyncio.run(prices.loaded())
    assert clock.ns == waited


def test_a_broken_table_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(b"{")
    prices = PriceFile(path, Clock())
    assert not prices.there
    path.write_bytes(TABLE)
    assert prices.refresh()
