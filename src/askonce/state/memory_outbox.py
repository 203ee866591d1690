"""The outbox and the counters in one process's memory, written to be plainly right."""

from dataclasses import dataclass

from askonce.domain.credentials import mint_id
from askonce.domain.ledger import LOOKED_AT, AuditRow, Batch, CountRow, Record, Stock, Tallied
from askonce.state.counters import HOUR, key_of
from askonce.state.lmdb_outbox import OUTBOX_BYTES, OVERHEAD, SHARES, full
from askonce.state.mending import packed


@dataclass
class _Sums:
    count: int = 0
    nano: int = 0
    tokens: int = 0


class MemoryOutbox:
    """Hold what the ledger has not got yet."""

    def __init__(self, bound_bytes: int = OUTBOX_BYTES) -> None:
        self._bound = bound_bytes
        self._source = ""
        self._records: list[tuple[Record, int]] = []  # with the bytes that each would take
        self._first = 1
        self._dropped = 0
        self._counters: dict[tuple[int, Tallied], _Sums] = {}

    async def append(self, *records: Record) -> None:
        """Add records, all or none, samples apart."""
        taken: list[tuple[Record, int]] = []
        dropped, size = 0, self._size()
        for record in records:
            if size < SHARES[type(record)] * self._bound:
                taken.append((record, _weight(record)))
                size += taken[-1][1]
            elif isinstance(record, LOOKED_AT):
                dropped += 1
            else:
                raise full()
        self._source = self._source or mint_id()
        self._records += taken
        self._dropped += dropped

    def put(self, row: AuditRow | CountRow) -> None:
        """Add a record whatever room there is: for acts that cannot be refused."""
        self._source = self._source or mint_id()
        self._records.append((row, _weight(row)))

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records, at most `size`."""
        found = tuple(record for record, _ in self._records[:size])
        return Batch(self._source, self._first, self._first + len(found) - 1, found) if found else None

    async def settle(self, last: int) -> None:
        """Forget the records up to `last`."""
        if last >= self._first + len(self._records):
            raise ValueError(f"record {last} was never written")
        gone = max(0, last - self._first + 1)
        self._first += gone
        del self._records[:gone]

    async def count(self, minute: int, what: Tallied, saved_nano: int = 0, saved_tokens: int = 0) -> None:
        """Count one."""
        self._add(minute, what, _Sums(1, saved_nano, saved_tokens))

    async def roll(self, open_minute: int) -> int:
        """Bring the counters of all minutes but the open one into the outbox; returns how many."""
        rolled = 0
        crowded = self._size() >= SHARES[CountRow] * self._bound
        for minute, what in sorted(self._counters, key=lambda place: key_of(*place)):
            if minute == open_minute:
                continue
            sums = self._counters.pop((minute, what))
            if crowded:
                self._add(minute - minute % HOUR, what, sums)
            else:
                self.put(_row(minute, what, sums))
                rolled += 1
        return rolled

    async def stock(self) -> Stock:
        """Say how it stands."""
        return Stock(self._source, self._first, self._first + len(self._records), self._size(), self._dropped)

    def _size(self) -> int:
        return sum(size for _, size in self._records)

    def _add(self, minute: int, what: Tallied, more: _Sums) -> None:
        sums = self._counters.setdefault((minute, what), _Sums())
        sums.count += more.count
        sums.nano += more.nano
        sums.tokens += more.tokens


def _weight(record: Record) -> int:
    return len(packed(record)) + OVERHEAD


def _row(minute: int, what: Tallied, sums: _Sums) -> CountRow:
    return CountRow(
        minute,
        what.tenant,
        what.key_id,
        what.door,
        what.provider,
        what.model,
        what.kind,
        sums.count,
        sums.nano,
        sums.tokens,
    )
