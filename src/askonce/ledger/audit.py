"""The audit's sealer, and the watch over the end of its chain.

There is one sealer at a time, however many workers there are: sealing locks the row that holds the chain's end until
the transaction is over. Rows are sealed in the transaction that writes their batch, so they get their numbers once.

The end is noted outside the database (shared state, and the log stream) at intervals, each time after the rows since
the former note were checked. A noted end is never replaced by that of a chain that does not contain it.
"""

import logging
from collections.abc import Sequence

import msgspec
from msgspec import Raw
from msgspec.structs import replace
from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.accounts import SecretChanged
from askonce.domain.clock import Clock
from askonce.domain.credentials import fingerprint
from askonce.domain.ledger import Anchor, Anchors, AuditRow
from askonce.ledger.audit_chain import GENESIS, START, Report, Sealed, make_seal, write_anchor
from askonce.ledger.audit_table import audit, audit_head, fields_of
from askonce.ledger.audit_verify import verify
from askonce.ledger.engine import writing
from askonce.ledger.words import clean

ANCHOR_EVERY_S = 60.0  # so long may what is deleted from the end stay unnoticed
_HEAD = 1

_log = logging.getLogger("askonce.audit")


class Sealer:
    """Give rows their numbers and seals. `key` is derived from a secret that the database does not have."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    async def seal_rows(self, connection: AsyncConnection, rows: Sequence[AuditRow]) -> None:
        """Seal rows in their order and write them, as part of the transaction that it is given."""
        if not rows:
            return
        end, strange = await _lock_end(connection)
        if strange:
            _log.critical("the audit's chain: %s", strange)
            rows = [self._alarm(strange), *rows]
        chain: list[Sealed] = []
        for row in rows:
            sealed = self._seal(end, row)
            chain.append(sealed)
            end = Anchor(sealed.number, sealed.seal)
        await connection.execute(insert(audit), [fields_of(sealed) for sealed in chain])
        await connection.execute(update(audit_head).values(number=end.number, seal=end.seal))

    def _seal(self, end: Anchor, row: AuditRow) -> Sealed:
        row, number = presentable(row), end.number + 1
        return Sealed(number, row, fingerprint(self._key), end.seal, make_seal(self._key, end.seal, number, row))

    def _alarm(self, strange: str) -> AuditRow:
        details = Raw(msgspec.json.encode({"reason": strange}))
        return AuditRow(self._clock.wall_ms(), "system", "audit.broken", severity="critical", details=details)


class Watch:
    """Note the end of the chain from time to time. `keys`: that in force first, then the former."""

    def __init__(self, engine: AsyncEngine, keys: Sequence[bytes], anchors: Anchors, clock: Clock) -> None:
        self._engine = engine
        self._keys = keys
        self._anchors = anchors
        self._clock = clock

    async def round(self) -> Report:
        """Check what came since the last note, and note the new end if all is well.

        Without a note the whole chain is checked. Raises `LedgerUnavailable` and `StoreUnavailable`; if cancelled, the
        former note stays.
        """
        noted = await self._anchors.read()
        report = await verify(self._engine, self._keys, [noted] if noted else [], since=noted)
        if not report.sound:
            words = "; ".join(f"{each.number} {each.message}" for each in report.findings[:5])
            _log.critical(
                "the audit's chain is broken in %d places: %s. See `askonce audit verify`.", report.wrong, words
            )
        elif report.last is not None and (noted is None or report.last.number > noted.number):
            await self._note(report.last)
        return report

    async def accept(self) -> Anchor | None:
        """Note the end as it is now, whatever is wrong (an operator restored a backup, and says so).

        Returns the former note, which belongs into an audit row about this act.
        """
        former = await self._anchors.read()
        report = await verify(self._engine, self._keys)
        await self._note(report.last or START)
        return former

    async def _note(self, end: Anchor) -> None:
        await self._anchors.note(replace(end, at_ms=self._clock.wall_ms()))
        _log.info("the audit ends at %s", write_anchor(end))


async def claim_chain(engine: AsyncEngine, sealer: Sealer, known: Sequence[bytes], first: AuditRow) -> bool:
    """Check the last row's seal as `check_chain` does; begin an empty chain with a row, and say whether that was done.

    So of several nodes that begin at once, with different secrets, all but one are refused. Raises `SecretChanged` and
    `LedgerUnavailable`; if cancelled, it may have begun.
    """
    async with writing(engine) as connection:
        end, strange = await _lock_end(connection)
        await check_chain(connection, known)
        is_empty = end == START and not strange
        if is_empty:
            await sealer.seal_rows(connection, [first])
    return is_empty


async def check_chain(connection: AsyncConnection, known: Sequence[bytes]) -> None:
    """Raise `SecretChanged` where none of the `known` keys sealed the last row: nobody could check what follows it."""
    last = await connection.scalar(select(audit.c.key).order_by(audit.c.number.desc()).limit(1))
    if last is not None and last not in map(fingerprint, known):
        raise SecretChanged(
            f"ASKONCE_SECRET: the audit's last row was sealed with another secret ({last}; in force is "
            f"{fingerprint(known[0])}). Set that secret, behind the new one, separated by a comma. If it is lost, "
            "`askonce audit accept` lets the audit go on with this one. All nodes need the same."
        )


def presentable(row: AuditRow) -> AuditRow:
    """Return a row that a database can hold as it is, its details being a JSON object on one line."""
    texts = {
        name: clean(getattr(row, name)) for name in ("actor", "action", "subject", "tenant", "address", "request_id")
    }
    return replace(row, **texts, severity=clean(row.severity), details=_one_line(bytes(row.details)))


def _one_line(details: bytes) -> Raw:
    try:
        if isinstance(msgspec.json.decode(details), dict):
            return Raw(msgspec.json.format(details, indent=-1))
    except msgspec.DecodeError:
        pass
    return Raw(msgspec.json.encode({"text": clean(details.decode("utf-8", "replace"))}))


async def _lock_end(connection: AsyncConnection) -> tuple[Anchor, str]:
    """Return behind which row to go on, and what is strange about that; nobody else seals until this is over.

    The end is kept twice, in the row that is locked and as the last row itself. Where they disagree somebody was at
    work; then the larger number counts, so that no number is given twice.
    """
    wanted = select(audit_head.c.number, audit_head.c.seal).where(audit_head.c.id == _HEAD).with_for_update()
    row = (await connection.execute(wanted)).first()
    made = row is None
    if row is None:
        await _make_head(connection)
        row = (await connection.execute(wanted)).one()
    kept = Anchor(row.number, row.seal)
    row = (
        await connection.execute(select(audit.c.number, audit.c.seal).order_by(audit.c.number.desc()).limit(1))
    ).first()
    last = START if row is None else Anchor(row.number, row.seal)
    if kept == last:
        return last, ""
    if made and kept.number == 0:
        return last, f"the row that held its end was deleted; rows end at {last.number}"
    end = kept if kept.number > last.number else last
    return end, f"its end was {kept.number}, and rows end at {last.number}{_other_seal(kept, last)}"


def _other_seal(kept: Anchor, last: Anchor) -> str:
    return " with another seal" if kept.number == last.number else ""


async def _make_head(connection: AsyncConnection) -> None:
    fields = {"id": _HEAD, "number": 0, "seal": GENESIS}
    if connection.dialect.name == "postgresql":
        await connection.execute(postgresql.insert(audit_head).values(fields).on_conflict_do_nothing())
    else:
        await connection.execute(sqlite.insert(audit_head).values(fields).on_conflict_do_nothing())
