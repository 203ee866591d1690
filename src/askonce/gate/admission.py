"""Who asks, and is there room? The first guard of the road.

Store away: open. The threshold then works with this process's share of each limit (see `state.fallback`).

Without configured keys only loopback is served (unless told to serve openly), and no request whose Host or Origin is
foreign: a web page that the owner visits must not be able to spend the owner's provider keys. With keys, every guarded
door needs one. A key or session that is sent but unknown is refused, never taken for a new identity.

The vendors' client libraries cannot leave the key out. For them a server without keys knows one word that stands for
none: `askonce`. Whoever sends it is the same caller as without it.
"""

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from socket import AF_INET, inet_pton

from msgspec import Struct

from askonce.domain.caller import ANONYMOUS_TENANT, Caller
from askonce.domain.errors import Forbidden, RateLimited, Unauthorized
from askonce.domain.ports import Verdict, Window

# Hosts, proxies and unusual addresses are judged once and remembered; past this many the memory starts anew, so that
# a flood of different ones costs time but no memory.
REMEMBERED = 4096
# No address and no name of this machine is longer; what is gets no place in that memory.
NAME_CEILING = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NO_KEY = "askonce"
NO_KEYS_HERE = (
    f"This server has no keys configured, so it accepts none: leave the key out, send '{NO_KEY}' where a client "
    "insists on one, or list it in ASKONCE_KEYS and restart."
)
UNKNOWN_KEY = "This key is not known here. Check it for typing errors, or ask the operator for a valid one."
KEY_NEEDED = "Send a key as 'Authorization: Bearer <key>' or 'x-api-key: <key>'."
TWO_KEYS = "Two different keys were sent, in Authorization and in x-api-key. Send one of them."
NO_SESSIONS = "This session is not known here. Leave out X-Session-Id and the sessionId cookie, or send a key."


class Approach(Struct):
    """Hold what a request says about its sender. Header values as sent; None where absent."""

    peer: str
    host: str | None = None
    origin: str | None = None
    forwarded_for: str | None = None
    authorization: str | None = None
    api_key: str | None = None
    session: bool = False


class Client(Struct, frozen=True):
    """Hold a client's address, the name of its window, and whether it is this machine."""

    address: str
    window: str
    is_loopback: bool


UNKNOWN = Client("unknown", "unknown", False)


