"""What real processes do with budgets in the tests. Each function runs in a process of its own."""

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from askonce.domain.budget import Account, Amounts, Reservation
from askonce.domain.clock import SystemClock
from askonce.domain.identity import Budget
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_state import LmdbState

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

    async def play(budgets: LmdbBudgets) -> None:
        let_in = 0
        line.send("ready")
        line.recv()
        for _ in range(1_000):
            reservation = await budgets.reserve((PLENTY, REQUESTS), Amounts(1, ESTIMATE, ESTIMATE))
            if isinstance(reservation, Reservation):
                let_in += 1
                await budgets.settle(reservation, Amounts(1, ESTIMATE, ESTIMATE))
        line.send(let_in)

    state, budgets = opened(folder, owner)
    asyncio.run(play(budgets))
    state.close()


def spend(folder: Path, owner: str, line: Connection) -> None:
    """Keep some calls in flight for ever, each taking at most what was estimated; report each that was settled."""

    async def play(budgets: LmdbBudgets) -> None:
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

    _, budgets = opened(folder, owner)
    asyncio.run(play(budgets))
