"""A gateway that listens: the world of the API tests behind a real uvicorn on a loopback port, in a thread."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import uvicorn
from tests.api.conftest import World

from askonce.domain.ports import Provider

START_S = 10.0  # a server on loopback is up in milliseconds; later is never

# Opens a provider inside the server's loop, and closes it there.
Opening = Callable[[], AbstractAsyncContextManager[Provider]]


def already(provider: Provider) -> Opening:
    """Open a provider that needs no opening."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Provider]:
        yield provider

    return opened


@contextmanager
def served(world: World, opening: Opening) -> Iterator[str]:
    """Serve a world whose provider is `opening`'s; yields the address without a path."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    servers: list[uvicorn.Server] = []
    up = threading.Event()

    async def serve() -> None:
        async with opening() as provider:
            provider.name = "fake"  # as the world routes
            world.provider = provider  # type: ignore[assignment]
            config = uvicorn.Config(world.build(), lifespan="off", log_config=None)
            server = _Server(config, up)
            servers.append(server)
            await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(START_S), "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        for server in servers:
            server.should_exit = True
        thread.join()
        listener.close()


class _Server(uvicorn.Server):
    """Tell when it listens; leave the signals of the process alone."""

    def __init__(self, config: uvicorn.Config, up: threading.Event) -> None:
        super().__init__(config)
        self._up = up

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: this is not the main thread."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        self._up.set()
