"""Work that is not stopped half way: what was paid must be booked, and a lease that is held must be given back."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Finish `work` even if cancelled meanwhile; the cancellation is raised when the work is done."""
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
