"""Work that is not stopped half way: what was paid must be booked, and a lease that is held must be given back."""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Finish `work` even if cancelled meanwhile; the cancellation is raised when the work is done.

    Work that never has to wait, as over LMDB, is done at once: a task for it would cost each miss some 20 µs.
    """
    try:
        waits_for = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return await _unbroken_task(_rest(work, waits_for))


async def _unbroken_task(work: Coroutine[Any, Any, T]) -> T:
    doing = asyncio.get_running_loop().create_task(work)
    late: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait((doing,))
        except asyncio.CancelledError as error:
            late = error
    result = doing.result()
    if late is not None:
        raise late
    return result


class _Passing:
    """Wait for what a coroutine that was begun elsewhere waits for."""

    def __init__(self, waits_for: Any) -> None:
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._waits_for)


async def _rest(work: Coroutine[Any, Any, T], waits_for: Any) -> T:
    """Drive a coroutine that was begun elsewhere to its end."""
    while True:
        try:
            answer = await _Passing(waits_for)
        except BaseException as error:
            step = partial(work.throw, error)
        else:
            step = partial(work.send, answer)
        try:
            waits_for = step()
        except StopIteration as done:
            result: T = done.value
            return result
