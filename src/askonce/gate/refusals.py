"""Count for the ledger what is turned away: it reached no provider, but somebody wanted something.

Callers choose names of models and providers, so none of them is counted here: a counter is made of words that we gave.
Store away: not counted; a refusal is no less one for that.
"""

from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError, Forbidden, OverBudget, RateLimited, StoreUnavailable, Unauthorized
from askonce.domain.ledger import Counters, CountKind, Tallied

MINUTE_MS = 60_000


def kind_of(error: AskonceError) -> CountKind | None:
    """Return as what a refusal is counted; None for what is none, or is counted where it arises."""
    if isinstance(error, OverBudget) or error.status >= 500:
        return None
    if isinstance(error, RateLimited):
        return "rate_limited"
    if isinstance(error, Unauthorized):
        return "unauthorized"
    return "forbidden" if isinstance(error, Forbidden) else "refused"


class Refusals:
    """Count them."""

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock

    async def count(self, error: AskonceError, caller: Caller, door: str) -> None:
        """Count a refusal. `door` is a name of the table of doors, "" where there is no such door."""
        kind = kind_of(error)
        if kind is None:
            return
        try:
            minute = self._clock.wall_ms() // MINUTE_MS
            await self._counters.count(minute, Tallied(caller.tenant, caller.key_id, door, "", "", kind))
        except StoreUnavailable:
            return
