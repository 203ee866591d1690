"""Who asks, and is there room? The first guard of the road.

Store away: open. The threshold then works with this process's share of each limit (see `state.fallback`).

Without configured keys only loopback is served (unless told to serve openly), and no request whose Host or Origin is
foreign: a web page that the owner visits must not be able to spend the owner's provider keys. With keys, every guarded
door needs one. A key or session that is sent but unknown is refused, never taken for a new identity.
"""

import hashlib
import ipaddress
from collections.abc import Sequence

from msgspec import Struct

from askonce.domain.caller import ANONYMOUS_TENANT, Caller
from askonce.domain.errors import Forbidden, RateLimited, Unauthorized
from askonce.domain.ports import Verdict, Window

# Addresses, hosts and forwarded chains are judged once and remembered; past this many the memory starts anew, so that
# a flood of different ones costs time but no memory.
REMEMBERED = 4096

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NO_KEYS_HERE = (
    "This server has no keys configured, so it accepts none: leave the key out, or list it in ASKONCE_KEYS and restart."
)
UNKNOWN_KEY = "This key is not known here. Check it for typing errors, or ask the operator for a valid one."
KEY_NEEDED = "Send a key as 'Authorization: Bearer <key>' or 'x-api-key: <key>'."
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
        self._addresses: dict[tuple[str, str | None], Address | None] = {}
        self._anonymous: dict[str, Caller] = {}
        self._local_hosts: dict[str, bool] = {}

    def address(self, approach: Approach) -> Caller:
        """Return the caller by its address alone, for counting what is refused before a key is known."""
        address = self._client_address(approach)
        return self._by_address(address)

    def identify(self, approach: Approach) -> Caller:
        """Return who asks. Raises `Unauthorized` and `Forbidden`."""
        if self._keyless:
            return self._identify_keyless(approach)
        secret = _sent_key(approach)
        if secret is None:
            raise Unauthorized(NO_SESSIONS if approach.session else KEY_NEEDED)
        caller = self._callers.get(_digest(secret))
        if caller is None:
            raise Unauthorized(UNKNOWN_KEY)
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
        if approach.origin is not None and approach.origin.partition("://")[2] != (approach.host or ""):
            raise Forbidden("A web page of another origin may not use this server while it has no keys.")

    def _identify_keyless(self, approach: Approach) -> Caller:
        self.pass_host(approach)
        if approach.authorization is not None or approach.api_key is not None:
            raise Unauthorized(NO_KEYS_HERE)
        if approach.session:
            raise Unauthorized(NO_SESSIONS)
        address = self._client_address(approach)
        if self._loopback_only and address is not None and not address.is_loopback:
            raise Forbidden("Without keys only this machine is served. Configure ASKONCE_KEYS to serve others.")
        return self._by_address(address)

    def _by_address(self, address: Address | None) -> Caller:
        name = _window_name(address)
        caller = self._anonymous.get(name)
        if caller is None:
            _make_room(self._anonymous)
            caller = self._anonymous[name] = Caller(identity=f"addr:{name}", tenant=ANONYMOUS_TENANT)
        return caller

    def _client_address(self, approach: Approach) -> Address | None:
        key = (approach.peer, approach.forwarded_for if self._trusted else None)
        if key in self._addresses:
            return self._addresses[key]
        _make_room(self._addresses)
        address = self._addresses[key] = self._walk_hops(*key)
        return address

    def _walk_hops(self, peer: str, forwarded_for: str | None) -> Address | None:
        """Walk from the peer outwards while the hop is one of our proxies; what a proxy says of others counts."""
        address = _parse(peer)
        hops = forwarded_for.split(",") if forwarded_for else []
        while hops and address is not None and any(address in net for net in self._trusted):
            hop = _parse(hops.pop().strip())
            if hop is None:
                break
            address = hop
        return address

    def _is_local(self, host: str) -> bool:
        local = self._local_hosts.get(host)
        if local is None:
            _make_room(self._local_hosts)
            local = self._local_hosts[host] = _names_loopback(host)
        return local


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


def _window_name(address: Address | None) -> str:
    """Name the window of an address: one per IPv4 address, one per IPv6 /64 (what one customer gets)."""
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and not address.is_loopback:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _names_loopback(host: str) -> bool:
    name = host.lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name.rstrip(".") == "localhost":
        return True
    address = _parse(name)
    return address is not None and address.is_loopback


def _make_room(memory: dict[str, Caller] | dict[str, bool] | dict[tuple[str, str | None], Address | None]) -> None:
    if len(memory) >= REMEMBERED:
        memory.clear()
