"""The exact sliding window, apart from where it is stored.

The rule: a request at `t` is admitted if fewer than N admissions lie in (t - span, t]. Then no stretch shorter than
the span ever holds more than N. Only admissions are recorded, as a ring of stamps, so that the whole question is
"has the stamp N back left?": one read and one write, however large N is.

The ring holds at least N stamps. It grows when N grows, keeps its size when N shrinks while stamps are counted (so
that going back to the larger N forgets nothing), and starts anew once all have left. Up to `BLOCK` slots it lies in
one value beside its head; a longer one is cut into blocks, so that no value grows with N.

Stamps never fall: where a clock goes back, the newest stamp stands in for it, which can only refuse more.
Every value starts with the time from which it says nothing any more, so that a sweeper needs to know no more.
"""

import struct
from hashlib import blake2b
from typing import Protocol

from askonce.domain.ports import Verdict, Window

BLOCK = 128  # slots in a value: 1 kB, which costs as much to rewrite as 200 bytes
HEAD_KEY = b"w"
BLOCK_KEY = b"b"

_HEAD = struct.Struct("<qqqq")  # expires_ns, newest stamp, admissions so far, slots in the ring
_STAMP = struct.Struct("<q")
_NEVER = -(1 << 62)  # the stamp of a slot that nothing was written to: it left the window long ago
_UNWRITTEN = _STAMP.pack(_NEVER)
_NAME_BYTES = 255  # longer names are hashed; stores have short keys (LMDB 511 bytes)


class Store(Protocol):
    """Hold bytes by key, inside the one atomic act that the caller has opened."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value, or None where there is none."""
        ...

    def put(self, key: bytes, value: bytes, /) -> object:
        """Write the value."""
        ...


def take(store: Store, window: Window, now_ns: int) -> Verdict:
    """Admit one request at `now_ns` if the window has room, and record it only then."""
    ring = _Ring(store, window.name)
    limit, span = window.limit, window.span_ns
    first = ring.first_counted(limit, max(now_ns, ring.newest) - span)
    room = limit - (ring.count - first)
    if room <= 0:
        return Verdict(False, 0, ring.stamp(first) + span - now_ns)
    oldest = ring.stamp(first) if first < ring.count else max(now_ns, ring.newest)
    if ring.slots != limit:
        ring.resize(limit, first)
    ring.push(max(now_ns, ring.newest), span)
    return Verdict(True, room - 1, oldest + span - now_ns)


def peek(store: Store, window: Window, now_ns: int) -> Verdict:
    """Say whether a request would be admitted and how many there is room for, recording nothing."""
    ring = _Ring(store, window.name)
    first = ring.first_counted(window.limit, max(now_ns, ring.newest) - window.span_ns)
    counted = ring.count - first
    reset_ns = ring.stamp(first) + window.span_ns - now_ns if counted else 0
    return Verdict(counted < window.limit, window.limit - counted, reset_ns)


def expired(value: bytes, now_ns: int) -> bool:
    """Say whether a stored value (head or block) may be deleted."""
    expires_ns: int = _STAMP.unpack_from(value)[0]
    return expires_ns <= now_ns


class _Ring:
    """Hold one window's stamps by their sequence number; the newest `slots` of them exist."""

    __slots__ = ("blocks", "count", "expires", "head", "name", "newest", "slots", "store")

    def __init__(self, store: Store, name: str) -> None:
        raw = name.encode("utf-8", "surrogatepass")
        if len(raw) > _NAME_BYTES:
            raw = b"\xff" + blake2b(raw, digest_size=32).digest()  # no UTF-8 starts with 0xff
        self.name = raw
        self.store = store
        self.blocks: dict[int, bytes] = {}
        head = store.get(HEAD_KEY + raw)
        if head is None:
            self.head = b""
            self.expires = self.newest = _NEVER
            self.count = self.slots = 0
        else:
            self.head = head
            self.expires, self.newest, self.count, self.slots = _HEAD.unpack_from(head)

    def stamp(self, sequence: int) -> int:
        """Return the stamp with this number, one of the newest `slots`."""
        slot = sequence % self.slots
        stamp: int
        if self.slots <= BLOCK:
            stamp = _STAMP.unpack_from(self.head, _HEAD.size + 8 * slot)[0]
        else:
            stamp = _STAMP.unpack_from(self._block(slot // BLOCK), 8 + 8 * (slot % BLOCK))[0]
        return stamp

    def first_counted(self, limit: int, horizon: int) -> int:
        """Return the number of the oldest stamp after the horizon among the newest `limit`; `count` if none is."""
        if self.newest <= horizon:
            return self.count
        low = max(0, self.count - min(limit, self.slots))
        if self.stamp(low) > horizon:
            return low
        high = self.count - 1  # counted, because the newest is
        while low + 1 < high:  # stamp(low) has left, stamp(high) has not
            middle = (low + high) // 2
            if self.stamp(middle) > horizon:
                high = middle
            else:
                low = middle
        return high

    def resize(self, limit: int, first: int) -> None:
        """Make the ring long enough for `limit`; an empty one exactly so long."""
        if first == self.count:
            self.count, self.slots = 0, limit
            self.head, self.blocks = b"", {}
        elif limit > self.slots:
            stamps = [self.stamp(number) for number in range(max(0, self.count - self.slots), self.count)]
            self.count, self.slots = len(stamps), limit
            self._lay(b"".join(map(_STAMP.pack, stamps)))

    def push(self, stamp: int, span: int) -> None:
        """Write the next stamp over the oldest."""
        slot = self.count % self.slots
        self.count += 1
        self.newest = stamp
        self.expires = max(self.expires, stamp + span)
        head = _HEAD.pack(self.expires, stamp, self.count, self.slots)
        if self.slots <= BLOCK:
            at = _HEAD.size + 8 * slot
            self.store.put(
                HEAD_KEY + self.name, head + self.head[_HEAD.size : at] + _STAMP.pack(stamp) + self.head[at + 8 :]
            )
            return
        number, at = slot // BLOCK, 8 + 8 * (slot % BLOCK)
        block = self._block(number)
        self._put_block(number, block[8:at] + _STAMP.pack(stamp) + block[at + 8 :])
        self.store.put(HEAD_KEY + self.name, head)

    def _lay(self, stamps: bytes) -> None:
        """Write stamps out from slot 0 on."""
        self.head, self.blocks = b"", {}
        if self.slots <= BLOCK:
            self.head = bytes(_HEAD.size) + stamps
            return
        for number, at in enumerate(range(0, len(stamps), 8 * BLOCK)):
            part = stamps[at : at + 8 * BLOCK]
            self._put_block(number, part + _UNWRITTEN * (BLOCK - len(part) // 8))

    def _block(self, number: int) -> bytes:
        """Read a block once. One that was swept held nothing that still counted."""
        block = self.blocks.get(number)
        if block is None:
            stored = self.store.get(self._block_key(number))
            block = self.blocks[number] = _UNWRITTEN * (BLOCK + 1) if stored is None else stored
        return block

    def _put_block(self, number: int, stamps: bytes) -> None:
        block = self.blocks[number] = _STAMP.pack(self.expires) + stamps
        self.store.put(self._block_key(number), block)

    def _block_key(self, number: int) -> bytes:
        return BLOCK_KEY + self.name + number.to_bytes(8, "big")
