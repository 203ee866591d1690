"""A gateway process for the supervisor's tests: the real serving, with a tiny application in the gateway's place.

Its application answers with its process id; `/slow?S` after S seconds; `/hang?S` blocks the loop for S seconds.
ASKONCE_LIMIT_MESSAGE, which nothing here uses otherwise, tells how to misbehave at the start.
"""

import asyncio
import os
import sys
import time
from typing import Any

from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.supervisor.serving import run


class StandIn:
    def __init__(self, slot: int, incarnation: int) -> None:
        self._about = f"{slot} {incarnation} {os.getpid()}"

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        seconds = float(scope["query_string"] or 0)
        if scope["path"] == "/slow":
            await asyncio.sleep(seconds)
        if scope["path"] == "/hang":
            time.sleep(seconds)  # noqa: ASYNC251 - this is what is tested
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self._about.encode()})

    async def start(self) -> None:
        pass

    def leave(self) -> None:
        pass

    async def drain(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def beat(self) -> None:
        pass


def build(config: Config, slot: int, incarnation: int) -> StandIn:
    if config.limit_message == "die":
        os._exit(1)
    if config.limit_message == "hopeless":
        raise ConfigError("this will never work")
    if config.limit_message == "die second" and slot == 1:
        os._exit(1)
    return StandIn(slot, incarnation)


if __name__ == "__main__":
    sys.exit(run(build))
