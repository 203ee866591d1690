"""Who asks, and is there room? The first guard of the road.

Store away: open for the windows: the threshold then works with this process's share of each limit (see
`state.fallback`). Closed for keys of the database and for sessions: who cannot be looked up is not let in.

    a key is sent?     ASKONCE_KEYS, known from the start ─▶ else `ask_…`, looked up ─▶ else 401
    else a session?    looked up ─▶ written to by a cookie: its word, and no foreign origin ─▶ else 401
    else               with keys 401, without any an address

Without configured keys only loopback is served (unless told to serve openly), and no request whose Host or Origin is
foreign: a web page that the owner visits must not be able to spend the owner's provider keys. With keys, every guarded
door needs one. A key or session that is sent but unknown is refused, never taken for a new identity.

The vendors' client libraries cannot leave the key out. For them a server without keys knows one word that stands for
none: `askonce`. Whoever sends it is the same caller as without it.

Without keys means: none are configured, and none is in the directory, in whatever state it is. While nobody can say
(the directory was not filled yet, and there is a database) callers without a key are told to come again.
"""

import hashlib
import ipaddress
import re
from collections.abc import Collection, Sequence
from socket import AF_INET, inet_pton

from msgspec import Struct

from askonce.domain.caller import ANONYMOUS_TENANT, Caller
from askonce.domain.credentials import BRAND, is_branded
from askonce.domain.errors import Forbidden, RateLimited, StoreUnavailable, Unauthorized
from askonce.domain.identity import Scope
from askonce.domain.ports import Verdict, Window
from askonce.gate.keyholders import Keyholders
from askonce.gate.logins import Logins, require_word

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
LOOPBACK_ONLY = "Without keys only this machine is served. Configure ASKONCE_KEYS to serve others."
KEY_AND_SESSION = "A key and X-Session-Id were sent. Send one of them."
FOREIGN_ORIGIN = "A page of another origin may not write with a session's cookie."
NOT_KNOWN_YET = "Whether this server has keys has not been read from the database yet. Try again."
# What a key of ASKONCE_KEYS may do, and whoever sits at a machine whose server has no keys. Administering needs more.
STATIC_SCOPES: tuple[Scope, ...] = ("use", "report")


class Approach(Struct):
    """Hold what a request says about its sender. Header values as sent; None where absent.

    `session` is the id of a session, `by_cookie` says that it came as one. `word` is the CSRF word. `scheme` is the
    connection's, `forwarded_scheme` what a proxy says of the one in front of it.
    """

    peer: str
    host: str | None = None
    origin: str | None = None
    forwarded_for: str | None = None
    authorization: str | None = None
    api_key: str | None = None
    session: str | None = None
    by_cookie: bool = False
    word: str | None = None
    scheme: str = "http"
    forwarded_scheme: str | None = None


