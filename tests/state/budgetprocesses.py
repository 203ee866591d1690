"""What real processes do with budgets in the tests. Each function runs in a process of its own."""

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from askonce.domain.budget import Account, Amounts, Budgets, Reservation
from askonce.domain.clock import SystemClock
from askonce.domain.identity import Budget
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_state import LmdbState
from askonce.state.valkey.address import parse
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.server import Hour
from askonce.state.valkey.single import SingleServer

ESTIMATE = 10
REQUESTS = Account("tenant:t", (Budget("requests", "month", 500),))
MONEY = Account("key:k", (Budget("nano_dollars", "month", 20_000, soft=0.2),), 12)
PLENTY = Account("user:u", (Budget("nano_dollars", "month", 10**9), Budget("tokens", "day", 10**9)))


def opened(folder: Path, owner: str) -> tuple[LmdbState, LmdbBudgets]:
    """Open the state; an alert is written into it as one record more under `z`."""
    state = LmdbState(folder, 1 << 20, SystemClock(), owner)
    state.open()

    def append(txn: object, _: object) -> None:
        count = int.from_bytes(txn.get(b"z") or b"", "big")  # type: ignore[attr-defined]
        txn.put(b"z", (count + 1).to_bytes(4, "big"))  # type: ignore[attr-defined]

    return state, LmdbBudgets(state._desk, SystemClock(), owner, append)


def hammer(folder: Path, owner: str, line: Connection) -> None:
    """Try 1,000 calls as fast as possible; report how many were let in."""
    state, budgets = opened(folder, owner)
    asyncio.run(_hammer(budgets, line))
    state.close()


def hammer_server(url: str, owner: str, line: Connection) -> None:
    """Do the same over a server, eight at once."""

    async def play() -> None:
        server = SingleServer(parse(url), 10.0)
        await server.open()
        await _hammer(ValkeyBudgets(server, Hour(), SystemClock(), owner), line, 8)
        await server.close()

    asyncio.run(play())


async def _hammer(budgets: Budgets, line: Connection, side_by_side: int = 1) -> None:
    async def some() -> int:
        let_in = 0
        for _ in range(1_000 // side_by_side):
            reservation = await budgets.reserve((PLENTY, REQUESTS), Amounts(1, ESTIMATE, ESTIMATE))
            if isinstance(reservation, Reservation):
                let_in += 1
                await budgets.settle(reservation, Amounts(1, ESTIMATE, ESTIMATE))
        return let_in

    line.send("ready")
    line.recv()
    line.send(sum(await asyncio.gather(*(some() for _ in range(side_by_side)))))


def spend(folder: Path, owner: str, line: Connection) -> None:
    """Keep some calls in flight for ever, each taking at most what was estimated; report each that was settled."""
    _, budgets = opened(folder, owner)
    asyncio.run(_spend(budgets, owner, line))


def spend_on_server(url: str, owner: str, line: Connection) -> None:
    """Do the same over a server."""

    async def play() -> None:
        server = SingleServer(parse(url), 10.0)
        await server.open()
        await _spend(ValkeyBudgets(server, Hour(), SystemClock(), owner), owner, line)

    asyncio.run(play())


async def _spend(budgets: Budgets, owner: str, line: Connection) -> None:
    dice, held = Random(owner), list[Reservation]()
    while True:
        answer = await budgets.reserve((MONEY, PLENTY), Amounts(1, ESTIMATE, ESTIMATE))
        if isinstance(answer, Reservation):
            held.append(answer)
        if held and (len(held) == 4 or not isinstance(answer, Reservation)):
            took = dice.randint(0, ESTIMATE)
            await budgets.settle(held.pop(dice.randrange(len(held))), Amounts(1, took, took))
            line.send(took)
        await budgets.renew()
