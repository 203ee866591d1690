"""The worker's process for the supervisor's tests: the real working, with nothing to do in the worker's place.

ASKONCE_LIMIT_MESSAGE, which nothing here uses otherwise, tells how to misbehave.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.supervisor.working import run


class StandIn:
    def __init__(self, config: Config, incarnation: int, greet: Callable[[str], None] | None) -> None:
        self._diary = Path(config.data_dir) / "diary"
        if config.limit_message == "worker hopeless":
            raise ConfigError("this will never work")
        self._note(f"began {os.getpid()} {'welcoming' if greet else 'silent'}")
        if greet is not None:
            greet("THE-WORD")

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._note("ended")

    def beat(self) -> None:
        pass

    def _note(self, words: str) -> None:
        with self._diary.open("a") as diary:
            diary.write(words + "\n")


if __name__ == "__main__":
    sys.exit(run(StandIn))