class Registry(Struct, frozen=True):
    """Hold who knows the keys of the database, and the sessions."""

    keyholders: Keyholders
    logins: Logins


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
    """Tell callers apart. `keys` maps secrets to tenants; `trusted` are the networks of our own proxies.

    `registry` knows further keys and sessions; without one there are none. `origins` are pages of others that may ask.
    """

    def __init__(
        self,
        keys: Sequence[tuple[str, str]],
        trusted: Sequence[str],
        open_to_all: bool,
        registry: Registry | None = None,
        origins: Collection[str] = (),
    ) -> None:
        self._callers = {_digest(secret): _key_caller(secret, tenant) for secret, tenant in keys}
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(net) for net in trusted)
        self._registry = registry
        self._origins = frozenset(origins)
        self._open_to_all = open_to_all
        self._keyless = not keys
        self._unsure = False
        self._clients: dict[str, Client] = {}
        self._proxies: dict[str, bool] = {}
        self._local_hosts: dict[str, bool] = {}

    def note_keys(self, there: bool | None) -> None:
        """Take note whether the directory has any key; None: nobody can say. For each second."""
        if self._callers:
            return
        self._unsure = there is None
        self._keyless = not there

    @property
    def is_unsure(self) -> bool:
        """Say whether callers without a key are refused because nobody can say yet whether there are keys."""
        return self._unsure

    def digest_of(self, approach: Approach) -> bytes:
        """Return the digest under which a configured key is known."""
        return _digest(_sent_key(approach) or "")

    def address(self, approach: Approach) -> Caller:
        """Return the caller by its address alone, for counting what is refused before a key is known."""
        return _anonymous(self._client(approach))

    def whence(self, approach: Approach) -> str:
        """Return the client's address, as far as our proxies are believed."""
        return self._client(approach).address

    def is_secure(self, approach: Approach) -> bool:
        """Say whether the client's own connection is encrypted, as far as our proxies are believed."""
        if approach.forwarded_scheme is not None and self._is_trusted(self._read(approach.peer)):
            return approach.forwarded_scheme.rpartition(",")[2].strip().lower() == "https"
        return approach.scheme == "https"

    async def admit(self, approach: Approach, *, writes: bool) -> Caller:
        """Return who asks. `writes`: the request may change something.

        Suspends only where the directory does. Raises `Unauthorized`, `Forbidden`, `StoreUnavailable`.
        """
        if self._registry is None or not _is_for_registry(approach):
            return self.identify(approach)
        self.pass_host(approach)
        client = self._client(approach)
        if self._loopback_only and not client.is_loopback:
            raise Forbidden(LOOPBACK_ONLY)
        secret = _sent_key(approach)
        if secret is None or (self._keyless and secret == NO_KEY):
            return await self._by_session(self._registry.logins, approach, client, writes=writes)
        if approach.session is not None and not approach.by_cookie:
            raise Unauthorized(KEY_AND_SESSION)
        if not is_branded(secret) or _digest(secret) in self._callers:
            return self.identify(approach)
        if approach.api_key is not None and approach.api_key != secret:
            raise Unauthorized(TWO_KEYS)
        return await _by_key(self._registry.keyholders, secret, client)

    def identify(self, approach: Approach) -> Caller:
        """Return who asks, by what is known from the start. Raises `Unauthorized` and `Forbidden`."""
        if self._keyless:
            return self._identify_keyless(approach)
        secret = _sent_key(approach)
        if secret is None:
            raise Unauthorized(KEY_NEEDED if approach.session is None else NO_SESSIONS)
        caller = self._callers.get(_digest(secret))
        if caller is None:
            raise Unauthorized(UNKNOWN_KEY)
        if approach.api_key is not None and approach.api_key != secret:
            raise Unauthorized(TWO_KEYS)
        if approach.session is not None and not approach.by_cookie:
            raise Unauthorized(KEY_AND_SESSION)
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
        if approach.origin is not None and not _is_same_origin(approach) and approach.origin not in self._origins:
            raise Forbidden("A web page of another origin may not use this server while it has no keys.")

    @property
    def _loopback_only(self) -> bool:
        return self._keyless and not self._open_to_all

    def _identify_keyless(self, approach: Approach) -> Caller:
        self.pass_host(approach)
        if approach.authorization is not None or approach.api_key is not None:
            _refuse_keys(approach)
        if approach.session is not None:
            raise Unauthorized(NO_SESSIONS)
        client = self._client(approach)
        if self._loopback_only and not client.is_loopback:
            raise Forbidden(LOOPBACK_ONLY)
        if self._unsure:
            raise StoreUnavailable(NOT_KNOWN_YET, retry_after_s=1)
        return _anonymous(client)

    async def _by_session(self, logins: Logins, approach: Approach, client: Client, *, writes: bool) -> Caller:
        """Return whose session it is. What a cookie does by itself needs the session's word to change anything."""
        if approach.session is None:
            return self.identify(approach)
        entered = await logins.enter(approach.session, client.address)
        session, standing = entered
        if writes and approach.by_cookie:
            if approach.origin is not None and not _is_same_origin(approach):
                raise Forbidden(FOREIGN_ORIGIN)
            require_word(session, approach.word)
        key_id = session.user_id.partition("key:")[2]
        return Caller(
            identity=session.user_id if key_id else f"user:{session.user_id}",
            tenant=session.tenant,
            key_id=key_id,
            scopes=session.scopes,
            user_id=standing.card.user_id if standing is not None else "",
            standing=standing,
            session=session,
            address=client.address,
        )

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


async def _by_key(keyholders: Keyholders, secret: str, client: Client) -> Caller:
    standing = await keyholders.standing(secret, client.address)
    card = standing.card
    return Caller(f"key:{card.id}", card.tenant, card.id, card.scopes, card.user_id, standing, None, client.address)


def _is_for_registry(approach: Approach) -> bool:
    """Say whether anything was sent that needs looking up; a first glance, since this runs for every request."""
    if approach.authorization is not None:
        return BRAND in approach.authorization or approach.session is not None
    return approach.session is not None or (approach.api_key is not None and BRAND in approach.api_key)


def _is_same_origin(approach: Approach) -> bool:
    return bool(approach.host) and (approach.origin or "").partition("://")[2].lower() == (approach.host or "").lower()


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
    return Caller(identity=f"key:{key_id}", tenant=tenant, key_id=key_id, scopes=STATIC_SCOPES)


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
    scopes: tuple[Scope, ...] = STATIC_SCOPES if client.is_loopback else ("use",)
    return Caller(f"addr:{client.window}", ANONYMOUS_TENANT, scopes=scopes)


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
