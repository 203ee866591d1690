"""`askonce budgets show`: what of a key's, user's or tenant's budgets is used, reserved and left.

What is used is counted in shared state: with `STATE_URL` by all nodes together, else by each machine for itself. This
reads what the machine that it runs on is set to.
"""

from typing import Annotated, Any

import typer

from askonce.cli.accounts import find_user, named_key
from askonce.cli.apps import new_app
from askonce.cli.exits import CommandFailed
from askonce.cli.office import ConfigOption, JsonOption, Office, SetOption, work
from askonce.cli.tables import lay_out, moment, show, show_json
from askonce.domain.budget import Account, Balance, Statement, accounts_of
from askonce.domain.budget_text import write_amount, write_budget
from askonce.domain.identity import Bounds, Holder, Standing
from askonce.state.lmdb_glance import NoBooks
from askonce.wiring.glances import glance_of

app = new_app("Show how budgets stand.")


@app.callback()
def _group() -> None:
    """Show how budgets stand."""  # a command of its own, so that more may come beside it


@app.command(name="show")
def _show(
    holder: Annotated[str, typer.Argument(metavar="KEY|user:ID|tenant:ID", help="Whose; a key's with all above it.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006 - typer's way to say: none
) -> None:
    """Show what is used, reserved and left, as this machine's gateway, or all nodes, have counted it. Needs no key."""

    async def told(office: Office) -> list[tuple[Account, Statement]]:
        glance = glance_of(office.config, office.clock)
        accounts = await _accounts(office, holder)
        try:
            return [(account, await glance.statement(account)) for account in accounts]
        except NoBooks as error:
            raise CommandFailed(f"{error.message} Nothing is counted here before `askonce serve`.") from error

    statements = work(told, config, set_)
    if as_json:
        show_json([_json(account, statement) for account, statement in statements])
    elif not statements:
        show(f"Nothing bounds {named_key(holder)}.")  # never a whole key
    else:
        head = ("account", "budget", "used", "reserved", "left", "begins anew (UTC)")
        lines = [line for account, statement in statements for line in _lines(account, statement)]
        show(lay_out(head, lines, frozenset({"used", "reserved", "left"})))


async def _accounts(office: Office, name: str) -> tuple[Account, ...]:
    """Return what bounds a key (its own, its user's and its tenant's budgets), a user or a tenant."""
    kind, colon, rest = name.partition(":")
    if colon and kind in ("user", "tenant"):
        return _bounded(await _holder(office, kind, rest))
    card = await office.keys.get(named_key(rest if colon and kind == "key" else name))
    user = await _holder(office, "user", card.user_id) if card.user_id else None
    return accounts_of(Standing(card, user, await _holder(office, "tenant", card.tenant)))


async def _holder(office: Office, kind: str, name: str) -> Holder:
    if kind == "tenant":
        tenant = await office.tenants.get(name)
        return Holder(f"tenant:{tenant.id}", tenant.bounds)
    user = await find_user(office, name)
    return Holder(f"user:{user.id}", user.bounds)


def _bounded(holder: Holder) -> tuple[Account, ...]:
    if holder.bounds == Bounds():
        return ()
    return (Account(holder.name, holder.bounds.budgets, holder.bounds.concurrency),)


def _lines(account: Account, statement: Statement) -> list[tuple[str, ...]]:
    lines = []
    for balance in statement.balances:
        metric = balance.budget.metric
        amounts = (write_amount(metric, amount) for amount in (balance.used, balance.reserved, _left(balance)))
        lines.append((account.name, write_budget(balance.budget), *amounts, moment(balance.resets_ms)))
    if account.concurrency:
        left = max(0, account.concurrency - statement.in_flight)
        lines.append((account.name, f"{account.concurrency} at once", str(statement.in_flight), "-", str(left), "-"))
    return lines


def _left(balance: Balance) -> int:
    return max(0, balance.budget.amount - balance.used - balance.reserved)


def _json(account: Account, statement: Statement) -> dict[str, Any]:
    return {
        "account": account.name,
        "budgets": [
            {
                "budget": write_budget(balance.budget),
                "metric": balance.budget.metric,
                "amount": balance.budget.amount,
                "used": balance.used,
                "reserved": balance.reserved,
                "left": _left(balance),
                "startsAt": balance.start_ms,
                "resetsAt": balance.resets_ms,
            }
            for balance in statement.balances
        ],
        "concurrency": account.concurrency,
        "inFlight": statement.in_flight,
    }
