"""How flights lie in the `books` environment. Everything here works inside a transaction that the caller has opened.

    f + flight                             the lease: generation, when it runs out, pieces so far, flags, owner
    l + flight + generation + number       pieces of text
    l + flight + generation + ffffffff     the landing
    p + flight + generation + owner        that a process follows, until when

A generation outlives its lease by its landing, so that followers of a landed flight read on while the next is in
the air. Generations come from the clock, so that a swept flight's number is not used again.

A log that grew too long is cut: the lease says so, the landing says so, and the rest of the text is in its entry.
"""

import struct
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from askonce.cache import entry as codec
from askonce.domain.answer import Piece
from askonce.domain.ports import Landing
from askonce.state import lmdb_records as records
from askonce.state.lmdb_files import Txn

LEASE = b"f"
LOG = b"l"
PRESENCE = b"p"
LEASE_NS = 3_000_000_000  # three times the rhythm in which leaders renew
LINGER_NS = 5_000_000_000  # a landed flight stays readable so long, for followers that read slowly
LOG_MAX = 16 << 20  # bytes per flight; an answer of that size is not a conversation any more
READ_MAX = 256  # pieces read at once

LANDED, CUT = 1, 2  # flags

_LEASE = struct.Struct("<QqIIB")
_LANDED = struct.Struct("<qB")  # landed at, flags
_UNTIL = struct.Struct("<q")
_LAST = b"\xff\xff\xff\xff"
_FLIGHT = 32
_GENERATION = 8
GROUP = 1 + _FLIGHT + _GENERATION  # what the keys of one generation's log have in common


class LeaseRecord(NamedTuple):
    """Hold what is stored of a lease."""

    generation: int
    expires_ns: int
    pieces: int
    log_bytes: int
    flags: int
    owner: bytes

    def leads(self, generation: int, now_ns: int) -> bool:
        """Say whether this generation may still feed its flight."""
        return self.generation == generation and not self.flags & LANDED and self.expires_ns > now_ns


class View(NamedTuple):
    """Hold what a follower finds: new pieces, how many records it has seen with them, the end if it is reached."""

    pieces: tuple[Piece, ...]
    seen: int
    landing: Landing | None
    cut: bool
    lost: bool


def name(flight: bytes) -> bytes:
    """Give every flight's name the same length."""
    return flight if len(flight) == _FLIGHT else sha256(flight).digest()


def read_lease(txn: Txn, flight: bytes) -> LeaseRecord | None:
    """Return a flight's lease."""
    stored = txn.get(LEASE + flight)
    return None if stored is None else parse_lease(stored)


def parse_lease(stored: bytes) -> LeaseRecord:
    """Read a lease's value."""
    return LeaseRecord._make((*_LEASE.unpack_from(stored), stored[_LEASE.size :]))


def write_lease(txn: Txn, flight: bytes, lease: LeaseRecord) -> None:
    """Write a flight's lease."""
    txn.put(LEASE + flight, _LEASE.pack(*lease[:5]) + lease.owner)


def write_pieces(txn: Txn, flight: bytes, lease: LeaseRecord, pieces: Sequence[Piece]) -> LeaseRecord:
    """Append pieces under the lease's next number; returns the lease with it, cut if the log would grow too long."""
    packed = msgspec.msgpack.encode(pieces)
    log_bytes = lease.log_bytes + len(packed)
    if lease.flags & CUT or log_bytes > LOG_MAX:
        return lease._replace(flags=lease.flags | CUT)
    txn.put(_group(flight, lease.generation) + lease.pieces.to_bytes(4, "big"), packed)
    return lease._replace(pieces=lease.pieces + 1, log_bytes=log_bytes)


def write_landing(txn: Txn, flight: bytes, lease: LeaseRecord, packed: bytes, now_ns: int) -> None:
    """End the log with a packed landing, and the lease with it."""
    txn.put(_group(flight, lease.generation) + _LAST, _LANDED.pack(now_ns, lease.flags) + packed)
    write_lease(txn, flight, lease._replace(flags=lease.flags | LANDED, expires_ns=now_ns))


def pack_landing(landing: Landing) -> bytes:
    """Write a landing as bytes; raises `ValueError` where its entry is too large to be read back."""
    entry = None if landing.entry is None else codec.encode(landing.entry)
    return msgspec.msgpack.encode((entry, landing.error_code, landing.error_message, landing.retry_after_s))


