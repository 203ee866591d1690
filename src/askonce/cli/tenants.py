"""`askonce tenants`: make, list and change those who share answers, budgets and reports."""

from typing import Annotated

import typer
from msgspec.structs import replace

from askonce.cli.accounts import (
    PAGE,
    BudgetOption,
    ConcurrencyOption,
    bounds_json,
    bounds_text,
    every,
    read_bounds,
    tenant_json,
)
from askonce.cli.apps import new_app
from askonce.cli.exits import Misused
from askonce.cli.office import ConfigOption, JsonOption, Office, SetOption, work
from askonce.cli.tables import lay_out, moment, show, show_json
from askonce.domain.accounts import Tenant
from askonce.domain.identity import Bounds
from askonce.domain.ledger import AuditRow

app = new_app("Make, list and change tenants: those who share answers, budgets and reports.")

IdArgument = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")]


@app.command(name="create")
def _create(
    tenant: IdArgument,
    name: Annotated[str, typer.Option(help="What people call it; else its id.")] = "",
    budget: BudgetOption = [],  # noqa: B006 - typer's way to say: none
    concurrency: ConcurrencyOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Make a tenant."""

    async def create(office: Office) -> Tenant:
        bounds = read_bounds(budget, concurrency, Bounds())
        return await office.recorded(
            lambda: office.tenants.create(tenant, name, bounds), lambda made: _row(office, "tenant.created", made)
        )

    _tell(work(create, config, set_), as_json)


@app.command(name="list")
def _list(as_json: JsonOption = False, config: ConfigOption = None, set_: SetOption = []) -> None:  # noqa: B006
    """List tenants, newest first."""

    async def listed(office: Office) -> list[Tenant]:
        return [tenant async for tenant in every(lambda after: office.tenants.list(after, PAGE))]

    found = work(listed, config, set_)
    if as_json:
        show_json([tenant_json(tenant) for tenant in found])
    else:
        show(lay_out(("id", "name", "budgets", "created", "state"), map(_line, found)))


@app.command(name="change")
def _change(
    tenant: IdArgument,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    budget: BudgetOption = [],  # noqa: B006
    concurrency: ConcurrencyOption = None,
    disable: Annotated[bool | None, typer.Option("--disable/--enable", help="Whether its keys are in force.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
) -> None:
    """Change a tenant; what is not named stays. Disabled, none of its keys and logins is in force."""
    if name is None and not budget and concurrency is None and disable is None:
        raise Misused("Nothing is to be changed; name what, such as --budget $100/month.")

    async def change(office: Office) -> Tenant:
        async def act() -> Tenant:
            former = await office.tenants.get(tenant)
            disabled_ms = former.disabled_ms
            if disable is not None:
                disabled_ms = (disabled_ms or office.clock.wall_ms()) * disable
            changed = replace(
                former,
                name=former.name if name is None else name,
                bounds=read_bounds(budget, concurrency, former.bounds),
                disabled_ms=disabled_ms,
            )
            return await office.tenants.update(changed)

        return await office.recorded(act, lambda made: _row(office, "tenant.changed", made))

    _tell(work(change, config, set_), as_json)


def _row(office: Office, action: str, tenant: Tenant) -> AuditRow:
    details = {"name": tenant.name, "disabled": bool(tenant.disabled_ms), **bounds_json(tenant.bounds)}
    return office.row(action, f"tenant:{tenant.id}", details, tenant.id)


def _tell(tenant: Tenant, as_json: bool) -> None:
    if as_json:
        show_json(tenant_json(tenant))
    else:
        show(lay_out(("id", "name", "budgets", "created", "state"), [_line(tenant)]))


def _line(tenant: Tenant) -> tuple[str, ...]:
    state = f"disabled {moment(tenant.disabled_ms)}" if tenant.disabled_ms else "in force"
    return tenant.id, tenant.name, bounds_text(tenant.bounds), moment(tenant.created_ms), state
