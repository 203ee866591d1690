"""What the parts of shared state need of Valkey or Redis: commands, atomic scripts, the time.

All keys begin with `PREFIX`, whose number is that of the layout: two releases that share it share what is stored.
What a script touches stands under one hash tag, so that it is one slot of a Cluster.

Time is the server's (`TIME`), in microseconds since the epoch, so that it is one for all nodes. Numbers in Lua are
doubles: exact for microseconds and counts; money is added by `HINCRBY`, which is exact to 63 bits.
"""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Protocol, TypeAlias

from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable

PREFIX = b"askonce:1:"
BOOKS = PREFIX + b"{b}"  # what must be one slot: sums, counters, outbox, budgets, keys, logins

_AWAY = "Shared state is away: "

Word: TypeAlias = bytes | str | int

# To begin a script with that needs the time; the first argument of such a script is `Hour.told()`.
NOW = """
local function now_us()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
"""


class Unsent(StoreUnavailable):
    """Report that shared state is away and that the act was certainly not done."""


class Script:
    """Hold a Lua script and the SHA-1 that the server knows it by."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = sha1(self.text, usedforsecurity=False).hexdigest().encode()


class Server(Protocol):
    """Do commands and scripts, each within the deadline. What is known as not done is told by `Unsent`.

    Replies are bytes, whole numbers, lists of those, or None. Everything that goes wrong raises `StoreUnavailable`.
    """

    shards: int  # hash tags over which answers and windows are spread; 1: any keys may meet in one script

    async def call(self, *words: Word) -> Any:
        """Do one command; its second word is the key."""
        ...

    async def act(self, script: Script, keys: Sequence[bytes], args: Sequence[Word] = ()) -> Any:
        """Run a script, loading it where the server does not know it."""
        ...

    def subscriber(self) -> Any:
        """Return a `redis.asyncio` subscription over a connection of its own; to be closed by `aclose`."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class Hour:
    """Tell scripts the time: nothing, so that they ask the server, or that of a clock which is set by hand."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock

    def told(self) -> bytes:
        """Return the first argument of a script that begins with `NOW`."""
        return b"" if self._clock is None else b"%d" % (self._clock.wall_ms() * 1000)


def away(why: str, *, unsent: bool = False) -> StoreUnavailable:
    """Make the error of a store that cannot be used."""
    return (Unsent if unsent else StoreUnavailable)(f"{_AWAY}{why}.", retry_after_s=1)


def reason(error: Exception) -> str:
    """Return why a store is away, of an error of `away` or any other."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).removeprefix(_AWAY).removesuffix(".")
