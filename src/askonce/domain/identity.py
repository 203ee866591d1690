"""Who may do what: keys, users, roles. Times are epoch milliseconds, 0 for never."""

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


class Directory(Protocol):
    """Know the keys that are in force, in shared state, so that every process sees a change within a second."""

    async def find(self, digest: bytes) -> KeyCard | None:
        """Return the key with this keyed hash, whatever its state. Raises `StoreUnavailable`."""
        ...

    async def put(self, card: KeyCard) -> None:
        """Make a key, or its new state, known. Raises `StoreUnavailable`."""
        ...

    async def replace(self, cards: tuple[KeyCard, ...], version: int) -> None:
        """Put exactly these in force, as the database has them at `version`. Raises `StoreUnavailable`."""
        ...


class Session(Struct, frozen=True, array_like=True):
    """Hold one login. The id itself is never kept: `digest` is its SHA-256."""

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


class Sessions(Protocol):
    """Keep logins in shared state. All methods raise `StoreUnavailable`."""

    async def open(self, session: Session) -> None:
        """Keep a new session."""
        ...

    async def find(self, digest: bytes, now_ms: int) -> Session | None:
        """Return a session that has not run out."""
        ...

    async def prolong(self, digest: bytes, now_ms: int, expires_ms: int) -> bool:
        """Note a use and move the end; False where there is no such session any more."""
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