class OverLimit(RateLimited):
    """Refuse a request that its window has no room for, and carry what the window said."""

    def __init__(self, message: str, window: Window, verdict: Verdict) -> None:
        super().__init__(message, retry_after_s=-(-verdict.reset_ns // 1_000_000_000))
        self.window = window
        self.verdict = verdict


class Admission:
    """Tell callers apart. `keys` maps secrets to tenants; `trusted` are the networks of our own proxies."""

    def __init__(self, keys: Sequence[tuple[str, str]], trusted: Sequence[str], open_to_all: bool) -> None:
        self._callers = {_digest(secret): _key_caller(secret, tenant) for secret, tenant in keys}
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(net) for net in trusted)
        self._keyless = not keys
        self._loopback_only = self._keyless and not open_to_all
        self._clients: dict[str, Client] = {}
        self._proxies: dict[str, bool] = {}
        self._local_hosts: dict[str, bool] = {}

    def address(self, approach: Approach) -> Caller:
        """Return the caller by its address alone, for counting what is refused before a key is known."""
        return _anonymous(self._client(approach))

    def identify(self, approach: Approach) -> Caller:
        """Return who asks. Raises `Unauthorized` and `Forbidden`."""
        if self._keyless:
            return self._identify_keyless(approach)
        if approach.session:
            raise Unauthorized(NO_SESSIONS)
        secret = _sent_key(approach)
        if secret is None:
            raise Unauthorized(KEY_NEEDED)
        caller = self._callers.get(_digest(secret))
        if caller is None:
            raise Unauthorized(UNKNOWN_KEY)
        if approach.api_key is not None and approach.api_key != secret:
            raise Unauthorized(TWO_KEYS)
        return caller

    def pass_host(self, approach: Approach) -> None:
        """Refuse a foreign Host or Origin where no key protects the owner. Raises `Forbidden`."""
        if not self._keyless:
            return
        if self._loopback_only and approach.host is not None and not self._is_local(approach.host):
            raise Forbidden(
                f"The Host {approach.host[:100]!r} is not this machine. Use http://127.0.0.1 or http://localhost, "
                "or configure keys (ASKONCE_KEYS) to serve under other names."
            )
        if approach.origin is not None and (
            not approach.host or approach.origin.partition("://")[2].lower() != approach.host.lower()
        ):
            raise Forbidden("A web page of another origin may not use this server while it has no keys.")

    def _identify_keyless(self, approach: Approach) -> Caller:
        self.pass_host(approach)
        if approach.authorization is not None or approach.api_key is not None:
            _refuse_keys(approach)
        if approach.session:
            raise Unauthorized(NO_SESSIONS)
        client = self._client(approach)
        if self._loopback_only and not client.is_loopback:
            raise Forbidden("Without keys only this machine is served. Configure ASKONCE_KEYS to serve others.")
        return _anonymous(client)

    def _client(self, approach: Approach) -> Client:
        """Walk from the peer outwards while the hop is one of our proxies; what a proxy says of others counts."""
        client = self._read(approach.peer)
        if not self._trusted or not approach.forwarded_for or not self._is_trusted(client):
            return client
        hops = approach.forwarded_for.split(",")
        while hops and self._is_trusted(client):
            hop = self._read(hops.pop().strip())
            if hop is UNKNOWN:
                break
            client = hop
        return client

    def _read(self, text: str) -> Client:
        try:
            inet_pton(AF_INET, text)  # strict, and thirty times as fast as parsing: the only form most peers have
        except (OSError, ValueError):
            return self._read_slowly(text)
        return Client(text, text, text.startswith("127."))

    def _read_slowly(self, text: str) -> Client:
        if len(text) > NAME_CEILING:
            return UNKNOWN
        client = self._clients.get(text)
        if client is None:
            _make_room(self._clients)
            client = self._clients[text] = _client(_parse(text))
        return client

    def _is_trusted(self, client: Client) -> bool:
        trusted = self._proxies.get(client.address)
        if trusted is None:
            address = _parse(client.address)
            _make_room(self._proxies)
            trusted = self._proxies[client.address] = address is not None and any(address in n for n in self._trusted)
        return trusted

    def _is_local(self, host: str) -> bool:
        if len(host) > NAME_CEILING:
            return False
        local = self._local_hosts.get(host)
        if local is None:
            _make_room(self._local_hosts)
            local = self._local_hosts[host] = _names_loopback(host)
        return local


def _refuse_keys(approach: Approach) -> None:
    """Raise `Unauthorized` unless all that was sent is the word for no key."""
    sent = {_sent_key(approach), approach.api_key if approach.api_key is not None else NO_KEY}
    if sent != {NO_KEY}:
        raise Unauthorized(NO_KEYS_HERE)


def _digest(secret: str) -> bytes:
    # Looked up by digest, so that the time of the look-up tells nothing about how much of a guess was right.
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _key_caller(secret: str, tenant: str) -> Caller:
    key_id = _digest(secret).hex()[:12]
    return Caller(identity=f"key:{key_id}", tenant=tenant, key_id=key_id)


def _sent_key(approach: Approach) -> str | None:
    if approach.authorization is not None:
        scheme, _, secret = approach.authorization.partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else ""
    return approach.api_key


def _parse(text: str) -> Address | None:
    """Read an address as sockets and proxies write it: bare, `[v6]`, `v4:port`, `[v6]:port`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _client(address: Address | None) -> Client:
    """Name the window of an address: one per IPv4 address, one per IPv6 /64 (what one customer gets)."""
    if address is None:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address) and not address.is_loopback:
        return Client(str(address), str(ipaddress.ip_network((address, 64), strict=False)), False)
    return Client(str(address), str(address), address.is_loopback)


def _anonymous(client: Client) -> Caller:
    return Caller(f"addr:{client.window}", ANONYMOUS_TENANT)


def _names_loopback(host: str) -> bool:
    """Read a Host header (RFC 9110, 7.2: a name or address, then perhaps a port). What is not one names nothing."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    bracketed, name = match.groups()
    if name and name.lower().removesuffix(".") == "localhost":
        return True
    address = _parse(bracketed or name)
    return address is not None and address.is_loopback


_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z.-]+))(?::[0-9]{0,5})?")


def _make_room(memory: dict[str, Client] | dict[str, bool]) -> None:
    if len(memory) >= REMEMBERED:
        memory.clear()
