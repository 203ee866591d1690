"""Promises over LMDB, in the same file as the stored answers, which give way to them up to a share of the room.

    p + key (32)                                       expires (epoch ms, 8), question (32), place of the answer (40)
    q + expires (8) + key (32)                         nothing: what expires first comes first
    r + tenant hash (8) + digest (32)                  the encoded entry; what follows the r is its place
    n + tenant hash (8) + digest (32) + key (32)       nothing: whom it was promised to
    s                                                  how many bytes all of them are

An answer that many were waiting for is written once, and goes with the last promise of it. No key of another kind of
record begins like that. Where room is needed, what would expire first goes first. Open or closed: where the file is
away all but `keep` raise, and `keep` fails.
"""

import asyncio
import hashlib
import logging
import struct
from collections.abc import Mapping

import lmdb

from askonce.cache import entry as codec
from askonce.domain.answer import Entry
from askonce.domain.clock import Clock
from askonce.domain.ports import Filters, Kept, Promise
from askonce.state import lmdb_errors
from askonce.state import lmdb_records as records
from askonce.state.lmdb_answers import LmdbAnswers
from askonce.state.lmdb_files import Room, Txn
from askonce.state.memory import matches

SHARE = 8  # of the file's room, an eighth at the most is for promises
LARGEST = 8  # and of that an eighth for one answer: more would push out too many others
EVICT_MAX = 4096  # per `keep`: bounds how long one write transaction lasts
PURGED_TOGETHER = 16  # answers looked at before others get their turn
FORGET_MAX = 1024  # promises removed in one act: some ten milliseconds

_PROMISE, _ORDER, _ANSWER, _MADE, _SUM = b"p", b"q", b"r", b"n", b"s"
_HEAD = struct.Struct(">q32s40s")  # expires, question, place
_EXPIRES = struct.Struct(">q")
_SIZE = struct.Struct("<q")
_KEY = 32
_PROMISE_BYTES = 400  # of one promise with its three records, beside its answer

_log = logging.getLogger("askonce.state")


class LmdbPromises:
    """Keep promises in the `cache` environment."""

    def __init__(self, room: Room, clock: Clock, answers: LmdbAnswers) -> None:
        self._room = room
        self._clock = clock
        self._answers = answers
        self._bound = room.env.info()["map_size"] // SHARE

    async def question(self, key: bytes) -> bytes | None:
        """Return which question a promise's key stands for, without reading the answer."""
        try:
            with self._room.env.begin() as txn:
                head = txn.get(_PROMISE + key)
        except lmdb.Error as error:
            raise self._unavailable(error) from error
        if head is None:
            return None
        expires_ms, question, _ = _HEAD.unpack(head)
        return question if expires_ms > self._clock.wall_ms() else None

    async def find(self, key: bytes) -> Kept | None:
        """Return what is kept under a promise's key and has not expired."""
        try:
            with self._room.env.begin() as txn:
                head = txn.get(_PROMISE + key)
                record = None if head is None else txn.get(_ANSWER + _HEAD.unpack(head)[2])
        except lmdb.Error as error:
            raise self._unavailable(error) from error
        return None if head is None or record is None else _unpack(key, head, record, self._clock.wall_ms())

    async def keep(self, entry: Entry, until_ms: Mapping[Promise, int]) -> bool:
        """Keep them in one act, what expires first giving way where room is needed; False if that failed."""
        try:
            record = codec.encode(entry)
        except ValueError:
            return False
        size = len(record) + _PROMISE_BYTES * len(until_ms)
        if len(record) > self._bound // LARGEST or size > self._bound:
            return False
        place = records.shelf(entry.tenant)[1:] + hashlib.sha256(record).digest()
        return self._answers.write(size, lambda txn: self._put(txn, place, record, until_ms))

    async def purge(self, tenant: str, filters: Filters) -> None:
        """Forget all promises whose answers match. Gives others their turn; what was removed stays so if cancelled."""
        shelf = _ANSWER + records.shelf(tenant)[1:]
        after, now_ms = shelf, self._clock.wall_ms()
        chosen: list[bytes] = []
        while chosen or after:
            try:
                if not chosen:
                    chosen, after = self._choose(shelf, after, filters, now_ms)
                elif not self._forget(chosen[-1]):
                    chosen.pop()
            except lmdb.Error as error:
                raise self._unavailable(error) from error
            await asyncio.sleep(0)

    def sweep(self, budget: int) -> bool:
        """Remove at most `budget` of the expired; False once there are no more."""
        now_ms = self._clock.wall_ms()
        try:
            with self._room.env.begin() as txn:
                if not _has_expired(txn, now_ms):
                    return False
            with self._room.env.begin(write=True) as txn:
                return all(_has_expired(txn, now_ms) and _remove_first(txn) for _ in range(budget))
        except lmdb.Error as error:
            self._answers.suffer(error)
            return False

    def _put(self, txn: Txn, place: bytes, record: bytes, until_ms: Mapping[Promise, int]) -> None:
        now_ms = self._clock.wall_ms()
        free = {promise.key: promise for promise in until_ms if _is_free(txn, promise.key, now_ms)}
        if not free:
            return
        size = len(record) + _PROMISE_BYTES * len(free)
        for _ in range(EVICT_MAX):
            if _used(txn) + size <= self._bound or not _remove_first(txn):
                break
        if txn.put(_ANSWER + place, record, overwrite=False):
            _count(txn, len(record))
        _count(txn, _PROMISE_BYTES * len(free))
        for key, promise in free.items():
            expires_ms = until_ms[promise]
            txn.put(_PROMISE + key, _HEAD.pack(expires_ms, promise.question, place))
            txn.put(_ORDER + _EXPIRES.pack(expires_ms) + key, b"")
            txn.put(_MADE + place + key, b"")

    def _choose(self, shelf: bytes, after: bytes, filters: Filters, now_ms: int) -> tuple[list[bytes], bytes]:
        """Return the places of some answers that match, from a key on, and where to go on; b"" at the end."""
        chosen: list[bytes] = []
        with self._room.env.begin() as txn, txn.cursor() as cursor:
            for looked_at, (key, record) in enumerate(records.walk(cursor, shelf, after)):
                if looked_at == PURGED_TOGETHER:
                    return chosen, key
                if filters == Filters() or (entry := _decode(record)) is None or matches(entry, filters, now_ms):
                    chosen.append(key[1:])
        return chosen, b""

    def _forget(self, place: bytes) -> bool:
        """Remove some of the promises of one answer; False once there are no more."""
        with self._room.env.begin(write=True) as txn:
            with txn.cursor() as cursor:
                made = records.walk(cursor, _MADE + place, _MADE + place)
                keys = [key[-_KEY:] for (key, _), _ in zip(made, range(FORGET_MAX), strict=False)]
            for key in keys:
                _remove(txn, key)
        return len(keys) == FORGET_MAX

    def _unavailable(self, error: lmdb.Error) -> Exception:
        self._answers.suffer(error)
        return lmdb_errors.unavailable(error)


