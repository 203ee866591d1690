"""What the drivers' errors mean: is the database away, or did it refuse what we wrote?

Away is what time or an operator heals, without a change of ours: no connection, no room, no turn, being restarted. All
of that is `LedgerUnavailable`; what was to be written stays where it is. Everything else goes on as it is: a defect.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from askonce.domain.ledger import LedgerUnavailable

# Classes of SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html): connection, authorisation,
# no such database (yet), rolled back for another's sake, resources, operator intervention, system error.
_AWAY_CLASSES = ("08", "28", "3D", "40", "53", "57", "58")
_AWAY_STATES = ("25006", "55P03", "25P03")  # read-only after a failover, a lock not had in time, idle for too long
_AWAY_CODES = {
    sqlite3.SQLITE_BUSY: "another process holds it",
    sqlite3.SQLITE_LOCKED: "another connection holds it",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the file is read-only",
    sqlite3.SQLITE_INTERRUPT: "it took too long",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database, or damaged",
}
_PRIMARY = 0xFF  # of SQLite's extended codes, the part that has a name


@contextmanager
def translated() -> Iterator[None]:
    """Raise `LedgerUnavailable` for a database that is away; let everything else through."""
    try:
        yield
    except DBAPIError as error:
        reason = _away(error)
        if reason is None:
            raise
        raise LedgerUnavailable(f"The database is away: {reason}.") from error
    except PoolTimeout as error:
        raise LedgerUnavailable("The database is away: all connections are in use.") from error
    except OSError as error:  # `TimeoutError` is one, without words
        raise LedgerUnavailable(f"The database is away: {str(error) or 'it does not answer'}.") from error


def driver_failed(error: Exception) -> DBAPIError:
    """Dress an error of PostgreSQL's driver, used by itself, as SQLAlchemy would have done."""
    return DBAPIError("", None, error, hide_parameters=True)


def _away(error: DBAPIError) -> str | None:
    """Say why the database is away; None if it is not."""
    if isinstance(error.orig, sqlite3.Error):
        return _AWAY_CODES.get(getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY)
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or (not state and _is_broken(error)):
        return "the connection broke"  # the driver's own words: in the middle, or before there was one
    if state and (state.startswith(_AWAY_CLASSES) or state in _AWAY_STATES):
        return f"it answers {state}"
    return None


def _is_broken(error: DBAPIError) -> bool:
    words = str(error.orig).lower()
    return any(word in words for word in ("connection is closed", "connection was closed", "connection has been"))
