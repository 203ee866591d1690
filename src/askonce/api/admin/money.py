"""Budgets: how a key, a user or a tenant stands now."""

from typing import Annotated

from msgspec import Meta, Struct

from askonce.api.admin.office import Clerk, Office
from askonce.api.bodies import Body
from askonce.api.errands import Errand, Handler
from askonce.domain.budget import Account, Balance
from askonce.domain.budget_text import write_amount, write_budget
from askonce.domain.errors import Detail, Invalid
from askonce.domain.identity import Bounds, Metric, Span
from askonce.gate.scopes import visible_tenant

ONE = "Name one of key, user and tenant: whose budgets are asked for."
_Id = Annotated[str, Meta(max_length=64)]


class BudgetQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Name whose budgets are asked for: one of the three."""

    key: _Id = ""
    user: _Id = ""
    tenant: _Id = ""


class BalanceView(Body, frozen=True):
    """Tell how a budget stands. Amounts are requests, tokens or nano-dollars, as `metric` says."""

    budget: str
    metric: Metric
    span: Span
    amount: int
    used: int
    reserved: int
    left: int
    left_text: str
    starts_at: int
    resets_at: int


class StatementView(Body, frozen=True):
    """Tell how an account stands. `inFlight` is 0 where `concurrency` is: then nobody counts them."""

    account: str
    concurrency: int
    in_flight: int
    budgets: tuple[BalanceView, ...]


def budget_handlers(clerk: Clerk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def statement(errand: Errand) -> Struct:
        account = await _account(await clerk.offices.open(), errand)
        told = await clerk.budgets.statement(account)
        return StatementView(
            told.account, account.concurrency, told.in_flight, tuple(_balance(each) for each in told.balances)
        )

    return {"admin_budgets": statement}


async def _account(office: Office, errand: Errand) -> Account:
    """Return whose account it is. Raises `NotFound`, also for another tenant's."""
    query: BudgetQuery = errand.query
    named = [name for name in query.__struct_fields__ if getattr(query, name)]
    if len(named) != 1:
        raise Invalid(ONE, details=[Detail(name, "is one of several") for name in named])
    caller = errand.caller
    own = visible_tenant(caller.scopes, caller.tenant, "")
    name, bounds, tenant = "", Bounds(), query.tenant
    if query.key:
        card = await office.keys.get(query.key, own)
        name, bounds, tenant = f"key:{card.id}", card.bounds, card.tenant
    elif query.user:
        user = await office.users.get(query.user, own)
        name, bounds, tenant = f"user:{user.id}", user.bounds, user.tenant
    else:
        visible_tenant(caller.scopes, caller.tenant, tenant)
        name, bounds = f"tenant:{tenant}", (await office.tenants.get(tenant)).bounds
    return Account(name, bounds.budgets, bounds.concurrency, tenant)


def _balance(balance: Balance) -> BalanceView:
    budget = balance.budget
    left = max(0, budget.amount - balance.used - balance.reserved)
    return BalanceView(
        write_budget(budget),
        budget.metric,
        budget.span,
        budget.amount,
        balance.used,
        balance.reserved,
        left,
        write_amount(budget.metric, left),
        balance.start_ms,
        balance.resets_ms,
    )
