"""What does it cost a call to be within its budgets? Reserve and settle, alone, in processor time of one process.

The yardstick, in the same rounds, is the sliding window's `take`: one read, one write, one transaction.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from askonce.domain.budget import Account, Amounts, Reservation
from askonce.domain.clock import SystemClock
from askonce.domain.identity import Budget
from askonce.domain.ports import Window
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_state import LmdbState
from bench.figures import Result, Scale, doubts, median

TARGET_US = 15
TIMES = 20_000
PLENTY = 10**15

DOLLARS = Budget("nano_dollars", "month", PLENTY, "Europe/Zurich")
ONE_EACH = tuple(Account(name, (DOLLARS,)) for name in ("key:a", "user:u", "tenant:t"))
MANY = tuple(
    Account(name, (DOLLARS, Budget("tokens", "day", PLENTY), Budget("requests", "minute", PLENTY)), 100)
    for name in ("key:a", "user:u", "tenant:t")
)
ESTIMATE, ACTUAL = Amounts(1, 1000, 5000), Amounts(1, 900, 4000)
WINDOW = Window("bench", 20, 1)


def run(folder: Path, scale: Scale) -> list[Result]:
    """Measure three kinds of call in turn, in each round."""
    state = LmdbState(folder / "budgets", 1 << 20, SystemClock(), "0:1")
    state.open()
    budgets = LmdbBudgets(state._desk, SystemClock(), "0:1", lambda *_: None)
    kinds: dict[str, Callable[[], Awaitable[object]]] = {
        "window": lambda: state.windows.take(WINDOW),
        "one": lambda: call(budgets, ONE_EACH),
        "many": lambda: call(budgets, MANY),
    }
    times = TIMES // 20 if scale.quick else TIMES
    measured: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(scale.rounds):
        for name, act in kinds.items():
            measured[name].append(asyncio.run(timed(act, times)))
        print("  ".join(f"{name} {values[-1]:.1f} µs" for name, values in measured.items()), flush=True)
    state.close()
    windows, one, many = (median(measured[name]) for name in kinds)
    noise = doubts(measured["window"], "the window's cost")
    return [
        Result("budgets", "3 accounts, a budget each", f"{one:.1f} µs", f"< {TARGET_US} µs", one < TARGET_US, noise),
        Result("budgets", "3 accounts, 3 spans and concurrency each", f"{many:.1f} µs", doubts=noise),
        Result("budgets", "the window's take, for comparison", f"{windows:.1f} µs", doubts=noise),
    ]


async def call(budgets: LmdbBudgets, accounts: tuple[Account, ...]) -> None:
    """Reserve and settle once."""
    reservation = await budgets.reserve(accounts, ESTIMATE)
    assert isinstance(reservation, Reservation)
    await budgets.settle(reservation, ACTUAL)


async def timed(act: Callable[[], Awaitable[object]], times: int) -> float:
    """Return the processor's microseconds for one."""
    began = time.process_time_ns()
    for _ in range(times):
        await act()
    return (time.process_time_ns() - began) / times / 1000
