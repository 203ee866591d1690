"""A process that is asked once: stdin in, stdout out, both bounded, killed when its time is over.

Cancelled: the process is killed and reaped before the cancellation goes on.
"""

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

_READ = 65536


class Said(Struct, frozen=True):
    """Hold what a process wrote, and how it ended: `code` as it exited, negative for a signal.

    `cut`: why it was killed by us, "" where it was not.
    """

    out: bytes
    code: int
    cut: Literal["", "time", "size"] = ""


async def ask(command: Sequence[str], question: bytes, seconds: float, most_bytes: int) -> Said:
    """Run a command to its end, or until `seconds` are over or it wrote more than `most_bytes`. Raises OSError."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    out = bytearray()
    cut: Literal["", "time", "size"] = "time"
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as together:
                together.create_task(_tell(process, question))
                cut = "" if await _hear(process, out, most_bytes) else "size"
                if cut:
                    process.kill()
                await process.wait()
    finally:
        await _end(process)
    return Said(bytes(out), process.returncode or 0, cut)


async def _tell(process: Process, question: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - for the type checker
    with contextlib.suppress(ConnectionError):  # it died; what it wrote tells
        process.stdin.write(question)
        await process.stdin.drain()
    with contextlib.suppress(ConnectionError):
        process.stdin.close()
        await process.stdin.wait_closed()


async def _hear(process: Process, out: bytearray, most_bytes: int) -> bool:
    """Read to the end, or until it is too much (False)."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    while piece := await process.stdout.read(_READ):
        out += piece
        if len(out) > most_bytes:
            return False
    return True


async def _end(process: Process) -> None:
    """Kill it if it still runs, and reap it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
