"""Budgets, apart from where they are stored. Everything here works inside one atomic act that the caller has opened.

    qm…                              meters, laid out by `limits.meters`
    qr + hash of owner (8) + number  a reservation: until when, how much, in which meters; or, lapsed, since when
    qo + owner                       until when a process lives, unless it says so again

A reservation that lapsed leaves a mark behind. So one who settles it all the same (a process that was frozen, and goes
on) is known from one who settles twice.

Leases run on the steady clock, periods on wall time.
"""

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

import msgspec

from askonce.domain.budget import NOTHING, Alert, Amounts, Balance, Refusal, Statement
from askonce.domain.ledger import AuditRow
from askonce.limits.meters import ALERTED, MOST, RESERVED, ROW, USED, Meter, Plan, fresh, keys_in

RESERVATION, OWNER = b"qr", b"qo"
ALERT_ACTION = "budget.soft_limit"  # in the audit's log
RENEWED_NS = 1_000_000_000  # the rhythm in which processes give a sign of life
LEASE_NS = 3 * RENEWED_NS  # how long one lasts
LEASE_MS = 3_600_000  # of a single reservation: no call takes an hour
MARK_NS = 3_600_000_000_000  # a process that was frozen for longer settles in vain: its calls stay uncounted
# What is stored of an estimate at the most: 35,000 dollars. So many calls as to overflow 63 bits are never in flight.
ESTIMATE_MAX = 1 << 45

_LIVE = struct.Struct("<B4q")  # 1, until, the estimate; the meters' keys follow
_LAPSED = struct.Struct("<Bq")  # 0, since
_UNTIL = struct.Struct("<q")
_pack, _unpack = ROW.pack, ROW.unpack  # bound once: a call with three accounts needs them twelve times


class Store(Protocol):
    """Hold bytes by key, inside the one atomic act that the caller has opened."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value, or None where there is none."""
        ...

    def put(self, key: bytes, value: bytes, /) -> object:
        """Write the value."""
        ...

    def delete(self, key: bytes, /) -> object:
        """Delete the value, if there is one."""
        ...


def reserve(store: Store, plan: Plan, estimate: Amounts, reservation: bytes, until_ns: int) -> Refusal | None:
    """Reserve in all meters under a new key, or say who has no room and write nothing."""
    rows: list[tuple[int, ...]] = []
    full = False
    for meter in plan.meters:
        stored = store.get(meter.key)
        row = fresh(meter, NOTHING) if stored is None else _unpack(stored)
        rows.append(row)
        for place, amount, _, _ in meter.caps:
            need = estimate[place]
            if need and row[USED + place] + row[RESERVED + place] + need > amount:
                full = True
    if full:
        return refusal(plan, rows, estimate)
    requests, tokens, nano = estimate if max(estimate) <= ESTIMATE_MAX else _bounded(estimate)
    for meter, (end, u, v, w, r, s, t, a, b, c) in zip(plan.meters, rows, strict=True):
        store.put(meter.key, _pack(end, u, v, w, r + requests, s + tokens, t + nano, a, b, c))
    store.put(reservation, _LIVE.pack(1, until_ns, requests, tokens, nano) + plan.keys)
    return None


def settle(store: Store, plan: Plan, reservation: bytes, actual: Amounts) -> list[Alert]:
    """Put what a call took in place of what was reserved, once; returns what is to be alerted now."""
    held = store.get(reservation)
    if held is None:
        return []
    store.delete(reservation)
    requests, tokens, nano = _LIVE.unpack_from(held)[2:] if is_live(held) else NOTHING
    more_requests, more_tokens, more_nano = actual
    alerts: list[Alert] = []
    for meter in plan.meters:
        stored = store.get(meter.key)
        # Only books that began anew know a reservation's meter no more; nothing is left reserved then.
        row = fresh(meter, (requests, tokens, nano)) if stored is None else _unpack(stored)
        end, u, v, w, r, s, t, a, b, c = row
        if end:
            u, v, w = u + more_requests, v + more_tokens, w + more_nano
            if u > MOST or v > MOST or w > MOST:
                u, v, w = min(u, MOST), min(v, MOST), min(w, MOST)
            for place, _, threshold, _ in meter.caps:
                if threshold and threshold > row[ALERTED + place] and (u, v, w)[place] >= threshold:
                    found, (a, b, c) = _alerts(meter, (u, v, w), row[ALERTED:])
                    alerts += found
                    break
        store.put(meter.key, _pack(end, u, v, w, r - requests, s - tokens, t - nano, a, b, c))
    return alerts


def tell(store: Store, plan: Plan) -> list[Statement]:
    """Tell how the accounts of a plan stand."""
    statements = []
    for account in plan.accounts:
        balances, in_flight = [], 0
        for meter in [meter for meter in plan.meters if meter.account is account]:
            stored = store.get(meter.key)
            row = fresh(meter, NOTHING) if stored is None else _unpack(stored)
            for cap in meter.caps:
                used, reserved = row[USED + cap.metric], row[RESERVED + cap.metric]
                if cap.budget is None:
                    in_flight = reserved
                else:
                    balances.append(Balance(cap.budget, used, reserved, meter.start_ms, meter.end_ms))
        statements.append(Statement(account.name, tuple(balances), in_flight))
    return statements


