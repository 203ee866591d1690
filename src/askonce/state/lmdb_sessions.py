"""Logins over LMDB, in the `books` environment; one transaction each.

    is + digest (32)                     a session
    iu + hash of user (16) + digest      that the session is the user's

Sessions run on wall time. They end with the books: where those begin anew (power was lost), people log in again.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from askonce.domain.identity import Session
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_files import Txn
from askonce.state.lmdb_records import walk

SESSION, OWNED = b"is", b"iu"
# One user's; 64 browsers are more than anybody has, and a script that logs in for each request fills nothing.
PER_USER_MAX = 64

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Session).decode


class LmdbSessions:
    """Keep logins for all processes of the machine."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._resume = SESSION  # where the sweeper goes on

    async def open(self, session: Session) -> None:
        """Keep a new session, while the books have room; one too many ends the user's least recently used."""
        self._desk.admit(lambda txn: _open(txn, session))

    async def find(self, digest: bytes, now_ms: int) -> Session | None:
        """Return a session that has not run out."""
        return self._desk.read(lambda txn: _live(txn, digest, now_ms))

    async def prolong(self, digest: bytes, now_ms: int, expires_ms: int) -> bool:
        """Note a use and move the end, never back; False where there is no such session any more."""
        return self._desk.write(lambda txn: _prolong(txn, digest, now_ms, expires_ms))

    async def describe(self, digest: bytes, agent: str, now_ms: int) -> bool:
        """Give a session another description; False where there is no such session any more."""
        return self._desk.write(lambda txn: _describe(txn, digest, agent, now_ms))

    async def of_user(self, user_id: str, now_ms: int) -> tuple[Session, ...]:
        """Return a user's sessions, newest first."""
        found = self._desk.read(lambda txn: list(_owned(txn, user_id)))
        live = [session for session in found if session.expires_ms > now_ms]
        return tuple(sorted(live, key=lambda session: (-session.created_ms, session.digest)))

    async def close(self, digest: bytes) -> bool:
        """End one; False where there was none."""
        return self._desk.write(lambda txn: _close(txn, digest))

    async def close_all(self, user_id: str) -> int:
        """End all of a user's and return how many."""
        return self._desk.write(lambda txn: sum(_close(txn, session.digest) for session in list(_owned(txn, user_id))))

    async def sweep(self, now_ms: int, budget: int) -> int:
        """Look at the next `budget` sessions, delete those that ran out; only these cost the writers' lock."""
        dead = self._desk.read(lambda txn: self._find_dead(txn, now_ms, budget))
        if not dead:
            return 0
        return self._desk.write(lambda txn: sum(_close_dead(txn, digest, now_ms) for digest in dead))

    def _find_dead(self, txn: Txn, now_ms: int, budget: int) -> list[bytes]:
        dead: list[bytes] = []
        with txn.cursor() as cursor:
            for key, stored in walk(cursor, SESSION, self._resume):
                if budget == 0:
                    self._resume = key
                    return dead
                budget -= 1
                if _unpack(stored).expires_ms <= now_ms:
                    dead.append(key[len(SESSION) :])
        self._resume = SESSION
        return dead


def _open(txn: Txn, session: Session) -> None:
    owned = sorted(_owned(txn, session.user_id), key=lambda other: other.used_ms)
    for other in owned[: max(0, len(owned) - PER_USER_MAX + 1)]:
        _close(txn, other.digest)
    txn.put(SESSION + session.digest, _pack(session))
    txn.put(_owner_key(session.user_id) + session.digest, b"")


def _get(txn: Txn, digest: bytes) -> Session | None:
    stored = txn.get(SESSION + digest)
    return None if stored is None else _unpack(stored)


def _live(txn: Txn, digest: bytes, now_ms: int) -> Session | None:
    session = _get(txn, digest)
    return session if session is not None and session.expires_ms > now_ms else None


def _describe(txn: Txn, digest: bytes, agent: str, now_ms: int) -> bool:
    session = _live(txn, digest, now_ms)
    if session is None:
        return False
    txn.put(SESSION + digest, _pack(replace(session, agent=agent)))
    return True


def _prolong(txn: Txn, digest: bytes, now_ms: int, expires_ms: int) -> bool:
    session = _live(txn, digest, now_ms)
    if session is None:
        return False
    used = replace(session, used_ms=max(session.used_ms, now_ms), expires_ms=max(session.expires_ms, expires_ms))
    txn.put(SESSION + digest, _pack(used))
    return True


def _close(txn: Txn, digest: bytes) -> bool:
    session = _get(txn, digest)
    if session is None:
        return False
    txn.delete(SESSION + digest)
    txn.delete(_owner_key(session.user_id) + digest)
    return True


def _close_dead(txn: Txn, digest: bytes, now_ms: int) -> bool:
    return _live(txn, digest, now_ms) is None and _close(txn, digest)


def _owned(txn: Txn, user_id: str) -> Iterator[Session]:
    prefix = _owner_key(user_id)
    with txn.cursor() as cursor:
        digests = [key[len(prefix) :] for key, _ in walk(cursor, prefix, prefix)]
    return (session for digest in digests if (session := _get(txn, digest)) is not None)


@lru_cache(maxsize=4096)
def _owner_key(user_id: str) -> bytes:
    return OWNED + blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
