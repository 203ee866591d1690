"""Keys, users and tenants as the database keeps them, and the ports to it. Times are epoch milliseconds, 0 for never.

Nothing is ever deleted here: what ended stays, so that old rows of the ledger keep their names. Every method of the
ports may raise `LedgerUnavailable`; those that name one thing raise `NotFound` where there is none, or where it is of
another tenant than `tenant` ("" for any).
"""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import UNSET, Struct, UnsetType

from askonce.domain.errors import ConfigError
from askonce.domain.identity import Bounds, Edition, Holder, KeyCard, Scope

DEFAULT_TENANT = "default"  # of keys for which none is named; made with the first of them
_T = TypeVar("_T")


class SecretChanged(ConfigError):
    """Tell that ASKONCE_SECRET is not the one that a database was written with, nor are the former ones."""


class Listing(Struct, Generic[_T], frozen=True):
    """Hold one page, newest first; `after` is the cursor of the next one or "" at the end."""

    items: tuple[_T, ...]
    after: str = ""


class KeyWish(Struct, frozen=True):
    """Describe a key that is to be made."""

    name: str
    tenant: str = DEFAULT_TENANT
    user_id: str = ""
    scopes: tuple[Scope, ...] = ("use",)
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    bounds: Bounds = Bounds()
    expires_ms: int = 0


class KeyChange(Struct, frozen=True):
    """Say what of a key is to be different; what is unset stays."""

    name: str | UnsetType = UNSET
    scopes: tuple[Scope, ...] | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType = UNSET
    providers: tuple[str, ...] | UnsetType = UNSET
    addresses: tuple[str, ...] | UnsetType = UNSET
    bounds: Bounds | UnsetType = UNSET
    expires_ms: int | UnsetType = UNSET


class Issued(Struct, frozen=True):
    """Hold a key that was just made: the only moment at which its text is known. Shows itself without it."""

    card: KeyCard
    key: str

    def __repr__(self) -> str:
        return f"Issued({self.card.prefix}…)"


class Rotated(Struct, frozen=True):
    """Hold a key's successor, and the key itself with its new end."""

    issued: Issued
    former: KeyCard


class Keys(Protocol):
    """Make and change keys. What changed is put in force before the method returns."""

    async def create(self, wish: KeyWish) -> Issued:
        """Make a key. Raises `Invalid` with each field that is wrong."""
        ...

    async def get(self, key_id: str, tenant: str = "") -> KeyCard:
        """Return a key by its public id."""
        ...

    async def list(self, tenant: str = "", after: str = "", size: int = 100) -> Listing[KeyCard]:
        """Return a page of keys, those that ended too. Raises `Invalid` for a cursor that is not ours."""
        ...

    async def update(self, key_id: str, change: KeyChange, tenant: str = "") -> KeyCard:
        """Change what a key may do. Raises `Invalid`, also for one that was revoked."""
        ...

    async def revoke(self, key_id: str, tenant: str = "") -> KeyCard:
        """End a key now; once revoked it stays as it is."""
        ...

    async def rotate(self, key_id: str, grace_ms: int, tenant: str = "") -> Rotated:
        """Make a key that may do the same; the former one ends after the grace. Raises `Invalid` for one that ended."""
        ...


class Tenant(Struct, frozen=True):
    """Hold those who share answers, budgets and reports."""

    id: str
    name: str
    bounds: Bounds = Bounds()
    created_ms: int = 0
    disabled_ms: int = 0


class User(Struct, frozen=True):
    """Hold a person. `issuer` and `subject` are OpenID Connect's, "" until the first login."""

    id: str
    tenant: str
    email: str = ""
    name: str = ""
    scopes: tuple[Scope, ...] = ("use",)
    bounds: Bounds = Bounds()
    issuer: str = ""
    subject: str = ""
    created_ms: int = 0
    disabled_ms: int = 0
    login_ms: int = 0


class Claims(Struct, frozen=True):
    """Hold what an identity provider says of who logged in. `email` is "" unless the provider verified it."""

    issuer: str
    subject: str
    email: str = ""
    name: str = ""


