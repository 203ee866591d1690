"""How keys, users and tenants look, and what may be said of them. Budgets are written as people do: `10$/day`."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from askonce.api.bodies import Body
from askonce.domain.accounts import Issued, Rotated, Tenant, User
from askonce.domain.budget_text import parse_budgets, write_budget
from askonce.domain.errors import Detail, Invalid
from askonce.domain.identity import Bounds, KeyCard, Scope

# A database holds no NUL, and nobody has control characters in names.
Word = Annotated[str, Meta(max_length=200, pattern="^[^\\x00-\\x1f]*$")]
Words = Annotated[tuple[Word, ...], Meta(max_length=100)]
Epoch = Annotated[int, Meta(ge=0, le=10**15, description="epoch milliseconds; 0: never")]
Span = Annotated[int, Meta(ge=1, le=10 * 366 * 86_400, description="seconds from now")]
Budgets = Annotated[tuple[Word, ...], Meta(max_length=12, description="as $10/day, 1M tokens/month@Europe/Berlin")]
Concurrency = Annotated[int, Meta(ge=0, le=100_000, description="calls in flight at once; 0: any number")]
Scopes = Annotated[tuple[Scope, ...], Meta(max_length=4)]
Patterns = Annotated[
    tuple[Word, ...], Meta(max_length=100, description="names, or beginnings that end in *; none: all")
]
Networks = Annotated[tuple[Word, ...], Meta(max_length=100, description="addresses or networks; none: all")]


class KeyBody(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Describe a key that is to be made. Without a tenant it is of one's own, root's of the default one."""

    name: Word
    tenant: Word = ""
    user_id: Word = ""
    scopes: Scopes = ("use",)
    models: Patterns = ()
    providers: Patterns = ()
    addresses: Networks = ()
    budgets: Budgets = ()
    concurrency: Concurrency = 0
    expires_at: Epoch = 0
    expires_in: Span | None = None


class KeyPatch(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Say what of a key is to be different; what is left out stays."""

    name: Word | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    models: Patterns | UnsetType = UNSET
    providers: Patterns | UnsetType = UNSET
    addresses: Networks | UnsetType = UNSET
    budgets: Budgets | UnsetType = UNSET
    concurrency: Concurrency | UnsetType = UNSET
    expires_at: Epoch | UnsetType = UNSET


class RotateBody(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Say how long the former key still works."""

    grace_seconds: Annotated[int, Meta(ge=0, le=90 * 86_400, description="that the former key still works")] = 0


class KeyView(Body, frozen=True):
    """Describe a key; never the key itself."""

    id: str
    prefix: str
    name: str
    tenant: str
    user_id: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...]
    providers: tuple[str, ...]
    addresses: tuple[str, ...]
    budgets: tuple[str, ...]
    concurrency: int
    created_at: int
    expires_at: int
    revoked_at: int
    state: Literal["in force", "expired", "revoked"]


class NewKey(KeyView, frozen=True):
    """Describe a key that was just made. `key` is shown here, and never again."""

    key: str = ""


class RotatedKey(NewKey, frozen=True):
    """Describe a key's successor; `former` ends at its `expiresAt`."""

    former: KeyView | None = None


class KeyList(Body, frozen=True):
    """Hold a page of keys, newest first; `next` leads to the following page, null at the end."""

    keys: tuple[KeyView, ...]
    next: str | None


class ListQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Page through a list."""

    tenant: Annotated[str, Meta(max_length=64, description="of which tenant; root sees all without it")] = ""
    after: Annotated[str, Meta(max_length=200, description="the page before's next")] = ""
    limit: Annotated[int, Meta(ge=1, le=500, description="on a page")] = 100


class TenantBody(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Describe a tenant that is to be made."""

    id: Word
    name: Word = ""
    budgets: Budgets = ()
    concurrency: Concurrency = 0


