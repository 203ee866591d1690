"""Sentinel and Cluster, by the maintained client `redis-py`: it finds the master, follows moved slots and reconnects.

It costs more processor time per call than the one line to a single server, and knows what those deployments need.
"""

import asyncio
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import redis.asyncio as library
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from askonce.state.valkey import address as addresses
from askonce.state.valkey.address import Address
from askonce.state.valkey.replies import refused
from askonce.state.valkey.server import Script, Word, away

CONNECT_S = 1.0
SHARDS = 64  # of a Cluster: what is spread stands under so many hash tags
RESTS_NS = 500_000_000  # after a call that was late: so long all others fail at once
CONNECTIONS = 64
_OWN = ("CLUSTER", "COMMAND", "SENTINEL")  # commands whose replies the library reads for itself


class LibraryServer:
    """Speak with the master of some sentinels, or with a Cluster. `deadline_s` is for each call."""

    def __init__(self, address: Address, deadline_s: float) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._client = _make(address, deadline_s)
        _leave_replies_alone(self._client.response_callbacks)
        self._rests_until_ns = 0
        self.shards = SHARDS if address.kind == "cluster" else 1
        self.ailment = ""

    async def call(self, *words: Word) -> Any:
        """Do one command."""
        return await self._within(lambda: self._client.execute_command(*words))

    async def act(self, script: Script, keys: Sequence[bytes], args: Sequence[Word] = ()) -> Any:
        """Run a script, loading it where the server does not know it."""
        return await self._within(lambda: self._run(script, (len(keys), *keys, *args)))

    def subscriber(self) -> Any:
        """Return a subscription over a connection of its own: messages reach all nodes of a Cluster."""
        if self._address.kind == "sentinel":
            return self._client.pubsub()
        node = self._client.get_random_node()
        return make_client(self._address, (node.host, node.port)).pubsub()

    async def open(self) -> None:
        """See whether it answers; if not, later calls find out."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            self.ailment = str(error) or "no answer within the deadline"

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def _run(self, script: Script, words: Sequence[Word]) -> Any:
        try:
            return await self._client.execute_command("EVALSHA", script.sha, *words)
        except NoScriptError:
            return await self._client.execute_command("EVAL", script.text, *words)

    async def _within(self, act: Callable[[], Any]) -> Any:
        if time.monotonic_ns() < self._rests_until_ns:
            raise away(self.ailment or "it rests", unsent=True)
        try:
            async with asyncio.timeout(self._deadline_s):
                reply = await act()
        except TimeoutError as error:
            self._rest(f"it did not answer within {self._deadline_s * 1000:.0f} ms")
            raise away(self.ailment) from error
        except ResponseError as error:
            raise refused(str(error)) from error
        except (RedisError, OSError) as error:
            self._rest(str(error) or type(error).__name__)
            raise away(self.ailment) from error
        self.ailment = ""
        return reply

    def _rest(self, why: str) -> None:
        self.ailment = why
        self._rests_until_ns = time.monotonic_ns() + RESTS_NS


def make_client(address: Address, host: tuple[str, int]) -> Any:
    """Make a client for one server, which leaves it to its user to try again."""
    options = _options(address, None) | {"db": address.db, "retry": Retry(NoBackoff(), 0)}
    if host[0].startswith("/"):
        return library.Redis(unix_socket_path=host[0], **options)
    return library.Redis(host=host[0], port=host[1], **options)


def _make(address: Address, deadline_s: float) -> Any:
    options = _options(address, deadline_s)
    retry = Retry(NoBackoff(), 0)
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, max_connections=CONNECTIONS, **options)
    own = {"username": address.options.get("sentinel_user"), "password": address.options.get("sentinel_password")}
    plain = {name: value for name, value in options.items() if name not in ("username", "password", "client_name")}
    sentinel = Sentinel(list(address.hosts), sentinel_kwargs=plain | own)  # type: ignore[no-untyped-call]
    return sentinel.master_for(address.master, db=address.db, retry=retry, max_connections=CONNECTIONS, **options)


def _leave_replies_alone(callbacks: MutableMapping[str, Any]) -> None:
    """Keep the library from reading replies for us, but those that it needs itself."""
    for name in [name for name in callbacks if not name.upper().startswith(_OWN)]:
        del callbacks[name]


def _options(address: Address, deadline_s: float | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": address.user or None,
        "password": address.password or None,
        "client_name": "askonce",
        "socket_connect_timeout": CONNECT_S if deadline_s is None else deadline_s,
        "socket_timeout": deadline_s,
    }
    security = addresses.security(address)
    if security is not None:
        options |= {
            "ssl": True,
            "ssl_ca_certs": address.options.get("tls_ca"),
            "ssl_certfile": address.options.get("tls_cert"),
            "ssl_keyfile": address.options.get("tls_key"),
            "ssl_cert_reqs": "required" if security.check_hostname else "none",
            "ssl_check_hostname": security.check_hostname,
        }
    return options
