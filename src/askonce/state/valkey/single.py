"""One server, over one connection per process that is opened anew whenever it was lost.

While it is away every call fails at once, so that a frozen server costs the calls that were in the air one deadline
and all others nothing.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from typing import Any

import hiredis

from askonce.domain.errors import StoreUnavailable
from askonce.state.valkey import address as addresses
from askonce.state.valkey.address import Address
from askonce.state.valkey.line import Line, connect
from askonce.state.valkey.replies import is_elsewhere, refused
from askonce.state.valkey.server import Script, Word, away, reason

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0  # between two tries to connect
CONNECT_S = 1.0  # a try: it holds nobody up

_log = logging.getLogger("askonce.state")


class SingleServer:
    """Speak with one server. `deadline_s` is for each call. Raises `ConfigError` for files of TLS that are not good."""

    shards = 1

    def __init__(self, address: Address, deadline_s: float) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._security = addresses.security(address)
        self._line: Line | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False
        self.ailment = "it was not connected yet"

    async def call(self, *words: Word) -> Any:
        """Do one command."""
        reply = await self._ready().ask(words)
        if isinstance(reply, hiredis.ReplyError):
            raise self._refused(str(reply))
        return reply

    async def act(self, script: Script, keys: Sequence[bytes], args: Sequence[Word] = ()) -> Any:
        """Run a script, loading it where the server does not know it."""
        reply = await self._ready().ask((b"EVALSHA", script.sha, len(keys), *keys, *args))
        if isinstance(reply, hiredis.ReplyError):
            if not str(reply).startswith("NOSCRIPT"):
                raise self._refused(str(reply))
            reply = await self._ready().ask((b"EVAL", script.text, len(keys), *keys, *args))
            if isinstance(reply, hiredis.ReplyError):
                raise self._refused(str(reply))
        return reply

    def subscriber(self) -> Any:
        """Return a subscription over a connection of its own."""
        # Imported by who follows flights of other processes only: it takes 100 ms.
        from askonce.state.valkey.library import make_client  # noqa: PLC0415

        return make_client(self._address, self._address.hosts[0]).pubsub()

    async def open(self) -> None:
        """Wait until it is connected, or the first try failed; from then on it connects by itself."""
        if self._line is None:
            self._reconnect()
        task = self._connecting
        for _ in range(round(CONNECT_S / 0.01)):
            if self._line is not None or task is None or task.done() or self.ailment != "it was not connected yet":
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Hang up."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._line is not None:
            self._line.end("it was hung up")

    def _ready(self) -> Line:
        line = self._line
        if line is None:
            self._reconnect()
            raise away(self.ailment, unsent=True)
        return line

    def _refused(self, text: str) -> Exception:
        error = refused(text)
        if is_elsewhere(text) and self._line is not None:
            self._line.end(str(error))
        return error

    def _lose(self, why: str) -> None:
        self._line = None
        self.ailment = why
        if not self._closed:
            _log.warning("Valkey/Redis at %s is away: %s", self._address.shown, why)
            self._reconnect()

    def _reconnect(self) -> None:
        if not self._closed and (self._connecting is None or self._connecting.done()):
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        wait_s, told = FIRST_WAIT_S, False
        while not self._closed:
            try:
                self._line = await self._greeted()
            except (OSError, StoreUnavailable) as error:
                self.ailment = reason(error) or "no connection within the deadline"
                if not told:
                    _log.warning("Valkey/Redis at %s cannot be reached: %s", self._address.shown, self.ailment)
                    told = True
            else:
                if self.ailment:
                    _log.info("Valkey/Redis at %s is connected", self._address.shown)
                self.ailment = ""
                return
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 no secret
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _greeted(self) -> Line:
        """Open a connection over which the server answers. Raises `OSError`."""
        address = self._address
        (host, port), *_ = address.hosts
        opened: list[Line] = []

        def lost(why: str) -> None:
            if opened and self._line is opened[0]:
                self._lose(why)

        try:
            async with asyncio.timeout(CONNECT_S):
                line = await connect(host, port, self._security, self._deadline_s, lost)
                opened.append(line)
                try:
                    for words in greeting(address):
                        reply = await line.ask(words)
                        if isinstance(reply, hiredis.ReplyError):
                            raise refused(str(reply))
                except BaseException:
                    line.end("it was not greeted")
                    raise
        except TimeoutError as error:
            raise OSError("no connection within the deadline") from error
        return line


def greeting(address: Address) -> list[tuple[Word, ...]]:
    """Return the commands with which a connection begins."""
    words: list[tuple[Word, ...]] = []
    if address.password:
        words.append(("AUTH", address.user, address.password) if address.user else ("AUTH", address.password))
    if address.db:
        words.append(("SELECT", address.db))
    return [*words, ("PING",)]
