"""Budgets: what may be used in a calendar period, reserved before a call and settled after it.

A call presents several accounts (its key, its user, its tenant). All of them are asked in one atomic act: either its
estimate is reserved in every period of every one, or nothing is and it is refused. When it has ended, what it really
took is put in place of the estimate, in the periods in which it was reserved, even if they have ended since.

What holds, for every budget and period, over all processes and whatever dies:

- used = the sum of what the settled calls took; reserved = the sum of the estimates of the calls in flight;
- a call is let in only if used + reserved + its estimate ≤ the amount, so that used + reserved never exceeds the
  amount by more than (what was taken - what was estimated), summed over those calls that were in flight when the
  last one was let in. A call whose reservation had lapsed counts there with an estimate of 0;
- a budget that is used up still lets through what takes nothing of it (estimate 0).

A process that dies without settling took its knowledge of the costs with it: its reservations lapse, nothing is
counted for them here, and a bill may know better. Store away: closed; what cannot be reserved is not asked.
"""

from typing import NamedTuple, Protocol

from msgspec import Struct

from askonce.domain.identity import Bounds, Budget, Standing


class Amounts(NamedTuple):
    """Hold what a call takes, none below 0, in the order of `identity.Metric`."""

    requests: int = 0
    tokens: int = 0
    nano_dollars: int = 0


NOTHING = Amounts()


class Account(Struct, frozen=True):
    """Name whose budgets they are: `key:ID`, `user:ID`, `tenant:ID`. `tenant` is whose audit trail gets its alerts.

    `concurrency` 0: any number at once.
    """

    name: str
    budgets: tuple[Budget, ...] = ()
    concurrency: int = 0
    tenant: str = ""


class Reservation(Struct, frozen=True):
    """Hold what was reserved, until it is settled or released. An empty `id`: nothing limited the call."""

    id: bytes
    accounts: tuple[Account, ...]
    at_ms: int  # names the periods that the call counts into


class Settled(Struct, frozen=True):
    """Say what was taken of what was reserved."""

    reservation: Reservation
    actual: Amounts


class Refusal(Struct, frozen=True):
    """Say which account had no room for a call; of several budgets without room, that which resets last.

    `budget` None: as many calls as it may have at once are in flight. `left` is what could have been reserved.
    `resets_ms`: when the next period begins, 0 where only a call's ending makes room. `held`: there would be room but
    for what is reserved, so that it may come before that.
    """

    account: str
    budget: Budget | None
    needed: int
    left: int
    resets_ms: int
    held: bool


class Balance(Struct, frozen=True):
    """Tell how a budget stands in the period from `start_ms` to `resets_ms`."""

    budget: Budget
    used: int
    reserved: int
    start_ms: int
    resets_ms: int


class Statement(Struct, frozen=True):
    """Tell how an account stands. `in_flight` is 0 for one that may have any number at once: they are not counted."""

    account: str
    balances: tuple[Balance, ...]
    in_flight: int


class Alert(Struct, frozen=True):
    """Tell that settled calls used the share of a budget at which to alert. Once for each budget and period."""

    account: Account
    budget: Budget
    used: int
    start_ms: int
    resets_ms: int


class Budgets(Protocol):
    """Reserve, settle and release, for all processes. All methods but `settle` and `release` raise `StoreUnavailable`.

    Every reservation is of the process that made it. That process must `renew` each second; when it does not for
    three seconds, the next `renew` of any other lets its reservations lapse.
    """

    async def reserve(
        self, accounts: tuple[Account, ...], estimate: Amounts, lease_ms: int = ...
    ) -> Reservation | Refusal:
        """Reserve in all periods of all accounts, or nowhere. Names must differ.

        `lease_ms`: longer than this no call takes; what is not settled then was forgotten, and lapses. Raises
        `UnknownZone` (of `limits.calendar`) for a budget in a zone that this machine does not know.
        """
        ...

    async def settle(self, reservation: Reservation, actual: Amounts) -> None:
        """Count what the call took, once, however often it is said; also where the reservation had lapsed.

        Store away: it stays reserved, and is settled with one of the next calls of `renew`.
        """
        ...

    async def release(self, reservation: Reservation) -> None:
        """Give everything back: the call took nothing."""
        ...

    async def renew(self) -> int:
        """Say that this process lives, settle what could not be, let lapse what dead ones reserved; say how many."""
        ...

    async def release_slot(self, slot: int) -> int:
        """Erase all that earlier processes in this slot reserved; return how many reservations.

        Only before this process reserves: one of its own name may have been before it.
        """
        ...

    async def statement(self, account: Account) -> Statement:
        """Tell how an account stands now."""
        ...

    async def sweep(self, budget: int) -> int:
        """Look at the next `budget` records, end forgotten reservations, delete old periods; return how many."""
        ...


def accounts_of(standing: Standing) -> tuple[Account, ...]:
    """Return the accounts that a key's calls must present: its own, its user's, its tenant's, as far as bounded."""
    card = standing.card
    bounds = [(f"key:{card.id}", card.bounds)]
    bounds += [(holder.name, holder.bounds) for holder in (standing.user, standing.tenant) if holder is not None]
    return tuple(_account(name, held, card.tenant) for name, held in bounds if held.budgets or held.concurrency)


def _account(name: str, bounds: Bounds, tenant: str) -> Account:
    return Account(name, bounds.budgets, bounds.concurrency, tenant)
