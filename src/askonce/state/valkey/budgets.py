"""Budgets over Valkey or Redis, for all processes of all nodes: one atomic act each (`budget_scripts`).

Periods and leases run on the server's time. A process plans by its own clock, put right by what the server told last;
where a period ended in between, the server says so and it plans again. So no call counts into a period of a node's own.

Closed: with the server away nothing is reserved. What cannot be settled then is settled once it is back. A call whose
answer was lost may have been done or not: settling is done once however often it is asked for, and what may have been
reserved for nobody is given back the same way.

After the server was away for everybody, signs of life are old that could not be renewed. So who had no answer lets
nothing of others lapse until each of them had the time to sign again.
"""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from askonce.domain.budget import NOTHING, Account, Alert, Amounts, Refusal, Reservation, Statement
from askonce.domain.clock import Clock
from askonce.domain.credentials import mint_id
from askonce.domain.errors import StoreUnavailable
from askonce.limits import budget as rule
from askonce.limits import meters
from askonce.limits.meters import Plan
from askonce.state.mending import packed
from askonce.state.shelf import Shelf
from askonce.state.valkey import budget_scripts as scripts
from askonce.state.valkey.server import BOOKS, Hour, Script, Server, Unsent, Word

SLICE = 200  # reservations ended in one act: some milliseconds; and settled late by one `renew`, which must not last
TRIES = 3  # to plan for the period in which the server is; the second is right unless that ended, too
NOT_SETTLED: tuple[Word, ...] = (b"",)  # the words of `settle` where nothing was reserved
_COLUMNS = 6  # what a script tells of a meter: used and reserved of three metrics each
_USED = b'"used":'
_EMPTY = b"\xc4\x00"  # no bytes, in MessagePack


