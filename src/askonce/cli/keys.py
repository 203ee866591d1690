"""`askonce keys`: make, list, change, revoke and rotate the keys of callers."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from msgspec import UNSET, to_builtins

from askonce.api.admin.accounts import new_key, rotated_key
from askonce.cli.accounts import (
    PAGE,
    BudgetOption,
    ConcurrencyOption,
    ScopeOption,
    bounds_text,
    card_json,
    every,
    find_user,
    named_key,
    read_bounds,
    read_list,
    read_scopes,
    state_of,
)
from askonce.cli.apps import new_app
from askonce.cli.exits import Misused
from askonce.cli.moments import end_ms, span_ms
from askonce.cli.office import ConfigOption, JsonOption, Office, SetOption, work
from askonce.cli.tables import lay_out, moment, show, show_json
from askonce.domain.accounts import DEFAULT_TENANT, Issued, KeyChange, KeyWish, Rotated
from askonce.domain.identity import Bounds, KeyCard
from askonce.domain.ledger import AuditRow

app = new_app("Make, list, change, revoke and rotate keys. Works on the database, whether a server runs or not.")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, or its prefix.")]
ModelOption = Annotated[
    list[str], typer.Option("--model", help="Model that it may ask, such as gpt-4o*; repeatable; 'any' for all.")
]
ProviderOption = Annotated[
    list[str], typer.Option("--provider", help="Provider that it may ask; repeatable; 'any' for all.")
]
AddressOption = Annotated[
    list[str], typer.Option("--address", help="Address or network that it may be used from; repeatable; 'any'.")
]
ExpiresOption = Annotated[str | None, typer.Option(help="When it ends: 30d, 2026-12-31, or never.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print the key and nothing else.")]


@app.command(name="create")
def _create(
    name: Annotated[str, typer.Argument(help="What it is for; for people.")],
    tenant: Annotated[str, typer.Option(help="Tenant that it belongs to.")] = "",
    user: Annotated[str, typer.Option(help="User that it belongs to, by id or address.")] = "",
    scope: ScopeOption = [],  # noqa: B006 - typer's way to say: none
    model: ModelOption = [],  # noqa: B006
    provider: ProviderOption = [],  # noqa: B006
    address: AddressOption = [],  # noqa: B006
    expires: ExpiresOption = None,
    budget: BudgetOption = [],  # noqa: B006
    concurrency: ConcurrencyOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Make a key and print it: this once, as only its hash is kept."""

    async def create(office: Office) -> Issued:
        wish = KeyWish(
            name,
            tenant or DEFAULT_TENANT,
            scopes=read_scopes(scope, ("use",)),
            models=read_list(model),
            providers=read_list(provider),
            addresses=read_list(address),
            bounds=read_bounds(budget, concurrency, Bounds()),
            expires_ms=end_ms(expires, office.clock.wall_ms(), "--expires") if expires else 0,
        )
        return await _issue(office, wish, tenant, user)

    issued = work(create, config, set_)
    if as_json:
        show_json(to_builtins(new_key(issued)))
    elif quiet:
        print(issued.key)
    else:
        print(f"{issued.key}\n\nThis is the only time that it is shown. Its id is {issued.card.id}.")
        show(described(issued.card))


