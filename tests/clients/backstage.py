"""A gateway as it is run, with vendors behind it that play what a test sets: all real servers, on loopback."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.providers.upstream import Play, Upstream, reply
from tests.system.houses import House

KEY = "client-key-of-tests"
VENDOR_KEY = "sk-ant-of-the-house-0123456789"


class Stage:
    """Hold the gateway's address and the vendors' playbooks. Plays are replaced between requests."""

    def __init__(self, house: House, anthropic: Upstream, openai: Upstream) -> None:
        self.house = house
        self.anthropic = anthropic
        self.openai = openai

    @property
    def url(self) -> str:
        """Return the gateway's address."""
        return self.house.url

    def play(self, *plays: Play, on: str = "anthropic") -> Upstream:
        """Set what a vendor answers from now on, one play per request; forget what it has seen."""
        vendor: Upstream = getattr(self, on)
        vendor.seen.clear()
        vendor.plays[:] = plays
        return vendor


@contextmanager
def stage(folder: Path, env: dict[str, str] | None = None) -> Iterator[Stage]:
    """Run two vendors, `anthropic` and the OpenAI-shaped `workshop`, in a thread, and a gateway before them."""
    with _upstreams() as (anthropic, openai):
        settings = "\n".join(
            (
                'limit_llm = "off"',
                'limit_standard = "off"',
                "[providers.anthropic]",
                f'base_url = "http://127.0.0.1:{anthropic.port}"',
                f'api_key = "{VENDOR_KEY}"',
                "[providers.workshop]",
                f'base_url = "http://127.0.0.1:{openai.port}/v1"',
                'models = ["w-1"]',
            )
        )
        house = House(folder, settings, playing="", env={"ASKONCE_KEYS": KEY, **(env or {})})
        try:
            yield Stage(house.start(), anthropic, openai)
        finally:
            house.end()


@contextmanager
def _upstreams() -> Iterator[tuple[Upstream, Upstream]]:
    """Serve both vendors from a thread of their own, so that clients that block do not stop them."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    one, other = (Upstream(aside=reply(404, {"error": {"message": "No list here."}})) for _ in range(2))
    try:
        for upstream in (one, other):
            asyncio.run_coroutine_threadsafe(upstream.__aenter__(), loop).result(10)
        yield one, other
    finally:
        for upstream in (one, other):
            asyncio.run_coroutine_threadsafe(upstream.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
