"""Alerts on their way out: kept in a file until whoever is to hear of them has, or three days have passed.

Alerts are rows of the audit that leave the outbox. Each is noted here, by its number, before it leaves, so that a
worker's death loses none, and noting it twice is noting it once. Deliveries are tried again, later and later; one that
was taken but not noted as such is sent twice, with the same id.

Where the file fails the outbox goes on all the same: an alert is in the audit and
in the log, too.
"""

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from askonce.domain.clock import Clock
from askonce.domain.ledger import AuditRow, Batch, Outbox
from askonce.ledger.side_file import SideFile
from askonce.limits.budget import ALERT_ACTION

FILE = "alerts.db"
KEPT_MS = 7 * 86_400_000  # after its end; longer than any record waits in the outbox
GIVE_UP_MS = 3 * 86_400_000  # the time in which somebody looks after a receiver that is down over a weekend

_WAITING, _ENDED = 0, 1
_TABLE = """
CREATE TABLE IF NOT EXISTS alerts (
    source TEXT NOT NULL,
    number INTEGER NOT NULL,
    state INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (source, number)
)
"""
_log = logging.getLogger("askonce.alerts")


class Parcel(Struct, frozen=True):
    """Hold one alert that waits: what is sent, how often that was tried, and when it came about."""

    source: str
    number: int
    body: bytes
    tries: int
    made_ms: int


class AlertBox:
    """Keep alerts. `wanted`: is there anybody to send them to? If not, they are only logged."""

    def __init__(self, folder: Path, clock: Clock, *, wanted: bool) -> None:
        self._file = SideFile(folder / FILE, _TABLE)
        self._clock = clock
        self._wanted = wanted

    async def note(self, batch: Batch) -> None:
        """Keep and log the alerts of a batch, each once."""
        alerts = [
            (number, record)
            for number, record in enumerate(batch.records, batch.first)
            if isinstance(record, AuditRow) and record.action == ALERT_ACTION
        ]
        if not alerts:
            return
        try:
            fresh = await self._file.do(lambda it: self._insert(it, batch.source, alerts))
        except sqlite3.Error as error:
            _log.error("alerts cannot be kept, and are only logged: %s", error)
            fresh = [record for _, record in alerts]
        for record in fresh:
            told = {"subject": record.subject, "details": bytes(record.details).decode()}
            _log.warning("a budget's soft limit was passed", extra=told)

    async def due(self, now_ms: int) -> Parcel | None:
        """Return the alert that has been due longest, None where none is. Raises `sqlite3.Error`."""
        wanted = (
            "SELECT source, number, body, tries, made_ms FROM alerts WHERE state = ? AND due_ms <= ? "
            "ORDER BY due_ms LIMIT 1"
        )
        row = await self._file.do(lambda it: it.execute(wanted, (_WAITING, now_ms)).fetchone())
        return None if row is None else Parcel(*row)

    async def end(self, parcel: Parcel) -> None:
        """Send an alert no more, and forget those that ended long ago. Raises `sqlite3.Error`."""
        now_ms = self._clock.wall_ms()

        def act(connection: sqlite3.Connection) -> None:
            ended = "UPDATE alerts SET state = ?, due_ms = ? WHERE source = ? AND number = ?"
            connection.execute(ended, (_ENDED, now_ms, parcel.source, parcel.number))
            connection.execute("DELETE FROM alerts WHERE state = ? AND due_ms < ?", (_ENDED, now_ms - KEPT_MS))

        await self._file.do(act)

    async def postpone(self, parcel: Parcel, due_ms: int) -> None:
        """Try an alert again later. Raises `sqlite3.Error`."""
        later = "UPDATE alerts SET due_ms = ?, tries = tries + 1 WHERE source = ? AND number = ?"
        await self._file.do(lambda it: it.execute(later, (due_ms, parcel.source, parcel.number)))

    async def close(self) -> None:
        """Let go of the file; what is in it stays."""
        await self._file.close()

    def _insert(
        self, connection: sqlite3.Connection, source: str, alerts: Sequence[tuple[int, AuditRow]]
    ) -> list[AuditRow]:
        now_ms = self._clock.wall_ms()
        fresh = []
        for number, row in alerts:
            values = (
                source,
                number,
                _WAITING if self._wanted else _ENDED,
                now_ms,
                now_ms,
                body_of(source, number, row),
            )
            done = connection.execute("INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?, 0, ?)", values)
            if done.rowcount:
                fresh.append(row)
        return fresh


class NotingOutbox:
    """Note alerts as they come to the head of an outbox; otherwise be that outbox."""

    def __init__(self, outbox: Outbox, box: AlertBox) -> None:
        self._outbox = outbox
        self._box = box
        self.append = outbox.append
        self.settle = outbox.settle

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records, their alerts being noted."""
        batch = await self._outbox.head(size)
        if batch is not None:
            await self._box.note(batch)
        return batch


def body_of(source: str, number: int, row: AuditRow) -> bytes:
    """Write what is sent: JSON with an `id` that is the same however often it comes."""
    told = {
        "id": f"{source}-{number}",
        "type": row.action,
        "atMs": row.at_ms,
        "subject": row.subject,
        "tenant": row.tenant,
        "details": row.details,
    }
    return msgspec.json.encode(told)
