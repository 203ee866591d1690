"""What real processes do with the state in the tests. Each function runs in a process of its own."""

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

from tests.state.statefakes import SECOND, an_entry, key, noise

from askonce.domain.answer import Delta
from askonce.domain.clock import SystemClock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.outcome import Spared
from askonce.domain.ports import Landing, LeaderLost, Window
from askonce.state.lmdb_state import LmdbState

HAMMERED = Window("hammered", 500, 3_600 * SECOND)
FLIGHT = b"f" * 32


def with_state(
    folder: Path, owner: str, play: Callable[[LmdbState], Awaitable[None]], cache_bytes: int = 64 << 20
) -> None:
    state = LmdbState(folder, cache_bytes, SystemClock(), owner)
    state.open()
    asyncio.run(play(state))  # type: ignore[arg-type]
    state.close()


def book_and_keep(folder: Path, slot: int, line: Connection) -> None:
    """Book and keep for ever, reporting each after it was done."""

    async def play(state: LmdbState) -> None:
        number = slot * 1_000_000
        while True:
            await state.books.book(Spared("team", "exact", 1, 1))
            line.send(("booked", 1))
            if await state.answers.keep(an_entry(number, SystemClock().wall_ms(), rendition=noise(number, 3_000))):
                line.send(("kept", number))
            await state.windows.take(HAMMERED)
            number += 1

    with_state(folder, f"{slot}:a", play)


def hammer(folder: Path, slot: int, line: Connection) -> None:
    """Take one window as fast as possible; report how many were admitted of 1,000."""

    async def play(state: LmdbState) -> None:
        line.send("ready")
        line.recv()
        line.send(sum([(await state.windows.take(HAMMERED)).admitted for _ in range(1_000)]))

    with_state(folder, f"{slot}:a", play)


def freeze_while_writing(folder: Path, slot: int, line: Connection) -> None:
    """Stop in the middle of a write transaction, holding the writers' lock."""

    async def play(state: LmdbState) -> None:
        await state.books.book(Spared("team", "exact", 1, 1))
        with state._rooms[0].env.begin(write=True) as txn:
            txn.put(b"c" + b"half", b"x" * 80)
            line.send("frozen")
            os.kill(os.getpid(), signal.SIGSTOP)

    with_state(folder, f"{slot}:a", play)


def book_once(folder: Path, slot: int, line: Connection) -> None:
    """Book one thing when told."""

    async def play(state: LmdbState) -> None:
        line.send("ready")
        line.recv()
        line.send("booking")
        await state.books.book(Spared("team", "exact", 1, 1))
        line.send("booked")

    with_state(folder, f"{slot}:a", play)


def open_once(folder: Path, slot: int, line: Connection) -> None:
    """Open at the same moment as others; report since when the books run."""

    async def play(state: LmdbState) -> None:
        await state.books.book(Spared("team", "exact", 1, 1))
        line.send((await state.books.totals("team")).since_ms)
        line.recv()

    line.recv()
    with_state(folder, f"{slot}:a", play)


def lead(folder: Path, slot: int, line: Connection) -> None:
    """Lead a flight, say one word, renew until killed."""

    async def play(state: LmdbState) -> None:
        lease = await state.flights.board(FLIGHT)
        assert lease.led
        await state.flights.append(FLIGHT, lease.generation, (Delta("half"),))
        line.send(lease.generation)
        while await state.flights.renew(FLIGHT, lease.generation):
            await asyncio.sleep(0.5)

    with_state(folder, f"{slot}:a", play)


def follow(folder: Path, slot: int, line: Connection) -> None:
    """Follow until the leader is lost, then lead the next generation to its landing."""

    async def play(state: LmdbState) -> None:
        lease = await state.flights.board(FLIGHT)
        line.send(lease.led)
        try:
            async for piece in state.flights.follow(FLIGHT, lease.generation):
                line.send(piece.text if isinstance(piece, Delta) else "landed")
        except LeaderLost:
            line.send("lost")
        lease = await state.flights.board(FLIGHT)
        line.send(lease.led)
        if lease.led:
            await state.flights.land(FLIGHT, lease.generation, Landing(an_entry(1, SystemClock().wall_ms(), "whole")))

    with_state(folder, f"{slot}:a", play)


def succeed(folder: Path, slot: int, line: Connection) -> None:
    """Start in a slot whose former process died."""

    async def play(state: LmdbState) -> None:
        state.flights.release_slot(slot)
        line.send("released")

    with_state(folder, f"{slot}:b", play)


def keep_on_a_small_disk(folder: Path, slot: int, line: Connection) -> None:
    """Keep answers until no more fit; report what still works then."""

    async def play(state: LmdbState) -> None:
        number = 0
        while number < 10_000 and await state.answers.keep(
            an_entry(number, SystemClock().wall_ms(), rendition=noise(number, 100_000))
        ):
            number += 1
        found = await state.answers.find("team", [key(0)], 0) is not None
        try:
            await state.books.book(Spared("team", "exact", 1, 1))
            counted = (await state.windows.take(HAMMERED)).admitted
        except StoreUnavailable:
            counted = False
        health = state.health()
        line.send((number, found, counted, health.degraded, health.notes))

    with_state(folder, f"{slot}:a", play, cache_bytes=256 << 20)


def keep_under_a_file_limit(folder: Path, slot: int, line: Connection) -> None:
    """The same where the system bounds the size of every file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (134 << 20, 134 << 20))
    keep_on_a_small_disk(folder, slot, line)
