"""The directory and the sessions in one process's memory, written to be plainly right."""

from collections.abc import Sequence

from msgspec.structs import replace

from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Edition, Holder, KeyCard, Session, Standing
from askonce.state.lmdb_sessions import PER_USER_MAX

Known = KeyCard | Holder


class MemoryDirectory:
    """Know the keys of one process."""

    def __init__(self) -> None:
        self._edition: Edition | None = None
        self._cards: dict[bytes, KeyCard] = {}
        self._holders: dict[str, Holder] = {}
        self._changes = 0

    async def find(self, digest: bytes) -> Standing | None:
        """Return the key with this keyed hash, and whom it belongs to."""
        self._check_filled()
        card = self._cards.get(digest)
        if card is None:
            return None
        user = self._holders.get(f"user:{card.user_id}") if card.user_id else None
        return Standing(card, user, self._holders.get(f"tenant:{card.tenant}"))

    async def holders(self, *names: str) -> tuple[Holder, ...]:
        """Return those holders of whom something is known."""
        self._check_filled()
        return tuple(self._holders[name] for name in names if name in self._holders)

    async def stamp(self) -> int:
        """Return how many changes there were."""
        return self._changes

    async def has_keys(self) -> bool | None:
        """Say whether any key is known, whatever its state; None until first filled."""
        return bool(self._cards) or (None if self._edition is None else False)

    async def put(self, source: str, *records: Known) -> None:
        """Put new states in force."""
        if self._edition is not None and self._edition.source == source:
            for record in records:
                self._forward(record)

    async def edition(self) -> Edition | None:
        """Return up to where everything is known."""
        return self._edition

    async def catch_up(self, records: Sequence[Known], edition: Edition) -> None:
        """Take in what changed, then the new edition."""
        await self.put(edition.source, *records)
        if self._edition is not None and self._edition.source == edition.source:
            self._close(edition)

    async def replace(self, records: Sequence[Known], edition: Edition) -> None:
        """Put exactly these in force; what is newer than the edition stays."""
        if self._edition is None or self._edition.source != edition.source:
            await self.forget()
        self._changes += 1
        cards = {record.digest for record in records if isinstance(record, KeyCard)}
        names = {record.name for record in records if isinstance(record, Holder)}
        for digest in [d for d, card in self._cards.items() if d not in cards and card.version <= edition.number]:
            del self._cards[digest]
        for name in [n for n, held in self._holders.items() if n not in names and held.version <= edition.number]:
            del self._holders[name]
        for record in records:
            self._forward(record)
        self._close(edition)

    async def forget(self) -> None:
        """Know nothing again."""
        self._edition, self._cards, self._holders = None, {}, {}
        self._changes += 1

    def _forward(self, record: Known) -> None:
        known = self._cards.get(record.digest) if isinstance(record, KeyCard) else self._holders.get(record.name)
        if known is not None and known.version >= record.version:
            return
        self._changes += 1
        if isinstance(record, KeyCard):
            self._cards[record.digest] = record
        else:
            self._holders[record.name] = record

    def _close(self, edition: Edition) -> None:
        if self._edition is None or self._edition.number < edition.number:
            self._edition = edition

    def _check_filled(self) -> None:
        if self._edition is None:
            raise StoreUnavailable("The keys have not been read from the database yet. Try again.", retry_after_s=1)


class MemorySessions:
    """Keep logins of one process."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}

    async def open(self, session: Session) -> None:
        """Keep a new session; one too many ends the user's least recently used."""
        owned = sorted(self._owned(session.user_id), key=lambda other: other.used_ms)
        for other in owned[: max(0, len(owned) - PER_USER_MAX + 1)]:
            del self._sessions[other.digest]
        self._sessions[session.digest] = session

    async def find(self, digest: bytes, now_ms: int) -> Session | None:
        """Return a session that has not run out."""
        session = self._sessions.get(digest)
        return session if session is not None and session.expires_ms > now_ms else None

    async def prolong(self, digest: bytes, now_ms: int, expires_ms: int) -> bool:
        """Note a use and move the end, never back; False where there is no such session any more."""
        session = await self.find(digest, now_ms)
        if session is None:
            return False
        self._sessions[digest] = replace(
            session, used_ms=max(session.used_ms, now_ms), expires_ms=max(session.expires_ms, expires_ms)
        )
        return True

    async def describe(self, digest: bytes, agent: str, now_ms: int) -> bool:
        """Give a session another description; False where there is no such session any more."""
        session = await self.find(digest, now_ms)
        if session is None:
            return False
        self._sessions[digest] = replace(session, agent=agent)
        return True

    async def of_user(self, user_id: str, now_ms: int) -> tuple[Session, ...]:
        """Return a user's sessions, newest first."""
        live = [session for session in self._owned(user_id) if session.expires_ms > now_ms]
        return tuple(sorted(live, key=lambda session: (-session.created_ms, session.digest)))

    async def close(self, digest: bytes) -> bool:
        """End one; False where there was none."""
        return self._sessions.pop(digest, None) is not None

    async def close_all(self, user_id: str) -> int:
        """End all of a user's and return how many."""
        owned = self._owned(user_id)
        for session in owned:
            del self._sessions[session.digest]
        return len(owned)

    async def sweep(self, now_ms: int, budget: int) -> int:
        """Delete what ran out; here all of it at once."""
        dead = [digest for digest, session in self._sessions.items() if session.expires_ms <= now_ms]
        for digest in dead:
            del self._sessions[digest]
        return len(dead)

    def _owned(self, user_id: str) -> list[Session]:
        return [session for session in self._sessions.values() if session.user_id == user_id]
