"""Stored answers on Redis, as several processes see them: nothing stale in a process, nothing miscounted."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from tests.state.redisserver import RedisServer
from tests.state.statefakes import HandClock, an_entry, key
from tests.state.valkeyworld import AnyLoop, valkey_parts

from askonce.domain.answer import Entry
from askonce.domain.ports import Filters, Knock
from askonce.state.valkey import answers as module
from askonce.state.valkey import shelves
from askonce.state.valkey.answers import ValkeyAnswers
from askonce.state.valkey.server import Hour


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def another(redis: RedisServer, clock: HandClock) -> ValkeyAnswers:
    """Return the answers as another process sees them."""
    return ValkeyAnswers(AnyLoop(redis.url), Hour(clock), clock, 2 << 20)


async def found(answers: ValkeyAnswers, number: int = 1) -> str | None:
    entry = await answers.find("team", (key(number),), 0)
    return None if entry is None else entry.open().text


def test_what_another_process_changes_is_seen_at_once(redis: RedisServer, clock: HandClock) -> None:
    here, there = valkey_parts(redis, clock).answers, another(redis, clock)

    async def play() -> None:
        await here.keep(an_entry(1, clock.wall, "old"))
        assert [await found(here), await found(there)] == ["old", "old"]
        await there.keep(an_entry(1, clock.wall, "new"))
        assert [await found(here), await found(there)] == ["new", "new"]
        await here.drop("team", key(1))
        assert [await found(here), await found(there)] == [None, None]
        await there.keep(an_entry(1, clock.wall, "again"))
        assert await found(here) == "again"
        await there.purge("team", Filters())
        assert await found(here) is None

    asyncio.run(play())


def test_an_answer_travels_once(redis: RedisServer, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = valkey_parts(redis, clock)
    replies: list[Any] = []
    act = parts.server.act

    async def listened(*words: Any) -> Any:
        replies.append(await act(*words))
        return replies[-1]

    monkeypatch.setattr(parts.server, "act", listened)

    async def play() -> list[Entry | None]:
        await parts.answers.keep(an_entry(1, clock.wall, "x" * 2000))
        return [(await parts.threshold.enter(Knock("team", None, (key(1),)))).entry for _ in range(3)]

    entries = asyncio.run(play())
    assert entries[0] == entries[1] == entries[2]
    assert entries[0] is not None
    sizes = [len(reply[4]) if isinstance(reply[4], bytes) else 0 for reply in replies[1:]]
    assert sizes[0] > 2000
    assert sizes[1:] == [0, 0]


def test_what_stays_in_a_process_is_bounded(redis: RedisServer, clock: HandClock) -> None:
    answers = valkey_parts(redis, clock).answers
    answers._held = module.Held(20_000)

    async def play() -> None:
        for number in range(30):
            await answers.keep(an_entry(number, clock.wall, "x" * 2000))
            assert await found(answers, number) == "x" * 2000
        assert answers._held._size <= 20_000
        assert 5 <= len(answers._held._held) <= 10

    asyncio.run(play())


def test_what_the_server_threw_away_is_missed_by_the_sweep(redis: RedisServer, clock: HandClock) -> None:
    parts = valkey_parts(redis, clock)

    async def play() -> None:
        for number in range(20):
            await parts.answers.keep(an_entry(number, clock.wall))
        assert (await parts.books.totals("team")).entries == 20
        for number in range(5):
            await parts.server.call("DEL", shelves.entry_key("team", key(number), 1))
        clock.pass_s(1)
        for _ in range(4):
            await parts.answers.sweep(10)
        totals = await parts.books.totals("team")
        one = len(shelves.value_of(an_entry(9, clock.wall), b"")) + 1
        assert totals.entries == 15
        assert totals.bytes > 15 * one
        await parts.answers.purge("team", Filters())
        assert (await parts.books.totals("team")).bytes == 0
        assert await parts.server.call("HGET", shelves.tag_of(0) + b"t", "") == b"0"

    asyncio.run(play())


def test_an_entry_of_a_later_layout_is_as_good_as_none(redis: RedisServer, clock: HandClock) -> None:
    parts = valkey_parts(redis, clock)

    async def play() -> None:
        entry = replace(an_entry(1, clock.wall), tenant="team")
        await parts.answers.keep(entry)
        place = shelves.entry_key("team", key(1), 1)
        value = await parts.server.call("GET", place)
        record = shelves.record_of(value)
        await parts.server.call("SET", place, value[: -len(record)] + b"\xfe" + record[1:])
        assert await found(parts.answers) is None
        assert await parts.answers.keep(entry)
        assert await found(parts.answers) == "hello"

    asyncio.run(play())