def read_on(txn: Txn, flight: bytes, generation: int, seen: int, now_ns: int) -> View:
    """Return what a follower that has seen so many records gets next."""
    group = _group(flight, generation)
    pieces: list[Piece] = []
    landing, cut = None, False
    with txn.cursor() as cursor:
        for key, value in records.walk(cursor, group, group + seen.to_bytes(4, "big")):
            if key.endswith(_LAST) and len(key) == GROUP + len(_LAST):
                cut = bool(_LANDED.unpack_from(value)[1] & CUT)
                landing = unpack_landing(value[_LANDED.size :])
            elif len(pieces) < READ_MAX:
                pieces.extend(unpack_pieces(value))
                seen += 1
            else:
                return View(tuple(pieces), seen, None, False, False)
    lease = None if landing else read_lease(txn, flight)
    lost = landing is None and (lease is None or not lease.leads(generation, now_ns))
    return View(tuple(pieces), seen, landing, cut, lost)


def write_presence(txn: Txn, flight: bytes, generation: int, owner: bytes, until_ns: int) -> None:
    """Note that a process follows."""
    txn.put(_presence(flight, generation) + owner, _UNTIL.pack(until_ns))


def remove_presence(txn: Txn, flight: bytes, generation: int, owner: bytes) -> None:
    """Note that a process follows no more."""
    txn.delete(_presence(flight, generation) + owner)


def is_followed(txn: Txn, flight: bytes, generation: int, owner: bytes, now_ns: int) -> bool:
    """Say whether any process but the owner's follows."""
    prefix = _presence(flight, generation)
    with txn.cursor() as cursor:
        return any(
            key != prefix + owner and _UNTIL.unpack(until)[0] > now_ns
            for key, until in records.walk(cursor, prefix, prefix)
        )


def release(txn: Txn, is_gone: Callable[[bytes], bool], now_ns: int) -> None:
    """End the leases and the presences of owners that are gone."""
    with txn.cursor() as cursor:
        leases = list(records.walk(cursor, LEASE, LEASE))
        presences = [key for key, _ in records.walk(cursor, PRESENCE, PRESENCE)]
    for key, stored in leases:
        lease = parse_lease(stored)
        if is_gone(lease.owner) and lease.leads(lease.generation, now_ns):
            write_lease(txn, key[1:], lease._replace(expires_ns=now_ns))
    for key in presences:
        if is_gone(key[GROUP:]):
            txn.delete(key)


def lease_is_dead(value: bytes, now_ns: int) -> bool:
    """Say whether a lease may be swept."""
    return parse_lease(value).expires_ns + LINGER_NS <= now_ns


def presence_is_dead(value: bytes, now_ns: int) -> bool:
    """Say whether a presence may be swept."""
    until_ns: int = _UNTIL.unpack(value)[0]
    return until_ns <= now_ns


def log_is_dead(txn: Txn, key: bytes, now_ns: int) -> bool:
    """Say whether the log that this key belongs to may be swept: nobody can feed it or end reading it any more."""
    flight, generation = key[1 : 1 + _FLIGHT], int.from_bytes(key[1 + _FLIGHT : GROUP], "big")
    lease = read_lease(txn, flight)
    if lease is not None and lease.generation == generation:
        return False  # until the lease is swept
    landing = txn.get(key[:GROUP] + _LAST)
    return landing is None or _LANDED.unpack_from(landing)[0] + LINGER_NS <= now_ns


def behind_log(key: bytes) -> bytes:
    """Return a key behind all records of the log that this key belongs to."""
    return key[:GROUP] + _LAST + b"\0"


def unpack_landing(packed: bytes) -> Landing:
    """Read what `pack_landing` wrote."""
    entry, code, message, retry_after_s = msgspec.msgpack.decode(packed, type=_PACKED)
    return Landing(None if entry is None else codec.decode(entry), code, message, retry_after_s)


def _group(flight: bytes, generation: int) -> bytes:
    return LOG + flight + generation.to_bytes(_GENERATION, "big")


def _presence(flight: bytes, generation: int) -> bytes:
    return PRESENCE + flight + generation.to_bytes(_GENERATION, "big")


unpack_pieces = msgspec.msgpack.Decoder(list[Piece]).decode
_PACKED = tuple[bytes | None, str, str, int | None]
