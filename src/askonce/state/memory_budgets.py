"""The reference: budgets in one process's memory, written to be plainly right.

The `Vault` holds what an adapter over a store would share; each `MemoryBudgets` is one owner's view of it.
"""

from collections.abc import Callable
from typing import TypeAlias

from askonce.domain.budget import NOTHING, Account, Amounts, Refusal, Reservation, Statement
from askonce.domain.clock import Clock
from askonce.domain.ledger import AuditRow
from askonce.limits import budget as rule
from askonce.limits import meters
from askonce.state.shelf import Shelf

Append: TypeAlias = Callable[[AuditRow], None]


class Vault(Shelf):
    """Hold meters, reservations and signs of life."""

    def under(self, prefix: bytes) -> list[bytes]:
        """Return the keys with this prefix, in order."""
        return sorted(key for key in self if key.startswith(prefix))


class MemoryBudgets:
    """Reserve, settle and release as one owner. `append` takes the alerts."""

    def __init__(self, vault: Vault, clock: Clock, owner: str, append: Append) -> None:
        self._vault = vault
        self._clock = clock
        self._append = append
        self._owner = rule.owner_key(owner)
        self._number = clock.steady_ns()
        self._renew_at_ns = 0

    async def reserve(
        self, accounts: tuple[Account, ...], estimate: Amounts, lease_ms: int = rule.LEASE_MS
    ) -> Reservation | Refusal:
        """Reserve in all periods of all accounts, or nowhere."""
        at_ms, now_ns = self._clock.wall_ms(), self._clock.steady_ns()
        plan = meters.make_plan(accounts, at_ms)
        if not plan.meters:
            return Reservation(b"", accounts, at_ms)
        self._number += 1
        name = rule.shelf(self._owner) + self._number.to_bytes(8, "big")
        if now_ns >= self._renew_at_ns:
            self._give_sign(now_ns)
        refusal = rule.reserve(self._vault, plan, estimate, name, now_ns + lease_ms * 1_000_000)
        return Reservation(name, accounts, at_ms) if refusal is None else refusal

    async def settle(self, reservation: Reservation, actual: Amounts) -> None:
        """Count what the call took, once."""
        if reservation.id:
            plan = meters.make_plan(reservation.accounts, reservation.at_ms)
            for alert in rule.settle(self._vault, plan, reservation.id, actual):
                self._append(rule.as_audit(alert, self._clock.wall_ms()))

    async def release(self, reservation: Reservation) -> None:
        """Give everything back."""
        await self.settle(reservation, NOTHING)

    async def renew(self) -> int:
        """Say that this owner lives, let lapse what dead ones reserved; say how many."""
        now_ns = self._clock.steady_ns()
        self._give_sign(now_ns)
        lapsed = 0
        for owner in self._vault.under(rule.OWNER):
            if rule.is_dead(self._vault[owner], now_ns):
                lapsed += sum(rule.lapse(self._vault, key, now_ns) for key in self._vault.under(rule.shelf(owner)))
                del self._vault[owner]
        return lapsed

    async def release_slot(self, slot: int) -> int:
        """Erase all that earlier processes in this slot reserved; return how many reservations."""
        erased = 0
        for owner in self._vault.under(rule.owners_in(slot)):
            erased += sum(rule.erase(self._vault, key) for key in self._vault.under(rule.shelf(owner)))
            del self._vault[owner]
        return erased

    async def statement(self, account: Account) -> Statement:
        """Tell how an account stands now."""
        return rule.tell(self._vault, meters.make_plan((account,), self._clock.wall_ms()))[0]

    async def sweep(self, budget: int) -> int:
        """End forgotten reservations, delete old periods; here all of them at once."""
        now_ns, now_ms = self._clock.steady_ns(), self._clock.wall_ms()
        old = [key for key in self._vault.under(meters.METER) if meters.is_over(key, self._vault[key], now_ms)]
        for key in old:
            del self._vault[key]
        return len(old) + sum(rule.end_due(self._vault, key, now_ns) for key in self._vault.under(rule.RESERVATION))

    def _give_sign(self, now_ns: int) -> None:
        self._vault.put(self._owner, rule.sign_of_life(now_ns))
        self._renew_at_ns = now_ns + rule.RENEWED_NS