class ValkeyBudgets:
    """Keep budgets for all processes, as one of them: `owner` is its `node/slot:incarnation`."""

    def __init__(self, server: Server, hour: Hour, clock: Clock, owner: str) -> None:
        self._server = server
        self._hour = hour
        self._clock = clock
        self._owner = owner.encode()
        self._shelf = _shelf(self._owner)
        self._planner = meters.Planner()
        self._number = secrets.randbits(60)  # two that have one name by mistake still name their calls differently
        self._ahead_ms = 0  # the server's clock of ours
        self._was_away = False
        self._judges_at_ns = clock.steady_ns()
        # What could not be settled: no more than was in flight, because nothing is let in meanwhile.
        self._owed: dict[bytes, tuple[Reservation, Amounts]] = {}

    async def reserve(
        self, accounts: tuple[Account, ...], estimate: Amounts, lease_ms: int = rule.LEASE_MS
    ) -> Reservation | Refusal:
        """Reserve in all periods of all accounts, or nowhere. If cancelled, what was reserved is given back."""
        at_ms = self._wall_ms()
        self._number += 1
        name = self._shelf + b"%016x" % self._number
        for _ in range(TRIES):
            plan = self._planner.plan(accounts, at_ms)
            if not plan.meters:
                return Reservation(b"", accounts, at_ms)
            reservation = Reservation(name, accounts, at_ms)
            try:
                outcome, now_ms, *rows = await self._act(scripts.RESERVE, self._asking(plan, name, estimate, lease_ms))
            except Unsent:
                raise
            except (StoreUnavailable, asyncio.CancelledError):
                self.defer(reservation, NOTHING)
                raise
            self._ahead_ms = now_ms - self._clock.wall_ms()
            if outcome == 1:
                return reservation
            if outcome == 2:
                return rule.refusal(plan, list(_rows(plan, rows)), estimate)
            at_ms = now_ms
        raise StoreUnavailable("Periods of the budgets end faster than they can be asked for. Try again.")

    async def settle(self, reservation: Reservation, actual: Amounts) -> None:
        """Count what the call took, once; with the server away when it is back."""
        if not reservation.id or reservation.id in self._owed:
            return
        try:
            await self._settle_now(reservation, actual)
        except StoreUnavailable:
            self.defer(reservation, actual)
        except asyncio.CancelledError:
            self.defer(reservation, actual)
            raise

    async def release(self, reservation: Reservation) -> None:
        """Give everything back."""
        await self.settle(reservation, NOTHING)

    def settling(self, reservation: Reservation, actual: Amounts) -> tuple[Word, ...]:
        """Return the words with which the Lua function `settle` settles, as a part of another act.

        They are the last of that act. Where its answer does not come, `defer`.
        """
        if not reservation.id:
            return NOT_SETTLED
        plan = self._planner.plan(reservation.accounts, reservation.at_ms)
        words: list[Word] = [reservation.id, *(min(int(took), meters.MOST) for took in actual), len(plan.meters)]
        at_ms = self._wall_ms()
        for meter in plan.meters:
            alerting = [(cap, cap.budget) for cap in meter.caps if cap.threshold and cap.budget is not None]
            words += (meter.key, meter.end_ms, meters.over_ms(meter), len(alerting))
            for cap, budget in alerting:
                alert = Alert(meter.account, budget, 0, meter.start_ms, meter.end_ms)
                words += (cap.metric, cap.threshold, *_letter(alert, at_ms))
        return tuple(words)

    def defer(self, reservation: Reservation, actual: Amounts) -> None:
        """Settle with one of the next calls of `renew`; until then everything stays reserved."""
        if reservation.id:
            self._owed.setdefault(reservation.id, (reservation, actual))

    async def renew(self) -> int:
        """Say that this process lives, settle what could not be, let lapse what dead ones reserved; say how many.

        If cancelled, what is left is done by the next.
        """
        try:
            now_ms, dead = await self._act(scripts.RENEW, (self._hour.told(), self._owner))
        except StoreUnavailable:
            self._was_away = True
            raise
        self._ahead_ms = now_ms - self._clock.wall_ms()
        if self._was_away:
            self._was_away = False
            self._judges_at_ns = self._clock.steady_ns() + rule.LEASE_NS
        await self._settle_owed()
        if self._clock.steady_ns() < self._judges_at_ns:
            return 0
        return sum([await self._end_all(scripts.LAPSE, (self._hour.told(),), owner) for owner in dead])

    async def release_slot(self, slot: int) -> int:
        """Erase all that earlier processes in this slot of the node reserved; return how many reservations.

        Only before this process reserves: one of its own name may have been before it.
        """
        node, slash, _ = self._owner.rpartition(b"/")
        prefix = node + slash + b"%d:" % slot
        owners = await self._server.call("ZRANGE", BOOKS + b"qo", 0, -1)
        return sum([await self._end_all(scripts.ERASE, (), owner) for owner in owners if owner.startswith(prefix)])

    async def statement(self, account: Account) -> Statement:
        """Tell how an account stands now."""
        plan = meters.make_plan((account,), self._wall_ms())
        rows = _rows(plan, await self._act(scripts.STATE, (plan.keys,)))
        stored = {meter.key: meters.ROW.pack(*row) for meter, row in zip(plan.meters, rows, strict=True)}
        return rule.tell(Shelf(stored), plan)[0]

    async def sweep(self, budget: int) -> int:
        """End forgotten reservations and delete old periods, at most `budget` of both; return how many."""
        gone = 0
        while gone < budget:
            size = min(budget - gone, SLICE)
            ended = await self._act(scripts.SWEEP, (self._hour.told(), size))
            gone += ended
            if ended < size:
                break
        return gone

    async def _settle_owed(self) -> None:
        """Settle some of what could not be, until it fails again; what failed comes last the next time."""
        for reservation, actual in list(islice(self._owed.values(), SLICE)):
            try:
                await self._settle_now(reservation, actual)
            except StoreUnavailable:
                self._owed[reservation.id] = self._owed.pop(reservation.id)
                return
            self._owed.pop(reservation.id, None)

    async def _settle_now(self, reservation: Reservation, actual: Amounts) -> None:
        await self._act(scripts.SETTLE_ALONE, (b"", mint_id(), *self.settling(reservation, actual)))

    async def _end_all(self, script: Script, first: tuple[Word, ...], owner: bytes) -> int:
        """End what a process holds, slice by slice; return how many reservations."""
        ended, more = 0, 1
        while more:
            number, more = await self._act(script, (*first, owner, _shelf(owner), SLICE))
            ended += number
        return ended

    async def _act(self, script: Script, words: Sequence[Word]) -> Any:
        return await self._server.act(script, (scripts.ROUTE,), words)

    def _asking(self, plan: Plan, name: bytes, estimate: Amounts, lease_ms: int) -> list[Word]:
        kept = (min(amount, rule.ESTIMATE_MAX) for amount in estimate)
        words: list[Word] = [self._hour.told(), self._owner, name, lease_ms * 1000, plan.from_ms, plan.until_ms]
        words += (*(min(amount, meters.MOST) for amount in estimate), *kept, plan.keys)
        for meter in plan.meters:
            words += (meter.end_ms, meters.over_ms(meter), len(meter.caps))
            for cap in meter.caps:
                words += (cap.metric, cap.amount)
        return words

    def _wall_ms(self) -> int:
        return self._clock.wall_ms() + self._ahead_ms


def _shelf(owner: bytes) -> bytes:
    """Return the first letters of the ids of a process' reservations."""
    return blake2b(owner, digest_size=scripts.OWNER_LETTERS // 2).hexdigest().encode()


def _rows(plan: Plan, told: Sequence[bytes]) -> Iterator[tuple[int, ...]]:
    """Return meters as `limits.meters` lays them out, without what was alerted."""
    amounts = [int(digits) for digits in told]
    for number, meter in enumerate(plan.meters):
        yield (meter.end_ms, *amounts[_COLUMNS * number : _COLUMNS * (number + 1)], 0, 0, 0)


def _letter(alert: Alert, at_ms: int) -> tuple[bytes, bytes, bytes]:
    """Write an alert as a packed row of the audit: up to its details, and of these what is before and after `used`."""
    row = rule.as_audit(alert, at_ms)
    head = packed(replace(row, details=Raw(b""))).removesuffix(_EMPTY)
    before, _, after = bytes(row.details).rpartition(_USED + b"0,")
    return head, before + _USED, b"," + after
