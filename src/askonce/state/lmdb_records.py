"""How stored answers lie in the `cache` environment, and what keeps its three kinds of record in step.

    e + tenant hash (8) + fingerprint (32)   the encoded entry
    l + fingerprint (32) + tenant hash (8)   when it was last used, when it expires, its size, how often it was used
    t + tenant hash (8)                      how many entries the tenant has, and how many bytes they are

Beside them lie promises (`lmdb_promises`), whose keys begin with n, p, q, r and s.

A fingerprint is as good as random, so a seek to a random place in `l` draws a fair sample: eviction looks at a few
records and removes the one that was not used for the longest time (the method of Redis' approximate LRU), an
expired one first. Everything here works inside a transaction that the caller has opened.
"""

import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

import lmdb

from askonce.domain.answer import Entry
from askonce.state.lmdb_files import Txn

SAMPLE = 8  # drawn per eviction; Redis finds 10 near to true LRU, 5 good enough
FIRST_USE = b"l"

_USE = struct.Struct("<qqI")  # last used (epoch ms), expires (epoch ms), bytes
_HITS = struct.Struct("<Q")  # stands behind it once there was one
_SUM = struct.Struct("<qq")  # entries, bytes
_HASH = 8


@lru_cache(maxsize=4096)
def shelf(tenant: str) -> bytes:
    """Return what the keys of all of a tenant's entries begin with."""
    return b"e" + _hash(tenant)


def use_key(tenant: str, fingerprint: bytes) -> bytes:
    """Return the key under which an entry's use is recorded."""
    return FIRST_USE + fingerprint + shelf(tenant)[1:]


def put(txn: Txn, entry: Entry, record: bytes, now_ms: int) -> None:
    """Store an encoded entry, replacing an earlier one."""
    used = use_key(entry.tenant, entry.key)
    replaced = txn.get(used)
    entries, size = (0, 0) if replaced is None else (-1, -_USE.unpack_from(replaced)[2])
    txn.put(shelf(entry.tenant) + entry.key, record)
    txn.put(used, _USE.pack(now_ms, entry.expires_ms, len(record)))
    _count(txn, used[-_HASH:], entries + 1, size + len(record))


def remove(txn: Txn, used: bytes) -> bool:
    """Remove an entry by its use key, from everywhere at once; False if it was not there."""
    use = txn.pop(used)
    if use is None:
        return False
    fingerprint, tenant = used[1:-_HASH], used[-_HASH:]
    txn.delete(b"e" + tenant + fingerprint)
    _count(txn, tenant, -1, -_USE.unpack_from(use)[2])
    return True


def evict(txn: Txn, now_ms: int) -> bool:
    """Remove the stalest of a few random entries; False if there is none."""
    worst: tuple[bool, int, bytes] | None = None
    with txn.cursor() as cursor:
        for _ in range(SAMPLE):
            if not _draw(cursor):
                return False
            last_ms, expires_ms, _ = _USE.unpack_from(cursor.value())
            candidate = (expires_ms > now_ms, last_ms, cursor.key())
            worst = min(worst or candidate, candidate)
    return worst is not None and remove(txn, worst[2])


def use(txn: Txn, used: bytes, now_ms: int, times: int) -> None:
    """Note that an entry was used so many times until now, if it is still there."""
    stored = txn.get(used)
    if stored is not None:
        _, expires_ms, size = _USE.unpack_from(stored)
        txn.put(used, _USE.pack(now_ms, expires_ms, size) + _HITS.pack(_hits(stored) + times))


def hits(txn: Txn, used: bytes) -> int:
    """Return how often an entry was used."""
    return _hits(txn.get(used) or b"")


def is_expired(use_record: bytes | None, now_ms: int) -> bool:
    """Say whether an entry is there and has expired, by its use record."""
    return use_record is not None and _USE.unpack_from(use_record)[1] <= now_ms


def measure(txn: Txn, tenant: str) -> tuple[int, int]:
    """Return how many entries a tenant has, and how many bytes they are."""
    stored = txn.get(b"t" + shelf(tenant)[1:])
    entries, size = _SUM.unpack(stored) if stored else (0, 0)
    return entries, size


def walk(cursor: "lmdb.Cursor[bytes]", prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Walk through the records with this prefix, from `start` on."""
    found = cursor.set_range(start)
    while found and cursor.key().startswith(prefix):
        yield cursor.item()
        found = cursor.next()


def _hits(use: bytes) -> int:
    count: int = _HITS.unpack_from(use, _USE.size)[0] if len(use) > _USE.size else 0
    return count


def _draw(cursor: "lmdb.Cursor[bytes]") -> bool:
    """Go to the first use record behind a random place, around the end; False if there are none."""
    for place in (FIRST_USE + os.urandom(_HASH), FIRST_USE):
        if cursor.set_range(place) and cursor.key().startswith(FIRST_USE):
            return True
    return False


def _count(txn: Txn, tenant: bytes, entries: int, size: int) -> None:
    stored = txn.get(b"t" + tenant)
    had_entries, had_size = _SUM.unpack(stored) if stored else (0, 0)
    if had_entries + entries:
        txn.put(b"t" + tenant, _SUM.pack(had_entries + entries, had_size + size))
    else:
        txn.delete(b"t" + tenant)


def _hash(tenant: str) -> bytes:
    return blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=_HASH).digest()
