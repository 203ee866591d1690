"""What the reference does when it stands in for a store that is away."""

import asyncio

from tests.state.statefakes import SECOND, HandClock

from askonce.domain.ports import Window
from askonce.state import memory
from askonce.state.memory import MemoryWindows


def held(windows: MemoryWindows) -> int:
    return len(windows._shelf)


def test_windows_in_which_nothing_counts_are_forgotten() -> None:
    clock = HandClock()
    windows = MemoryWindows(clock)
    for number in range(100):
        asyncio.run(windows.take(Window(f"llm|addr:{number}", 20, 60 * SECOND)))
    windows.sweep()
    assert held(windows) == 100
    clock.pass_s(61)
    windows.sweep()
    assert held(windows) == 0


def test_a_flood_of_identities_does_not_grow_without_end(monkeypatch) -> None:
    monkeypatch.setattr(memory, "WINDOWS_MAX", 50)
    windows = MemoryWindows(HandClock())
    for number in range(51):
        asyncio.run(windows.take(Window(f"llm|addr:{number}", 20, 60 * SECOND)))
    windows.sweep()
    assert held(windows) == 0
