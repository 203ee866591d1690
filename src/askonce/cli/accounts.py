"""What commands about keys, tenants and users share: options, how things are named, and how they are shown."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar, get_args

import typer
from msgspec import to_builtins
from msgspec.structs import replace

from askonce.api.admin.accounts import key_view, tenant_view, user_view
from askonce.cli.exits import Misused, Refused
from askonce.cli.office import Office
from askonce.domain.accounts import Listing, ProviderKey, Tenant, User
from askonce.domain.budget_text import parse_budgets, write_bounds, write_budget
from askonce.domain.clock import SystemClock
from askonce.domain.credentials import BRAND, PREFIX_LETTERS, key_id
from askonce.domain.identity import Bounds, KeyCard, Scope

SCOPES: tuple[Scope, ...] = get_args(Scope)
PAGE = 500

BudgetOption = Annotated[
    list[str],
    typer.Option(
        "--budget",
        metavar="BUDGET",
        help="As $10/day, 1M tokens/month@Europe/Berlin or '1000 requests/hour soft 50%'; repeatable; 'none' for none.",
    ),
]
ConcurrencyOption = Annotated[int | None, typer.Option(help="Calls at once; 0 for any number.")]
ScopeOption = Annotated[
    list[str], typer.Option("--scope", metavar="SCOPE", help="use, report, admin or root; repeatable.")
]
_T = TypeVar("_T")


def read_scopes(words: Sequence[str], default: tuple[Scope, ...]) -> tuple[Scope, ...]:
    """Read scopes, each once; none are the default. Raises `Misused`."""
    wanted = [part.strip() for word in words for part in word.split(",") if part.strip()]
    if wrong := [word for word in wanted if word not in SCOPES]:
        raise Misused(f"--scope {wrong[0]}: there is no such scope; there are {', '.join(SCOPES)}.")
    return tuple(scope for scope in SCOPES if scope in wanted) or default


def read_bounds(budgets: Sequence[str], concurrency: int | None, former: Bounds) -> Bounds:
    """Put what was given in the place of what is there. Raises `Invalid`."""
    if budgets:
        former = replace(former, budgets=parse_budgets(budgets))
    return former if concurrency is None else replace(former, concurrency=concurrency)


def read_list(parts: Sequence[str]) -> tuple[str, ...]:
    """Read a repeatable option that also takes commas; `any` alone is none."""
    words = tuple(part.strip() for word in parts for part in word.split(",") if part.strip())
    return () if words == ("any",) else words


def named_key(text: str) -> str:
    """Return the public id of a key that is named by it, by its prefix, or by the whole key."""
    return key_id(text) if text.startswith(BRAND) and len(text) >= PREFIX_LETTERS else text


async def find_user(office: Office, text: str) -> User:
    """Return a user by id or address. Raises `Refused`, `NotFound`."""
    if "@" not in text:
        return await office.users.get(text)
    async for user in every(lambda after: office.users.list(after=after, size=PAGE)):
        if user.email == text.lower():
            return user
    raise Refused(f"There is no user {text[:64]!r}.")


async def every(page: Callable[[str], Awaitable[Listing[_T]]]) -> AsyncIterator[_T]:
    """Go through all pages of a list."""
    after = ""
    while True:
        found = await page(after)
        for item in found.items:
            yield item
        after = found.after
        if not after:
            return


def state_of(card: KeyCard) -> str:
    """Say in a word or two whether a key is in force now."""
    return key_view(card, SystemClock().wall_ms()).state


def card_json(card: KeyCard) -> dict[str, Any]:
    """Write a key as JSON, as administration does; never its hash."""
    return dict(to_builtins(key_view(card, SystemClock().wall_ms())))


def bounds_json(bounds: Bounds) -> dict[str, Any]:
    """Write bounds as JSON."""
    return {"budgets": [write_budget(budget) for budget in bounds.budgets], "concurrency": bounds.concurrency}


def tenant_json(tenant: Tenant) -> dict[str, Any]:
    """Write a tenant as JSON."""
    return dict(to_builtins(tenant_view(tenant)))


def user_json(user: User) -> dict[str, Any]:
    """Write a user as JSON."""
    return dict(to_builtins(user_view(user)))


def provider_key_json(key: ProviderKey) -> dict[str, Any]:
    """Write a provider's key as JSON, without the key."""
    return {
        "id": key.id,
        "provider": key.provider,
        "name": key.name,
        "hint": key.hint,
        "createdAt": key.created_ms,
        "retiredAt": key.retired_ms,
    }


def bounds_text(bounds: Bounds) -> str:
    """Write bounds on one line."""
    return ", ".join(write_bounds(bounds)) or "-"
