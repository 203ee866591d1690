"""The directory over LMDB: what of the database's keys is in force, in the `books` environment.

    ik + digest (32)   a key
    ih + name          a holder
    ie                 the edition: which database, up to which number
    ic                 how many changes there were: what was found before the last one may be remembered wrongly

The directory is disposable: books that begin anew have none, and until the database was read once nothing is known,
which is told from "no such key" by the missing edition. Many records are written in slices, so that no writer waits
long; each slice only moves records forward, and the edition comes last.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from typing import TypeVar

import msgspec

from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Edition, Holder, KeyCard, Standing
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_files import Txn
from askonce.state.lmdb_records import walk

CARD, HOLDER, EDITION, CHANGES = b"ik", b"ih", b"ie", b"ic"
SLICE = 200  # records of one write transaction: about a millisecond
_NAME_BYTES = 255  # longer names are hashed; LMDB's keys have at most 511 bytes

_pack = msgspec.msgpack.Encoder().encode
_card = msgspec.msgpack.Decoder(KeyCard).decode
_holder = msgspec.msgpack.Decoder(Holder).decode
_edition = msgspec.msgpack.Decoder(Edition).decode

Known = KeyCard | Holder
_T = TypeVar("_T")


class LmdbDirectory:
    """Know the keys for all processes of the machine."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def find(self, digest: bytes) -> Standing | None:
        """Return the key with this keyed hash, and whom it belongs to, in one read."""
        return self._desk.read(lambda txn: _find(txn, digest))

    async def holders(self, *names: str) -> tuple[Holder, ...]:
        """Return those holders of whom something is known."""
        return self._desk.read(lambda txn: _holders(txn, names))

    async def stamp(self) -> int:
        """Return how many changes there were. Books that begin anew do so only where no process remembers any."""
        stored = self._desk.read(lambda txn: txn.get(CHANGES))
        return 0 if stored is None else int.from_bytes(stored, "big")

    async def has_keys(self) -> bool | None:
        """Say whether any key is known, whatever its state; None until first filled."""
        return self._desk.read(_has_keys)

    async def put(self, source: str, *records: Known) -> None:
        """Put new states in force at once, for all processes."""
        self._desk.write(lambda txn: _forward(txn, records) if _source(txn) == source else None)

    async def edition(self) -> Edition | None:
        """Return up to where everything is known."""
        return self._desk.read(_read_edition)

    async def catch_up(self, records: Sequence[Known], edition: Edition) -> None:
        """Take in what changed, then the new edition."""
        for piece in _slices(records):
            await self.put(edition.source, *piece)
            await asyncio.sleep(0)
        self._desk.write(lambda txn: _close(txn, edition) if _source(txn) == edition.source else None)

    async def replace(self, records: Sequence[Known], edition: Edition) -> None:
        """Put exactly these in force. Only differences are written; what is newer than the edition stays.

        Another source's records go first, all of them; until the end nothing is known then.
        """
        if self._desk.read(_source) != edition.source:
            await self.forget()
        wanted = {_key(record): record for record in records}
        stored = self._desk.read(lambda txn: dict(_walk(txn)))
        for keys in _slices([key for key in stored if key not in wanted]):
            self._desk.write(lambda txn, keys=keys: _drop(txn, keys, edition.number))  # type: ignore[misc]
            await asyncio.sleep(0)
        changed = [record for key, record in wanted.items() if _is_news(record, stored.get(key))]
        for piece in _slices(changed):
            self._desk.write(lambda txn, piece=piece: _forward(txn, piece))  # type: ignore[misc]
            await asyncio.sleep(0)
        self._desk.write(lambda txn: _close(txn, edition))

    async def forget(self) -> None:
        """Know nothing again, at once; the records themselves go slice by slice."""
        some = True
        while some:
            some = self._desk.write(_wipe)
            await asyncio.sleep(0)


def not_filled() -> StoreUnavailable:
    """Make the refusal of a moment in which nobody can say which keys there are."""
    return StoreUnavailable("The keys have not been read from the database yet. Try again.", retry_after_s=1)


def _find(txn: Txn, digest: bytes) -> Standing | None:
    # Of a directory that is being filled, a key may be there and not yet what bounds or disables its holders.
    if txn.get(EDITION) is None:
        raise not_filled()
    stored = txn.get(CARD + digest)
    if stored is None:
        return None
    card = _card(stored)
    user = _get_holder(txn, f"user:{card.user_id}") if card.user_id else None
    return Standing(card, user, _get_holder(txn, f"tenant:{card.tenant}"))


def _holders(txn: Txn, names: Sequence[str]) -> tuple[Holder, ...]:
    if txn.get(EDITION) is None:
        raise not_filled()
    return tuple(holder for name in names if (holder := _get_holder(txn, name)) is not None)


def _has_keys(txn: Txn) -> bool | None:
    with txn.cursor() as cursor:
        if next(iter(walk(cursor, CARD, CARD)), None) is not None:
            return True
    return None if txn.get(EDITION) is None else False


def _get_holder(txn: Txn, name: str) -> Holder | None:
    stored = txn.get(_holder_key(name))
    return None if stored is None else _holder(stored)


def _read_edition(txn: Txn) -> Edition | None:
    stored = txn.get(EDITION)
    return None if stored is None else _edition(stored)


def _source(txn: Txn) -> str:
    edition = _read_edition(txn)
    return "" if edition is None else edition.source


def _forward(txn: Txn, records: Sequence[Known]) -> None:
    """Write what is newer than what stands there."""
    for record in records:
        key = _key(record)
        stored = txn.get(key)
        if _is_news(record, None if stored is None else _read(key, stored)):
            txn.put(key, _pack(record))
    _note_change(txn)


def _drop(txn: Txn, keys: Sequence[bytes], number: int) -> None:
    """Delete what the database did not have at that number."""
    for key in keys:
        stored = txn.get(key)
        if stored is not None and _read(key, stored).version <= number:
            txn.delete(key)
    _note_change(txn)


def _note_change(txn: Txn) -> None:
    txn.put(CHANGES, (int.from_bytes(txn.get(CHANGES) or b"", "big") + 1).to_bytes(8, "big"))


def _close(txn: Txn, edition: Edition) -> None:
    """Write the edition up to which everything is known, never an earlier one of the same source."""
    former = _read_edition(txn)
    if former is None or former.source != edition.source or former.number < edition.number:
        txn.put(EDITION, _pack(edition))


def _wipe(txn: Txn) -> bool:
    """Forget the edition and a slice of the records; False once there is none."""
    txn.delete(EDITION)
    keys = [key for key, _ in islice(_walk(txn), SLICE)]
    for key in keys:
        txn.delete(key)
    _note_change(txn)
    return bool(keys)


def _walk(txn: Txn) -> Iterator[tuple[bytes, Known]]:
    with txn.cursor() as cursor:
        for prefix in (CARD, HOLDER):
            for key, stored in walk(cursor, prefix, prefix):
                yield key, _read(key, stored)


def _read(key: bytes, stored: bytes) -> Known:
    return _card(stored) if key.startswith(CARD) else _holder(stored)


def _is_news(record: Known, stored: Known | None) -> bool:
    return stored is None or record.version > stored.version


def _key(record: Known) -> bytes:
    return CARD + record.digest if isinstance(record, KeyCard) else _holder_key(record.name)


@lru_cache(maxsize=4096)
def _holder_key(name: str) -> bytes:
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) > _NAME_BYTES:
        raw = b"\xff" + blake2b(raw, digest_size=32).digest()  # no UTF-8 starts with 0xff
    return HOLDER + raw


def _slices(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))