@app.command(name="list")
def _list(
    tenant: Annotated[str, typer.Option(help="Keys of this tenant only.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Also those that ended.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """List keys, newest first; never the keys themselves."""

    async def listed(office: Office) -> list[KeyCard]:
        pages = every(lambda after: office.keys.list(tenant, after, PAGE))
        return [card async for card in pages if all_ or state_of(card) == "in force"]

    _show_cards(work(listed, config, set_), as_json)


@app.command(name="show")
def _show(
    key: KeyArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Show what a key may do."""
    _tell(work(lambda office: office.keys.get(named_key(key)), config, set_), as_json)


@app.command(name="change")
def _change(
    key: KeyArgument,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    scope: ScopeOption = [],  # noqa: B006
    model: ModelOption = [],  # noqa: B006
    provider: ProviderOption = [],  # noqa: B006
    address: AddressOption = [],  # noqa: B006
    expires: ExpiresOption = None,
    budget: BudgetOption = [],  # noqa: B006
    concurrency: ConcurrencyOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Change what a key may do; what is not named stays. Budgets are replaced all together."""

    async def act(office: Office) -> KeyCard:
        former = await office.keys.get(named_key(key))
        changed = KeyChange(
            name=UNSET if name is None else name,
            scopes=read_scopes(scope, ()) or UNSET,
            models=read_list(model) if model else UNSET,
            providers=read_list(provider) if provider else UNSET,
            addresses=read_list(address) if address else UNSET,
            expires_ms=end_ms(expires, office.clock.wall_ms(), "--expires") if expires else UNSET,
            bounds=read_bounds(budget, concurrency, former.bounds) if budget or concurrency is not None else UNSET,
        )
        if changed == KeyChange():
            raise Misused("Nothing is to be changed; name what, such as --budget $10/day.")
        return await office.keys.update(former.id, changed)

    async def change(office: Office) -> KeyCard:
        return await office.recorded(lambda: act(office), lambda card: _row(office, "key.changed", card))

    _tell(work(change, config, set_), as_json)


@app.command(name="revoke")
def _revoke(
    key: KeyArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """End a key: running servers refuse it within a second."""

    async def revoke(office: Office) -> KeyCard:
        return await office.recorded(
            lambda: office.keys.revoke(named_key(key)), lambda card: _row(office, "key.revoked", card)
        )

    card = work(revoke, config, set_)
    if as_json:
        show_json(card_json(card))
    else:
        show(f"{card.prefix} ({card.name}) is revoked since {moment(card.revoked_ms)} UTC.")


@app.command(name="rotate")
def _rotate(
    key: KeyArgument,
    grace: Annotated[str, typer.Option(help="How long the former key is good for, at most 90d.")] = "1h",
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Make a key that may do the same, print it, and let the former one end after the grace."""

    async def rotate(office: Office) -> Rotated:
        await office.keys.check_secret()
        return await office.recorded(
            lambda: office.keys.rotate(named_key(key), span_ms(grace, "--grace")),
            lambda done: _row(office, "key.rotated", done.former, successor=done.issued.card.id),
        )

    rotated = work(rotate, config, set_)
    if as_json:
        show_json(to_builtins(rotated_key(rotated)))
    elif quiet:
        print(rotated.issued.key)
    else:
        print(f"{rotated.issued.key}\n\nThis is the only time that it is shown. Its id is {rotated.issued.card.id}.")
        show(f"The former key, {rotated.former.prefix}, ends {moment(rotated.former.expires_ms)} UTC.")


async def _issue(office: Office, wish: KeyWish, tenant: str, user: str) -> Issued:
    """Make a key; one of a user is of the user's tenant."""
    await office.keys.check_secret()
    if user:
        known = await find_user(office, user)
        if tenant not in ("", known.tenant):
            raise Misused(f"--tenant {tenant}: that user belongs to the tenant {known.tenant}.")
        wish = KeyWish(**{**{n: getattr(wish, n) for n in KeyWish.__struct_fields__},
                          "tenant": known.tenant, "user_id": known.id})  # fmt: skip
    return await office.recorded(
        lambda: office.keys.create(wish), lambda issued: _row(office, "key.created", issued.card)
    )


def _row(office: Office, action: str, card: KeyCard, **more: object) -> AuditRow:
    told = {name: value for name, value in card_json(card).items() if name not in ("id", "tenant", "state")}
    return office.row(action, f"key:{card.id}", {**told, **more}, card.tenant)


def _tell(card: KeyCard, as_json: bool) -> None:
    if as_json:
        show_json(card_json(card))
    else:
        show(described(card))


def _show_cards(cards: list[KeyCard], as_json: bool) -> None:
    if as_json:
        show_json([card_json(card) for card in cards])
    elif not cards:
        print("There are no keys; `askonce keys create NAME` makes one.", file=sys.stderr)
    else:
        head = ("id", "name", "tenant", "user", "scopes", "budgets", "created", "expires", "state")
        show(lay_out(head, map(_line, cards)))


def _line(card: KeyCard) -> tuple[str, ...]:
    return (
        card.id, card.name, card.tenant, card.user_id or "-", ",".join(card.scopes), bounds_text(card.bounds),
        moment(card.created_ms), moment(card.expires_ms), state_of(card),
    )  # fmt: skip


def described(card: KeyCard) -> str:
    """Describe a key, a line for each thing that is bounded."""

    def lines() -> Iterator[tuple[str, str]]:
        yield "key", f"{card.prefix}… ({card.name})"
        yield "tenant", card.tenant
        if card.user_id:
            yield "user", card.user_id
        yield "scopes", ", ".join(card.scopes)
        for title, some in (("models", card.models), ("providers", card.providers), ("addresses", card.addresses)):
            if some:
                yield title, ", ".join(some)
        if bounds_text(card.bounds) != "-":
            yield "budgets", bounds_text(card.bounds)
        yield "expires", moment(card.expires_ms)
        if card.revoked_ms:
            yield "revoked", moment(card.revoked_ms)

    return "\n".join(f"{title:>10}  {value}" for title, value in lines())
