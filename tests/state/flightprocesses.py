"""What real processes of several nodes do with flights in the tests. Each function runs in a process of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

from tests.state.statefakes import an_entry

from askonce.domain.answer import Delta
from askonce.domain.clock import SystemClock
from askonce.domain.ports import Landing, LeaderLost
from askonce.state.valkey.address import parse
from askonce.state.valkey.flights import ValkeyFlights
from askonce.state.valkey.server import Hour
from askonce.state.valkey.single import SingleServer

FLIGHT = b"f" * 32
DEADLINE_S = 2.0  # a machine that runs tests is busy
PIECES = 20


def with_flights(url: str, owner: str, play: Callable[[ValkeyFlights], Awaitable[None]]) -> None:
    async def main() -> None:
        server = SingleServer(parse(url), DEADLINE_S)
        await server.open()
        flights = ValkeyFlights(server, Hour(), owner)
        try:
            await play(flights)
        finally:
            await flights.close()
            await server.close()

    asyncio.run(main())


def lead(url: str, owner: str, line: Connection) -> None:
    """Lead; when told, say the time again and again, then land."""

    async def play(flights: ValkeyFlights) -> None:
        lease = await flights.board(FLIGHT)
        line.send(lease.led)
        told = asyncio.ensure_future(asyncio.to_thread(line.recv))
        while not told.done():
            await flights.renew(FLIGHT, lease.generation)
            await asyncio.wait([told], timeout=0.5)
        for _ in range(PIECES):
            await flights.append(FLIGHT, lease.generation, (Delta(str(time.monotonic_ns())),))
            await asyncio.sleep(0.03)
        await flights.land(FLIGHT, lease.generation, Landing(an_entry(1, SystemClock().wall_ms())))

    with_flights(url, owner, play)


def lead_until_killed(url: str, owner: str, line: Connection) -> None:
    """Lead, say one word, renew."""

    async def play(flights: ValkeyFlights) -> None:
        lease = await flights.board(FLIGHT)
        line.send(lease.led)
        await flights.append(FLIGHT, lease.generation, (Delta("half"),))
        while await flights.renew(FLIGHT, lease.generation):
            await asyncio.sleep(0.5)

    with_flights(url, owner, play)


def measure(url: str, owner: str, line: Connection) -> None:
    """Follow; report how many nanoseconds each piece took."""

    async def play(flights: ValkeyFlights) -> None:
        lease = await flights.board(FLIGHT)
        line.send(lease.led)
        took = []
        async for piece in flights.follow(FLIGHT, lease.generation):
            if isinstance(piece, Delta):
                took.append(time.monotonic_ns() - int(piece.text))
        line.send(took)

    with_flights(url, owner, play)


def outlive(url: str, owner: str, line: Connection) -> None:
    """Follow until the leader is lost; report what was heard and whether the next lease is ours."""

    async def play(flights: ValkeyFlights) -> None:
        lease = await flights.board(FLIGHT)
        try:
            async for piece in flights.follow(FLIGHT, lease.generation):
                assert isinstance(piece, Delta)
                line.send(piece.text)
        except LeaderLost:
            line.send((await flights.board(FLIGHT)).led)
        await asyncio.to_thread(line.recv)

    with_flights(url, owner, play)
