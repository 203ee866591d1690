"""What administering needs of the rest of the house, opened at the first call: most gateways never administer."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Protocol

from msgspec import Struct

from askonce.api.errands import Errand, Handler
from askonce.api.replies import Reply, StreamReply
from askonce.api.trail import Trail
from askonce.domain.accounts import Keys, Listing, LoginLinks, ProviderKeys, Tenants, Users
from askonce.domain.budget import Budgets
from askonce.domain.clock import Clock
from askonce.domain.ledger import AuditRow
from askonce.domain.reports import Reports


class AuditEntry(Struct, frozen=True):
    """Hold one row of the audit with its number in the chain."""

    number: int
    row: AuditRow


class AuditQuestion(Struct, frozen=True):
    """Ask for rows, newest first. Empty strings match everything; `before` is a number, 0 for the end."""

    tenant: str = ""
    actor: str = ""
    action: str = ""
    subject: str = ""
    before: int = 0
    size: int = 100


class Finding(Struct, frozen=True):
    """Hold one thing that is wrong with the chain."""

    kind: str
    number: int
    message: str


class ChainVerdict(Struct, frozen=True):
    """Say what a check of the chain found, and what it cannot prove."""

    sound: bool
    rows: int
    first: int
    last: int
    seal: str
    wrong: int
    findings: tuple[Finding, ...]
    unproven: tuple[str, ...]


class AuditBook(Protocol):
    """Read the audit. All methods raise `LedgerUnavailable`."""

    async def page(self, question: AuditQuestion) -> Listing[AuditEntry]:
        """Return a page."""
        ...

    def export(self, first: int, last: int) -> AsyncGenerator[bytes, None]:
        """Yield an export's lines, each with its line feed."""
        ...

    async def verify(self) -> ChainVerdict:
        """Check the whole chain."""
        ...


class Turns(Protocol):
    """Change what is administered."""

    def take(self) -> AbstractAsyncContextManager[list[AuditRow]]:
        """Open one transaction for all that is read and written in its block, alone in changing accounts.

        Rows that are put into its list are sealed in it: what was done and that it was done are kept together.
        """
        ...


class Office(Struct, frozen=True):
    """Hold the ports to what is administered."""

    keys: Keys
    tenants: Tenants
    users: Users
    links: LoginLinks
    provider_keys: ProviderKeys
    reports: Reports
    audit: AuditBook
    turns: Turns


class Offices(Protocol):
    """Open the office."""

    async def open(self) -> Office:
        """Return it; the first time this reads much code and connects. Raises `LedgerUnavailable`."""
        ...


class Clerk(Struct, frozen=True):
    """Hold what the handlers share."""

    offices: Offices
    trail: Trail
    budgets: Budgets
    clock: Clock

    async def note(self, errand: Errand, action: str, subject: str, **details: object) -> None:
        """Write down what somebody administered: with the change itself, in a handler that is `changing`."""
        who, rows = (errand.caller, errand.request), _rows.get()
        if rows is None:
            await self.trail.note(who, action, subject, "notice", **details)
        else:
            rows.append(self.trail.row(who, action, subject, "notice", **details))

    def changing(self, handler: Handler) -> Handler:
        """Make everything that a handler reads, changes and notes one transaction."""

        async def changed(errand: Errand) -> Struct | Reply | StreamReply:
            office = await self.offices.open()
            async with office.turns.take() as rows:
                token = _rows.set(rows)
                try:
                    return await handler(errand)
                finally:
                    _rows.reset(token)

        return changed


_rows: ContextVar[list[AuditRow] | None] = ContextVar("askonce_audit_rows", default=None)