def _unpack(key: bytes, head: bytes, record: bytes, now_ms: int) -> Kept | None:
    expires_ms, question, _ = _HEAD.unpack(head)
    entry = _decode(record) if expires_ms > now_ms else None
    return None if entry is None else Kept(Promise(key, question), entry, expires_ms)


def _decode(record: bytes) -> Entry | None:
    try:
        return codec.decode(record)
    except codec.EntryCorrupt as error:
        _log.warning("a promised answer is passed over: %s", error)
        return None


def _is_free(txn: Txn, key: bytes, now_ms: int) -> bool:
    """Say whether a name may be given; what expired under it goes."""
    head = txn.get(_PROMISE + key)
    if head is not None and _HEAD.unpack(head)[0] > now_ms:
        return False
    if head is not None:
        _remove(txn, key)
    return True


def _has_expired(txn: Txn, now_ms: int) -> bool:
    first = _first(txn)
    return first is not None and _EXPIRES.unpack_from(first, 1)[0] <= now_ms


def _remove_first(txn: Txn) -> bool:
    first = _first(txn)
    if first is not None:
        _remove(txn, first[-_KEY:])
        txn.delete(first)  # also where it has no promise: whoever sweeps must get on
    return first is not None


def _first(txn: Txn) -> bytes | None:
    with txn.cursor() as cursor:
        return next((key for key, _ in records.walk(cursor, _ORDER, _ORDER)), None)


def _remove(txn: Txn, key: bytes) -> None:
    """Remove a promise, and its answer if nobody else was promised it."""
    head = txn.pop(_PROMISE + key)
    if head is None:
        return
    place = _HEAD.unpack(head)[2]
    txn.delete(_ORDER + head[: _EXPIRES.size] + key)
    txn.delete(_MADE + place + key)
    _count(txn, -_PROMISE_BYTES)
    with txn.cursor() as cursor:
        promised = next(records.walk(cursor, _MADE + place, _MADE + place), None)
    if promised is None:
        _count(txn, -len(txn.pop(_ANSWER + place) or b""))


def _used(txn: Txn) -> int:
    stored = txn.get(_SUM)
    used: int = 0 if stored is None else _SIZE.unpack(stored)[0]
    return used


def _count(txn: Txn, size: int) -> None:
    txn.put(_SUM, _SIZE.pack(_used(txn) + size))