class Tenants(Protocol):
    """Make and change tenants. What changed is put in force before the method returns."""

    async def create(self, tenant_id: str, name: str = "", bounds: Bounds = Bounds()) -> Tenant:  # noqa: B008 - frozen
        """Make a tenant. Raises `Invalid` for an id that is taken, reserved or wrong."""
        ...

    async def get(self, tenant_id: str) -> Tenant:
        """Return a tenant."""
        ...

    async def list(self, after: str = "", size: int = 100) -> Listing[Tenant]:
        """Return a page of tenants."""
        ...

    async def update(self, tenant: Tenant) -> Tenant:
        """Give a tenant this name, these bounds, this state (disabled or not)."""
        ...


class Users(Protocol):
    """Know the people. What changed is put in force before the method returns."""

    async def create(self, user: User) -> User:
        """Make a user (whose id is given here). Raises `Invalid` for an e-mail address that is taken."""
        ...

    async def get(self, user_id: str, tenant: str = "") -> User:
        """Return a user."""
        ...

    async def list(self, tenant: str = "", after: str = "", size: int = 100) -> Listing[User]:
        """Return a page of users."""
        ...

    async def update(self, user: User) -> User:
        """Give a user this name, these scopes and bounds, this state (disabled or not)."""
        ...

    async def login(self, claims: Claims) -> User | None:
        """Return who that is, noting the login; None for nobody we know.

        The first login of a user who was made with an e-mail address binds them to that issuer's subject for good.
        """
        ...

    async def administrator(self) -> User | None:
        """Return who may log in and administer everything, None where nobody ever did."""
        ...


class LoginLinks(Protocol):
    """Hand out links that log in once."""

    async def issue(self, user_id: str, expires_ms: int) -> str:
        """Return the link's word; the user's former links end."""
        ...

    async def first_administrator(self, expires_ms: int) -> str:
        """Return a word for the first administrator, who is made if needed; "" once an administrator has logged in."""
        ...

    async def redeem(self, word: str) -> User | None:
        """Return who logs in by it, once; None for one that is unknown, used, too old, or of a disabled user."""
        ...


class ProviderKey(Struct, frozen=True):
    """Describe a stored key of a provider, without the key. `hint` is enough of it to recognise it."""

    id: str
    provider: str
    name: str
    hint: str
    created_ms: int
    retired_ms: int = 0


class Revealed(Struct, frozen=True):
    """Hold a provider's key in the clear, for asking. Shows itself without it."""

    id: str
    provider: str
    secret: str

    def __repr__(self) -> str:
        return f"Revealed({self.provider} {self.id})"


class ProviderKeys(Protocol):
    """Keep providers' keys, encrypted. What reads or writes them raises `SecretChanged`."""

    async def add(self, provider: str, name: str, secret: str) -> ProviderKey:
        """Keep a key. Raises `Invalid`."""
        ...

    async def list(self) -> tuple[ProviderKey, ...]:
        """Return all keys, those that were retired too, newest first."""
        ...

    async def rotate(self, key_id: str, secret: str) -> ProviderKey:
        """Put another key in a key's place; the former is destroyed."""
        ...

    async def retire(self, key_id: str) -> ProviderKey:
        """Destroy a key; that there was one stays known."""
        ...

    async def reveal(self) -> tuple[Revealed, ...]:
        """Return all keys that are in force, oldest first."""
        ...

    async def reseal(self) -> int:
        """Seal everything anew with the secret in force, and return how much was not."""
        ...

    async def version(self) -> int:
        """Return a number that grows with every change, so that processes know when to reveal anew."""
        ...


class Feed(Protocol):
    """Read what a directory needs to know."""

    async def edition(self) -> Edition:
        """Return the state that the database is in now."""
        ...

    async def changes(self, since: int) -> tuple[Sequence[KeyCard | Holder], Edition]:
        """Return what became different after that number, and the state that it leads to at least."""
        ...

    async def snapshot(self) -> tuple[Sequence[KeyCard | Holder], Edition]:
        """Return everything that is not long dead."""
        ...
