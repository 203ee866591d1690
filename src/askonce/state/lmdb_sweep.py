"""What may be deleted from the `books` environment: windows that say nothing any more, and flights that ended.

Sums and the mark are never swept. Candidates are found in a read transaction; only what is really dead costs the
write lock, and is looked at again under it.
"""

import lmdb

from askonce.limits import window as rule
from askonce.state import lmdb_log as log
from askonce.state.lmdb_files import Room, Txn

_SWEPT = (rule.BLOCK_KEY, log.LEASE, log.LOG, log.PRESENCE, rule.HEAD_KEY)  # in key order


def sweep(room: Room, after: bytes, budget: int, now_ns: int) -> bytes:
    """Look at `budget` records from `after` on, delete the dead; returns where to go on, b"" at the end."""
    following, dead = _find(room, after, budget, now_ns)
    if dead:
        with room.env.begin(write=True) as txn:
            for key in dead:
                value = txn.get(key)
                if value is not None and _is_dead(txn, key, value, now_ns):
                    txn.delete(key)
    return following


def make_room(room: Room, now_ns: int) -> None:
    """Sweep everything once, in ever smaller steps where even deleting finds no free page; raises LMDB's errors."""
    for budget in (4096, 64, 1):
        try:
            after = sweep(room, b"", budget, now_ns)
            while after:
                after = sweep(room, after, 4096, now_ns)
        except lmdb.MapFullError:
            if budget == 1:
                raise
        else:
            return


def _find(room: Room, after: bytes, budget: int, now_ns: int) -> tuple[bytes, list[bytes]]:
    dead: list[bytes] = []
    with room.env.begin() as txn, txn.cursor() as cursor:
        found = cursor.set_range(after)
        while found:
            if budget == 0:
                return cursor.key(), dead
            budget -= 1
            key, value = cursor.item()
            if key[:1] not in _SWEPT:
                beyond = next((kind for kind in _SWEPT if kind > key[:1]), None)
                found = beyond is not None and cursor.set_range(beyond)
            elif _is_dead(txn, key, value, now_ns):
                dead.append(key)
                found = cursor.next()
            elif key[:1] == log.LOG:
                found = cursor.set_range(log.behind_log(key))
            else:
                found = cursor.next()
    return b"", dead


def _is_dead(txn: Txn, key: bytes, value: bytes, now_ns: int) -> bool:
    kind = key[:1]
    if kind in (rule.HEAD_KEY, rule.BLOCK_KEY):
        return rule.expired(value, now_ns)
    if kind == log.LEASE:
        return log.lease_is_dead(value, now_ns)
    if kind == log.PRESENCE:
        return log.presence_is_dead(value, now_ns)
    return kind == log.LOG and log.log_is_dead(txn, key, now_ns)
