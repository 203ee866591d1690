"""The outbox of the ledger over LMDB, in the `books` environment: what happened, in order, until the ledger has it.

    oh                     how it stands: oldest number, next number, bytes, dropped samples; then its name
    or + number (8)        a record
    oc…                    counters, laid out by `counters`

Records are written in the acts that count them, so that nothing is counted without being told and nothing told twice.
Its name is made with the first record, anew in books that begin anew: numbers of two names do not compare.

Room: `SHARES` of the bound say up to where each kind of record is taken. Paid calls know no bound but the file's, of
which the windows leave a tenth (`lmdb_desk.TIGHT`).
"""

import asyncio
import struct
from collections.abc import Iterator, Sequence
from itertools import islice

from askonce.domain.credentials import mint_id
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import (
    LOOKED_AT,
    AuditRow,
    Batch,
    CallRow,
    CountRow,
    Record,
    SampleRow,
    Stock,
    Tallied,
    TextRow,
    TimesRow,
    pack_record,
    unpack_record,
)
from askonce.state import counters
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_files import Txn
from askonce.state.lmdb_records import walk
from askonce.state.mending import packed

OURS = b"o"
STOCK, RECORD = b"oh", b"or"
OUTBOX_BYTES = 32 << 20  # a quarter of the books: some 150,000 records
# Of the bound, up to where a kind is taken: texts and samples are for looking at, sums can wait, the rest must be told.
SHARES: dict[type[Record], float] = {
    TextRow: 0.4,
    SampleRow: 0.5,
    TimesRow: 0.5,
    CountRow: 0.7,
    AuditRow: 0.9,
    CallRow: float("inf"),
}
OVERHEAD = 24  # bytes that LMDB adds to a record, about: its head, and its part of the pages above
SLICE = 200  # records of one write transaction: about a millisecond
BATCH_BYTES = 4 << 20  # read at once at the most; a batch has one record all the same

_STOCK = struct.Struct("<4q")