def as_audit(alert: Alert, at_ms: int) -> AuditRow:
    """Write an alert down as a row of the audit's log."""
    budget = alert.budget
    details = {
        "metric": budget.metric,
        "span": budget.span,
        "zone": budget.zone,
        "amount": budget.amount,
        "soft": budget.soft,
        "used": alert.used,
        "startMs": alert.start_ms,
        "resetsMs": alert.resets_ms,
    }
    return AuditRow(
        at_ms,
        actor="system",
        action=ALERT_ACTION,
        subject=alert.account.name,
        tenant=alert.account.tenant,
        severity="warning",
        details=msgspec.Raw(msgspec.json.encode(details)),
    )


def owner_key(owner: str) -> bytes:
    """Return the key of a process' sign of life."""
    return OWNER + owner.encode()


def owners_in(slot: int) -> bytes:
    """Return what the keys of the signs of life of a slot's processes begin with."""
    return OWNER + b"%d:" % slot


def shelf(owner_at: bytes) -> bytes:
    """Return what the keys of a process' reservations begin with, by the key of its sign of life."""
    return RESERVATION + blake2b(owner_at, digest_size=8).digest()


def sign_of_life(now_ns: int) -> bytes:
    """Return the value that says: it lives."""
    return _UNTIL.pack(now_ns + LEASE_NS)


def is_dead(sign: bytes | None, now_ns: int) -> bool:
    """Say whether a process has not renewed its sign of life in time."""
    return sign is None or _UNTIL.unpack(sign)[0] <= now_ns


def is_live(reservation: bytes) -> bool:
    """Say whether a stored reservation holds anything; else it is the mark of one that lapsed."""
    return bool(reservation[0])


def is_due(reservation: bytes, now_ns: int) -> bool:
    """Say whether a stored reservation was forgotten by a living process, or is a mark that is not needed any more."""
    if is_live(reservation):
        until_ns: int = _LIVE.unpack_from(reservation)[1]
        return until_ns <= now_ns
    since_ns: int = _LAPSED.unpack(reservation)[1]
    return since_ns + MARK_NS <= now_ns


def lapse(store: Store, reservation: bytes, now_ns: int) -> bool:
    """Give back what a reservation holds and leave a mark; False where it holds nothing any more."""
    if not _give_back(store, reservation):
        return False
    store.put(reservation, _LAPSED.pack(0, now_ns))
    return True


def erase(store: Store, reservation: bytes) -> bool:
    """Give back what was held for a process that will never settle it; False where that was nothing."""
    held = _give_back(store, reservation)
    store.delete(reservation)
    return held


def end_due(store: Store, reservation: bytes, now_ns: int) -> bool:
    """Let lapse a reservation that was forgotten, delete a mark that is not needed; False for any other."""
    stored = store.get(reservation)
    if stored is None or not is_due(stored, now_ns):
        return False
    if not lapse(store, reservation, now_ns):
        store.delete(reservation)
    return True


def _give_back(store: Store, reservation: bytes) -> bool:
    held = store.get(reservation)
    if held is None or not is_live(held):
        return False
    _, _, requests, tokens, nano = _LIVE.unpack_from(held)
    for key in keys_in(held[_LIVE.size :]):
        row = store.get(key)
        if row is not None:
            end, u, v, w, r, s, t, *alerted = _unpack(row)
            store.put(key, _pack(end, u, v, w, r - requests, s - tokens, t - nano, *alerted))
    return True


def refusal(plan: Plan, rows: Sequence[tuple[int, ...]], estimate: Amounts) -> Refusal:
    """Name the cap without room whose meter ends last: before that, there is no use in asking."""
    refusals = []
    for meter, row in zip(plan.meters, rows, strict=True):
        for cap in meter.caps:
            used, need = row[USED + cap.metric], estimate[cap.metric]
            left = cap.amount - used - row[RESERVED + cap.metric]
            if 0 < need > left:
                held = used + need <= cap.amount
                refusals.append(Refusal(meter.account.name, cap.budget, need, max(0, left), meter.end_ms, held))
    return max(refusals, key=lambda each: each.resets_ms)


def _alerts(meter: Meter, used: Sequence[int], alerted: Sequence[int]) -> tuple[list[Alert], list[int]]:
    """Return alerts of thresholds that were passed just now, and up to where there were alerts with them."""
    alerts, higher = [], list(alerted)
    for cap in meter.caps:
        if cap.budget is not None and used[cap.metric] >= cap.threshold > alerted[cap.metric]:
            alerts.append(Alert(meter.account, cap.budget, used[cap.metric], meter.start_ms, meter.end_ms))
            higher[cap.metric] = max(higher[cap.metric], cap.threshold)
    return alerts, higher


def _bounded(estimate: Amounts) -> Amounts:
    return Amounts(*(min(amount, ESTIMATE_MAX) for amount in estimate))
