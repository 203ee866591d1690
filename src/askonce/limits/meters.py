"""Meters: where the use of budgets is counted, and how a meter is stored.

    qm + hash (16) + start (8)     when the period ends; of all three metrics: used, reserved, alerted

An account has one meter per span, zone and period, however many budgets; their amounts are compared when they are
needed and stored nowhere, so that a change is in force with the next call. A budget that is new counts from its first
call on or, where its account had another one of the same span and zone, from the beginning of the period. Concurrency
is a meter without an end, in which nothing is ever used, only reserved.

A meter is found by its period, and the period by the instant. So a clock that is put back finds the sums that it had
left, for as long again as the period was; what is older was swept, and begins at nothing.
"""

import struct
from collections.abc import Sequence
from fractions import Fraction
from hashlib import blake2b
from math import ceil
from typing import NamedTuple

from askonce.domain.budget import Account
from askonce.domain.identity import Budget, Metric, Span
from askonce.limits.calendar import Period, period

METER = b"qm"
# Plans remembered by a process; past this many the memory starts anew. Making one takes some ten microseconds.
PLANS_MAX = 4096
MOST = (1 << 63) - 1

# End, used, reserved, the highest threshold that was alerted at; the latter three for three metrics each.
ROW = struct.Struct("<10q")
USED, RESERVED, ALERTED = 1, 4, 7  # where they begin in a row
_START = struct.Struct(">q")
_HASH = 16
KEY_BYTES = len(METER) + _HASH + _START.size
_METRICS: tuple[Metric, ...] = ("requests", "tokens", "nano_dollars")
_FOREVER = Period(0, 0)


class Cap(NamedTuple):
    """Hold what one budget allows of a metric (by its place in `Amounts`), and from where on to alert (0: never)."""

    metric: int
    amount: int
    threshold: int
    budget: Budget | None  # None: concurrency


class Meter(NamedTuple):
    """Name the meter of an account in one period, with the caps on it. One without an end counts calls in flight."""

    key: bytes
    account: Account
    start_ms: int
    end_ms: int
    caps: tuple[Cap, ...]


class Plan(NamedTuple):
    """Hold all meters of some accounts while no period of them changes."""

    accounts: tuple[Account, ...]
    meters: tuple[Meter, ...]
    keys: bytes
    from_ms: int
    until_ms: int


class Planner:
    """Know the meters of accounts, remembering those that were asked for last."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}

    def plan(self, accounts: tuple[Account, ...], at_ms: int) -> Plan:
        """Return the meters at an instant. Raises `UnknownZone`, and `ValueError` for the same account twice."""
        name = accounts[0].name if accounts else ""
        known = self._plans.get(name)
        same = known is not None and known.accounts == accounts
        if known is not None and same and known.from_ms <= at_ms < known.until_ms:
            return known
        made = make_plan(accounts, at_ms)
        if known is None or not same or known.until_ms <= at_ms:  # a call that began long ago displaces nothing
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            self._plans[name] = made
        return made


def make_plan(accounts: tuple[Account, ...], at_ms: int) -> Plan:
    """Find the meters at an instant. Raises `UnknownZone`, and `ValueError` for the same account twice."""
    if len({account.name for account in accounts}) != len(accounts):
        raise ValueError("An account was presented twice.")
    meters = tuple(meter for account in accounts for meter in _meters(account, at_ms))
    starts = [meter.start_ms for meter in meters if meter.end_ms]
    ends = [meter.end_ms for meter in meters if meter.end_ms]
    keys = b"".join(meter.key for meter in meters)
    return Plan(accounts, meters, keys, max(starts, default=-MOST), min(ends, default=MOST))


def fresh(meter: Meter, reserved: Sequence[int]) -> tuple[int, ...]:
    """Return the row of a meter in which nothing was used."""
    return (meter.end_ms, 0, 0, 0, *reserved, 0, 0, 0)


def is_over(key: bytes, row: bytes, now_ms: int) -> bool:
    """Say whether a meter may be deleted: nothing is reserved, and its period ended so long ago as it took."""
    end_ms, _, _, _, *reserved = ROW.unpack(row)[:7]
    start_ms: int = _START.unpack(key[-_START.size :])[0]
    return not any(reserved) and end_ms + (end_ms - start_ms) <= now_ms


def over_ms(meter: Meter) -> int:
    """Return from when on a meter may be deleted in which nothing is reserved: a clock may be put back so far."""
    return 2 * meter.end_ms - meter.start_ms


def sums(row: bytes) -> tuple[int, ...]:
    """Return what of a meter must outlive the books: end, used, alerted. Empty for one of calls in flight."""
    values = ROW.unpack(row)
    return (*values[:RESERVED], *values[ALERTED:]) if values[0] else ()


def row_of(kept: Sequence[int]) -> bytes:
    """Make a stored row of such sums, with nothing reserved."""
    return ROW.pack(*kept[:RESERVED], 0, 0, 0, *kept[RESERVED:])


def keys_in(joined: bytes) -> list[bytes]:
    """Take the joined keys of a plan apart."""
    return [joined[at : at + KEY_BYTES] for at in range(0, len(joined), KEY_BYTES)]


def _meters(account: Account, at_ms: int) -> list[Meter]:
    caps: dict[tuple[Span, str], list[Cap]] = {}
    for budget in account.budgets:
        # Minutes and hours are the same everywhere.
        zone = budget.zone if budget.span in ("day", "month") else ""
        threshold = ceil(budget.amount * Fraction(str(budget.soft)))  # 7 per cent of 100 is 7, not a bit more
        cap = Cap(_METRICS.index(budget.metric), budget.amount, threshold, budget)
        caps.setdefault((budget.span, zone), []).append(cap)
    meters = [_meter(account, span, zone, period(span, zone, at_ms), held) for (span, zone), held in caps.items()]
    if account.concurrency:
        meters.append(_meter(account, "", "", _FOREVER, [Cap(0, account.concurrency, 0, None)]))
    return meters


def _meter(account: Account, span: str, zone: str, when: Period, caps: list[Cap]) -> Meter:
    name = f"{account.name}\0{span}\0{zone}".encode("utf-8", "surrogatepass")
    key = METER + blake2b(name, digest_size=_HASH).digest() + _START.pack(when.start_ms)
    return Meter(key, account, when.start_ms, when.end_ms, tuple(caps))
