"""What is particular to flights over LMDB: bounded logs, released leases, a timer only while something is followed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.state.statefakes import HandClock, an_entry, key

from askonce.domain.answer import Delta
from askonce.domain.ports import Landing, LeaderLost
from askonce.state import lmdb_log, lmdb_state
from askonce.state.lmdb_flights import LmdbFlights
from askonce.state.lmdb_state import LmdbState

FLIGHT = key(1)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def state(tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LmdbState]:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 4 << 20)
    state = LmdbState(tmp_path, 4 << 20, clock, "0:a")
    state.open()
    yield state
    state.close()


async def heard(flights: LmdbFlights, generation: int) -> tuple[str, Landing | None]:
    text = ""
    async for piece in flights.follow(FLIGHT, generation):
        if isinstance(piece, Landing):
            return text, piece
        text += piece.text if isinstance(piece, Delta) else ""
    return text, None


def test_a_log_over_its_bound_is_cut_and_followers_get_the_rest_with_the_landing(
    state: LmdbState, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb_log, "LOG_MAX", 2_000)

    async def play() -> None:
        lease = await state.flights.board(FLIGHT)
        texts = [f"piece {number} äöü; " for number in range(500)]
        for text in texts:
            await state.flights.append(FLIGHT, lease.generation, (Delta(text),))
        assert state._rooms[0].env.stat()["entries"] < 200
        landing = Landing(an_entry(1, clock.wall, "".join(texts)))
        await state.flights.land(FLIGHT, lease.generation, landing)
        assert await heard(state.flights, lease.generation) == ("".join(texts), landing)

    asyncio.run(play())


def test_crowded_books_take_no_pieces_but_every_landing(state: LmdbState, clock: HandClock) -> None:
    async def play() -> None:
        lease = await state.flights.board(FLIGHT)
        await state.flights.append(FLIGHT, lease.generation, (Delta("a"),))
        state._desk.crowded = True
        await state.flights.append(FLIGHT, lease.generation, (Delta("b"),))
        state._desk.crowded = False
        await state.flights.append(FLIGHT, lease.generation, (Delta("c"),))
        await state.flights.land(FLIGHT, lease.generation, Landing(an_entry(1, clock.wall, "abc")))
        assert (await heard(state.flights, lease.generation))[0] == "abc"

    asyncio.run(play())


def test_a_cut_log_whose_flight_failed_ends_with_the_error(state: LmdbState) -> None:
    async def play() -> None:
        lease = await state.flights.board(FLIGHT)
        state._desk.crowded = True
        await state.flights.append(FLIGHT, lease.generation, (Delta("a"),))
        await state.flights.land(FLIGHT, lease.generation, Landing(None, "x", "y"))
        assert await heard(state.flights, lease.generation) == ("", Landing(None, "x", "y"))

    asyncio.run(play())


def test_a_successor_releases_what_its_predecessors_held_and_nothing_else(state: LmdbState, clock: HandClock) -> None:
    async def play() -> None:
        dead, other = (LmdbFlights(state._desk, clock, owner) for owner in ("1:old", "11:old"))
        successor = LmdbFlights(state._desk, clock, "1:new")
        leases = {key(2): await dead.board(key(2)), key(3): await other.board(key(3))}
        own = await successor.board(key(4))
        mine = await state.flights.board(key(5))
        await dead.board(key(5))
        assert await state.flights.followed(key(5), mine.generation)
        successor.release_slot(1)
        assert not await dead.renew(key(2), leases[key(2)].generation)
        assert await other.renew(key(3), leases[key(3)].generation)
        assert await successor.renew(key(4), own.generation)
        assert not await state.flights.followed(key(5), mine.generation)
        with pytest.raises(LeaderLost):
            await anext(state.flights.follow(key(2), leases[key(2)].generation))
        state.flights.release_owner("11:old")
        assert (await state.flights.board(key(3))).led

    asyncio.run(play())


def test_a_waiting_follower_stays_present_and_the_timer_ends_with_it(state: LmdbState, clock: HandClock) -> None:
    async def play() -> None:
        elsewhere = LmdbFlights(state._desk, clock, "1:b")
        lease = await state.flights.board(FLIGHT)
        pieces = elsewhere.follow(FLIGHT, lease.generation)
        waiting = asyncio.ensure_future(anext(pieces))
        for _ in range(8):
            clock.pass_s(1)
            assert await state.flights.renew(FLIGHT, lease.generation)
            async with asyncio.timeout(10):
                while not await state.flights.followed(FLIGHT, lease.generation):
                    await asyncio.sleep(0.001)
        await state.flights.append(FLIGHT, lease.generation, (Delta("a"),))
        assert await waiting == Delta("a")
        await pieces.aclose()  # type: ignore[attr-defined]
        assert not await state.flights.followed(FLIGHT, lease.generation)
        async with asyncio.timeout(10):
            while elsewhere._watch._timer is not None:
                await asyncio.sleep(0.001)

    asyncio.run(play())


def test_a_generation_is_not_used_again_after_its_flight_was_swept(state: LmdbState, clock: HandClock) -> None:
    async def play() -> None:
        first = await state.flights.board(FLIGHT)
        clock.pass_s(60)
        await state.sweep()
        second = await state.flights.board(FLIGHT)
        assert second.generation > first.generation
        assert not await state.flights.renew(FLIGHT, first.generation)

    asyncio.run(play())
