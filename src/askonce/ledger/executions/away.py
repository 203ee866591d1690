"""A database that is away, as executions tell of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from askonce.domain.errors import DatabaseAway
from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger.away import translated as drivers_translated

AWAY_S = 5  # after which it is worth asking again


@contextmanager
def translated() -> Iterator[None]:
    """Raise `DatabaseAway` for a database that is away; let everything else through."""
    try:
        with drivers_translated():
            yield
    except LedgerUnavailable as error:
        raise DatabaseAway(f"{error} Executions are kept there; ask again.", retry_after_s=AWAY_S) from error
