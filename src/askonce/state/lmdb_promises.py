"""Promises over LMDB, in the same file as the stored answers, which give way to them up to a share of the room.

    p + key (32)                  expires (epoch ms, 8), question (32), the encoded entry
    q + expires (8) + key (32)    the size of that record: what expires first comes first
    s                             how many bytes all of them are

No key of another kind of record begins like that. All promises live equally long, so that what expires first is the
oldest. Open or closed: where the file is away `find` raises and `keep` fails.
"""

import logging
import struct

import lmdb

from askonce.cache import entry as codec
from askonce.domain.clock import Clock
from askonce.domain.ports import Kept, Promise
from askonce.state import lmdb_errors
from askonce.state.lmdb_answers import LmdbAnswers
from askonce.state.lmdb_files import Room, Txn
from askonce.state.lmdb_records import walk

SHARE = 8  # of the file's room, an eighth at the most is for promises
LARGEST = 8  # and of that an eighth for a single one: more would push out too many others
EVICT_MAX = 4096  # per `keep`: bounds how long one write transaction lasts

_PROMISE, _ORDER, _SUM = b"p", b"q", b"s"
_HEAD = struct.Struct(">q32s")  # expires, question
_EXPIRES = struct.Struct(">q")
_SIZE = struct.Struct("<q")

_log = logging.getLogger("askonce.state")


class LmdbPromises:
    """Keep promises in the `cache` environment."""

    def __init__(self, room: Room, clock: Clock, answers: LmdbAnswers) -> None:
        self._room = room
        self._clock = clock
        self._answers = answers
        self._bound = room.env.info()["map_size"] // SHARE

    async def find(self, key: bytes) -> Kept | None:
        """Return what is kept under a promise's key and has not expired."""
        try:
            with self._room.env.begin() as txn:
                record = txn.get(_PROMISE + key)
        except lmdb.Error as error:
            self._answers.suffer(error)
            raise lmdb_errors.unavailable(error) from error
        return None if record is None else _unpack(key, record, self._clock.wall_ms())

    async def keep(self, kept: Kept) -> bool:
        """Keep it, the oldest giving way where room is needed; False if that failed, whatever the reason."""
        try:
            record = _HEAD.pack(kept.expires_ms, kept.promise.question) + codec.encode(kept.entry)
        except ValueError:
            return False
        if len(record) > self._bound // LARGEST:
            return False
        return self._answers.write(len(record), lambda txn: self._put(txn, kept, record))

    def sweep(self, budget: int) -> bool:
        """Remove at most `budget` of the expired; False once there are no more."""
        now_ms = self._clock.wall_ms()
        try:
            with self._room.env.begin() as txn:
                if not _has_expired(txn, now_ms):
                    return False
            with self._room.env.begin(write=True) as txn:
                return all(_has_expired(txn, now_ms) and _remove_oldest(txn) for _ in range(budget))
        except lmdb.Error as error:
            self._answers.suffer(error)
            return False

    def _put(self, txn: Txn, kept: Kept, record: bytes) -> None:
        key = kept.promise.key
        before = txn.get(_PROMISE + key)
        if before is not None:
            expires_ms, _ = _HEAD.unpack_from(before)
            if expires_ms > self._clock.wall_ms():
                return
            _remove(txn, _ORDER + before[: _EXPIRES.size] + key)
        for _ in range(EVICT_MAX):
            if _used(txn) + len(record) <= self._bound or not _remove_oldest(txn):
                break
        txn.put(_PROMISE + key, record)
        txn.put(_ORDER + _EXPIRES.pack(kept.expires_ms) + key, _SIZE.pack(len(record)))
        txn.put(_SUM, _SIZE.pack(_used(txn) + len(record)))


def _unpack(key: bytes, record: bytes, now_ms: int) -> Kept | None:
    expires_ms, question = _HEAD.unpack_from(record)
    if expires_ms <= now_ms:
        return None
    try:
        return Kept(Promise(key, question), codec.decode(record[_HEAD.size :]), expires_ms)
    except codec.EntryCorrupt as error:
        _log.warning("a promised answer is passed over: %s", error)
        return None


def _has_expired(txn: Txn, now_ms: int) -> bool:
    oldest = _oldest(txn)
    return oldest is not None and _EXPIRES.unpack_from(oldest, 1)[0] <= now_ms


def _remove_oldest(txn: Txn) -> bool:
    oldest = _oldest(txn)
    if oldest is not None:
        _remove(txn, oldest)
    return oldest is not None


def _oldest(txn: Txn) -> bytes | None:
    with txn.cursor() as cursor:
        return next((key for key, _ in walk(cursor, _ORDER, _ORDER)), None)


def _remove(txn: Txn, order: bytes) -> None:
    size = txn.pop(order)
    if size is not None:
        txn.delete(_PROMISE + order[1 + _EXPIRES.size :])
        txn.put(_SUM, _SIZE.pack(_used(txn) - _SIZE.unpack(size)[0]))


def _used(txn: Txn) -> int:
    stored = txn.get(_SUM)
    used: int = 0 if stored is None else _SIZE.unpack(stored)[0]
    return used
