"""The exact sliding window, apart from where it is stored.

The rule: a request at `t` is admitted if fewer than N admissions lie in (t - span, t]. Then no stretch shorter than
the span ever holds more than N. Only admissions are recorded, as a ring of stamps, so that the whole question is
"has the stamp N back left?": one read and one write, however large N is.

The ring holds at least N stamps. It grows when N grows, keeps its size when N shrinks while stamps are counted (so
that going back to the larger N forgets nothing), and starts anew once all have left. Up to `BLOCK` stamps it is a
queue in one value; a longer one is a head and blocks that are written in turn, so that no value grows with N.

Stamps never fall: where a clock goes back, the newest stamp stands in for it, which can only refuse more.
Every value starts with the time from which it says nothing any more, so that a sweeper needs to know no more.
"""

import struct
from bisect import bisect_right
from hashlib import blake2b
from typing import Protocol

from askonce.domain.ports import Verdict, Window

BLOCK = 128  # stamps in a value: 1 kB, which costs as much to rewrite as 200 bytes
HEAD_KEY = b"w"
BLOCK_KEY = b"b"

# Both kinds begin with: expires_ns, stamps that the ring may hold. A queue is followed by its stamps, oldest first;
# the head of a long ring by the newest stamp and the number of admissions so far.
_HEAD = struct.Struct("<qq")
_LONG = struct.Struct("<qqqq")
_STAMP = struct.Struct("<q")
_STAMPS = tuple(struct.Struct(f"<{number}q") for number in range(BLOCK + 1))
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
    key = _key(window.name)
    head = store.get(key)
    limit, span = window.limit, window.span_ns
    slots = limit if head is None else _HEAD.unpack_from(head)[1]
    if limit > BLOCK or slots > BLOCK:
        ring = _Ring(store, key, head)
        if limit > BLOCK or ring.newest + span > now_ns:
            return _take_long(ring, window, now_ns)
        head = None  # a long ring in which nothing counts, for a limit that is short now
    if head is None:
        store.put(key, _HEAD.pack(now_ns + span, limit) + _STAMP.pack(now_ns))
        return Verdict(True, limit - 1, span)
    stamps = _queue(head)
    now = max(now_ns, stamps[-1])
    counted = _counted(stamps, limit, now - span)
    if counted >= limit:
        return Verdict(False, 0, stamps[-counted] + span - now_ns)
    if counted == 0:
        stamps, slots = (), limit
    slots = max(slots, limit)
    kept = head[-8 * min(len(stamps), slots - 1) :] if stamps and slots > 1 else b""
    store.put(key, _HEAD.pack(max(_HEAD.unpack_from(head)[0], now + span), slots) + kept + _STAMP.pack(now))
    return Verdict(True, limit - counted - 1, (stamps[-counted] if counted else now) + span - now_ns)


def peek(store: Store, window: Window, now_ns: int) -> Verdict:
    """Say whether a request would be admitted and how many there is room for, recording nothing."""
    key = _key(window.name)
    head = store.get(key)
    if head is None:
        return Verdict(True, window.limit, 0)
    if _HEAD.unpack_from(head)[1] > BLOCK:
        ring = _Ring(store, key, head)
        first = ring.first_counted(window.limit, max(now_ns, ring.newest) - window.span_ns)
        counted = ring.count - first
        oldest = ring.stamp(first) if counted else 0
    else:
        stamps = _queue(head)
        counted = _counted(stamps, window.limit, max(now_ns, stamps[-1]) - window.span_ns)
        oldest = stamps[-counted]
    reset_ns = oldest + window.span_ns - now_ns if counted else 0
    return Verdict(counted < window.limit, window.limit - counted, reset_ns)


def expired(value: bytes, now_ns: int) -> bool:
    """Say whether a stored value (queue, head or block) may be deleted."""
    expires_ns: int = _STAMP.unpack_from(value)[0]
    return expires_ns <= now_ns


def _key(name: str) -> bytes:
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) > _NAME_BYTES:
        raw = b"\xff" + blake2b(raw, digest_size=32).digest()  # no UTF-8 starts with 0xff
    return HEAD_KEY + raw


def _queue(head: bytes) -> tuple[int, ...]:
    """Return the stamps of a short ring, oldest first; there is always one."""
    return _STAMPS[(len(head) - _HEAD.size) // 8].unpack_from(head, _HEAD.size)


def _counted(stamps: tuple[int, ...], limit: int, horizon: int) -> int:
    """Return how many of the newest `limit` stamps lie after the horizon."""
    if stamps[0] > horizon:
        return min(len(stamps), limit)
    return min(len(stamps) - bisect_right(stamps, horizon), limit)


def _take_long(ring: "_Ring", window: Window, now_ns: int) -> Verdict:
    limit, span = window.limit, window.span_ns
    now = max(now_ns, ring.newest)
    first = ring.first_counted(limit, now - span)
    room = limit - (ring.count - first)
    if room <= 0:
        return Verdict(False, 0, ring.stamp(first) + span - now_ns)
    oldest = ring.stamp(first) if first < ring.count else now
    if ring.slots != limit:
        ring.resize(limit, first)
    ring.push(now, span)
    return Verdict(True, room - 1, oldest + span - now_ns)


class _Ring:
    """Hold a long window's stamps by their sequence number; the newest `slots` of them exist.

    A short one is read as if it were long, because its limit may just have been raised.
    """

    __slots__ = ("blocks", "count", "expires", "key", "newest", "queue", "slots", "store")

    def __init__(self, store: Store, key: bytes, head: bytes | None) -> None:
        self.store = store
        self.key = key
        self.blocks: dict[int, bytes] = {}
        self.queue: tuple[int, ...] = ()  # the stamps of a ring that is still short
        if head is None:
            self.expires = self.newest = _NEVER
            self.count = self.slots = 0
            return
        self.expires, self.slots = _HEAD.unpack_from(head)
        if self.slots > BLOCK:
            _, _, self.newest, self.count = _LONG.unpack(head)
        else:
            self.queue = _queue(head)
            self.newest, self.count = self.queue[-1], len(self.queue)

    def stamp(self, sequence: int) -> int:
        """Return the stamp with this number, one of the newest `slots`."""
        if self.queue:
            return self.queue[sequence]
        slot = sequence % self.slots
        stamp: int = _STAMP.unpack_from(self._block(slot // BLOCK), 8 + 8 * (slot % BLOCK))[0]
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
        """Make the ring long enough for `limit`; one in which nothing counts starts anew, at least a block long."""
        if first == self.count:
            self.count, self.slots, self.queue = 0, max(limit, BLOCK + 1), ()
        elif limit > self.slots:
            stamps = [self.stamp(number) for number in range(max(0, self.count - self.slots), self.count)]
            self.count, self.slots, self.queue, self.blocks = len(stamps), limit, (), {}
            self._lay(b"".join(map(_STAMP.pack, stamps)))

    def push(self, stamp: int, span: int) -> None:
        """Write the next stamp over the oldest."""
        number, at = divmod(self.count % self.slots, BLOCK)
        self.count += 1
        self.newest = stamp
        self.expires = max(self.expires, stamp + span)
        block = self._block(number)[8:]
        self._put_block(number, block[: 8 * at] + _STAMP.pack(stamp) + block[8 * at + 8 :])
        self.store.put(self.key, _LONG.pack(self.expires, self.slots, stamp, self.count))

    def _lay(self, stamps: bytes) -> None:
        """Write stamps out from slot 0 on."""
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
        return BLOCK_KEY + self.key[1:] + number.to_bytes(8, "big")
