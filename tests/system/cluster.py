"""The topology of many nodes without containers: Redis, PostgreSQL, gateways, and a front that spreads requests.

`make cluster` runs it for people; tests use its parts. Everything listens on loopback and ends with the process.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
from tests.ledger.postgres import Postgres
from tests.state.redisserver import running
from tests.system.clients import Answered, at_once_on, run
from tests.system.houses import ECHO, House

from askonce.domain.credentials import mint_token

NODES, WORKERS = 3, 2
LOOK_S = 0.5  # how often the front asks every node whether it is ready
PORT = 3001


class Nodes:
    """Hold several houses that share Redis and PostgreSQL by two settings."""

    def __init__(self, houses: Sequence[House], database: str) -> None:
        self.houses = houses
        self.database = database

    def start(self) -> "Nodes":
        for house in self.houses:
            house.launch()
        for house in self.houses:
            house.start_up(with_prices=True)
        return self

    def ask_all(self, bodies: list[dict[str, object]]) -> list[Answered]:
        """Ask everything at once, node after node in turn."""
        ports = itertools.cycle(house.port for house in self.houses)
        return run(at_once_on([(next(ports), body) for body in bodies]))

    def calls(self) -> int:
        """Return how many calls reached the provider."""
        return sum(len(house.calls()) for house in self.houses)

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """Ask the database."""

        async def fetch() -> list[tuple[object, ...]]:
            connection = await asyncpg.connect(self.database)
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(fetch())


class Front:
    """Pass connections on to nodes that say that they are ready, one after the other."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._ready: list[int] = [house.port for house in nodes.houses]
        self._turns = itertools.count()

    async def serve(self, port: int) -> None:
        """Serve until cancelled. Raises `OSError` where the port is taken."""
        looking = asyncio.ensure_future(self._look())
        try:
            async with await asyncio.start_server(self._pass_on, "127.0.0.1", port) as server:
                await server.serve_forever()
        finally:
            looking.cancel()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for _ in range(len(self._ready)):
                port = self._ready[next(self._turns) % len(self._ready)]
                with contextlib.suppress(OSError):
                    there = await asyncio.open_connection("127.0.0.1", port)
                    await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
                    return
            writer.close()

    async def _look(self) -> None:
        while True:
            self._ready = [house.port for house in self._nodes.houses if await _is_ready(house.port)] or self._ready
            await asyncio.sleep(LOOK_S)


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            first = await reader.readline()
            writer.close()
    except OSError:  # and a time-out
        return False
    return b" 200 " in first


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


def main() -> None:
    """Start everything, say where it is, and end it with Ctrl-C."""
    port = int(os.environ.get("ASKONCE_PORT", PORT))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="askonce-cluster-")))
        folder.chmod(0o755)  # PostgreSQL's own user passes through
        print("starting Redis and PostgreSQL …", flush=True)
        redis = stack.enter_context(running(folder / "redis", "--maxmemory-policy", "volatile-lru"))
        (folder / "postgres").mkdir()
        postgres = Postgres(folder / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        database = postgres.database()
        settings = f'secret = "{mint_token()}"\nworkers = {WORKERS}\nnodes = {NODES}\ndrain_delay = "2s"\n'
        env = {"STATE_URL": redis.url, "DATABASE_URL": database}
        env |= {name: value for name, value in os.environ.items() if name.endswith(("_API_KEY", "_BASE_URL"))}
        houses = []
        for number in range(1, NODES + 1):
            (folder / f"node{number}").mkdir()
            houses.append(House(folder / f"node{number}", settings, ECHO, env))
            stack.callback(houses[-1].end)
        print(f"starting {NODES} nodes of {WORKERS} gateways and a worker each …", flush=True)
        nodes = Nodes(houses, database).start()
        print(f"\nRedis       {redis.url}\nPostgreSQL  {database}")
        for number, house in enumerate(houses, start=1):
            print(f"node {number}      {house.url}    logs: {house.folder}/log")
        print(f"\nAll of them  http://127.0.0.1:{port}\n")
        asking = """-H 'Content-Type: application/json' -d '{"prompt": "hi"}'"""
        print(f"  curl http://127.0.0.1:{port}/llm/generate {asking}")
        print("\nAsk twice: another node answers, from the shared cache. Ctrl-C ends everything.", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(Front(nodes).serve(port))
        for house in houses:
            with contextlib.suppress(AssertionError):
                house.stop()


if __name__ == "__main__":
    main()
