"""Taps on the worker's shoulder."""

import asyncio
from pathlib import Path

from askonce.workflows.wake import SOCKET, WakeListener, Waker


def test_a_tap_is_heard_and_one_at_a_closed_door_harms_nobody(tmp_path: Path) -> None:
    async def act() -> None:
        heard = asyncio.Event()
        waker, listener = Waker(tmp_path), WakeListener(tmp_path, heard.set)
        waker.wake()
        listener.open()
        waker.wake()
        await asyncio.wait_for(heard.wait(), 10)
        listener.close()
        waker.wake()
        waker.close()

    asyncio.run(act())


def test_a_new_worker_listens_where_a_killed_one_did(tmp_path: Path) -> None:
    async def act() -> None:
        dead, heard = WakeListener(tmp_path, lambda: None), asyncio.Event()
        dead.open()
        listener = WakeListener(tmp_path, heard.set)
        listener.open()
        waker = Waker(tmp_path)
        waker.wake()
        await asyncio.wait_for(heard.wait(), 10)
        waker.close()
        listener.close()
        dead.close()

    asyncio.run(act())


def test_any_number_of_taps_that_nobody_reads_harms_nobody(tmp_path: Path) -> None:
    async def act() -> None:
        listener, waker = WakeListener(tmp_path, lambda: None), Waker(tmp_path)
        listener.open()
        for _ in range(10_000):
            waker.wake()
        listener.close()
        waker.close()

    asyncio.run(act())


def test_a_folder_that_is_too_deep_for_a_socket_only_means_no_taps(tmp_path: Path) -> None:
    async def act() -> None:
        deep = tmp_path / ("x" * 100)
        deep.mkdir()
        listener = WakeListener(deep, lambda: None)
        listener.open()
        waker = Waker(deep)
        waker.wake()
        waker.close()
        listener.close()
        assert not (deep / SOCKET).exists()

    asyncio.run(act())