class TenantPatch(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Say what of a tenant is to be different. Disabled, none of its keys and logins is in force."""

    name: Word | UnsetType = UNSET
    budgets: Budgets | UnsetType = UNSET
    concurrency: Concurrency | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class TenantView(Body, frozen=True):
    """Describe a tenant."""

    id: str
    name: str
    budgets: tuple[str, ...]
    concurrency: int
    created_at: int
    disabled_at: int


class TenantList(Body, frozen=True):
    """Hold a page of tenants."""

    tenants: tuple[TenantView, ...]
    next: str | None


class UserBody(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Describe a user who is to be made; an e-mail address or a name is needed."""

    email: Word = ""
    name: Word = ""
    tenant: Word = ""
    scopes: Scopes = ("use",)
    budgets: Budgets = ()
    concurrency: Concurrency = 0


class UserPatch(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Say what of a user is to be different. Disabled, none of their keys and logins is in force."""

    name: Word | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    budgets: Budgets | UnsetType = UNSET
    concurrency: Concurrency | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class LinkBody(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Say how long a login link works."""

    expires_in: Annotated[int, Meta(ge=60, le=7 * 86_400, description="seconds from now")] = 3600


class LinkView(Body, frozen=True):
    """Hold a login link; it works once, and the user's former ones no more."""

    url: str
    word: str
    expires_at: int


class UserView(Body, frozen=True):
    """Describe a user."""

    id: str
    tenant: str
    email: str
    name: str
    scopes: tuple[Scope, ...]
    budgets: tuple[str, ...]
    concurrency: int
    issuer: str
    created_at: int
    disabled_at: int
    login_at: int


class UserList(Body, frozen=True):
    """Hold a page of users."""

    users: tuple[UserView, ...]
    next: str | None


def key_view(card: KeyCard, now_ms: int) -> KeyView:
    """Show a key."""
    return KeyView(**_key_fields(card, now_ms))


def new_key(issued: Issued) -> NewKey:
    """Show a key that was just made."""
    return NewKey(**_key_fields(issued.card, issued.card.created_ms), key=issued.key)


def rotated_key(rotated: Rotated) -> RotatedKey:
    """Show a key's successor."""
    card, now_ms = rotated.issued.card, rotated.issued.card.created_ms
    return RotatedKey(**_key_fields(card, now_ms), key=rotated.issued.key, former=key_view(rotated.former, now_ms))


def _key_fields(card: KeyCard, now_ms: int) -> dict[str, Any]:
    ended = "expired" if 0 < card.expires_ms <= now_ms else "in force"
    plain = ("id", "prefix", "name", "tenant", "user_id", "scopes", "models", "providers", "addresses")
    return {
        **{name: getattr(card, name) for name in plain},
        "budgets": tuple(map(write_budget, card.bounds.budgets)),
        "concurrency": card.bounds.concurrency,
        "created_at": card.created_ms,
        "expires_at": card.expires_ms,
        "revoked_at": card.revoked_ms,
        "state": "revoked" if card.revoked_ms else ended,
    }


def tenant_view(tenant: Tenant) -> TenantView:
    """Show a tenant."""
    budgets = tuple(map(write_budget, tenant.bounds.budgets))
    concurrency = tenant.bounds.concurrency
    return TenantView(tenant.id, tenant.name, budgets, concurrency, tenant.created_ms, tenant.disabled_ms)


def user_view(user: User) -> UserView:
    """Show a user."""
    return UserView(
        user.id,
        user.tenant,
        user.email,
        user.name,
        user.scopes,
        tuple(map(write_budget, user.bounds.budgets)),
        user.bounds.concurrency,
        user.issuer,
        user.created_ms,
        user.disabled_ms,
        user.login_ms,
    )


def bounds_of(budgets: tuple[str, ...] | UnsetType, concurrency: int | UnsetType, former: Bounds = Bounds()) -> Bounds:  # noqa: B008 - frozen
    """Read what bounds somebody. Raises `Invalid`."""
    try:
        read = former.budgets if budgets is UNSET else parse_budgets(budgets)
    except Invalid as error:
        problems = [Detail("budgets", detail.problem) for detail in error.details]
        raise Invalid(error.message, details=problems) from None
    return Bounds(read, former.concurrency if concurrency is UNSET else concurrency)


def end_of(expires_at: int, expires_in: int | None, now_ms: int) -> int:
    """Return when something ends. Raises `Invalid` where two moments are named."""
    if expires_in is None:
        return expires_at
    if expires_at:
        raise Invalid(
            "expiresIn contradicts expiresAt: send one of them.", details=[Detail("expiresIn", "is one too many")]
        )
    return now_ms + expires_in * 1000
