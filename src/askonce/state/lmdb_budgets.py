"""Budgets over LMDB, in the `books` environment; one write transaction each. `limits.budget` says what is stored.

A process' sign of life is renewed each second, and with the next reservation where that is late, so that a process
that was frozen does not reserve what others let lapse at once.

Closed: with the books away nothing can be reserved. What cannot be settled then stays reserved, and is settled once
they are back.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TypeAlias

from askonce.domain.budget import NOTHING, Account, Amounts, Refusal, Reservation, Statement
from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import AuditRow
from askonce.limits import budget as rule
from askonce.limits import meters
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_files import Txn
from askonce.state.lmdb_records import walk

ALL = b"q"
SLICE = 200  # reservations looked at in one write transaction: about a millisecond

Append: TypeAlias = Callable[[Txn, AuditRow], None]


class LmdbBudgets:
    """Keep budgets for all processes of the machine, as one of them: `owner` is its `slot:incarnation`.

    `append` writes an alert into the outbox, in the transaction in which it came about.
    """

    def __init__(self, desk: Desk, clock: Clock, owner: str, append: Append) -> None:
        self._desk = desk
        self._clock = clock
        self._append = append
        self._owner = rule.owner_key(owner)
        self._shelf = rule.shelf(self._owner)
        self._planner = meters.Planner()
        self._number = clock.steady_ns()  # a later process of this name goes on higher
        self._renew_at_ns = 0
        # What could not be settled: no more than was in flight, because nothing is let in meanwhile.
        self._owed: dict[bytes, tuple[Reservation, Amounts]] = {}
        self._resume = ALL  # where the sweeper goes on

    async def reserve(
        self, accounts: tuple[Account, ...], estimate: Amounts, lease_ms: int = rule.LEASE_MS
    ) -> Reservation | Refusal:
        """Reserve in all periods of all accounts, or nowhere, while the books have room."""
        at_ms = self._clock.wall_ms()
        plan = self._planner.plan(accounts, at_ms)
        if not plan.meters:
            return Reservation(b"", accounts, at_ms)
        now_ns = self._clock.steady_ns()
        self._number += 1
        name = self._shelf + self._number.to_bytes(8, "big")

        def act(txn: Txn) -> Refusal | None:
            if now_ns >= self._renew_at_ns:
                txn.put(self._owner, rule.sign_of_life(now_ns))
            return rule.reserve(txn, plan, estimate, name, now_ns + lease_ms * 1_000_000)

        refusal = self._desk.admit(act)
        if now_ns >= self._renew_at_ns:
            self._renew_at_ns = now_ns + rule.RENEWED_NS
        return Reservation(name, accounts, at_ms) if refusal is None else refusal

    async def settle(self, reservation: Reservation, actual: Amounts) -> None:
        """Count what the call took, once; with the books away when they are back."""
        if not reservation.id or reservation.id in self._owed:
            return
        try:
            self._desk.write(lambda txn: self.settle_in(txn, reservation, actual))
        except StoreUnavailable:
            self.defer(reservation, actual)

    async def release(self, reservation: Reservation) -> None:
        """Give everything back."""
        await self.settle(reservation, NOTHING)

    def settle_in(self, txn: Txn, reservation: Reservation, actual: Amounts) -> None:
        """Settle as a part of another act on the books. Where that act fails, `defer`."""
        if reservation.id:
            plan = self._planner.plan(reservation.accounts, reservation.at_ms)
            for alert in rule.settle(txn, plan, reservation.id, actual):
                self._append(txn, rule.as_audit(alert, self._clock.wall_ms()))

    def defer(self, reservation: Reservation, actual: Amounts) -> None:
        """Settle with one of the next calls of `renew`; until then everything stays reserved."""
        if reservation.id:
            self._owed.setdefault(reservation.id, (reservation, actual))

    async def renew(self) -> int:
        """Say that this process lives, settle what could not be, let lapse what dead ones reserved; say how many.

        If cancelled, what is left is done by the next.
        """
        now_ns = self._clock.steady_ns()
        self._desk.write(lambda txn: txn.put(self._owner, rule.sign_of_life(now_ns)))
        self._renew_at_ns = now_ns + rule.RENEWED_NS
        with contextlib.suppress(StoreUnavailable):  # what dead ones reserved lapses all the same
            for reservation, actual in list(self._owed.values()):
                self._desk.write(partial(self.settle_in, reservation=reservation, actual=actual))
                del self._owed[reservation.id]
        lapsed = 0
        for owner in self._desk.read(lambda txn: _dead_owners(txn, now_ns)):
            after = shelf = rule.shelf(owner)
            while after.startswith(shelf):
                number, after = self._desk.write(partial(_lapse, owner=owner, after=after, now_ns=now_ns))
                lapsed += number
                await asyncio.sleep(0)
        return lapsed

    async def release_slot(self, slot: int) -> int:
        """Erase all that earlier processes in this slot reserved; return how many reservations.

        Only before this process reserves: one of its own name may have been before it.
        """
        return self._desk.write(lambda txn: _erase_slot(txn, slot))

    async def statement(self, account: Account) -> Statement:
        """Tell how an account stands now."""
        plan = meters.make_plan((account,), self._clock.wall_ms())
        return self._desk.read(lambda txn: rule.tell(txn, plan))[0]

    async def sweep(self, budget: int) -> int:
        """Look at the next `budget` records, end forgotten reservations, delete old periods; return how many."""
        now_ns, now_ms = self._clock.steady_ns(), self._clock.wall_ms()
        found = self._desk.read(lambda txn: self._find_old(txn, budget, now_ns, now_ms))
        if not found:
            return 0
        return self._desk.write(lambda txn: sum(_end(txn, key, now_ns, now_ms) for key in found))

    def _find_old(self, txn: Txn, budget: int, now_ns: int, now_ms: int) -> list[bytes]:
        old: list[bytes] = []
        with txn.cursor() as cursor:
            for key, value in walk(cursor, ALL, self._resume):
                if budget == 0:
                    self._resume = key
                    return old
                budget -= 1
                if _is_old(key, value, now_ns, now_ms):
                    old.append(key)
        self._resume = ALL
        return old


def draw(txn: Txn) -> dict[str, tuple[int, ...]]:
    """Copy out, by hexadecimal keys, what must outlive the books: the sums of all periods, without what is in flight.

    What belongs to reservations ends with the boot, as their processes do.
    """
    with txn.cursor() as cursor:
        drawn = {key.hex(): meters.sums(row) for key, row in walk(cursor, meters.METER, meters.METER)}
    return {key: sums for key, sums in drawn.items() if sums}


def restore(txn: Txn, drawn: Mapping[str, Sequence[int]]) -> None:
    """Write such sums into empty books."""
    for key, sums in drawn.items():
        txn.put(bytes.fromhex(key), meters.row_of(sums))


def _dead_owners(txn: Txn, now_ns: int) -> list[bytes]:
    with txn.cursor() as cursor:
        return [owner for owner, sign in walk(cursor, rule.OWNER, rule.OWNER) if rule.is_dead(sign, now_ns)]


def _lapse(txn: Txn, owner: bytes, after: bytes, now_ns: int) -> tuple[int, bytes]:
    """Let some reservations of a dead process lapse; returns how many, and where to go on (b"": nowhere)."""
    if not rule.is_dead(txn.get(owner), now_ns):
        return 0, b""  # it was only frozen
    with txn.cursor() as cursor:
        keys = [key for key, _ in islice(walk(cursor, rule.shelf(owner), after), SLICE + 1)]
    if len(keys) <= SLICE:
        txn.delete(owner)
        keys.append(b"")
    return sum(rule.lapse(txn, key, now_ns) for key in keys[:-1]), keys[-1]


def _erase_slot(txn: Txn, slot: int) -> int:
    with txn.cursor() as cursor:
        prefix = rule.owners_in(slot)
        owners = [owner for owner, _ in walk(cursor, prefix, prefix)]
        shelves = [rule.shelf(owner) for owner in owners]
        keys = [key for shelf in shelves for key, _ in walk(cursor, shelf, shelf)]
    for owner in owners:
        txn.delete(owner)
    return sum(rule.erase(txn, key) for key in keys)


def _is_old(key: bytes, value: bytes, now_ns: int, now_ms: int) -> bool:
    if key.startswith(meters.METER):
        return meters.is_over(key, value, now_ms)
    return key.startswith(rule.RESERVATION) and rule.is_due(value, now_ns)


def _end(txn: Txn, key: bytes, now_ns: int, now_ms: int) -> bool:
    if key.startswith(rule.RESERVATION):
        return rule.end_due(txn, key, now_ns)
    row = txn.get(key)
    return row is not None and meters.is_over(key, row, now_ms) and txn.delete(key)
