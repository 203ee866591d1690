"""`askonce users`: make, list, change and disable people, and let them log in by a link."""

from typing import Annotated

import typer
from msgspec.structs import replace

from askonce.cli.accounts import (
    PAGE,
    BudgetOption,
    ConcurrencyOption,
    ScopeOption,
    bounds_json,
    bounds_text,
    every,
    find_user,
    read_bounds,
    read_scopes,
    user_json,
)
from askonce.cli.apps import new_app
from askonce.cli.exits import Misused
from askonce.cli.moments import span_ms
from askonce.cli.office import ConfigOption, JsonOption, Office, SetOption, settings, work
from askonce.cli.tables import lay_out, moment, show, show_json
from askonce.domain.accounts import DEFAULT_TENANT, User
from askonce.domain.identity import Bounds
from askonce.domain.ledger import AuditRow
from askonce.supervisor.screen import address

app = new_app("Make, list, change and disable users, and let them log in by a one-time link.")

LINK_MAX_MS = 7 * 86_400_000  # a link lies in mails and chats; after a week nobody knows who has it
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The user's id or address.")]


@app.command(name="create")
def _create(
    email: Annotated[str, typer.Argument(help="Address, by which an identity provider's login is recognised.")] = "",
    name: Annotated[str, typer.Option(help="What people call them.")] = "",
    tenant: Annotated[str, typer.Option(help="Tenant that they belong to.")] = DEFAULT_TENANT,
    scope: ScopeOption = [],  # noqa: B006 - typer's way to say: none
    budget: BudgetOption = [],  # noqa: B006
    concurrency: ConcurrencyOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Make a user. They log in by `askonce users link`, or by the identity provider that is configured."""

    async def create(office: Office) -> User:
        bounds = read_bounds(budget, concurrency, Bounds())
        user = User("", tenant, email, name, read_scopes(scope, ("use",)), bounds)
        return await office.recorded(lambda: office.users.create(user), lambda made: _row(office, "user.created", made))

    _tell(work(create, config, set_), as_json)


@app.command(name="list")
def _list(
    tenant: Annotated[str, typer.Option(help="Users of this tenant only.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """List users, newest first."""

    async def listed(office: Office) -> list[User]:
        return [user async for user in every(lambda after: office.users.list(tenant, after, PAGE))]

    found = work(listed, config, set_)
    if as_json:
        show_json([user_json(user) for user in found])
    else:
        _show(found)


@app.command(name="change")
def _change(
    user: UserArgument,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    scope: ScopeOption = [],  # noqa: B006
    budget: BudgetOption = [],  # noqa: B006
    concurrency: ConcurrencyOption = None,
    enable: Annotated[bool, typer.Option("--enable", help="Let a disabled user in again.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Change a user; what is not named stays. Sessions get no more rights than their login had."""
    if name is None and not scope and not budget and concurrency is None and not enable:
        raise Misused("Nothing is to be changed; name what, such as --scope report.")

    async def change(office: Office) -> User:
        async def act() -> User:
            former = await find_user(office, user)
            changed = replace(
                former,
                name=former.name if name is None else name,
                scopes=read_scopes(scope, former.scopes),
                bounds=read_bounds(budget, concurrency, former.bounds),
                disabled_ms=0 if enable else former.disabled_ms,
            )
            return await office.users.update(changed)

        return await office.recorded(act, lambda made: _row(office, "user.changed", made))

    _tell(work(change, config, set_), as_json)


@app.command(name="disable")
def _disable(
    user: UserArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Let a user in no more: keys and sessions end within a second."""

    async def disable(office: Office) -> User:
        async def act() -> User:
            former = await find_user(office, user)
            return await office.users.update(replace(former, disabled_ms=former.disabled_ms or office.clock.wall_ms()))

        return await office.recorded(act, lambda made: _row(office, "user.disabled", made))

    _tell(work(disable, config, set_), as_json)


@app.command(name="link")
def _link(
    user: UserArgument,
    valid: Annotated[str, typer.Option(help="How long it is good for, at most 7d.")] = "15m",
    base: Annotated[str, typer.Option("--url", help="The server's address, as the user's browser reaches it.")] = "",
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Print a link that logs a user in, once. Their former links end."""
    good_for_ms = span_ms(valid, "--valid")
    if not 0 < good_for_ms <= LINK_MAX_MS:
        raise Misused(f"--valid {valid}: at most 7d.")

    async def link(office: Office) -> str:
        known = await find_user(office, user)
        if known.disabled_ms:
            raise Misused("This user is disabled; `askonce users change --enable` lets them in again.")
        end_ms = office.clock.wall_ms() + good_for_ms
        return await office.recorded(
            lambda: office.links.issue(known.id, end_ms),
            lambda _: office.row("link.issued", f"user:{known.id}", {"expires": end_ms}, known.tenant, "warning"),
        )

    word = work(link, config, set_)
    chosen = settings(config, set_)
    print(login_address(base or address(chosen, chosen.port), word))


def login_address(base: str, word: str) -> str:
    """Write the address that logs in by a link's word."""
    return f"{base.rstrip('/')}/login?word={word}"


def _row(office: Office, action: str, user: User) -> AuditRow:
    details = {"name": user.name, "email": user.email, "scopes": user.scopes, "disabled": bool(user.disabled_ms)}
    return office.row(action, f"user:{user.id}", {**details, **bounds_json(user.bounds)}, user.tenant)


def _tell(user: User, as_json: bool) -> None:
    if as_json:
        show_json(user_json(user))
    else:
        _show([user])


def _show(users: list[User]) -> None:
    head = ("id", "address", "name", "tenant", "scopes", "budgets", "last login", "state")
    show(lay_out(head, map(_line, users)))


def _line(user: User) -> tuple[str, ...]:
    state = f"disabled {moment(user.disabled_ms)}" if user.disabled_ms else "in force"
    return (
        user.id, user.email or "-", user.name or "-", user.tenant, ",".join(user.scopes), bounds_text(user.bounds),
        moment(user.login_ms), state,
    )  # fmt: skip
