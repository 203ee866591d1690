"""Promises over LMDB, in the same file as the stored answers, which give way to them up to a share of the room.

    p + key (32)                  expires (epoch ms, 8), question (32), digest of the answer (32)
    q + expires (8) + key (32)    nothing: what expires first comes first
    r + digest (32)               the encoded entry
    n + digest (32)               how many promises it was made to
    s                             how many bytes all of them are

An answer that many were waiting for is written once, whoever it was promised to. No key of another kind of record
begins like that. Where room is needed, what would expire first goes first. Open or closed: where the file is away
`find` raises and `keep` fails.
"""

import hashlib
import logging
import struct

import lmdb
from msgspec import Struct

from askonce.cache import entry as codec
from askonce.domain.answer import Entry
from askonce.domain.clock import Clock
from askonce.domain.ports import Kept, Promise
from askonce.state import lmdb_errors
from askonce.state.lmdb_answers import LmdbAnswers
from askonce.state.lmdb_files import Room, Txn
from askonce.state.lmdb_records import walk

SHARE = 8  # of the file's room, an eighth at the most is for promises
LARGEST = 8  # and of that an eighth for a single one: more would push out too many others
EVICT_MAX = 4096  # per `keep`: bounds how long one write transaction lasts

_PROMISE, _ORDER, _ANSWER, _MADE, _SUM = b"p", b"q", b"r", b"n", b"s"
_HEAD = struct.Struct(">q32s32s")  # expires, question, digest
_DIGEST = 32
_EXPIRES = struct.Struct(">q")
_SIZE = struct.Struct("<q")
_PROMISE_BYTES = 160  # of one promise with its place in the order, beside its answer

_log = logging.getLogger("askonce.state")


class LmdbPromises:
    """Keep promises in the `cache` environment."""

    def __init__(self, room: Room, clock: Clock, answers: LmdbAnswers) -> None:
        self._room = room
        self._clock = clock
        self._answers = answers
        self._bound = room.env.info()["map_size"] // SHARE
        self._latest: tuple[Entry, _Answer] | None = None

    async def find(self, key: bytes) -> Kept | None:
        """Return what is kept under a promise's key and has not expired."""
        try:
            with self._room.env.begin() as txn:
                head = txn.get(_PROMISE + key)
                answer = None if head is None else txn.get(_ANSWER + head[-_DIGEST:])
        except lmdb.Error as error:
            self._answers.suffer(error)
            raise lmdb_errors.unavailable(error) from error
        return None if head is None or answer is None else _unpack(key, head, answer, self._clock.wall_ms())

    async def keep(self, kept: Kept) -> bool:
        """Keep it, the oldest giving way where room is needed; False if that failed, whatever the reason."""
        try:
            answer = self._encoded(kept.entry)
        except ValueError:
            return False
        if len(answer.record) > self._bound // LARGEST:
            return False
        return self._answers.write(len(answer.record), lambda txn: self._put(txn, kept, answer))

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

    def _encoded(self, entry: Entry) -> "_Answer":
        """Encode an entry; the one that was encoded last is often promised to others too."""
        if self._latest is None or self._latest[0] is not entry:
            record = codec.encode(entry)
            self._latest = entry, _Answer(hashlib.sha256(record).digest(), record)
        return self._latest[1]

    def _put(self, txn: Txn, kept: Kept, answer: "_Answer") -> None:
        key = kept.promise.key
        before = txn.get(_PROMISE + key)
        if before is not None:
            if _HEAD.unpack(before)[0] > self._clock.wall_ms():
                return
            _remove(txn, _ORDER + before[: _EXPIRES.size] + key)
        for _ in range(EVICT_MAX):
            if _used(txn) + len(answer.record) <= self._bound or not _remove_oldest(txn):
                break
        made = _count(txn, _MADE + answer.digest)
        if made == 0:
            txn.put(_ANSWER + answer.digest, answer.record)
        txn.put(_MADE + answer.digest, _SIZE.pack(made + 1))
        txn.put(_PROMISE + key, _HEAD.pack(kept.expires_ms, kept.promise.question, answer.digest))
        txn.put(_ORDER + _EXPIRES.pack(kept.expires_ms) + key, b"")
        txn.put(_SUM, _SIZE.pack(_used(txn) + _PROMISE_BYTES + (len(answer.record) if made == 0 else 0)))


class _Answer(Struct, frozen=True):
    digest: bytes
    record: bytes


def _unpack(key: bytes, head: bytes, answer: bytes, now_ms: int) -> Kept | None:
    expires_ms, question, _ = _HEAD.unpack(head)
    if expires_ms <= now_ms:
        return None
    try:
        return Kept(Promise(key, question), codec.decode(answer), expires_ms)
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
    """Remove a promise by its place in the order, and its answer with the last promise of it."""
    head = txn.pop(_PROMISE + order[1 + _EXPIRES.size :])
    txn.delete(order)
    if head is None:
        return
    digest = _HEAD.unpack(head)[2]
    freed, made = _PROMISE_BYTES, _count(txn, _MADE + digest)
    if made > 1:
        txn.put(_MADE + digest, _SIZE.pack(made - 1))
    else:
        txn.delete(_MADE + digest)
        freed += len(txn.pop(_ANSWER + digest) or b"")
    txn.put(_SUM, _SIZE.pack(_used(txn) - freed))


def _used(txn: Txn) -> int:
    return _count(txn, _SUM)


def _count(txn: Txn, key: bytes) -> int:
    stored = txn.get(key)
    count: int = 0 if stored is None else _SIZE.unpack(stored)[0]
    return count
