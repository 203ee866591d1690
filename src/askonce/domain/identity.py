"""Who may do what: keys, users, roles. Times are epoch milliseconds, 0 for never."""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

# What an identity may do: ask models; read reports of its tenant; administer its tenant (keys, budgets, purges);
# administer everything.
Scope = Literal["use", "report", "admin", "root"]
Metric = Literal["requests", "tokens", "nano_dollars"]
Span = Literal["minute", "hour", "day", "month"]


class Budget(Struct, frozen=True, array_like=True):
    """Allow `amount` of something in each calendar period. `soft`: alert at this share of it, 0 for never."""

    metric: Metric
    span: Span
    amount: int
    zone: str = "UTC"  # IANA name; days and months begin there
    soft: float = 0.8


class Bounds(Struct, frozen=True, array_like=True):
    """Hold what a key, a user or a tenant may use. `concurrency` 0: any number at once."""

    budgets: tuple[Budget, ...] = ()
    concurrency: int = 0


class KeyCard(Struct, frozen=True, array_like=True):
    """Hold what is known of a key; never the key. `digest` is its keyed hash, `prefix` its first letters.

    Empty `models`, `providers` and `addresses` (networks) allow all. `user_id` is "" for a key of the tenant itself.
    `version` is the directory's when the key became what it is.
    """

    id: str
    digest: bytes
    prefix: str
    name: str
    tenant: str
    user_id: str = ""
    scopes: tuple[Scope, ...] = ("use",)
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    bounds: Bounds = Bounds()
    created_ms: int = 0
    expires_ms: int = 0
    revoked_ms: int = 0
    version: int = 0


class Holder(Struct, frozen=True, array_like=True):
    """Hold what is in force for a user or a tenant as a whole. `name` is `user:ID` or `tenant:ID`.

    `scopes` are what a user may do now; a tenant has none of its own.
    """

    name: str
    bounds: Bounds = Bounds()
    disabled_ms: int = 0
    version: int = 0
    scopes: tuple[Scope, ...] = ()


class Standing(Struct, frozen=True):
    """Hold a key and whom it belongs to. None where nothing is known of that user or tenant: nothing bounds them."""

    card: KeyCard
    user: Holder | None = None
    tenant: Holder | None = None


class Edition(Struct, frozen=True, array_like=True):
    """Name a state of the database's keys. `source` is the database's own id: numbers of two do not compare."""

    source: str
    number: int


class Directory(Protocol):
    """Know the keys and holders, in shared state, so that every process sees a change within a second.

    What came late never undoes what is newer: of two states of one record that with the higher `version` stays.
    All methods raise `StoreUnavailable`.
    """

    async def find(self, digest: bytes) -> Standing | None:
        """Return the key with this keyed hash, whatever its state. Raises `StoreUnavailable` until first filled."""
        ...

    async def holders(self, *names: str) -> tuple[Holder, ...]:
        """Return those holders of whom something is known. Raises `StoreUnavailable` until first filled."""
        ...

    async def stamp(self) -> int:
        """Return a number that is another one whenever `find` may answer differently; cheaper than finding."""
        ...

    async def has_keys(self) -> bool | None:
        """Say whether any key is known, whatever its state; None until first filled."""
        ...

    async def put(self, source: str, *records: KeyCard | Holder) -> None:
        """Put new states in force at once. Nothing happens unless the directory was filled from `source`."""
        ...

    async def edition(self) -> Edition | None:
        """Return up to where everything is known; None until first filled."""
        ...

    async def catch_up(self, records: Sequence[KeyCard | Holder], edition: Edition) -> None:
        """Take in what changed since the edition in force. Nothing happens if that was of another source."""
        ...

    async def replace(self, records: Sequence[KeyCard | Holder], edition: Edition) -> None:
        """Put exactly these in force, as the database has them. If cancelled, it can be done again."""
        ...

    async def forget(self) -> None:
        """Know nothing again: the database was put back to an earlier state, and its numbers begin anew."""
        ...


class Session(Struct, frozen=True, array_like=True):
    """Hold one login. The id itself is never kept: `digest` is its SHA-256.

    `user_id` is `key:ID` where a key opened it; `key_digest` is then that key's, with which it ends. `scopes` are those
    at the login: what was given later needs another one. `csrf` is the word that a page sends back with what it writes.
    """

    digest: bytes
    user_id: str
    tenant: str
    scopes: tuple[Scope, ...]
    csrf: str
    created_ms: int
    used_ms: int
    expires_ms: int
    address: str = ""
    agent: str = ""
    key_digest: bytes = b""


class Sessions(Protocol):
    """Keep logins in shared state. All methods raise `StoreUnavailable`."""

    async def open(self, session: Session) -> None:
        """Keep a new session. Of a user with too many, the one that was used least recently ends."""
        ...

    async def find(self, digest: bytes, now_ms: int) -> Session | None:
        """Return a session that has not run out."""
        ...

    async def prolong(self, digest: bytes, now_ms: int, expires_ms: int) -> bool:
        """Note a use and move the end, never back; False where there is no such session any more."""
        ...

    async def describe(self, digest: bytes, agent: str, now_ms: int) -> bool:
        """Give a session another description; False where there is no such session any more."""
        ...

    async def of_user(self, user_id: str, now_ms: int) -> tuple[Session, ...]:
        """Return a user's sessions, newest first."""
        ...

    async def close(self, digest: bytes) -> bool:
        """End one; False where there was none."""
        ...

    async def close_all(self, user_id: str) -> int:
        """End all of a user's and return how many."""
        ...

    async def sweep(self, now_ms: int, budget: int) -> int:
        """Look at the next `budget` sessions, delete those that ran out, and return how many."""
        ...
