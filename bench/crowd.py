"""The yardstick for flights: a plain ASGI app that lets its callers wait until all are there, then answers all at once.

usage: crowd.py PORT CALLERS BODY_BYTES   (the header x-released-ns is the moment, on the machine's monotonic clock)
"""

import asyncio
import sys
import time
from typing import Any

import uvicorn

port, callers, size = map(int, sys.argv[1:])
BODY = {"type": "http.response.body", "body": b"x" * size}


class Gate:
    """Open when everybody is there."""

    def __init__(self) -> None:
        self.waiting = 0
        self.opened: asyncio.Future[bytes] | None = None

    async def wait(self) -> bytes:
        """Return the moment of the opening."""
        loop = asyncio.get_running_loop()
        self.opened = opened = self.opened or loop.create_future()
        self.waiting += 1
        if self.waiting == callers:
            self.waiting, self.opened = 0, None
            opened.set_result(b"%d" % time.monotonic_ns())
        return await asyncio.shield(opened)


gate = Gate()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer everybody alike."""
    await receive()
    moment = await gate.wait()
    headers = [(b"content-length", b"%d" % size), (b"x-released-ns", moment)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send(BODY)


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        interface="asgi3",
        backlog=2048,
    )