class LmdbOutbox:
    """Hold what the ledger has not got yet, for all processes of the machine."""

    def __init__(self, desk: Desk, bound_bytes: int = OUTBOX_BYTES) -> None:
        self._desk = desk
        self._bound = bound_bytes

    def append_in(self, txn: Txn, *records: Record) -> None:
        """Add records as part of a greater act. Raises `StoreUnavailable`, which undoes all of it."""
        append(txn, records, self._bound)

    def put_in(self, txn: Txn, record: Record) -> None:
        """Add a record as part of a greater act, whatever room there is: for what is rare and must not undo that."""
        append(txn, (record,), float("inf"))

    async def append(self, *records: Record) -> None:
        """Add records, all or none, samples apart."""
        self._desk.write(lambda txn: append(txn, records, self._bound))

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records, at most `size`."""
        return self._desk.read(lambda txn: _head(txn, size))

    async def settle(self, last: int) -> None:
        """Forget the records up to `last`, in slices. If cancelled, some are still there: settle again."""
        more = True
        while more:
            more = self._desk.write(lambda txn: _settle(txn, last))
            await asyncio.sleep(0)

    async def count(self, minute: int, what: Tallied, saved_nano: int = 0, saved_tokens: int = 0) -> None:
        """Count one, where nothing else is written."""
        self._desk.write(lambda txn: counters.count(txn, minute, what, saved_nano, saved_tokens))

    async def roll(self, open_minute: int) -> int:
        """Bring the counters of all minutes but the open one into the outbox, in slices; returns how many."""
        total = 0
        while True:
            rolled, merged = self._desk.write(lambda txn: roll(txn, open_minute, self._bound))
            total += rolled
            if not rolled and not merged:
                return total
            await asyncio.sleep(0)

    def fullness(self) -> float:
        """Say how full it is; 1 is the bound. Raises `StoreUnavailable`."""
        return self._desk.read(_read_stock).bytes / self._bound

    async def stock(self) -> Stock:
        """Say how it stands."""
        return self._desk.read(_read_stock)


def append(txn: Txn, records: Sequence[Record], bound: float = OUTBOX_BYTES) -> None:
    """Add records within a write transaction. Raises `StoreUnavailable` where a kind has no more room."""
    stock = _read_stock(txn)
    number, size, dropped = stock.next, stock.bytes, stock.dropped
    for record in records:
        if size >= SHARES[type(record)] * bound:
            if not isinstance(record, LOOKED_AT):
                raise full()
            dropped += 1
            continue
        value = pack_record(record) if isinstance(record, CountRow) else packed(record)
        txn.put(_record_key(number), value)
        number += 1
        size += len(value) + OVERHEAD
    _write_stock(txn, Stock(stock.source or mint_id(), stock.first, number, size, dropped))


def roll(txn: Txn, open_minute: int, bound: int = OUTBOX_BYTES) -> tuple[int, int]:
    """Turn a slice of the counters of finished minutes into records, and return how many.

    Where there is no room for them, merge a slice into their hours instead, and return how many as the second number.
    """
    crowded = _read_stock(txn).bytes >= SHARES[CountRow] * bound
    found = _finished(txn, open_minute)
    if crowded:
        found = ((key, value) for key, value in found if counters.minute_of(key) % counters.HOUR)
    slice_ = list(islice(found, SLICE))
    for key, value in slice_:
        txn.delete(key)
        if crowded:
            counters.merge(txn, key, value)
    if not slice_ or crowded:
        return 0, len(slice_)
    append(txn, [counters.read(key, value) for key, value in slice_], float("inf"))  # the last slice may overshoot
    return len(slice_), 0


class OutboxFull(StoreUnavailable):
    """Report that there is no room for a record; nothing of the act was done."""


def full() -> OutboxFull:
    """Make the refusal of a record for which there is no room."""
    return OutboxFull("What happened cannot be written down: the ledger's outbox is full. Is `askonce worker` running?")


def _head(txn: Txn, size: int) -> Batch | None:
    stock = _read_stock(txn)
    values: list[bytes] = []
    weight = 0
    with txn.cursor() as cursor:
        for _, value in walk(cursor, RECORD, RECORD):
            weight += len(value)
            if len(values) == size or (values and weight > BATCH_BYTES):
                break
            values.append(value)
    if not values:
        return None
    return Batch(stock.source, stock.first, stock.first + len(values) - 1, tuple(map(unpack_record, values)))


def _settle(txn: Txn, last: int) -> bool:
    """Delete a slice; True if there is more to delete."""
    stock = _read_stock(txn)
    if last >= stock.next:
        raise ValueError(f"record {last} was never written: the next one is {stock.next}")
    until = min(last, stock.first + SLICE - 1)
    if until < stock.first:
        return False
    gone = 0
    for number in range(stock.first, until + 1):
        gone += len(txn.pop(_record_key(number)) or b"") + OVERHEAD
    _write_stock(txn, Stock(stock.source, until + 1, stock.next, stock.bytes - gone, stock.dropped))
    return until < last


def _finished(txn: Txn, open_minute: int) -> Iterator[tuple[bytes, bytes]]:
    """Walk through the counters of all minutes but one; where a clock went back, some are of the future."""
    with txn.cursor() as cursor:
        for key, value in walk(cursor, counters.COUNTER, counters.COUNTER):
            if counters.minute_of(key) >= open_minute >= 0:
                break
            yield key, value
        if open_minute >= 0:
            yield from walk(cursor, counters.COUNTER, counters.start(open_minute + 1))


def _record_key(number: int) -> bytes:
    return RECORD + number.to_bytes(8, "big")


def _read_stock(txn: Txn) -> Stock:
    stored = txn.get(STOCK)
    if stored is None:
        return Stock()
    first, following, size, dropped = _STOCK.unpack_from(stored)
    return Stock(stored[_STOCK.size :].decode(), first, following, size, dropped)


def _write_stock(txn: Txn, stock: Stock) -> None:
    txn.put(STOCK, _STOCK.pack(stock.first, stock.next, stock.bytes, stock.dropped) + stock.source.encode())
