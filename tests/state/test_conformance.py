"""What every implementation of the shared state promises, each port in turn."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.state.rediscluster import RedisCluster
from tests.state.redisserver import RedisServer
from tests.state.rows import paid
from tests.state.statefakes import SECOND, HandClock, key, noise
from tests.state.valkeyworld import valkey_parts

from askonce.domain.answer import Answer, Delta, Entry, pack
from askonce.domain.outcome import Spared, Totals
from askonce.domain.ports import (
    Answers,
    Books,
    Filters,
    Flights,
    Knock,
    Landing,
    LeaderLost,
    Lease,
    Threshold,
    Verdict,
    Window,
    Windows,
)
from askonce.domain.usage import Usage
from askonce.state import lmdb_state
from askonce.state.lmdb_flights import LmdbFlights
from askonce.state.lmdb_state import LmdbState
from askonce.state.memory import MemoryState
from askonce.state.solo import Hangar, SoloFlights
from askonce.state.valkey.flights import ValkeyFlights
from askonce.state.valkey.server import Hour

CAPACITY = 2 << 20
FLIGHT = b"f" * 32


@dataclass
class World:
    """Hold one implementation as one process sees it, and the flights as another does."""

    clock: HandClock
    answers: Answers
    windows: Windows
    books: Books
    threshold: Threshold
    flights: Flights
    elsewhere: Flights
    beat: Callable[[], Awaitable[None]]
    names: Iterator[str] = field(default_factory=lambda: (f"w{number}" for number in range(10**9)))

    def entry(self, key: bytes, tenant: str = "team", ttl_s: int = 60, **changes: Any) -> Entry:
        text: str = changes.pop("text", "hello")
        answer = Answer(text, "stop", Usage(10, 20), "acme", "m1", "m1-2026", cost_nano=500)
        fields = {"provider": "acme", "model": "m1", "stored_ms": self.clock.wall, **changes}
        return Entry(
            key=key,
            tenant=tenant,
            expires_ms=fields["stored_ms"] + ttl_s * 1000,
            cost_nano=500,
            prompt_tokens=10,
            completion_tokens=20,
            answer=pack(answer),
            **fields,
        )


def memory_world(_: Path) -> Iterator[World]:
    clock = HandClock()
    state = MemoryState(clock, "0:a", CAPACITY)
    elsewhere = SoloFlights(state.flights._hangar, "1:b")
    yield World(clock, state.answers, state.windows, state.books, state.threshold, state.flights, elsewhere, _nothing)


def lmdb_world(folder: Path) -> Iterator[World]:
    clock = HandClock()
    state = LmdbState(folder, CAPACITY, clock, "0:a")
    state.open()
    elsewhere = LmdbFlights(state._desk, clock, "1:b")

    async def beat() -> None:
        state.beat()

    yield World(clock, state.answers, state.windows, state.books, state.threshold, state.flights, elsewhere, beat)
    elsewhere.close()
    state.close()


def valkey_world(_: Path, redis: RedisServer | RedisCluster) -> Iterator[World]:
    clock = HandClock()
    parts = valkey_parts(redis, clock, CAPACITY)
    flights, elsewhere = (ValkeyFlights(parts.server, Hour(clock), owner) for owner in ("a/0:1", "b/0:1"))
    yield World(
        clock, parts.answers, parts.windows, parts.books, parts.threshold, flights, elsewhere, parts.answers.beat
    )


async def _nothing() -> None:
    return


WORLDS = {"memory": memory_world, "lmdb": lmdb_world}


@pytest.fixture(params=[*WORLDS, "valkey", pytest.param("cluster", marks=pytest.mark.soak)])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 8 << 20)
    if request.param == "valkey":
        yield from valkey_world(tmp_path, request.getfixturevalue("redis"))
    elif request.param == "cluster":
        yield from valkey_world(tmp_path, request.getfixturevalue("cluster"))
    else:
        yield from WORLDS[request.param](tmp_path)


# -- windows ------------------------------------------------------------------------------------------------------


def test_a_window_admits_its_limit_and_no_more(world: World) -> None:
    async def play() -> None:
        window = Window("llm:key:a", 3, 60 * SECOND)
        assert [await world.windows.take(window) for _ in range(4)] == [
            Verdict(True, 2, 60 * SECOND),
            Verdict(True, 1, 60 * SECOND),
            Verdict(True, 0, 60 * SECOND),
            Verdict(False, 0, 60 * SECOND),
        ]
        assert (await world.windows.take(Window("llm:key:b", 3, 60 * SECOND))).admitted
        world.clock.pass_s(60)
        assert await world.windows.take(window) == Verdict(True, 2, 60 * SECOND)

    asyncio.run(play())


def test_a_peek_counts_nothing(world: World) -> None:
    async def play() -> None:
        window = Window("w", 2, SECOND)
        assert await world.windows.peek(window) == Verdict(True, 2, 0)
        await world.windows.take(window)
        assert [await world.windows.peek(window) for _ in range(3)] == 3 * [Verdict(True, 1, SECOND)]

    asyncio.run(play())


def test_threshold_and_windows_share_their_windows(world: World) -> None:
    async def play() -> None:
        window = Window("w", 2, SECOND)
        await world.windows.take(window)
        assert (await world.threshold.enter(Knock("team", window))).verdict == Verdict(True, 0, SECOND)
        assert not (await world.windows.peek(window)).admitted

    asyncio.run(play())


@given(
    limit=st.integers(1, 300),
    steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 30)), max_size=30),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_span_ever_holds_more_than_the_limit(world: World, limit: int, steps: list[tuple[float, int]]) -> None:
    async def play() -> None:
        window, admitted = Window(next(world.names), limit, 60 * SECOND), []
        for pause, size in steps:
            world.clock.pass_s(pause)
            for _ in range(size):
                if (await world.windows.take(window)).admitted:
                    admitted.append(world.clock.steady)
        assert all(late - early >= 60 * SECOND for early, late in zip(admitted, admitted[limit:], strict=False))

    asyncio.run(play())


# -- answers ------------------------------------------------------------------------------------------------------


def test_what_was_kept_is_found_until_it_expires(world: World) -> None:
    async def play() -> None:
        entry = world.entry(key(1), ttl_s=60)
        assert await world.answers.find("team", [key(1)], 0) is None
        assert await world.answers.keep(entry)
        assert await world.answers.find("team", [key(1)], 0) == entry
        world.clock.pass_s(59.999)
        assert await world.answers.find("team", [key(1)], 0) == entry
        world.clock.pass_s(0.001)
        assert await world.answers.find("team", [key(1)], 0) is None

    asyncio.run(play())


def test_a_large_answer_comes_back_whole(world: World) -> None:
    async def play() -> None:
        entry = world.entry(key(1), text="Zeile äöü\n" * 10_000)
        assert await world.answers.keep(entry)
        found = await world.answers.find("team", [key(1)], 0)
        assert found == entry
        assert found.open().text == "Zeile äöü\n" * 10_000

    asyncio.run(play())


def test_the_first_key_that_is_stored_and_fresh_wins(world: World) -> None:
    async def play() -> None:
        old, new = world.entry(key(2), stored_ms=world.clock.wall - 5_000), world.entry(key(3))
        await world.answers.keep(old)
        await world.answers.keep(new)
        order = [key(1), key(2), key(3)]
        assert await world.answers.find("team", order, 0) == old
        assert await world.answers.find("team", order, world.clock.wall - 5_000) == old
        assert await world.answers.find("team", order, world.clock.wall - 4_999) == new

    asyncio.run(play())


def test_nobody_sees_another_tenants_answers(world: World) -> None:
    async def play() -> None:
        await world.answers.keep(world.entry(key(1), tenant="a", text="of a"))
        assert await world.answers.find("b", [key(1)], 0) is None
        await world.answers.keep(world.entry(key(1), tenant="b", text="of b"))
        found = await world.answers.find("a", [key(1)], 0)
        assert found is not None
        assert found.open().text == "of a"
        assert await world.answers.drop("b", key(1))
        assert await world.answers.purge("b", Filters()) == 0
        assert (await world.answers.page("b", Filters(), b"", 10)).entries == ()
        assert await world.answers.find("a", [key(1)], 0) is not None
        assert (await world.books.totals("a")).entries == 1
        assert (await world.books.totals("b")).entries == 0

    asyncio.run(play())


def test_entries_and_bytes_follow_every_change(world: World) -> None:
    async def play() -> None:
        await world.answers.keep(world.entry(key(1), text="short"))
        small = await world.books.totals("team")
        await world.answers.keep(world.entry(key(1), text="long" * 200))
        large = await world.books.totals("team")
        assert (small.entries, large.entries) == (1, 1)
        assert large.bytes > small.bytes + 700
        await world.answers.keep(world.entry(key(1), text="short"))
        assert await world.books.totals("team") == small
        assert await world.answers.drop("team", key(1))
        assert not await world.answers.drop("team", key(1))
        gone = await world.books.totals("team")
        assert (gone.entries, gone.bytes) == (0, 0)

    asyncio.run(play())


def test_pages_hold_every_fresh_entry_once_in_key_order(world: World) -> None:
    async def play() -> None:
        for number in range(600):
            await world.answers.keep(world.entry(key(number), ttl_s=1 if number == 7 else 60))
        world.clock.pass_s(2)
        seen: list[bytes] = []
        after = b""
        while True:
            page = await world.answers.page("team", Filters(), after, 70)
            assert len(page.entries) <= 70
            seen.extend(entry.key for entry in page.entries)
            after = page.after
            if not after:
                break
        assert seen == sorted(key(number) for number in range(600) if number != 7)

    asyncio.run(play())


def test_an_entry_says_how_often_it_was_found_since_it_was_stored(world: World) -> None:
    async def play() -> None:
        for number in (1, 2):
            await world.answers.keep(world.entry(key(number)))
        for _ in range(3):
            assert (await world.threshold.enter(Knock("team", None, (key(1),)))).entry is not None
        await world.beat()
        assert (await world.threshold.enter(Knock("team", None, (key(1),)))).entry is not None
        await world.answers.find("team", [key(2)], 0)
        await world.beat()
        page = await world.answers.page("team", Filters(), b"", 10)
        assert dict(zip((entry.key for entry in page.entries), page.hits, strict=True)) == {key(1): 4, key(2): 0}
        assert [await world.answers.hits("team", key(number)) for number in (1, 2, 3)] == [4, 0, 0]
        assert await world.answers.hits("other", key(1)) == 0
        await world.answers.keep(world.entry(key(1), text="another answer"))
        assert await world.answers.hits("team", key(1)) == 0

    asyncio.run(play())


def test_uses_of_what_is_gone_bring_nothing_back(world: World) -> None:
    async def play() -> None:
        await world.answers.keep(world.entry(key(1)))
        await world.threshold.enter(Knock("team", None, (key(1),)))
        assert await world.answers.drop("team", key(1))
        await world.beat()
        assert await world.answers.hits("team", key(1)) == 0
        assert (await world.answers.page("team", Filters(), b"", 10)).entries == ()
        assert (await world.books.totals("team")).entries == 0

    asyncio.run(play())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), {1, 2, 3}),
        (Filters(provider="acme"), {1, 2}),
        (Filters(model="m2"), {2, 3}),
        (Filters(provider="acme", model="m2"), {2}),
        (Filters(older_than_s=9), {1}),
        (Filters(older_than_s=10), set()),
        (Filters(provider="other"), set()),
    ],
)
def test_filters_choose_what_is_listed_and_purged(world: World, filters: Filters, expected: set[int]) -> None:
    async def play() -> None:
        await world.answers.keep(world.entry(key(1), provider="acme", model="m1", stored_ms=world.clock.wall - 10_000))
        await world.answers.keep(world.entry(key(2), provider="acme", model="m2"))
        await world.answers.keep(world.entry(key(3), provider="bolt", model="m2"))
        page = await world.answers.page("team", filters, b"", 10)
        assert {entry.key for entry in page.entries} == {key(number) for number in expected}
        assert await world.answers.purge("team", filters) == len(expected)
        left = await world.answers.page("team", Filters(), b"", 10)
        assert {entry.key for entry in left.entries} == {key(number) for number in {1, 2, 3} - expected}

    asyncio.run(play())


@pytest.mark.parametrize("world", [*WORLDS, "valkey"], indirect=True)  # a Cluster has the room by shards
def test_room_is_made_by_evicting_and_what_is_too_large_is_refused(world: World) -> None:
    async def play() -> None:
        for number in range(300):  # three times what fits
            assert await world.answers.keep(world.entry(key(number), rendition=noise(number)))
        totals = await world.books.totals("team")
        assert 1 < totals.entries < 300
        assert totals.bytes <= CAPACITY
        assert await world.answers.find("team", [key(299)], 0) is not None
        assert len((await world.answers.page("team", Filters(), b"", 1_000)).entries) == totals.entries
        huge = b"".join(noise(number) for number in range(200))
        assert not await world.answers.keep(world.entry(key(1000), rendition=huge))
        assert await world.books.totals("team") == totals

    asyncio.run(play())


@pytest.mark.parametrize("world", [*WORLDS, "valkey"], indirect=True)
def test_what_was_used_lately_is_evicted_last(world: World) -> None:
    async def play() -> None:
        for number in range(40):
            await world.answers.keep(world.entry(key(number), ttl_s=10**6, rendition=noise(number)))
        world.clock.pass_s(3_600)
        for number in range(10):
            assert (await world.threshold.enter(Knock("team", None, (key(number),)))).entry is not None
        await world.beat()
        kept = 40
        while kept - (await world.books.totals("team")).entries < 10:
            await world.answers.keep(world.entry(key(kept), ttl_s=10**6, rendition=noise(kept)))
            kept += 1
        used = [await world.answers.find("team", [key(number)], 0) is not None for number in range(10)]
        unused = [await world.answers.find("team", [key(number)], 0) is not None for number in range(10, 40)]
        assert sum(used) >= 8
        assert sum(unused) <= 22

    asyncio.run(play())


# -- books --------------------------------------------------------------------------------------------------------


def test_every_ending_is_booked_once_where_it_belongs(world: World) -> None:
    async def play() -> None:
        for ending in (
            paid("answered", True, 100, "team", prompt_tokens=10, completion_tokens=20),
            paid("answered", False, 7, "team"),
            paid("failed", False, 3, "team"),
            paid("abandoned", False, 2, "team"),
            Spared("team", "exact", 100, 30),
            Spared("team", "coalesced", 50, 15),
            paid("answered", True, 1_000_000, "rival"),
        ):
            await world.books.book(ending)
        assert await world.books.totals("team") == Totals(
            hits=1,
            misses=1,
            coalesced=1,
            failed=1,
            abandoned=1,
            uncounted=1,
            spent_nano=112,
            saved_exact_nano=100,
            saved_coalesced_nano=50,
            saved_tokens=45,
            since_ms=1_700_000_000_000,
        )
        assert await world.books.totals("nobody") == Totals(since_ms=1_700_000_000_000)

    asyncio.run(play())


# -- the threshold ------------------------------------------------------------------------------------------------


def test_a_hit_is_admitted_found_and_booked_in_one_act(world: World) -> None:
    async def play() -> None:
        window, entry = Window("w", 2, SECOND), world.entry(key(1))
        await world.answers.keep(entry)
        entered = await world.threshold.enter(Knock("team", window, (key(0), key(1))))
        assert entered.verdict == Verdict(True, 1, SECOND)
        assert entered.entry == entry
        totals = await world.books.totals("team")
        assert (totals.hits, totals.saved_exact_nano, totals.saved_tokens) == (1, 500, 30)

    asyncio.run(play())


def test_a_refused_request_looks_nothing_up(world: World) -> None:
    async def play() -> None:
        window = Window("w", 1, SECOND)
        await world.answers.keep(world.entry(key(1)))
        await world.windows.take(window)
        entered = await world.threshold.enter(Knock("team", window, (key(1),)))
        assert entered.verdict == Verdict(False, 0, SECOND)
        assert entered.entry is None
        assert (await world.books.totals("team")).hits == 0

    asyncio.run(play())


def test_an_unlimited_request_is_looked_up_and_booked_too(world: World) -> None:
    async def play() -> None:
        await world.answers.keep(world.entry(key(1)))
        assert (await world.threshold.enter(Knock("team", None, (key(1),)))).entry is not None
        missed = await world.threshold.enter(Knock("team", None, (key(2),)))
        assert (missed.verdict, missed.entry) == (None, None)
        stale = await world.threshold.enter(Knock("team", None, (key(1),), fresh_after_ms=world.clock.wall + 1))
        assert stale.entry is None
        foreign = await world.threshold.enter(Knock("rival", None, (key(1),)))
        assert foreign.entry is None
        assert (await world.books.totals("team")).hits == 1
        assert (await world.books.totals("rival")).hits == 0

    asyncio.run(play())


# -- flights ------------------------------------------------------------------------------------------------------


async def all_of(flights: Flights, lease: Lease) -> tuple[str, Landing]:
    texts: list[str] = []
    async with aclosing(flights.follow(FLIGHT, lease.generation)) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            if isinstance(piece, Landing):
                return "".join(texts), piece
            texts.append(piece.text if isinstance(piece, Delta) else "")
    raise AssertionError("ended without a landing")


def test_only_one_leads_and_the_others_get_everything_from_the_first_piece_on(world: World) -> None:
    async def play() -> None:
        lead = await world.flights.board(FLIGHT)
        assert lead.led
        await world.flights.append(FLIGHT, lead.generation, (Delta("a"), Delta("b")))
        follow = await world.elsewhere.board(FLIGHT)
        assert follow == Lease(False, lead.generation)
        assert await world.flights.board(FLIGHT) == Lease(False, lead.generation)
        landing = Landing(world.entry(key(1), text="abc"))
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            early = group.create_task(all_of(world.elsewhere, follow))
            await asyncio.sleep(0)
            await world.flights.append(FLIGHT, lead.generation, (Delta("c"),))
            await asyncio.sleep(0)
            await world.flights.land(FLIGHT, lead.generation, landing)
        assert early.result() == ("abc", landing)
        assert await all_of(world.elsewhere, follow) == ("abc", landing)

    asyncio.run(play())


def test_a_piece_reaches_a_waiting_follower_before_the_landing(world: World) -> None:
    async def play() -> None:
        lead = await world.flights.board(FLIGHT)
        async with asyncio.timeout(10), aclosing(world.elsewhere.follow(FLIGHT, lead.generation)) as pieces:  # type: ignore[type-var]
            for text in ("one", "two", "three"):
                await world.flights.append(FLIGHT, lead.generation, (Delta(text),))
                assert await anext(pieces) == Delta(text)

    asyncio.run(play())


def test_an_error_lands_as_it_is(world: World) -> None:
    async def play() -> None:
        lead = await world.flights.board(FLIGHT)
        landing = Landing(None, "provider_rate_limited", "Wait a little.", 7)
        await world.flights.land(FLIGHT, lead.generation, landing)
        assert await all_of(world.elsewhere, lead) == ("", landing)

    asyncio.run(play())


def test_who_boards_after_the_landing_leads_a_new_generation_while_the_old_is_still_read(world: World) -> None:
    async def play() -> None:
        first = await world.flights.board(FLIGHT)
        await world.flights.append(FLIGHT, first.generation, (Delta("old"),))
        async with asyncio.timeout(10), aclosing(world.elsewhere.follow(FLIGHT, first.generation)) as pieces:  # type: ignore[type-var]
            assert await anext(pieces) == Delta("old")
            await world.flights.land(FLIGHT, first.generation, Landing(None, "x", "y"))
            second = await world.elsewhere.board(FLIGHT)
            assert second.led
            assert second.generation != first.generation
            await world.flights.append(FLIGHT, first.generation, (Delta("late"),))
            await world.flights.land(FLIGHT, first.generation, Landing(None, "twice", "no"))
            assert await anext(pieces) == Landing(None, "x", "y")
            await world.elsewhere.append(FLIGHT, second.generation, (Delta("new"),))
            await world.elsewhere.land(FLIGHT, second.generation, Landing(None, "z", "z"))
            assert await all_of(world.flights, second) == ("new", Landing(None, "z", "z"))

    asyncio.run(play())


def test_a_lease_that_is_not_renewed_runs_out(world: World) -> None:
    async def play() -> None:
        lead = await world.flights.board(FLIGHT)
        for _ in range(5):
            world.clock.pass_s(1)
            assert await world.flights.renew(FLIGHT, lead.generation)
        world.clock.pass_s(2.9)
        assert not (await world.elsewhere.board(FLIGHT)).led
        world.clock.pass_s(0.1)
        assert not await world.flights.renew(FLIGHT, lead.generation)
        with pytest.raises(LeaderLost):
            await all_of(world.elsewhere, lead)
        assert (await world.elsewhere.board(FLIGHT)).led

    asyncio.run(play())


def test_a_waiting_follower_learns_that_its_leader_is_lost(world: World) -> None:
    async def play() -> None:
        lead = await world.flights.board(FLIGHT)
        await world.flights.append(FLIGHT, lead.generation, (Delta("half"),))
        async with asyncio.timeout(10), aclosing(world.elsewhere.follow(FLIGHT, lead.generation)) as pieces:  # type: ignore[type-var]
            assert await anext(pieces) == Delta("half")
            waiting = asyncio.ensure_future(anext(pieces))
            await asyncio.sleep(0)
            world.clock.pass_s(4)
            with pytest.raises(LeaderLost):
                await waiting

    asyncio.run(play())


def test_a_leader_knows_whether_others_follow(world: World) -> None:
    async def play() -> None:
        lead = await world.flights.board(FLIGHT)
        assert not await world.flights.followed(FLIGHT, lead.generation)
        await world.flights.board(FLIGHT)
        assert not await world.flights.followed(FLIGHT, lead.generation), "our own process is no other"
        await world.elsewhere.board(FLIGHT)
        assert await world.flights.followed(FLIGHT, lead.generation), "who boarded is about to follow"
        pieces = world.elsewhere.follow(FLIGHT, lead.generation)
        await world.flights.append(FLIGHT, lead.generation, (Delta("a"),))
        await anext(pieces)
        assert await world.flights.followed(FLIGHT, lead.generation)
        await pieces.aclose()  # type: ignore[attr-defined]
        assert not await world.flights.followed(FLIGHT, lead.generation)

    asyncio.run(play())


def test_a_follower_that_dies_is_forgotten(world: World) -> None:
    async def play() -> None:
        lead = await world.flights.board(FLIGHT)
        await world.elsewhere.board(FLIGHT)
        world.clock.pass_s(2)
        await world.flights.renew(FLIGHT, lead.generation)
        world.clock.pass_s(2)
        assert not await world.flights.followed(FLIGHT, lead.generation)

    asyncio.run(play())


def test_following_what_never_flew_is_lost_at_once(world: World) -> None:
    async def play() -> None:
        with pytest.raises(LeaderLost):
            await all_of(world.flights, Lease(False, 12345))

    asyncio.run(play())


def test_two_flights_do_not_mix(world: World) -> None:
    async def play() -> None:
        lead = await world.flights.board(FLIGHT)
        other = await world.flights.board(b"g" * 32)
        await world.flights.append(FLIGHT, lead.generation, (Delta("mine"),))
        await world.flights.append(b"g" * 32, other.generation, (Delta("other"),))
        await world.flights.land(FLIGHT, lead.generation, Landing(None, "x", "x"))
        assert (await all_of(world.elsewhere, lead))[0] == "mine"
        assert await world.flights.renew(b"g" * 32, other.generation)

    asyncio.run(play())


def test_a_lone_owner_forgets_what_nobody_follows_and_keeps_what_somebody_does() -> None:
    async def main() -> None:
        hangar = Hangar(HandClock(), is_alone=True)
        flights = SoloFlights(hangar, "0:solo")
        lease = await flights.board(b"one")
        await flights.land(b"one", lease.generation, Landing(None, "provider_error", "No."))
        assert hangar.find(b"one", lease.generation) is None
        lease = await flights.board(b"two")
        assert not (await flights.board(b"two")).led
        await flights.land(b"two", lease.generation, Landing(None, "provider_error", "No."))
        assert [landing async for landing in flights.follow(b"two", lease.generation)] != []

    asyncio.run(main())
